//! Attention through inducing points (Lee et al. 2019, Set Transformer, arXiv 1810.00825): m trained points I attend to
//! the input, H = MAB(I, X), and the input attends to them, Attn(X, H), where MAB(I, X) is norm(h + network(h)) with
//! h = norm(I + Attn(I, X)). The network is the position-wise one of the layer, in shape.
//!
//! Products, forward, per sequence and layer: 4 n m d for each of the two attentions; projections 4 n d^2 + 4 m d^2 for
//! the points' attention, 4 m d^2 for keys and values of the input's and 4 n d^2 for its queries and output; the network
//! at m positions.

use serde::{Deserialize, Serialize};

use super::super::config::{LinearComponent, Model};
use super::super::feed_forward::{self, FeedForwardKind};
use super::super::linear::{self, Layer};
use super::super::stack;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, Context, Inputs, Mechanism, project};
use crate::document::Problem;
use crate::ledger::{Component, Keeps, Shape, Tape, Tensor};

/// Settings of attention through inducing points.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Inducing points, m.
    pub points: u64,
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn check(&self, model: &Model, _attention: &Attention) -> Result<(), Problem> {
        if model.feed_forward.kind == FeedForwardKind::Mixture {
            return Err(Problem::new("kind", "induced_set with a mixture of experts", "a plain or gated network, which the points pass too"));
        }
        check_size("induced_set.points", self.points)
    }

    fn note(&self, length: u64) -> Option<String> {
        let points = self.points;
        (points >= length).then(|| format!("induced_set saves nothing at {length} positions: it has {points} points"))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let heads = attention.heads;
        let (length, points) = (context.batch.length, self.points as f64);
        let head_width = attention.head_width(context.model.width) as f64;
        let scores = |queries, keys| Shape { batch: context.batch.sequences * heads as f64, m: queries, n: keys, k: head_width };
        let trained = tape.matrix(points, context.model.width as f64);
        let elements = context.batch.sequences * trained.elements;
        let stream = tape.operation("repeat points", 0.0, &[trained], elements, Keeps::Nothing);
        let query = project(tape, context, "query projection of points", heads, stream);
        let key = project(tape, context, "key projection to points", heads, inputs.x);
        let value = project(tape, context, "value projection to points", heads, inputs.x);
        let seen = attend(tape, context, [query, key, value], scores(points, length), None);
        let hidden = self.block(tape, context, stream, seen);
        let query = project(tape, context, "query projection", heads, inputs.x);
        let key = project(tape, context, "key projection", heads, hidden);
        let value = project(tape, context, "value projection", heads, hidden);
        attend(tape, context, [query, key, value], scores(length, points), None)
    }
}

impl Settings {
    /// What follows the points' attention: output projection, residual, norm, network, residual, norm.
    fn block(&self, tape: &mut Tape, context: &Context<'_>, stream: Tensor, seen: Tensor) -> Tensor {
        let (model, attention) = (context.model, context.attention);
        let tokens = tape.tokens();
        tape.set_tokens(context.batch.sequences * self.points as f64);
        let out = Layer {
            name: "output projection of points",
            group: LinearComponent::Attention,
            inputs: attention.heads * attention.head_width(model.width),
            outputs: model.width,
            bias: attention.output_bias.unwrap_or(attention.bias),
        };
        let seen = linear::write(tape, context, out, seen);
        let seen = tape.dropout(seen, model.dropout.value());
        let sum = tape.add("residual of points", stream, seen);
        let mut hidden = stack::norm(tape, context, sum);
        if context.feed_forward.kind != FeedForwardKind::None {
            let network = feed_forward::write(tape, context, hidden);
            let network = tape.dropout(network, context.feed_forward.output_dropout.unwrap_or(model.dropout).value());
            let sum = tape.add("residual of points", hidden, network);
            hidden = stack::norm(tape, context, sum);
        }
        tape.component(Component::Attention);
        tape.set_tokens(tokens);
        hidden
    }
}
