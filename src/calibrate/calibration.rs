//! A calibration: what a software stack was found to achieve on devices of one vendor, with how well that is known.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use super::fit::{self, BETWEEN_SIBLINGS, OWN, Step};
use super::hold_out::{Errors, Figure, Widening};
use crate::document::{Diagnostic, Node, Problem};
use crate::hardware::Parameter;

/// Standard deviations on either side of a normal distribution's middle that hold nine tenths of it.
pub(super) const QUANTILE: f64 = 1.645;

/// A calibration, as its file holds it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of the file format, 1.
    pub schema: u32,
    /// Its name, that of the file.
    pub name: String,
    /// The software stack.
    pub stack: String,
    /// Who makes the devices.
    pub vendor: String,
    /// What products run on: tensor or vector units.
    pub units: Units,
    /// The day of the fit.
    pub date: String,
    /// The version of the program that made it.
    pub program: String,
    /// The tables whose rows it was fitted to.
    pub tables: Vec<FittedTable>,
    /// Residuals less the parameters that the rows determine.
    pub degrees_of_freedom: f64,
    /// Standard deviation of ln(computed / measured).
    pub scale: f64,
    /// How much wider than that and the parameters' uncertainty say intervals have to be.
    pub widening: Vec<Widening>,
    /// Values by key.
    pub parameters: BTreeMap<String, Value>,
    /// The devices and how each differs.
    pub devices: Vec<FittedDevice>,
    /// The covariance of the changed variables: parameters in their order, then those of the devices.
    pub covariance: Vec<Vec<f64>>,
    /// Errors of rows that a fit had seen, and of those held out, by regime.
    pub errors: Vec<Errors>,
    /// The copy that was read; nothing of one that was not.
    #[serde(skip)]
    pub file: String,
}

/// What products run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// Products of tf32, 16 and 8 bits.
    Tensor,
    /// Products of fp32.
    Vector,
}

impl Units {
    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Vector => "vector",
        }
    }
}

/// A table that rows were taken from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedTable {
    /// Its file.
    pub file: String,
    /// The hash of what it held.
    pub sha256: String,
    /// Rows that the fit saw.
    pub rows: usize,
}

/// A fitted value with its 90 % interval, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// Low end.
    pub low: f64,
    /// High end.
    pub high: f64,
}

/// How a device differs from its siblings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedDevice {
    /// Its name.
    pub name: String,
    /// Rows of it.
    pub rows: usize,
    /// Deviations of the logits of [`OWN`], none where it is the only device.
    pub deviations: Vec<f64>,
    /// What it draws with nothing to do, W, where that was measured with its rows.
    #[serde(default)]
    pub idle_w: Option<f64>,
}

impl Calibration {
    /// Reads a calibration and refuses one that cannot be.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or a value is impossible.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let calibration: Self = node.read()?;
        match calibration.problem() {
            Some(problem) => Err(problem.at(node)),
            None => Ok(Self { file: node.origin.file().to_string(), ..calibration }),
        }
    }

    fn problem(&self) -> Option<Problem> {
        for parameter in Parameter::ALL {
            let key = parameter.key();
            let Some(value) = self.parameters.get(key) else {
                return Some(Problem::new(format!("parameters.{key}"), "nothing", "a value of every parameter"));
            };
            let (low, high) = fit::bounds(parameter);
            if !(value.value >= low && value.value <= high) {
                return Some(Problem::new(format!("parameters.{key}"), value.value.to_string(), format!("{low} to {high}")));
            }
        }
        if let Some(key) = self.parameters.keys().find(|key| !Parameter::ALL.iter().any(|parameter| parameter.key() == *key)) {
            return Some(Problem::new("parameters", format!("\"{key}\""), Parameter::ALL.map(Parameter::key).join(", ")));
        }
        let own = if self.devices.len() > 1 { OWN.len() } else { 0 };
        if let Some(device) = self.devices.iter().find(|device| device.deviations.len() != own) {
            return Some(Problem::new("devices", format!("{} deviations of {}", device.deviations.len(), device.name), own.to_string()));
        }
        let size = Parameter::ALL.len() + own * self.devices.len();
        if self.covariance.len() != size || self.covariance.iter().any(|row| row.len() != size) {
            return Some(Problem::new("covariance", format!("{} rows", self.covariance.len()), format!("{size} rows of {size} numbers")));
        }
        if let Some(idle) = self.devices.iter().find_map(|device| device.idle_w.filter(|idle| !(*idle > 0.0 && idle.is_finite()))) {
            return Some(Problem::new("devices", format!("idle_w of {idle}"), "above 0"));
        }
        if let Some(widening) = self.widening.iter().find(|widening| !(widening.factor > 0.0 && widening.factor.is_finite())) {
            return Some(Problem::new("widening", widening.factor.to_string(), "factors above 0"));
        }
        (!(self.scale > 0.0 && self.scale.is_finite())).then(|| Problem::new("scale", self.scale.to_string(), "above 0"))
    }

    /// How many times as wide as its deviation says the interval of a figure is; 1 where nothing was held out. What is not like the
    /// rows is no better known than what is.
    #[must_use]
    pub fn widening(&self, figure: Figure, known_device: bool, several_nodes: bool) -> f64 {
        let of = |known: bool, several: bool| {
            let alike = |one: &&Widening| one.figure == figure && one.known_device == known && one.several_nodes == several;
            self.widening.iter().find(alike).map(|one| one.factor)
        };
        let like_rows = of(true, several_nodes).or(of(true, !several_nodes)).unwrap_or(1.0);
        if known_device { like_rows } else { of(false, several_nodes).or(of(false, !several_nodes)).unwrap_or(1.0).max(like_rows) }
    }

    /// By what factor the interval of a figure of this deviation reaches to either side of it.
    #[must_use]
    pub fn spread(&self, figure: Figure, known_device: bool, several_nodes: bool, deviation: f64) -> f64 {
        (QUANTILE * self.widening(figure, known_device, several_nodes) * deviation).exp()
    }

    /// The values of the fit in their order.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        let shared = Parameter::ALL.map(|parameter| self.parameters.get(parameter.key()).map_or(0.0, |value| value.value));
        shared.into_iter().chain(self.devices.iter().flat_map(|device| device.deviations.iter().copied())).collect()
    }

    /// The place of a device among those that it was fitted on.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<usize> {
        self.devices.iter().position(|device| device.name == name)
    }

    /// Standard deviations of ln of the seconds and the watts that `step` computes for a device from values: what is not known of
    /// the parameters, what a device that was not measured may differ by, and the scatter of runs. Those of watts are not a number where
    /// it computes none.
    pub fn deviations(&self, known: bool, step: impl Fn(&[f64]) -> Step) -> [f64; 2] {
        const STEP: f64 = 1e-3;
        let mut values = self.values();
        let logarithms = |values: &[f64]| {
            let step = step(values);
            [step.seconds, step.watts().unwrap_or(f64::NAN)].map(f64::ln)
        };
        let mut slope = |index: usize| {
            let value = values[index];
            let shape = Parameter::ALL.get(index).map(|parameter| fit::shape(*parameter));
            let mut side = |step: f64| {
                values[index] = shape.as_ref().map_or(value + step, |shape| shape.value(shape.variable(value) + step));
                logarithms(&values)
            };
            let (above, below) = (side(STEP), side(-STEP));
            values[index] = value;
            [0, 1].map(|figure| (above[figure] - below[figure]) / (2.0 * STEP))
        };
        let gradients: Vec<[f64; 2]> = (0..self.covariance.len()).map(&mut slope).collect();
        [0, 1].map(|figure| {
            let gradient: Vec<f64> = gradients.iter().map(|slopes| slopes[figure]).collect();
            let fitted: f64 =
                gradient.iter().zip(&self.covariance).map(|(g, row)| g * row.iter().zip(&gradient).map(|(c, h)| c * h).sum::<f64>()).sum();
            let between: f64 = if known { 0.0 } else { OWN.iter().map(|own| (gradient[*own as usize] * BETWEEN_SIBLINGS).powi(2)).sum() };
            (self.scale.powi(2) + fitted.max(0.0) + between).sqrt()
        })
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out += &text;
            out.push('\n');
        };
        line(format!("schema = {}", self.schema));
        for (key, value) in [
            ("name", self.name.as_str()),
            ("stack", &self.stack),
            ("vendor", &self.vendor),
            ("units", self.units.word()),
            ("date", &self.date),
            ("program", &self.program),
        ] {
            line(format!("{key} = {value:?}"));
        }
        line("# ln(computed / measured): its standard deviation.".into());
        line(format!("degrees_of_freedom = {:.1}", self.degrees_of_freedom));
        line(format!("scale = {:.4}", self.scale));
        line("covariance = [".into());
        for row in &self.covariance {
            line(format!("  [{}],", row.iter().map(|value| format!("{value:.3e}")).collect::<Vec<_>>().join(", ")));
        }
        line("]".into());
        for Widening { figure, known_device, several_nodes, factor } in &self.widening {
            let figure = figure.word();
            line(format!("\n[[widening]]\nfigure = {figure:?}\nknown_device = {known_device}\nseveral_nodes = {several_nodes}"));
            line(format!("factor = {factor:.3}"));
        }
        for table in &self.tables {
            line(format!("\n[[tables]]\nfile = {:?}\nsha256 = {:?}\nrows = {}", table.file, table.sha256, table.rows));
        }
        line("\n# Shares of peaks, s, B and pJ, with 90 % intervals.\n[parameters]".into());
        for parameter in Parameter::ALL {
            if let Some(Value { value, low, high }) = self.parameters.get(parameter.key()) {
                line(format!("{:?} = {{ value = {value:.4e}, low = {low:.3e}, high = {high:.3e} }}", parameter.key()));
            }
        }
        for device in &self.devices {
            let deviations: Vec<String> = device.deviations.iter().map(|value| format!("{value:.4}")).collect();
            line(format!("\n[[devices]]\nname = {:?}\nrows = {}\ndeviations = [{}]", device.name, device.rows, deviations.join(", ")));
            if let Some(idle) = device.idle_w {
                line(format!("idle_w = {idle:.2}"));
            }
        }
        for errors in &self.errors {
            let Errors { figure, regime, held_out, rows, mean, median, worst, bias, inside } = errors;
            let figure = figure.word();
            line(format!("\n[[errors]]\nfigure = {figure:?}\nregime = {regime:?}\nheld_out = {held_out}\nrows = {rows}"));
            line(format!("mean = {mean:.4}\nmedian = {median:.4}\nworst = {worst:.4}\nbias = {bias:.4}\ninside = {inside:.3}"));
        }
        out
    }
}

/// The values that rows determine, for people: a table's worth of text.
#[must_use]
pub fn summary(calibration: &Calibration) -> String {
    let mut out = String::new();
    let rows: usize = calibration.tables.iter().map(|table| table.rows).sum();
    let seen: usize = calibration.errors.iter().filter(|errors| errors.is_of_all_rows()).map(|errors| errors.rows).sum();
    let told = seen as f64 - calibration.degrees_of_freedom;
    let own = calibration.devices.iter().map(|device| device.deviations.len()).sum::<usize>();
    let _ = writeln!(
        out,
        "{}: {rows} rows, {} parameters ({} of the stack, {own} of devices), of which the rows determine {told:.1}; scatter {:.1} %",
        calibration.name,
        Parameter::ALL.len() + own,
        Parameter::ALL.len(),
        100.0 * calibration.scale
    );
    out
}
