//! Luna attention (Ma et al. 2021, arXiv 2106.01540): a sequence P of fixed length l beside the input X packs it and is
//! unpacked by it: Y_P = Attn(P, X), Y_X = Attn(X, Y_P), each a softmax attention with projections of its own.
//! norm(Y_P + P) is the next layer's P; the first is trained.
//!
//! Products, forward, per sequence and layer: 4 n l d for each of the two, 2 l d^2 for the queries of P, 2 n d^2 for the
//! keys of X, which are its values too if tied, as in the authors' released code (fairseq-apollo), else as much again, and
//! likewise 2 l d^2 for those of Y_P; 2 n d^2 for the queries of X.
//!
//! Kept: inputs of the products, weights of l n h each, and the norm of P.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::stack;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project};
use crate::document::Problem;
use crate::ledger::{Component, Keeps, Shape, Tape, Tensor};

/// Settings of Luna attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of the packed sequence, l.
    pub packed_length: u64,
    /// Whether keys are the values too, in either attention.
    #[serde(default = "yes")]
    pub tied_values: bool,
}

fn yes() -> bool {
    true
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("luna.packed_length", self.packed_length)
    }

    fn note(&self, length: u64) -> Option<String> {
        let packed = self.packed_length;
        (packed >= length).then(|| format!("Luna saves nothing at {length} positions: it packs them into {packed}"))
    }

    /// The first packed sequence, one for every sequence of the batch.
    fn shared(&self, tape: &mut Tape, context: &Context<'_>, _before: &[Tensor]) -> Vec<Tensor> {
        let elements = (self.packed_length * context.model.width) as f64;
        let trained = tape.parameter(elements);
        vec![tape.operation("repeat packed sequence", 0.0, &[trained], context.batch.sequences * elements, Keeps::Nothing)]
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let heads = attention.heads;
        let Some(first) = inputs.shared.first().copied() else { return inputs.x };
        let before = tape.carry(first);
        let (length, packed) = (context.batch.length, self.packed_length as f64);
        let head_width = attention.head_width(context.model.width) as f64;
        let scores = |queries, keys| Shape { batch: context.batch.sequences * heads as f64, m: queries, n: keys, k: head_width };
        let keys_and_values = |tape: &mut Tape, names: [&'static str; 2], x: Tensor| {
            let key = project(tape, context, names[0], heads, x);
            (key, if self.tied_values { key } else { project(tape, context, names[1], heads, x) })
        };
        let query = project(tape, context, "query projection of packed sequence", heads, before);
        let (key, value) = keys_and_values(tape, ["key projection to pack", "value projection to pack"], inputs.x);
        let pack = attend(tape, context, [query, key, value], scores(packed, length), None);
        let query = project(tape, context, "query projection", heads, inputs.x);
        let (key, value) = keys_and_values(tape, ["key projection", "value projection"], pack);
        let out = attend(tape, context, [query, key, value], scores(length, packed), None);
        self.next(tape, context, before, pack);
        out
    }
}

impl Settings {
    /// The packed sequence of the next layer.
    fn next(&self, tape: &mut Tape, context: &Context<'_>, before: Tensor, pack: Tensor) {
        let tokens = tape.tokens();
        tape.set_tokens(context.batch.sequences * self.packed_length as f64);
        let pack = tape.dropout(pack, context.model.dropout.value());
        let sum = tape.add("residual of packed sequence", before, pack);
        stack::norm(tape, context, sum);
        tape.component(Component::Attention);
        tape.set_tokens(tokens);
    }
}
