//! One accelerator: its memory, its dense peaks, its power, its link.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Diagnostic, Node, Problem};
use crate::ledger::Pattern;
use crate::numeric::Estimate;
use crate::source::Source;
use crate::units::{Bytes, BytesPerSecond, Dollars, DollarsPerHour, FlopsPerSecond, GramsCo2e, Watts};

/// Number formats of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit, unrounded.
    Fp32,
    /// 32-bit inputs rounded to 19 bits, on the tensor units.
    Tf32,
    /// 16-bit products with 32-bit master weights.
    #[serde(alias = "fp16_mixed")]
    Fp16,
    /// The same with the bfloat16 format.
    #[serde(alias = "bf16_mixed")]
    Bf16,
    /// The latter with the products of linear layers in 8 bits (Micikevicius et al. 2022).
    Fp8,
}

impl Precision {
    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
        }
    }

    /// Every precision.
    pub const ALL: [Self; 5] = [Self::Fp32, Self::Tf32, Self::Fp16, Self::Bf16, Self::Fp8];

    /// Whether weights and activations of the step have 16 bits, with a 32-bit master copy of the weights.
    #[must_use]
    pub fn is_mixed(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16 | Self::Fp8)
    }

    /// The format of everything but the products of linear layers.
    #[must_use]
    pub fn dense(self) -> Self {
        if self == Self::Fp8 { Self::Bf16 } else { self }
    }

    /// Bytes of an activation element.
    #[must_use]
    pub fn element_bytes(self) -> f64 {
        if self.is_mixed() { 2.0 } else { 4.0 }
    }
}

/// An accelerator profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Version of the file format, 1.
    pub schema: u32,
    /// Its name, that of the file.
    pub name: String,
    /// Who makes it.
    pub vendor: String,
    /// Its architecture.
    pub architecture: String,
    /// Board or module.
    pub form: String,
    /// When it came out.
    #[serde(default)]
    pub released: Option<String>,
    /// Other names, in lower case.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The node that it is mostly built into, for what a table of runs does not say.
    #[serde(default)]
    pub node: Option<String>,
    /// Traps of this card.
    #[serde(default)]
    pub notes: Option<String>,
    /// Device memory.
    pub memory: Memory,
    /// Dense peaks by precision.
    pub peak: Peak,
    /// Zeros that products skip.
    #[serde(default)]
    pub sparsity: Option<Sparsity>,
    /// Rates that large products were seen to reach.
    #[serde(default)]
    pub achieved_matmul: Option<Peak>,
    /// Power; a profile may not know it.
    #[serde(default)]
    pub power: Option<Power>,
    /// The link to its neighbours.
    #[serde(default)]
    pub link: Option<Link>,
    /// What its main die is made in.
    #[serde(default)]
    pub process: Option<Process>,
    /// The board around it.
    #[serde(default)]
    pub board: Option<Board>,
    /// Prices.
    #[serde(default)]
    pub price: Option<Price>,
    /// What making it emitted.
    #[serde(default)]
    pub embodied: Option<Embodied>,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
}

/// Device memory.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// How much there is.
    pub capacity: Estimate<Bytes>,
    /// How fast it is.
    pub bandwidth: Estimate<BytesPerSecond>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Rates by precision, dense.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// 32-bit: on the vector units, or on matrix units that take it unrounded (AMD from CDNA on).
    #[serde(default)]
    pub fp32: Option<Estimate<FlopsPerSecond>>,
    /// TF32.
    #[serde(default)]
    pub tf32: Option<Estimate<FlopsPerSecond>>,
    /// 16-bit.
    #[serde(default)]
    pub fp16: Option<Estimate<FlopsPerSecond>>,
    /// bfloat16.
    #[serde(default)]
    pub bf16: Option<Estimate<FlopsPerSecond>>,
    /// 8-bit floating point.
    #[serde(default)]
    pub fp8: Option<Estimate<FlopsPerSecond>>,
    /// 8-bit integers.
    #[serde(default)]
    pub int8: Option<Estimate<FlopsPerSecond>>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

impl Peak {
    /// The rate at a precision.
    #[must_use]
    pub fn at(&self, precision: Precision) -> Option<&Estimate<FlopsPerSecond>> {
        match precision {
            Precision::Fp32 => self.fp32.as_ref(),
            Precision::Tf32 => self.tf32.as_ref(),
            Precision::Fp16 => self.fp16.as_ref(),
            Precision::Bf16 => self.bf16.as_ref(),
            Precision::Fp8 => self.fp8.as_ref(),
        }
    }
}

/// Zeros that products skip. A device without this section multiplies them like any other number.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sparsity {
    /// The pattern in which they stand, such as `{ keep = 2, of = 4 }`.
    #[serde(default)]
    pub pattern: Option<Pattern>,
    /// Peaks of products with such a matrix, dense FLOPs counted, as data sheets print them "with sparsity".
    #[serde(default)]
    pub peak: Option<Peak>,
    /// Whether they are skipped wherever they stand, in proportion.
    #[serde(default)]
    pub unstructured: bool,
}

/// Power of an accelerator.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// The board's limit.
    pub limit: Estimate<Watts>,
    /// A lower limit that is set.
    #[serde(default)]
    pub cap: Option<Estimate<Watts>>,
    /// With nothing to do.
    #[serde(default)]
    pub idle: Option<Estimate<Watts>>,
    /// Seen while training; tells nothing of another workload.
    #[serde(default)]
    pub training: Option<TrainingPower>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Power that was seen while something was trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPower {
    /// Lower end.
    #[serde(default)]
    pub low: Option<Watts>,
    /// Upper end.
    #[serde(default)]
    pub high: Option<Watts>,
    /// One figure.
    #[serde(default)]
    pub value: Option<Watts>,
    /// accelerator or node (a node's power over its accelerators).
    pub boundary: String,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// The link to neighbours.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// How many links rings have, where no switch joins them.
    #[serde(default)]
    pub mesh: Option<Mesh>,
    /// Key of the source of that.
    #[serde(default)]
    pub mesh_source: Option<String>,
    /// One way, all lanes of a device together.
    #[serde(default)]
    pub bandwidth_one_way: Option<Estimate<BytesPerSecond>>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Links between devices of a node that no switch joins: rings of few devices have not all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Links of a ring of two.
    pub pair: u64,
    /// Of three or four.
    pub quad: u64,
    /// Of more: all that a device has.
    pub all: u64,
}

impl Mesh {
    /// Share of its links that a device uses in a ring of so many.
    #[must_use]
    pub fn share(&self, devices: f64) -> f64 {
        let links = if devices <= 2.0 {
            self.pair
        } else if devices <= 4.0 {
            self.quad
        } else {
            self.all
        };
        links as f64 / self.all as f64
    }
}

/// The process that the compute dies are made in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// What the foundry calls it.
    #[serde(default)]
    pub name: Option<String>,
    /// The size that names its generation, in nm; no length on the chip.
    pub feature_size_nm: f64,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// The board: what memory it carries, and how fast its clock may run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The kind of device memory.
    #[serde(default)]
    pub memory: Option<MemoryKind>,
    /// Multiprocessors (of AMD, compute units): as many tiles of a product run at once.
    #[serde(default)]
    pub multiprocessors: Option<u64>,
    /// The highest clock, at which peaks are quoted, MHz.
    #[serde(default)]
    pub boost_clock_mhz: Option<f64>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Kinds of device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// Stacked beside the die.
    Hbm,
    /// Around it on the board.
    Gddr,
    /// That of telephones.
    Lpddr,
}

/// Prices.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// To buy one.
    #[serde(default)]
    pub purchase: Option<Estimate<Dollars>>,
    /// To rent one.
    #[serde(default)]
    pub cloud: Option<Estimate<DollarsPerHour>>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// What making it emitted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embodied {
    /// From cradle to gate.
    pub footprint: Estimate<GramsCo2e>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

impl Accelerator {
    /// Reads a profile and refuses one that cannot be.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or a value breaks physics, such as a GPU of 700 kW.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let profile: Self = node.read()?;
        match profile.findings().into_iter().find(|finding| finding.severity == super::Severity::Error) {
            Some(finding) => Err(finding.problem.at(node)),
            None => Ok(profile),
        }
    }

    /// The dense peak at a precision, of fp8 where the 16-bit one is known too.
    ///
    /// # Errors
    /// The device has no such precision; the message lists those it has.
    pub fn peak_at(&self, precision: Precision) -> Result<&Estimate<FlopsPerSecond>, Problem> {
        let peak = |precision: Precision| self.peak.at(precision.dense()).and(self.peak.at(precision));
        peak(precision).ok_or_else(|| {
            let has: Vec<&str> = Precision::ALL.into_iter().filter(|precision| peak(*precision).is_some()).map(Precision::word).collect();
            let found = format!("{}, which the {} has no known peak for", precision.word(), self.name);
            Problem::new("training.precision", found, has.join(", "))
        })
    }
}
