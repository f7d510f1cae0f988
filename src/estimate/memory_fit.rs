//! Whether a step fits the memory of its device, and what would.

use crate::scenario::{Case, Known};
use crate::training::{Memory, fitting};
use crate::units::Bytes;

/// Whether a step fits the device.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryFit {
    /// Memory that the model's step takes.
    pub model: Bytes,
    /// With the framework's overhead.
    pub needed: Bytes,
    /// Its parts.
    pub parts: Memory,
    /// The driver's context.
    pub context: Known,
    /// Share of the rest that allocator blocks not in use take.
    pub fragmentation: Known,
    /// What the device has.
    pub capacity: Bytes,
    /// What would fit, if this does not.
    pub instead: Vec<String>,
}

impl MemoryFit {
    /// What the largest step of a case needs.
    pub(super) fn of(case: &Case) -> Option<Self> {
        let (device, model) = (case.accelerator.as_ref()?, case.model.as_ref()?);
        let overhead = &case.performance.memory_overhead;
        let (context, fragmentation) = (overhead.context.centre(), overhead.fragmentation.centre().value());
        let capacity = device.memory.capacity.centre();
        let largest = case.phases.iter().max_by(|a, b| a.memory.peak().value().total_cmp(&b.memory.peak().value()))?;
        let needed = largest.memory.with_overhead(context, fragmentation);
        let fits = |memory: &Memory| memory.with_overhead(context, fragmentation) <= capacity;
        let instead = match &case.training {
            // The search knows the model alone.
            Some(_) if needed > capacity && largest.companions != Memory::default() => {
                vec!["a smaller micro_batch or checkpointing (not searched beside a teacher or a generator)".to_string()]
            }
            Some(training) if needed > capacity => {
                let batches = (largest.micro_batch, largest.accumulation);
                fitting(training, model, case.accelerators, largest.sequence_length, batches, fits)
            }
            _ => Vec::new(),
        };
        Some(Self {
            model: largest.memory.peak(),
            needed,
            parts: largest.memory,
            context: case.parameter(&overhead.context),
            fragmentation: case.parameter(&overhead.fragmentation),
            capacity,
            instead,
        })
    }

    /// Whether it fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.needed <= self.capacity
    }
}
