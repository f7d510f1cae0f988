//! Mixture of experts: y = sum over the top k of g_i(x) E_i(x), g = softmax(x W_r) (Shazeer et al. 2017, equations 1 to 5;
//! GShard, Lepikhin et al. 2021; Switch, Fedus et al. 2022, where k = 1).
//!
//! Products, forward, per position: 2 d e for the router of e experts, and k times those of one expert. With a capacity
//! factor c every expert works on a buffer of ceil(c n / e) positions of each sequence, full or not (Fedus et al. 2022,
//! equation 3), which makes c times those of one expert. Positions travel to experts and back by gathers, which move
//! bytes and multiply nothing.
//!
//! Kept, besides what the experts keep: the router's probabilities, the experts chosen, and where each row came from.
//! Routing is taken to be even.

use serde::{Deserialize, Serialize};

use super::{Context, network};
use crate::arch::validate::{check_rate, check_size};
use crate::document::Problem;
use crate::ledger::{Experts, Keeps, Shape, Tape, Tensor};
use crate::units::Ratio;

/// Settings of a mixture.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Experts, e.
    pub experts: u64,
    /// Experts that each position passes through, k.
    pub top_k: u64,
    /// Whether an expert is a gated network.
    #[serde(default)]
    pub gated: bool,
    /// Whether the weights of the chosen experts are divided by their sum (Mixtral, GShard).
    #[serde(default)]
    pub normalised: bool,
    /// How the outputs of experts come together.
    #[serde(default)]
    pub combine: Combine,
    /// Positions that an expert's buffer holds, over positions / experts; no buffers and none dropped where not said.
    #[serde(default)]
    pub capacity_factor: Option<f64>,
    /// Positions of a sequence that an expert takes at most, without a buffer of that size; the others pass by.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// Whether the router has a bias.
    #[serde(default)]
    pub router_bias: bool,
    /// Width of a noise that the input is multiplied by while training (Fedus et al. 2022).
    #[serde(default)]
    pub jitter: Ratio,
    /// Width of an expert that every position passes through, beside the chosen ones.
    #[serde(default)]
    pub shared_width: Option<u64>,
    /// Whether the sigmoid of a product with one vector weights the shared expert (Qwen2-MoE).
    #[serde(default)]
    pub shared_gate: bool,
    /// The mixture stands in every n-th layer; in the others stands a network like one expert.
    #[serde(default = "one")]
    pub every: u64,
    /// Width of the network in the other layers, where it is not that of an expert.
    #[serde(default)]
    pub dense_width: Option<u64>,
    /// Whether a loss that balances the load is added (Fedus et al. 2022, equations 4 to 6).
    #[serde(default)]
    pub auxiliary_loss: bool,
    /// Whether that loss also holds the router's logits small, by the square of their log-sum-exp (Zoph et al. 2022,
    /// ST-MoE).
    #[serde(default)]
    pub z_loss: bool,
}

fn one() -> u64 {
    1
}

/// How the outputs of experts come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each is weighted and added to its position's sum (Mixtral).
    #[default]
    Sum,
    /// Each takes its position's place, and all are weighted at once; for one expert a position (Switch).
    Place,
}

impl Mixture {
    pub(super) fn check(&self) -> Result<(), Problem> {
        check_size("experts", self.experts)?;
        check_size("every", self.every)?;
        for (key, size) in [("shared_width", self.shared_width), ("dense_width", self.dense_width), ("capacity", self.capacity)] {
            size.map_or(Ok(()), |size| check_size(key, size))?;
        }
        check_rate("jitter", self.jitter.value())?;
        if self.top_k == 0 || self.top_k > self.experts {
            return Err(Problem::new("top_k", self.top_k.to_string(), format!("1 to the {} experts", self.experts)));
        }
        if self.combine == Combine::Place && self.top_k != 1 {
            return Err(Problem::new("combine", format!("place with top_k {}", self.top_k), "sum, or a top_k of 1"));
        }
        if self.capacity_factor.is_some() && self.capacity.is_some() {
            return Err(Problem::new("capacity", "a capacity beside a capacity_factor", "one of them"));
        }
        if let Some(factor) = self.capacity_factor
            && !(factor > 0.0 && factor <= self.experts as f64)
        {
            let allowed = format!("above 0, at most the {} experts", self.experts);
            return Err(Problem::new("capacity_factor", factor.to_string(), allowed));
        }
        if self.shared_gate && self.shared_width.is_none() {
            return Err(Problem::new("shared_gate", "true without a shared expert", "false, or a shared_width"));
        }
        Ok(())
    }

    /// Rows that experts work on in all, of `tokens` in sequences of `length`.
    fn rows(&self, tokens: f64, length: f64) -> f64 {
        let (experts, top_k) = (self.experts as f64, self.top_k as f64);
        let sequences = tokens / length;
        match (self.capacity_factor, self.capacity) {
            (Some(factor), _) => sequences * experts * (factor * length / experts).ceil(),
            (None, Some(capacity)) => sequences * (length * top_k).min(experts * capacity as f64),
            (None, None) => tokens * top_k,
        }
    }
}

/// Writes router, dispatch, experts and combination.
pub(super) fn write(tape: &mut Tape, context: &Context<'_>, mixture: &Mixture, x: Tensor) -> Tensor {
    let (tokens, width) = (tape.tokens(), context.model.width as f64);
    let (experts, top_k) = (mixture.experts as f64, mixture.top_k as f64);
    let x = jitter(tape, mixture, x);
    let weight = tape.matrix(width, experts);
    if mixture.router_bias {
        tape.parameter(experts);
    }
    let logits = tape.matmul("router", x, weight, Shape::product(tokens, experts, width));
    let probabilities = tape.softmax(logits);
    let chosen = tape.indices(tokens * top_k);
    let mut weights = tape.operation("chosen experts", 1.0, &[probabilities], tokens * top_k, Keeps::These(&[chosen]));
    if mixture.normalised {
        let sum = tape.operation("sum of weights", 1.0, &[weights], tokens, Keeps::Nothing);
        weights = tape.divide("normalise weights", weights, sum);
    }
    let rows = mixture.rows(tokens, context.batch.length);
    let all = Experts { count: experts, active: top_k, read: experts.min(rows) };
    let run = |tape: &mut Tape, x: Tensor| tape.experts(all, |tape| network(tape, context, mixture.gated, context.feed_forward.width, x));
    let out = match mixture.combine {
        Combine::Sum => {
            // Of each row: which choice of which position it is.
            let origin = tape.indices(2.0 * rows);
            let gathered = tape.operation("dispatch", 0.0, &[x, origin], rows * width, Keeps::These(&[origin]));
            let out = run(tape, gathered);
            let weights = tape.operation("weights of rows", 0.0, &[weights, origin], rows, Keeps::These(&[origin]));
            let out = tape.multiply("weight experts", out, weights);
            tape.operation("combine", 1.0, &[out, origin], tokens * width, Keeps::These(&[out, origin]))
        }
        Combine::Place => {
            let mask = tape.mask(tokens * experts);
            let gathered = tape.operation("dispatch", 0.0, &[x, mask], rows * width, Keeps::These(&[mask]));
            let out = run(tape, gathered);
            let out = tape.operation("combine", 0.0, &[out, x, mask], tokens * width, Keeps::These(&[mask]));
            tape.multiply("weight experts", out, weights)
        }
    };
    let Some(shared) = mixture.shared_width else { return out };
    let mut beside = network(tape, context, mixture.gated, shared, x);
    if mixture.shared_gate {
        let weight = tape.parameter(width);
        let logits = tape.matmul("shared expert's gate", x, weight, Shape::product(tokens, 1.0, width));
        let gate = tape.operation("sigmoid", 4.0, &[logits], tokens, Keeps::Output);
        beside = tape.multiply("weight shared expert", gate, beside);
    }
    tape.add("add shared expert", out, beside)
}

/// The input times a noise about 1.
fn jitter(tape: &mut Tape, mixture: &Mixture, x: Tensor) -> Tensor {
    if mixture.jitter.value() == 0.0 || tape.is_inference() {
        return x;
    }
    let noise = tape.like(x);
    tape.multiply("jitter", x, noise)
}

/// e sum_i f_i P_i, with f_i the share of positions that chose expert i and P_i its mean probability, from the router's
/// logits of all layers side by side.
pub(super) fn auxiliary_loss(tape: &mut Tape, mixture: &Mixture, layers: f64, sequences: f64) {
    if tape.is_inference() {
        return;
    }
    let (experts, top_k, rows) = (mixture.experts as f64, mixture.top_k as f64, layers * tape.tokens());
    let logits = tape.activation(rows * experts);
    if mixture.z_loss {
        let sums = tape.operation("log-sum-exp of logits", 2.0 * experts, &[logits], rows, Keeps::OutputAnd(&[logits]));
        tape.operation("router z-loss", 2.0 * rows, &[sums], 1.0, Keeps::These(&[sums]));
    }
    let probabilities = tape.softmax(logits);
    // Over all sequences, chosen anew; with one expert a position in each sequence, from the choice that its layer made.
    let together = mixture.combine == Combine::Sum;
    let groups = if together { 1.0 } else { sequences };
    if together {
        let chosen = tape.indices(rows * top_k);
        tape.operation("chosen experts", 1.0, &[probabilities], rows * top_k, Keeps::These(&[chosen]));
    }
    let mean = tape.operation("mean probabilities", 1.0, &[probabilities], groups * experts, Keeps::Nothing);
    let load = tape.statistics(groups * top_k * experts);
    tape.multiply("load by probability", mean, load);
}
