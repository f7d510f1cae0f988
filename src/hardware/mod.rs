//! Accelerators, the nodes around them, their processors, and the parameters that a calibration holds.

mod accelerator;
mod check;
mod host;
mod node;
mod performance;
mod processor;

pub use accelerator::{Accelerator, Mesh, Power, Precision};
pub use check::{Finding, Severity};
pub use host::{HostDescription, HostModel, MEMORY_WATTS_PER_GB, memory_energy, processor_energy};
pub use node::NodeProfile;
pub use performance::{Parameter, Performance, PowerScales};
pub use processor::{Processor, find_processor};

use std::collections::BTreeMap;

use crate::numeric::Estimate;
use crate::source::{Class, Source};

/// The class of a value: its own, its source's, or its section's source's.
pub(crate) fn class_of<Q>(value: &Estimate<Q>, section: Option<&str>, sources: &BTreeMap<String, Source>) -> Class {
    let source = value.source.as_deref().or(section).and_then(|key| sources.get(key));
    value.class.or(source.map(|source| source.class)).unwrap_or(Class::Assumed)
}
