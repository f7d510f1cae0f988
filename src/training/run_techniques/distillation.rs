//! Knowledge distillation: the probabilities of a larger, trained model are a second target (Hinton et al. 2015, arXiv
//! 1503.02531, section 2; DistilBERT: Sanh et al. 2019, arXiv 1910.01108).
//!
//! Each micro-batch runs the teacher's forward pass, of its inference ledger, with nothing kept; its weights lie in memory
//! beside the student's, and what its pass has alive at once comes on top of what the student keeps. The student's ledger
//! has the loss on soft targets (`head.soft_targets`), which keeps its log-probabilities and the targets.

use serde::Deserialize;

use crate::arch::{Batch, HeadKind, Model};
use crate::document::Problem;
use crate::perf::Pass;
use crate::training::{Memory, PhaseWork, Training, in_precision};
use crate::units::Bytes;

/// Settings of a distillation; its teacher is a model of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {}

impl Distillation {
    /// Adds the teacher's forward pass to every step.
    pub(super) fn apply(&self, training: &Training, student: &Model, teacher: &Model, phases: &mut [PhaseWork]) -> Result<(), Problem> {
        let targets = targets(student);
        if targets.is_none() || targets != self::targets(teacher) {
            let found = format!("{}, whose targets are not those of {}", teacher.name, student.name);
            let allowed = match targets {
                None => {
                    "a student that predicts tokens or classes: head.kind masked_lm, causal_lm, sequence_to_sequence or a classification"
                        .to_string()
                }
                Some(count) => format!("a teacher that predicts the same {count} tokens or classes"),
            };
            return Err(Problem::new("teacher", found, allowed));
        }
        let teacher = &*in_precision(teacher, training.precision).map_err(|problem| problem.under("teacher"))?;
        for phase in phases {
            let batch = Batch {
                sequences: phase.micro_batch as f64,
                length: phase.sequence_length as f64,
                element_bytes: training.precision.element_bytes(),
            };
            let parallel = training.procedure().parallel;
            parallel.check(teacher, None).map_err(|problem| problem.under("teacher"))?;
            let ledger = teacher.inference_ledger(batch, 0.0).map_err(|problem| problem.under("teacher"))?;
            let ledger = ledger.on_device(&parallel.division(0));
            phase.work.add(&Pass::new(ledger.forward_kernels(), teacher.layers() as f64 / parallel.pipeline as f64));
            let teacher = Memory {
                parameters: Bytes::new(ledger.parameter_bytes()),
                activations: Bytes::new(ledger.working_bytes()),
                ..Memory::default()
            };
            phase.companions = phase.companions + teacher;
            phase.memory = phase.memory + teacher;
        }
        Ok(())
    }

    pub(super) fn note(&self, teacher: &Model) -> String {
        format!(
            "distilled from {}, whose forward pass is in every step and whose weights are in memory; not priced: the teacher's own training, \
             and losses on hidden states",
            teacher.name
        )
    }
}

/// How many tokens or classes a model tells apart, if it does.
fn targets(model: &Model) -> Option<u64> {
    match model.head.kind {
        HeadKind::MaskedLm | HeadKind::CausalLm | HeadKind::SequenceToSequence => Some(model.embedding.vocabulary),
        HeadKind::Classification | HeadKind::TokenClassification => model.head.classes,
        _ => None,
    }
}
