//! Memory of a training step on one accelerator.

use std::ops::Add;

use super::{Checkpointing, Optimizer, Training};
use crate::arch::{Batch, Model};
use crate::hardware::Precision;
use crate::ledger::Ledger;
use crate::units::Bytes;

/// What fills device memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Weights in the precision of the step.
    pub parameters: Bytes,
    /// Gradients.
    pub gradients: Bytes,
    /// Optimizer state, and the fp32 master weights of a 16-bit step.
    pub optimizer: Bytes,
    /// Tensors kept for backward.
    pub activations: Bytes,
}

impl Memory {
    /// The memory of one micro-batch. Adam in 16 bits takes 2 + 2 + 12 bytes a parameter, in 32 bits 4 + 4 + 8
    /// (Rajbhandari et al. 2020, section 3.1).
    #[must_use]
    pub fn of(ledger: &Ledger, precision: Precision, optimizer: Optimizer, checkpointing: Checkpointing) -> Self {
        let trained = ledger.trained_parameters();
        let master = if precision.is_mixed() { 4.0 * trained } else { 0.0 };
        let activations = match checkpointing {
            Checkpointing::None => ledger.kept_bytes(),
            Checkpointing::Full => ledger.kept_bytes_checkpointed(),
        };
        Self {
            parameters: Bytes::new(ledger.parameter_bytes()),
            gradients: Bytes::new(trained * precision.element_bytes()),
            optimizer: Bytes::new(optimizer.state_bytes(ledger) + master),
            activations: Bytes::new(activations),
        }
    }

    /// All of it.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        self.parameters + self.gradients + self.optimizer + self.activations
    }

    /// All of it with what a framework takes beside: `context` bytes, and a share `fragmentation` of the rest.
    #[must_use]
    pub fn with_overhead(&self, context: Bytes, fragmentation: f64) -> Bytes {
        self.peak() * (1.0 + fragmentation) + context
    }
}

impl Add for Memory {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            parameters: self.parameters + other.parameters,
            gradients: self.gradients + other.gradients,
            optimizer: self.optimizer + other.optimizer,
            activations: self.activations + other.activations,
        }
    }
}

/// What would fit `capacity` instead: a smaller micro-batch, checkpointing, or a larger device.
#[must_use]
pub fn fitting(training: &Training, model: &Model, sequence_length: u64, micro_batch: u64, fits: impl Fn(&Memory) -> bool) -> Vec<String> {
    let memory = |micro_batch: u64, checkpointing| {
        let batch =
            Batch { sequences: micro_batch as f64, length: sequence_length as f64, element_bytes: training.precision.element_bytes() };
        let ledger = model.ledger(batch).ok()?;
        Some(Memory::of(&ledger, training.precision, training.optimizer, checkpointing))
    };
    let largest = |checkpointing| -> Option<u64> {
        let (mut low, mut high) = (0_u64, micro_batch);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if memory(middle, checkpointing).is_some_and(|memory| fits(&memory)) { low = middle } else { high = middle - 1 }
        }
        (low > 0).then_some(low)
    };
    let mut out = Vec::new();
    if let Some(batch) = largest(training.checkpointing) {
        out.push(format!("micro_batch = {batch}"));
    }
    if training.checkpointing == Checkpointing::None
        && let Some(batch) = largest(Checkpointing::Full)
    {
        let batch = if batch == micro_batch { String::new() } else { format!(" with micro_batch = {batch}") };
        out.push(format!("checkpointing = \"full\"{batch}"));
    }
    out
}
