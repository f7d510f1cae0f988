//! Errors of fits on rows that they had and had not seen: whole regimes are held out, one after the other.

use serde::Deserialize;

use super::calibration::{Calibration, QUANTILE};
use super::run::Run;
use super::table::Measured;

/// Share of rows that an interval is to hold.
pub(super) const LEVEL: f64 = 0.9;
/// Parts that the rows are cut into, to hold one after the other out.
const PARTS: u64 = 5;

/// A figure that is measured and computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Seconds of a step.
    Seconds,
    /// Mean power of an accelerator, W.
    Watts,
    /// Mean power of a node, W.
    NodeWatts,
    /// Seconds of a kernel by itself.
    KernelSeconds,
    /// Mean power of an accelerator that runs it over and over, W.
    KernelWatts,
}

impl Figure {
    /// Every figure.
    pub const ALL: [Self; 5] = [Self::Seconds, Self::Watts, Self::NodeWatts, Self::KernelSeconds, Self::KernelWatts];

    /// The figures of time and of power of a row.
    pub(super) fn of(measured: &Measured) -> [Self; 2] {
        match measured {
            Measured::Run(_) => [Self::Seconds, Self::Watts],
            Measured::Kernel(_) => [Self::KernelSeconds, Self::KernelWatts],
        }
    }

    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Watts => "watts",
            Self::NodeWatts => "node_watts",
            Self::KernelSeconds => "kernel_seconds",
            Self::KernelWatts => "kernel_watts",
        }
    }
}

/// A measured figure beside what a fit makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The calibration.
    pub calibration: String,
    /// The file of the row.
    pub table: String,
    /// The row.
    pub id: String,
    /// Its device.
    pub device: String,
    /// Which kernel it is of; nothing of a run.
    pub kernel: String,
    /// What was held out with it, as cut and value; nothing where the fit had seen it.
    pub held_out: Option<(String, String)>,
    /// Whether the fit had seen another row of its device.
    pub known_device: bool,
    /// Whether it is of several nodes.
    pub several_nodes: bool,
    /// Which figure.
    pub figure: Figure,
    /// As computed.
    pub computed: f64,
    /// Low end of its 90 % interval.
    pub low: f64,
    /// High end.
    pub high: f64,
    /// As measured.
    pub measured: f64,
    /// Standard deviation of ln of the computed one, before intervals are widened.
    pub deviation: f64,
}

impl Point {
    /// Computed over measured, less 1.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.computed / self.measured - 1.0
    }

    /// The row, by its table and its name there.
    pub(super) fn row(&self) -> (&str, &str) {
        (&self.table, &self.id)
    }

    /// Whether it was held out with a fifth of the rows.
    #[must_use]
    pub fn is_of_fifths(&self) -> bool {
        self.held_out.as_ref().is_some_and(|(cut, _)| cut == CUTS[0].name)
    }

    /// Whether the interval holds what was measured.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.low <= self.measured && self.measured <= self.high
    }

    /// The distance of both, in standard deviations.
    fn deviations(&self) -> f64 {
        (self.computed / self.measured).ln().abs() / self.deviation
    }

    /// The same with the interval that a calibration states.
    #[must_use]
    pub fn widened(self, calibration: &Calibration) -> Self {
        let widening = calibration.widening(self.figure, self.known_device, self.several_nodes);
        let spread = (QUANTILE * widening * self.deviation).exp();
        Self { low: self.computed / spread, high: self.computed * spread, ..self }
    }
}

/// The regime of all rows.
const ALL_ROWS: &str = "all rows";

/// A way to cut rows into regimes.
pub(super) struct Cut {
    /// Its name.
    pub name: &'static str,
    /// The regime of a row on a device of an architecture; nothing of one that it does not cut.
    pub of: fn(&Measured, &str) -> Option<String>,
}

/// The ways; by the first, what was held out is like what was seen, and by the sixth it is of devices that were not.
pub(super) const CUTS: [Cut; 7] = [
    Cut {
        name: "a fifth of the rows",
        of: |row, _| Some((row.id().bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % PARTS).to_string()),
    },
    Cut { name: "tensor_parallel", of: |row, _| row.run().map(|run| run.tensor.to_string()) },
    Cut { name: "hidden", of: |row, _| row.run().map(|run| run.hidden.to_string()) },
    Cut { name: "seq_len", of: |row, _| row.run().map(|run| run.sequence_length.to_string()) },
    Cut { name: "nodes", of: |row, _| row.run().map(|run| nodes(run).to_string()) },
    Cut { name: "architecture", of: |_, architecture| Some(architecture.split(' ').next().unwrap_or_default().to_string()) },
    Cut { name: "kernel", of: |row, _| row.kernel().map(|kernel| kernel.name.clone()) },
];

fn nodes(run: &Run) -> &'static str {
    if run.is_of_several_nodes() { "several" } else { "one" }
}

/// How many times as wide as the parameters and the scatter say an interval has to be to hold nine of ten rows.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widening {
    /// The figure.
    pub figure: Figure,
    /// On a device that rows of the fit are of, or on another.
    pub known_device: bool,
    /// On several nodes, or on one.
    pub several_nodes: bool,
    /// How many times.
    pub factor: f64,
}

impl Widening {
    /// From what was held out (split conformal prediction, Vovk et al. 2005): the quantile of the deviations over that of a normal
    /// distribution; of a known device from parts of all rows, of another from architectures.
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Vec<Self> {
        let mut out = Vec::new();
        for (figure, known_device, several_nodes) in Figure::ALL.into_iter().flat_map(kinds) {
            let cut = if known_device { CUTS[0].name } else { CUTS[5].name };
            let held_out = |point: &&Point| {
                point.figure == figure
                    && point.several_nodes == several_nodes
                    && (known_device || !point.known_device)
                    && point.held_out.as_ref().is_some_and(|(of, _)| of == cut)
            };
            let mut sizes: Vec<f64> = points.clone().filter(held_out).map(Point::deviations).collect();
            sizes.sort_by(f64::total_cmp);
            let place = ((sizes.len() as f64 + 1.0) * LEVEL).ceil() as usize;
            if let Some(size) = sizes.get(place.saturating_sub(1)).or(sizes.last()) {
                out.push(Self { figure, known_device, several_nodes, factor: size / QUANTILE });
            }
        }
        out
    }
}

/// A figure on devices known and not, of one node and of several.
fn kinds(figure: Figure) -> [(Figure, bool, bool); 4] {
    [(figure, true, false), (figure, true, true), (figure, false, false), (figure, false, true)]
}

/// Errors of some rows, as shares of what was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The figure.
    pub figure: Figure,
    /// Which rows, such as `tensor_parallel = 4`.
    pub regime: String,
    /// Whether the fit had not seen them.
    pub held_out: bool,
    /// How many.
    pub rows: usize,
    /// Mean absolute.
    pub mean: f64,
    /// Median absolute.
    pub median: f64,
    /// Largest absolute.
    pub worst: f64,
    /// Mean, with its sign.
    pub bias: f64,
    /// Share of rows inside the 90 % interval.
    pub inside: f64,
}

impl Errors {
    /// Of these points; nothing of none.
    #[must_use]
    pub fn of(regime: &str, points: &[&Point]) -> Option<Self> {
        let first = points.first()?;
        let mut sizes: Vec<f64> = points.iter().map(|point| point.error().abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let count = points.len() as f64;
        Some(Self {
            figure: first.figure,
            regime: regime.to_string(),
            held_out: first.held_out.is_some(),
            rows: points.len(),
            mean: sizes.iter().sum::<f64>() / count,
            median: sizes[sizes.len() / 2],
            worst: sizes[sizes.len() - 1],
            bias: points.iter().map(|point| point.error()).sum::<f64>() / count,
            inside: points.iter().filter(|point| point.is_inside()).count() as f64 / count,
        })
    }

    /// Whether they are of all rows, by the fit that saw them.
    #[must_use]
    pub fn is_of_all_rows(&self) -> bool {
        !self.held_out && self.regime == ALL_ROWS
    }

    /// Whether they are of whole regimes that were held out: of all of one kind together, of one side of several nodes or one, or of an
    /// architecture.
    #[must_use]
    pub fn is_of_regime(&self) -> bool {
        self.held_out && ["every ", "nodes = ", "architecture = "].iter().any(|start| self.regime.starts_with(start))
    }

    /// Of all points of a calibration: seen, and held out, whole and by table, device and regime.
    #[must_use]
    pub fn all(points: &[Point]) -> Vec<Self> {
        let mut out = Vec::new();
        for figure in Figure::ALL {
            let points: Vec<&Point> = points.iter().filter(|point| point.figure == figure).collect();
            let mut add = |regime: &str, of: &dyn Fn(&Point) -> bool, unless_all: usize| {
                let points: Vec<&Point> = points.iter().copied().filter(|point| of(point)).collect();
                if points.len() != unless_all {
                    out.extend(Self::of(regime, &points));
                }
            };
            let seen = |point: &Point| point.held_out.is_none();
            let cut_of = |point: &Point, name: &str| point.held_out.as_ref().is_some_and(|(cut, _)| cut == name);
            let fifths = |point: &Point| cut_of(point, CUTS[0].name);
            let count = points.iter().filter(|point| seen(point)).count();
            let tables = distinct(&points, |point| &point.table);
            let devices = distinct(&points, |point| &point.device);
            let kernels: Vec<&str> = distinct(&points, |point| &point.kernel).into_iter().filter(|kernel| !kernel.is_empty()).collect();
            for (whole, of) in [(ALL_ROWS, &seen as &dyn Fn(&Point) -> bool), ("fifths of the rows, each in turn", &fifths)] {
                add(whole, of, 0);
                tables.iter().for_each(|table| add(&format!("table {table}"), &|point| of(point) && point.table == *table, count));
                devices.iter().for_each(|device| add(&format!("device {device}"), &|point| of(point) && point.device == *device, count));
                kernels.iter().for_each(|kernel| add(&format!("kernel {kernel}"), &|point| of(point) && point.kernel == *kernel, count));
            }
            for Cut { name, .. } in CUTS.iter().skip(1) {
                add(&format!("every {name} in turn"), &|point| cut_of(point, name), 0);
                let here: Vec<&Point> = points.iter().copied().filter(|point| cut_of(point, name)).collect();
                for value in distinct(&here, |point| point.held_out.as_ref().map_or("", |(_, value)| value)) {
                    let of = |point: &Point| cut_of(point, name) && point.held_out.as_ref().is_some_and(|(_, other)| other == value);
                    add(&format!("{name} = {value}"), &of, 0);
                }
            }
        }
        out
    }
}

/// The values that points have, each once, in the order of their first.
fn distinct<'a>(points: &[&'a Point], of: impl Fn(&'a Point) -> &'a str) -> Vec<&'a str> {
    let mut out = Vec::new();
    points.iter().for_each(|point| {
        if !out.contains(&of(point)) {
            out.push(of(point));
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(measured: f64, known_device: bool, cut: &str) -> Point {
        Point {
            calibration: String::new(),
            table: String::new(),
            id: String::new(),
            device: String::new(),
            kernel: String::new(),
            held_out: Some((cut.to_string(), String::new())),
            known_device,
            several_nodes: false,
            figure: Figure::Seconds,
            computed: 1.0,
            low: 0.9,
            high: 1.1,
            measured,
            deviation: 0.1,
        }
    }

    #[test]
    fn an_interval_is_widened_to_hold_nine_of_ten() {
        let points: Vec<Point> = (1..=99).map(|index| point((0.01 * f64::from(index)).exp(), true, CUTS[0].name)).collect();
        let [widening] = Widening::of(points.iter())[..] else { panic!("one figure of known devices") };
        assert!((widening.factor * QUANTILE * 0.1 - 0.9).abs() < 1e-9, "{widening:?}");
        let other = Widening::of([point(1.0_f64.exp(), false, CUTS[5].name), point(9.0, true, CUTS[5].name)].iter());
        assert!(other.len() == 1 && !other[0].known_device && (other[0].factor * QUANTILE * 0.1 - 1.0).abs() < 1e-9, "{other:?}");
    }
}
