//! Memory of a training step on one accelerator.

use std::ops::Add;

use super::{Offload, Procedure, Training, in_precision};
use crate::arch::{Batch, Model};
use crate::ledger::{Ledger, Rerun};
use crate::units::Bytes;

/// What fills device memory.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Memory {
    /// Weights in the precision of the step, and the copies that fp8 products read.
    pub parameters: Bytes,
    /// Gradients.
    pub gradients: Bytes,
    /// Optimizer state, and the fp32 master weights of a 16-bit step.
    pub optimizer: Bytes,
    /// Tensors kept for backward, of all micro-batches in flight.
    pub activations: Bytes,
    /// What is alive beside all that at the moment of the peak: gradients of activations, scratch, what runs again, a layer
    /// gathered from its shares.
    pub transient: Bytes,
    /// What the host holds instead of the device; not part of the peak.
    pub host: Bytes,
}

impl Memory {
    /// The memory of a device with the ledger of its stage, `in_flight` micro-batches at once, and as many `replicas`.
    /// Adam in 16 bits takes 2 + 2 + 12 bytes a parameter, in 32 bits 4 + 4 + 8 (Rajbhandari et al. 2020, section 3.1).
    #[must_use]
    pub fn of(ledger: &Ledger, procedure: &Procedure, in_flight: f64, replicas: f64) -> Self {
        let parallel = &procedure.parallel;
        // Experts have fewer replicas than the rest, by the devices that share them.
        let sparse = if ledger.parameters() > 0.0 { ledger.expert_parameters() / ledger.parameters() } else { 0.0 };
        let shared = (1.0 - sparse) / replicas + sparse * parallel.expert as f64 / replicas;
        let divided = |from: u64| if parallel.zero >= from { shared } else { 1.0 };
        let state = (procedure.optimizer.state_bytes(ledger) + procedure.master_bytes(ledger)) * divided(1);
        let parameters = ledger.parameter_bytes() * divided(3);
        let held = ledger.held_bytes(procedure.rerun);
        let offloads = |what| parallel.offload >= what;
        let apart = parallel.zero == 3 || offloads(Offload::Parameters);
        let gathered = if apart { ledger.layer_parameter_bytes() } else { 0.0 };
        let (device_state, host_state) = if offloads(Offload::Optimizer) { (0.0, state) } else { (state, 0.0) };
        let (device_weights, host_weights) = if offloads(Offload::Parameters) { (0.0, parameters) } else { (parameters, 0.0) };
        Self {
            parameters: Bytes::new(device_weights),
            gradients: Bytes::new(procedure.gradient_bytes(ledger) * divided(2)),
            optimizer: Bytes::new(device_state),
            activations: Bytes::new(held * in_flight),
            transient: Bytes::new(((ledger.peak_bytes(procedure.rerun) - held).max(0.0) + gathered).round()),
            host: Bytes::new(host_state + host_weights),
        }
    }

    /// All of it.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        self.parameters + self.gradients + self.optimizer + self.activations + self.transient
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
            transient: self.transient + other.transient,
            host: self.host + other.host,
        }
    }
}

/// What would fit `capacity` instead: a smaller micro-batch, checkpointing, or a larger device.
#[must_use]
pub fn fitting(
    training: &Training,
    model: &Model,
    accelerators: u64,
    sequence_length: u64,
    (micro_batch, micro_batches): (u64, f64),
    fits: impl Fn(&Memory) -> bool,
) -> Vec<String> {
    let Ok(model) = in_precision(model, training.precision) else { return Vec::new() };
    let memory = |micro_batch: u64, rerun| {
        let element_bytes = training.precision.element_bytes();
        let ledger = model.ledger(Batch { sequences: micro_batch as f64, length: sequence_length as f64, element_bytes }).ok()?;
        Some(Procedure { rerun, ..training.procedure() }.fullest(&ledger, accelerators, micro_batches))
    };
    let largest = |rerun| -> Option<u64> {
        let (mut low, mut high) = (0_u64, micro_batch);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if memory(middle, rerun).is_some_and(|memory| fits(&memory)) { low = middle } else { high = middle - 1 }
        }
        (low > 0).then_some(low)
    };
    let mut out = Vec::new();
    let rerun = training.procedure().rerun;
    if let Some(batch) = largest(rerun) {
        out.push(format!("micro_batch = {batch}"));
    }
    if rerun != Rerun::Layers
        && let Some(batch) = largest(Rerun::Layers)
    {
        let batch = if batch == micro_batch { String::new() } else { format!(" with micro_batch = {batch}") };
        out.push(format!("checkpointing = \"full\"{batch}"));
    }
    out
}

impl Procedure {
    /// Bytes of the fp32 copy of the weights that a 16-bit step updates.
    fn master_bytes(&self, ledger: &Ledger) -> f64 {
        if self.master_weights.unwrap_or(self.precision.is_mixed()) { 4.0 * ledger.trained_parameters() } else { 0.0 }
    }

    /// Bytes of all gradients.
    #[must_use]
    pub fn gradient_bytes(&self, ledger: &Ledger) -> f64 {
        ledger.trained_parameters() * self.gradient_precision.unwrap_or(self.precision).element_bytes()
    }

    /// The stages that differ most: the first, which holds most micro-batches, and the last, which holds the head.
    pub(super) fn stages(&self) -> impl Iterator<Item = u64> {
        let last = self.parallel.pipeline - 1;
        std::iter::once(0).chain((last > 0).then_some(last))
    }

    /// The memory of the fullest device.
    #[must_use]
    pub fn fullest(&self, whole: &Ledger, accelerators: u64, micro_batches: f64) -> Memory {
        let of = |stage| {
            let ledger = whole.on_device(&self.parallel.division(stage));
            Memory::of(&ledger, self, self.parallel.in_flight(stage, micro_batches), self.parallel.replicas(accelerators))
        };
        self.stages().map(of).max_by(|a, b| a.peak().value().total_cmp(&b.peak().value())).unwrap_or_default()
    }
}
