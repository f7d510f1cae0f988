//! One step on the fullest device, for a model at one batch: what `inspect` shows.

use super::parallel::Setting;
use super::{Memory, Procedure};
use crate::arch::{Batch, Model};
use crate::ledger::{Kept, Ledger};
use crate::perf::{Collective, Pass, Stage, StepWork, When, in_step};
use crate::units::Bytes;

/// What a step holds, computes and exchanges on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How it is done.
    pub procedure: Procedure,
    /// Devices of all degrees together.
    pub accelerators: u64,
    /// Micro-batches in the step.
    pub micro_batches: f64,
    /// The stage looked at: the one that holds most.
    pub stage: u64,
    /// Its share of one micro-batch.
    pub device: Ledger,
    /// What it holds.
    pub memory: Memory,
    /// Activations by why they are kept, of all micro-batches in flight.
    pub kept: Vec<(Kept, f64)>,
    /// What it exchanges.
    pub collectives: Vec<Collective>,
    /// FLOPs of the optimizer.
    pub optimizer_flops: f64,
    /// Bytes that the optimizer moves; 0 where the host does its work.
    pub optimizer_bytes: f64,
}

impl Procedure {
    /// The step of `micro_batches` micro-batches on the device that holds most.
    #[must_use]
    pub fn step(&self, model: &Model, whole: &Ledger, batch: Batch, accelerators: u64, micro_batches: f64) -> Step {
        let parallel = &self.parallel;
        let replicas = parallel.replicas(accelerators);
        let of = |stage: u64| {
            let device = whole.on_device(&parallel.division(stage));
            let memory = Memory::of(&device, self, parallel.in_flight(stage, micro_batches), replicas);
            (stage, device, memory)
        };
        let fuller = |a: &(u64, Ledger, Memory), b: &(u64, Ledger, Memory)| a.2.peak().value().total_cmp(&b.2.peak().value());
        let (stage, device, memory) = self.stages().map(of).max_by(fuller).unwrap_or_default();
        let in_flight = parallel.in_flight(stage, micro_batches);
        let kept = device.held_by_kind(self.rerun).into_iter().map(|(kind, bytes)| (kind, bytes * in_flight)).collect();
        let collectives = parallel.collectives(&device, &self.setting(model, &device, batch, accelerators, micro_batches));
        let collectives = in_step(collectives.iter(), micro_batches);
        Step {
            procedure: *self,
            accelerators,
            micro_batches,
            stage,
            memory,
            kept,
            collectives,
            optimizer_flops: self.optimizer.flops_per_parameter() * device.trained_parameters() * self.update_share(replicas),
            optimizer_bytes: self.optimizer_bytes(&device, &memory, replicas),
            device,
        }
    }

    /// The work of a step of `micro_batches` micro-batches on the devices of each kind of stage: the first, which has the
    /// embedding, the last, which has the head, and those between. `optimizer` is the bytes that the busiest optimizer moves.
    #[must_use]
    pub fn work(&self, model: &Model, whole: &Ledger, batch: Batch, accelerators: u64, micro_batches: f64) -> StepWork {
        let parallel = &self.parallel;
        let layers = model.layers() as f64 / parallel.pipeline as f64;
        let mut work = StepWork {
            micro_batches,
            interleaving: parallel.interleaving as f64,
            accelerators: accelerators as f64,
            ..StepWork::default()
        };
        let last = parallel.pipeline - 1;
        let kinds = [(0, 1), (1, last.saturating_sub(1)), (last, u64::from(last > 0))];
        for (stage, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            let device = whole.on_device(&parallel.division(stage));
            let memory = Memory::of(&device, self, parallel.in_flight(stage, micro_batches), parallel.replicas(accelerators));
            let messages = parallel.collectives(&device, &self.setting(model, &device, batch, accelerators, micro_batches));
            let kernels = device.passes(self.rerun);
            let passes = [
                (When::Outside, kernels.outside, 1.0),
                (When::Forward, kernels.forward, layers),
                (When::Again, kernels.again, layers),
                (When::Backward, kernels.backward, layers),
            ];
            let passes = passes.into_iter().filter(|(_, kernels, _)| !kernels.is_empty()).map(|(when, kernels, layers)| {
                let mut pass = Pass::new(kernels, layers);
                pass.exchanges = messages.iter().filter(|message| message.when == when).copied().collect();
                pass
            });
            work.stages.push(Stage { count: count as f64, passes: passes.collect() });
            let bytes = self.optimizer_bytes(&device, &memory, parallel.replicas(accelerators));
            if bytes >= work.optimizer.value() {
                work.optimizer = Bytes::new(bytes);
                work.between = messages.into_iter().filter(|message| message.when == When::Between).collect();
            }
        }
        work
    }

    /// Share of the weights that a device updates.
    fn update_share(&self, replicas: f64) -> f64 {
        if self.parallel.zero > 0 { 1.0 / replicas } else { 1.0 }
    }

    /// Bytes that the optimizer moves: it reads gradients and its state and writes its state and the weights.
    pub(super) fn optimizer_bytes(&self, device: &Ledger, memory: &Memory, replicas: f64) -> f64 {
        if self.parallel.offload != super::Offload::None {
            return 0.0;
        }
        let share = self.update_share(replicas);
        let gradients = memory.gradients.value() * if self.parallel.zero > 1 { 1.0 } else { share };
        gradients + 2.0 * memory.optimizer.value() + device.trained_bytes() * share
    }

    /// What the exchanges of a step depend on.
    pub(super) fn setting(&self, model: &Model, device: &Ledger, batch: Batch, accelerators: u64, micro_batches: f64) -> Setting {
        let parallel = &self.parallel;
        let elements = batch.sequences * batch.length * batch.element_bytes;
        Setting {
            accelerators,
            micro_batches,
            rerun: self.rerun,
            gradients: self.gradient_bytes(device),
            parameters: device.weight_bytes(),
            key_value_bytes: model.key_value_elements() * elements,
            // To the experts and back, forward and backward.
            expert_bytes: 4.0 * model.routed_elements() * elements / (parallel.tensor * parallel.context * parallel.pipeline) as f64,
        }
    }
}
