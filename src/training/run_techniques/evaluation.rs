//! Evaluation while training: forward passes over other data, every so many steps. Long Range Arena's own settings add
//! 42 % to the training compute of ListOps, 160 % to that of Text (`eval_frequency` and `num_eval_steps` of its
//! configurations), which steps times cost a step does not show.
//!
//! A pass is the model's inference ledger: no loss, no dropout, nothing kept.

use serde::Deserialize;

use crate::arch::{Batch, Model};
use crate::document::Problem;
use crate::perf::{Pass, StepWork};
use crate::training::{Memory, PhaseWork, Purpose, Training};
use crate::units::Bytes;

/// Settings of evaluation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Steps from one evaluation to the next.
    pub every: u64,
    /// Batches of one evaluation.
    pub batches: u64,
    /// Sequences of a batch, over all accelerators; as many as in a training step where not said.
    #[serde(default)]
    pub batch: Option<u64>,
    /// Positions of a sequence, where not those that the model trains on at the time.
    #[serde(default)]
    pub sequence_length: Option<u64>,
    /// Whether the model is evaluated after its last step too.
    #[serde(default)]
    pub at_end: bool,
}

impl Evaluation {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let sizes = [
            ("every", self.every),
            ("batches", self.batches),
            ("batch", self.batch.unwrap_or(1)),
            ("sequence_length", self.sequence_length.unwrap_or(1)),
        ];
        match sizes.into_iter().find(|(_, size)| *size == 0 || *size > 1 << 40) {
            Some((key, size)) => Err(Problem::new(key, size.to_string(), format!("1 to {}", 1_u64 << 40))),
            None => Ok(()),
        }
    }

    /// Evaluations of a run of so many steps.
    fn count(&self, steps: f64) -> f64 {
        let within = ((steps - 1.0).max(0.0) / self.every as f64).floor();
        within + f64::from(u8::from(self.at_end))
    }

    /// The passes of the phases of a run, as phases of their own.
    pub(super) fn plan(
        &self,
        training: &Training,
        model: &Model,
        accelerators: u64,
        phases: &[PhaseWork],
    ) -> Result<Vec<PhaseWork>, Problem> {
        let all: f64 = phases.iter().map(|phase| phase.steps).sum();
        let batches = self.count(all) * self.batches as f64;
        phases.iter().map(|phase| self.pass(training, model, accelerators, phase, batches * phase.steps / all)).collect()
    }

    fn pass(&self, training: &Training, model: &Model, accelerators: u64, phase: &PhaseWork, batches: f64) -> Result<PhaseWork, Problem> {
        let parallel = training.procedure().parallel;
        let groups = parallel.groups(accelerators);
        let each = match self.batch {
            Some(batch) if batch % groups != 0 => {
                return Err(Problem::new("batch", batch.to_string(), format!("a multiple of the {groups} data-parallel accelerators")));
            }
            Some(batch) => batch / groups,
            None => phase.micro_batch * phase.accumulation as u64,
        };
        // As many at once as training runs; the rest in turn.
        let micro_batch = each.min(phase.micro_batch);
        let accumulation = each as f64 / micro_batch as f64;
        let length = self.sequence_length.unwrap_or(phase.sequence_length);
        let element_bytes = training.precision.element_bytes();
        let batch = Batch { sequences: micro_batch as f64, length: length as f64, element_bytes };
        let ledger = model.inference_ledger(batch, 0.0).map_err(|problem| Problem { key: "sequence_length".into(), ..problem })?;
        let device = ledger.on_device(&parallel.division(0));
        let pass = Pass::new(device.forward_kernels(), model.layers() as f64 / parallel.pipeline as f64);
        let work = StepWork::new(vec![pass], accumulation);
        Ok(PhaseWork {
            purpose: Purpose::Evaluation,
            companions: phase.companions,
            sequence_length: length,
            steps: batches,
            micro_batch,
            accumulation,
            work,
            memory: Memory { activations: Bytes::new(device.working_bytes()), transient: Bytes::new(0.0), ..phase.memory },
            device,
            ledger,
        })
    }

    pub(super) fn note(&self) -> String {
        format!(
            "evaluated every {} steps on {} batches, forward passes alone; not priced: metrics that the host computes",
            self.every, self.batches
        )
    }
}
