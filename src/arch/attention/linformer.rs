//! Linformer attention: keys and values projected from n positions to k (Wang et al. 2020, arXiv 2006.04768,
//! equation 7): softmax(Q (E K)^T / sqrt(d_h)) (F V).
//!
//! Products, forward, per sequence and layer: 2 n k d for each length projection, 2 n k d for the scores, as many for
//! the values. A length projection has `length` x k weights; how many there are depends on the sharing (section 4.3).

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project, softmax};
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};

/// Which length projections are one and the same (Wang et al. 2020, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinformerSharing {
    /// One for keys and one for values in every head.
    None,
    /// One for keys and one for values in every layer.
    #[default]
    Headwise,
    /// One for keys and values in every layer.
    KeyValue,
    /// One in all.
    Layerwise,
}

/// Whether keys and values are shortened after or before their linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinformerOrder {
    /// The paper's order: E (X W).
    #[default]
    ProjectThenCompress,
    /// The order of the authors' released code: (E X) W, cheaper and equal but for the bias.
    CompressThenProject,
}

/// Settings of Linformer attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Length that keys and values are projected to, k.
    pub projected_length: u64,
    /// Which projections are one and the same.
    #[serde(default)]
    pub sharing: LinformerSharing,
    /// Whether keys are projected before or after their linear layer.
    #[serde(default)]
    pub order: LinformerOrder,
    /// Whether length projections have a bias, as linear layers over positions (linformer-pytorch).
    #[serde(default)]
    pub bias: bool,
    /// Whether values are the keys, from one linear layer (the linformer package's `share_kv`).
    #[serde(default)]
    pub values_are_keys: bool,
    /// Rows of a projection, the longest sequence; that of the positions where not said.
    #[serde(default)]
    pub length: Option<u64>,
}

impl Settings {
    /// Rows of a length projection.
    pub(in crate::arch) fn rows(&self, model: &Model) -> Option<u64> {
        self.length.or(model.embedding.positions.length)
    }

    fn projection(&self, tape: &mut Tape, context: &Context<'_>, heads: f64) -> Tensor {
        let columns = heads * self.projected_length as f64;
        if self.bias {
            tape.parameter(columns);
        }
        tape.parameter(columns * self.rows(context.model).unwrap_or_default() as f64)
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { fused_kernel: true, ..Abilities::default() }
    }

    fn check(&self, model: &Model, _attention: &Attention) -> Result<(), Problem> {
        if self.sharing == LinformerSharing::None && self.order == LinformerOrder::CompressThenProject {
            return Err(Problem::new(
                "linformer.order",
                "compress_then_project with sharing none",
                "project_then_compress, or another sharing: heads exist only after the projection",
            ));
        }
        if self.values_are_keys && matches!(self.sharing, LinformerSharing::None | LinformerSharing::Headwise) {
            let allowed = "false, or sharing key_value or layerwise: keys and values are projected alike";
            return Err(Problem::new("linformer.values_are_keys", "true with a projection for values", allowed));
        }
        if self.rows(model).is_none() {
            return Err(Problem::new("linformer.length", "nothing", "the longest sequence"));
        }
        check_size("linformer.projected_length", self.projected_length)?;
        check_size("linformer.length", self.length.unwrap_or(1))
    }

    fn longest(&self, model: &Model) -> Option<(u64, &'static str)> {
        self.rows(model).map(|rows| (rows, "linformer.length"))
    }

    fn note(&self, length: u64) -> Option<String> {
        let k = self.projected_length;
        (k >= length).then(|| format!("Linformer saves nothing at {length} positions: it projects them to {k}"))
    }

    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        (self.sharing == LinformerSharing::Layerwise).then(|| self.projection(tape, context, 1.0)).into_iter().collect()
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let heads = if self.sharing == LinformerSharing::None { attention.heads as f64 } else { 1.0 };
        let for_keys = inputs.shared.first().copied().unwrap_or_else(|| self.projection(tape, context, heads));
        let for_values = match self.sharing {
            LinformerSharing::None | LinformerSharing::Headwise => self.projection(tape, context, heads),
            LinformerSharing::KeyValue | LinformerSharing::Layerwise => for_keys,
        };
        let query = project(tape, context, "query projection", attention.heads, inputs.x);
        let (key, value) = match self.order {
            LinformerOrder::ProjectThenCompress => {
                let key = project(tape, context, "key projection", attention.heads, inputs.memory);
                let value = if self.values_are_keys { key } else { project(tape, context, "value projection", attention.heads, inputs.memory) };
                (self.compress(tape, context, key, for_keys, heads), self.compress(tape, context, value, for_values, heads))
            }
            LinformerOrder::CompressThenProject => {
                let short_keys = self.compress(tape, context, inputs.memory, for_keys, heads);
                let short_values =
                    if for_values == for_keys { short_keys } else { self.compress(tape, context, inputs.memory, for_values, heads) };
                let key = project(tape, context, "key projection", attention.heads, short_keys);
                let value = if self.values_are_keys { key } else { project(tape, context, "value projection", attention.heads, short_values) };
                (key, value)
            }
        };
        softmax::core(tape, context, inputs, query, key, value)
    }
}

impl Settings {
    /// Shortens `x` from n positions to k. With more than one sequence, PyTorch lays one operand out anew for the batched
    /// product and keeps that copy: the projection where each head has its own, else `x`. A linear layer over positions
    /// takes `x` with positions last, which is a copy too.
    fn compress(&self, tape: &mut Tape, context: &Context<'_>, x: Tensor, projection: Tensor, heads: f64) -> Tensor {
        let (batch, k) = (context.batch, self.projected_length as f64);
        let columns = x.elements / (batch.sequences * batch.length) / heads;
        let shape = Shape { batch: batch.sequences * heads, m: k, n: columns, k: batch.length };
        let (projection, x) = match (batch.sequences > 1.0, heads > 1.0) {
            _ if self.bias => (projection, tape.pass("lay out positions", x)),
            (true, true) => (tape.expand("spread projection", projection, shape.batch * k * batch.length), x),
            (true, false) => (projection, tape.pass("lay out positions", x)),
            (false, _) => (projection, x),
        };
        tape.matmul("length projection", projection, x, shape)
    }
}
