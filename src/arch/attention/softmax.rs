//! Softmax attention: softmax(Q K^T / sqrt(d_h)) V (Vaswani et al. 2017, equation 1), with fewer key and value heads
//! than query heads where the model says so (Ainslie et al. 2023), eager or in one kernel (Dao et al. 2022).
//!
//! Products, forward, per sequence: 2 n m d_h h for the scores, as many for the values. A causal mask does not halve
//! them: the full square is computed and masked, as eager implementations do.

use serde::{Deserialize, Serialize};

use super::{Abilities, Attention, Context, Implementation, Inputs, Mask, Mechanism, Scale, queries_keys_values, relative};
use crate::arch::config::{Model, PositionKind};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of softmax attention: none of its own.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities {
            causal: true,
            positions: true,
            rotary: true,
            grouped_heads: true,
            fused_projection: true,
            fused_kernel: true,
            cache: true,
            pooled_queries: true,
        }
    }

    fn check(&self, model: &Model, attention: &Attention) -> Result<(), Problem> {
        if model.embedding.positions.kind.has_vectors() && attention.implementation == Implementation::Fused {
            return Err(Problem::new("implementation", "fused with a vector for each distance", "eager: no kernel adds their scores"));
        }
        Ok(())
    }

    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        let pairs = context.batch.sequences * context.batch.length;
        (context.attention.mask == Mask::Square).then(|| tape.mask(pairs * (context.keys() + context.cached))).into_iter().collect()
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let [query, key, value] = queries_keys_values(tape, context, inputs);
        let (key, value) = (with_cached(tape, context, key), with_cached(tape, context, value));
        // Rows of all query heads of a key head are copied to lie side by side.
        let query = if context.attention.repeated_heads { query } else { tape.pass("copy queries", query) };
        let key = repeat(tape, context, key);
        let value = repeat(tape, context, value);
        core(tape, context, inputs, query, key, value)
    }
}

/// Scores, weights and the weighted sum; Linformer uses it on shorter keys and values.
pub(super) fn core(tape: &mut Tape, context: &Context<'_>, inputs: &Inputs, query: Tensor, key: Tensor, value: Tensor) -> Tensor {
    let model = context.model;
    let attention = context.attention;
    let head_width = attention.head_width(model.width) as f64;
    let inner = attention.heads as f64 * head_width;
    let batch = context.batch.sequences * attention.heads as f64;
    let queries = query.elements / (context.batch.sequences * inner);
    // A fused kernel reads the key heads as they are; an eager one has had them repeated for every query head.
    let fused = attention.implementation == Implementation::Fused;
    let key_heads = if fused { attention.groups() } else { attention.heads } as f64;
    let keys = key.elements / (context.batch.sequences * key_heads * head_width);
    let scores = Shape { batch, m: queries, n: keys, k: head_width };
    if fused {
        return tape.fused_attention([query, key, value], query.elements, scores, batch * queries);
    }
    let mut weights = tape.matmul("scores", query, key, scores);
    if model.embedding.positions.kind.has_vectors() && inputs.x == inputs.memory {
        weights = relative::write(tape, context, weights, [query, key], scores);
    }
    if attention.scaled {
        weights = match attention.scale {
            Scale::Scores => tape.pass("scale", weights),
            Scale::ScoresByTensor => {
                let number = tape.statistics(1.0);
                tape.operation("scale", 1.0, &[weights], weights.elements, Keeps::These(&[number]))
            }
            Scale::Queries | Scale::Softmax => weights,
        };
    }
    if attention.soft_cap {
        weights = tape.soft_cap(weights);
    }
    if let Some(bias) = inputs.bias {
        weights = tape.add("relative bias", weights, bias);
    }
    if model.embedding.positions.kind == PositionKind::Alibi && inputs.x == inputs.memory {
        weights = tape.pass("linear bias", weights);
    }
    if inputs.causal && attention.mask != Mask::Softmax {
        weights = tape.pass("causal mask", weights);
    }
    weights = match attention.mask {
        Mask::Added | Mask::Softmax => weights,
        Mask::Kept => {
            let mask = tape.mask(context.batch.sequences * keys);
            tape.masked_fill("mask", weights, mask)
        }
        Mask::Square => match inputs.shared {
            [mask, ..] => tape.masked_fill("mask", weights, *mask),
            [] => weights,
        },
        Mask::Floored => {
            let least = tape.statistics(1.0);
            tape.operation("floor", 1.0, &[weights], weights.elements, Keeps::These(&[weights, least]))
        }
    };
    let weights = tape.softmax(weights);
    let weights = tape.dropout(weights, context.attention_dropout());
    tape.matmul("weighted values", weights, value, Shape { batch, m: queries, n: head_width, k: keys })
}

/// Keys or values with those of the positions before, which lie in the cache: they are read there, not copied.
pub(super) fn with_cached(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    if context.cached == 0.0 {
        return x;
    }
    let share = (context.cached + context.batch.length) / context.batch.length;
    tape.constant(x.elements * share, context.batch.element_bytes)
}

/// Keys or values of a group, repeated for each of its query heads.
pub(super) fn repeat(tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
    let attention = context.attention;
    if attention.groups() == attention.heads || attention.implementation == Implementation::Fused {
        return x;
    }
    // One head of one sequence is read where it lies, by all query heads.
    if !attention.repeated_heads || attention.groups() == 1 && context.batch.sequences == 1.0 {
        return tape.view(x, attention.heads as f64 / attention.groups() as f64);
    }
    tape.expand("repeat heads", x, x.elements * attention.heads as f64 / attention.groups() as f64)
}
