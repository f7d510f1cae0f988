//! The model against what was recorded or published: ledgers against real modules, memory against published tables, time and power
//! against measured runs and measured kernels.
//!
//! Ledgers end as [`Check`]s in a [`Validation`]: a figure of the model beside the recorded one, and the bar for
//! their difference. Runs end as points with intervals, which fits have seen or not ([`Runs`]), kernels as points
//! of class defaults ([`Kernels`]).

mod arena;
mod attention;
mod circular;
mod kernels;
mod linformer;
mod modules;
mod node_power;
mod peers;
mod published;
mod runs;

pub use arena::arena;
pub use attention::attention;
pub use circular::circular;
pub use kernels::{Kernels, Timed, kernels};
pub use linformer::linformer;
pub use modules::{Explanation, Recording};
pub use node_power::{NodePower, node_power};
pub use peers::{Peer, peers};
pub use runs::{Runs, runs};

use crate::calibrate::{Calibration, Figure, Point};
use crate::document::{Diagnostic, Library, Origin, Resolver};

/// A figure of the model beside a recorded one.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was recorded: a model, its batch and length.
    pub case: String,
    /// Which figure.
    pub quantity: &'static str,
    /// The figure of the model.
    pub predicted: f64,
    /// The recorded figure.
    pub recorded: f64,
    /// The share by which they may differ; 0 for exact.
    pub bar: f64,
    /// Why they differ, where that is known.
    pub explanation: Option<String>,
    /// Whether the bar is held once what the explanation counts is taken off.
    pub holds: bool,
}

impl Check {
    /// The model's figure over the recorded one, less 1.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.predicted / self.recorded - 1.0
    }

    /// Whether the error itself is within the bar, or only once what the explanation counts is taken off, or neither.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.holds, self.error().abs() <= self.bar) {
            (false, _) => Verdict::Outside,
            (true, true) => Verdict::Within,
            (true, false) => Verdict::Explained,
        }
    }
}

/// How a figure stands to its bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its error is within the bar.
    Within,
    /// Its error is beyond the bar, and within it without what the explanation counts.
    Explained,
    /// Its error is beyond the bar.
    Outside,
}

/// One table of recorded figures, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The name of the table: its file's.
    pub table: String,
    /// Where the recorded figures are from.
    pub source: String,
    /// Figure by figure.
    pub checks: Vec<Check>,
}

/// Everything that the model is compared with.
#[derive(Debug, Clone)]
pub struct Everything {
    /// Ledgers and memory, against recorded modules and published tables.
    pub ledgers: Vec<Validation>,
    /// Time and power, against measured runs.
    pub runs: Runs,
    /// Power of whole nodes, of runs of known time.
    pub node_power: NodePower,
    /// Time of kernels by themselves, by class defaults.
    pub kernels: Kernels,
    /// Published figures that hold the answer.
    pub circular: Vec<Validation>,
    /// The calibrations with the errors that are recorded with them.
    pub recorded: Vec<Calibration>,
    /// What others state of their errors.
    pub peers: Vec<Peer>,
}

impl Everything {
    /// Every measured figure of time and power.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.runs.made.points.iter().chain(&self.node_power.points)
    }

    /// Those that a fit had not seen because a part of the rows like them, or their benchmark, was held out.
    pub fn held_out(&self) -> impl Iterator<Item = &Point> {
        self.points().filter(|point| point.is_of_fifths() || point.figure == Figure::NodeWatts && point.held_out.is_some())
    }

    /// The tables of measured figures, each with where it is from.
    pub fn tables(&self) -> Vec<(&str, &str)> {
        let runs = self.runs.sources.iter().map(|(table, source)| (table.as_str(), source.as_str()));
        runs.chain(std::iter::once(("power/mlperf", self.node_power.source.as_str()))).collect()
    }
}

/// Shipped tables that hold what is not predicted here, and why.
pub const NOT_PREDICTED: [(&str, &str); 5] = [
    ("power/zeus_power", "its BERT rows are runs/zeus_bert; ShuffleNet, ResNet, DeepSpeech and NCF are no transformers"),
    ("power/power_limit_curve", "means over training configurations most of which are of networks that are no transformers"),
    ("power/mlperf_node_power", "its BERT, GPT-3 and LoRA rows are power/mlperf; unet3d, ssd, resnet and dlrm_dcnv2 are no transformers"),
    ("published/quality", "quality is stated beside a saving and never computed"),
    ("published/peers", "what others state of their errors stands beside ours"),
];

/// The checks of one quantity, summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which figure.
    pub quantity: &'static str,
    /// How many were compared.
    pub cases: usize,
    /// How many are equal to the last digit.
    pub exact: usize,
    /// Mean of the absolute errors.
    pub mean: f64,
    /// Median of them.
    pub median: f64,
    /// The largest.
    pub worst: f64,
    /// The bar.
    pub bar: f64,
    /// How many have errors within it.
    pub within: usize,
    /// How many are within it only without what their explanation counts.
    pub explained: usize,
}

impl Validation {
    /// One summary a quantity, in the order they stand.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let mut quantities: Vec<&'static str> = Vec::new();
        for check in &self.checks {
            if !quantities.contains(&check.quantity) {
                quantities.push(check.quantity);
            }
        }
        quantities.into_iter().map(|quantity| self.summary(quantity)).collect()
    }

    fn summary(&self, quantity: &'static str) -> Summary {
        let checks: Vec<&Check> = self.checks.iter().filter(|check| check.quantity == quantity).collect();
        let mut errors: Vec<f64> = checks.iter().map(|check| check.error().abs()).collect();
        errors.sort_by(f64::total_cmp);
        let cases = errors.len();
        let count = |verdict| checks.iter().filter(|check| check.verdict() == verdict).count();
        Summary {
            quantity,
            cases,
            exact: checks.iter().filter(|check| check.predicted == check.recorded).count(),
            mean: errors.iter().sum::<f64>() / cases.max(1) as f64,
            median: errors.get(cases / 2).copied().unwrap_or_default(),
            worst: errors.last().copied().unwrap_or_default(),
            bar: checks.iter().map(|check| check.bar).fold(0.0, f64::max),
            within: count(Verdict::Within),
            explained: count(Verdict::Explained),
        }
    }

    /// Whether every check holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Compares the recordings of modules in `files`.
///
/// # Errors
/// A file cannot be read, or a model in it is not one.
pub fn modules(library: &dyn Library, files: &[String]) -> Result<Vec<Validation>, Diagnostic> {
    let mut resolver = Resolver::new(library);
    let compare = |path: &String| {
        let text = library.data(path, &Origin::whole("validate"))?;
        let recording = Recording::parse(&text.file, &text.text)?;
        let checks = recording.compare(&mut resolver)?;
        let table = path.trim_start_matches("measurements/").trim_end_matches(".json").to_string();
        Ok(Validation { table, source: recording.source, checks })
    };
    files.iter().filter(|path| path.ends_with(".json")).map(compare).collect()
}
