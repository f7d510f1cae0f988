//! Mamba: a state-space layer in the place of attention, whose step, input and output matrices depend on the position
//! (Gu and Dao 2023, arXiv 2312.00752, section 3, algorithm 2; figure 3 for the block). h_t = exp(D A) h_(t-1) + D B_t x_t,
//! y_t = C_t h_t, over e channels of s states each, after a causal depthwise convolution of c positions; gated.
//!
//! Products, forward, per sequence and layer: 4 n d e for the two projections in, 2 (n + c - 1) e c for the convolution,
//! whose padding is computed too, 2 n e (r + 2 s) for D, B and C, 2 n r e for the step of rank r, 2 n e s for the output of
//! the states, 2 n e d out. Discretisation and recurrence are element-wise, 6 n e s.
//!
//! Kept: both projections, the convolution's output before and after its activation, the step before and after softplus,
//! exp(D A), D B and the state of every position with the one before the first, the output, the gate. A fused kernel
//! would compute the states again instead (section 3.3.2); this is the sequential form, with its positions as one kernel.

use serde::{Deserialize, Serialize};

use super::super::config::{LinearComponent, Model};
use super::super::linear::{self, Layer};
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of a state-space layer.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Channels, e; twice the model's width where not said.
    #[serde(default)]
    pub channels: Option<u64>,
    /// States of a channel, s.
    #[serde(default = "sixteen")]
    pub states: u64,
    /// Rank of the step's projection, r; a sixteenth of the model's width where not said.
    #[serde(default)]
    pub step_rank: Option<u64>,
    /// Positions that the convolution sees, c.
    #[serde(default = "four")]
    pub convolution: u64,
    /// Whether the convolution has a bias.
    #[serde(default = "yes")]
    pub convolution_bias: bool,
}

fn sixteen() -> u64 {
    16
}

fn four() -> u64 {
    4
}

fn yes() -> bool {
    true
}

impl Settings {
    fn channels(&self, model: &Model) -> u64 {
        self.channels.unwrap_or(2 * model.width)
    }

    fn step_rank(&self, model: &Model) -> u64 {
        self.step_rank.unwrap_or(model.width.div_ceil(16))
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, ..Abilities::default() }
    }

    fn check(&self, model: &Model, attention: &Attention) -> Result<(), Problem> {
        let sizes = [
            ("mamba.channels", self.channels(model)),
            ("mamba.states", self.states),
            ("mamba.step_rank", self.step_rank(model)),
            ("mamba.convolution", self.convolution),
        ];
        sizes.into_iter().try_for_each(|(key, size)| check_size(key, size))?;
        if attention.heads != 1 {
            return Err(Problem::new("heads", attention.heads.to_string(), "1: a state-space layer has no heads"));
        }
        Ok(())
    }

    fn linear_sizes(&self, model: &Model, _attention: &Attention) -> Vec<(u64, u64)> {
        let (channels, rank) = (self.channels(model), self.step_rank(model));
        vec![(model.width, 2 * channels), (channels, rank + 2 * self.states), (rank, channels), (channels, model.width)]
    }

    fn projects_out(&self) -> bool {
        false
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (model, batch) = (context.model, context.batch);
        let (channels, states, rank) = (self.channels(model), self.states, self.step_rank(model));
        let bias = context.attention.bias;
        let layer = |name, inputs, outputs, bias| Layer { name, group: LinearComponent::Attention, inputs, outputs, bias };
        let both = linear::write(tape, context, layer("input and gate projection", model.width, 2 * channels, bias), inputs.x);
        let (x, gate) = (tape.view(both, 0.5), tape.view(both, 0.5));
        let x = self.convolve(tape, context, x);
        // With one sequence the positions lie as the product wants them.
        let rows = if batch.sequences > 1.0 { tape.pass("lay out positions", x) } else { x };
        let selection = linear::write(tape, context, layer("selection projection", channels, rank + 2 * states, false), rows);
        let share = |part: u64| part as f64 / (rank + 2 * states) as f64;
        let (step, b, c) = (tape.view(selection, share(rank)), tape.view(selection, share(states)), tape.view(selection, share(states)));
        let step = linear::write(tape, context, layer("step projection", rank, channels, true), step);
        let step = tape.operation("softplus", 4.0, &[step], step.elements, Keeps::These(&[step]));
        let y = self.scan(tape, context, [x, step, b, c]);
        let skip = tape.parameter(channels as f64);
        let skipped = tape.multiply("skip", x, skip);
        let y = tape.add("skip sum", y, skipped);
        let gate = tape.activate(context.feed_forward.activation, gate);
        let y = tape.multiply("gate", y, gate);
        linear::write(tape, context, layer("output projection", channels, model.width, bias), y)
    }
}

impl Settings {
    /// The causal depthwise convolution and its activation; padding to the left, and to the right what is cut off again.
    fn convolve(&self, tape: &mut Tape, context: &Context<'_>, x: Tensor) -> Tensor {
        let channels = self.channels(context.model) as f64;
        let length = context.batch.length;
        let padded = length + self.convolution as f64 - 1.0;
        let filter = tape.matrix(channels, self.convolution as f64);
        if self.convolution_bias {
            tape.parameter(channels);
        }
        let shape = Shape { batch: channels, m: context.batch.sequences * padded, n: 1.0, k: self.convolution as f64 };
        let out = tape.matmul("convolution", x, filter, shape);
        let out = tape.view(out, length / padded);
        tape.activate(context.feed_forward.activation, out)
    }

    /// Discretisation, recurrence and output of the states.
    fn scan(&self, tape: &mut Tape, context: &Context<'_>, [x, step, b, c]: [Tensor; 4]) -> Tensor {
        let (channels, states) = (self.channels(context.model) as f64, self.states as f64);
        let logarithm = tape.parameter(channels * states);
        let a = tape.operation("exponential of A", 1.0, &[logarithm], channels * states, Keeps::Output);
        let a = tape.pass("negate A", a);
        let all = x.elements * states;
        let decay = tape.operation("step times A", 1.0, &[a, step], all, Keeps::These(&[a, step]));
        let decay = tape.operation("decay", 1.0, &[decay], all, Keeps::Output);
        let scaled = tape.operation("step times B", 1.0, &[step, b], all, Keeps::These(&[step, b]));
        let input = tape.operation("input to states", 1.0, &[scaled, x], all, Keeps::These(&[scaled, x]));
        let first = tape.constant(context.batch.sequences * channels * states, context.batch.element_bytes);
        let hidden = tape.operation("states", 2.0, &[decay, first, input], all, Keeps::OutputAnd(&[decay, first]));
        let shape = Shape { batch: tape.tokens(), m: channels, n: 1.0, k: states };
        tape.matmul("output of states", hidden, c, shape)
    }
}
