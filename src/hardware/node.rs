//! What stands around the accelerators of one machine.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Diagnostic, Node, Problem};
use crate::numeric::Estimate;
use crate::source::Source;
use crate::units::{BytesPerSecond, Dollars, GramsCo2e, Ratio, Seconds, Watts};

/// A node profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeProfile {
    /// Version of the file format, 1.
    pub schema: u32,
    /// Its name, that of the file.
    pub name: String,
    /// Other names, in lower case.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
    /// Accelerators in one node.
    pub accelerators_per_node: u64,
    /// CPU, memory, fans, network cards and supply losses.
    pub overhead: Overhead,
    /// The network between nodes.
    #[serde(default)]
    pub network: Option<Network>,
    /// What making it emitted, without its accelerators, and how long it is used.
    #[serde(default)]
    pub embodied: Option<NodeEmbodied>,
    /// Its price.
    #[serde(default)]
    pub price: Option<NodePrice>,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
}

/// Power of a node beside its accelerators, while training: `power` + `share_of_accelerators` x what its accelerators draw.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// Per node, whatever its accelerators draw.
    pub power: Estimate<Watts>,
    /// What follows their load: losses of supplies and regulators, fans. None where it is in `power`.
    #[serde(default)]
    pub share_of_accelerators: Option<Estimate<Ratio>>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// The network between nodes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// One way, per node.
    pub bandwidth_one_way: Estimate<BytesPerSecond>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// What making a node emitted and how long it is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEmbodied {
    /// From cradle to gate, without accelerators.
    pub footprint: Estimate<GramsCo2e>,
    /// Years in service, of the accelerators too.
    pub lifetime: Estimate<Seconds>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

/// The price of a node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePrice {
    /// To buy one, without accelerators.
    pub purchase: Estimate<Dollars>,
    /// Key of the source.
    #[serde(default)]
    pub source: Option<String>,
}

impl NodeProfile {
    /// Reads a profile and refuses one that cannot be.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or a value is implausible.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let profile: Self = node.read()?;
        match profile.findings().into_iter().find(|finding| finding.severity == super::Severity::Error) {
            Some(finding) => Err(finding.problem.at(node)),
            None => Ok(profile),
        }
    }

    pub(super) fn check_count(&self) -> Option<Problem> {
        let count = self.accelerators_per_node;
        (count == 0 || count > 1024).then(|| Problem::new("accelerators_per_node", count.to_string(), "1 to 1024"))
    }
}
