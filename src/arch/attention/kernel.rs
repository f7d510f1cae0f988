//! What kernel attention has in common: phi(Q) (phi(K)^T V), each row over phi(q) . sum_j phi(k_j) (Katharopoulos et al.
//! 2020, arXiv 2006.16236). No product has a side of n x n.
//!
//! Products, forward, per sequence, with m features a head: 2 n m d for phi(K)^T V, as many for phi(Q) times it, 2 n m h
//! for the normaliser.
//!
//! Causal: running sums over positions take the place of sums (Katharopoulos et al. 2020; Choromanski et al. 2021,
//! appendix B.1). The products are as many; a kernel that scans the sequence keeps queries, keys and values alone, and its
//! backward pass runs the sums again in both directions (Katharopoulos et al. 2020). Without such a kernel the state of every
//! position lies in memory, n m d elements, and the products of keys and values are element-wise (performer-pytorch and
//! linear-attention-transformer as they run without it).

use serde::{Deserialize, Serialize};

use super::{Context, Inputs};
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// How running sums over positions are computed, in a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Running {
    /// By one kernel that scans the positions.
    #[default]
    Scan,
    /// As a tensor with the state of every position.
    States,
}

/// The product of the features of queries and keys with the values.
pub(super) struct Product {
    /// Features of the queries.
    pub query: Tensor,
    /// Features of the keys.
    pub key: Tensor,
    /// The values.
    pub value: Tensor,
    /// Features a head.
    pub features: f64,
    /// Whether each row is divided by the sum of its weights.
    pub normalised: bool,
    /// Whether the features lie as the projection wrote them, positions before heads, so that with more than one sequence
    /// PyTorch lays the queries out anew for each product.
    pub interleaved: bool,
    /// How running sums are computed.
    pub running: Running,
}

impl Product {
    /// Writes it.
    pub(super) fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let attention = context.attention;
        let head_width = attention.head_width(context.model.width) as f64;
        let batch = context.batch.sequences * attention.heads as f64;
        let positions = context.batch.length;
        let weight = self.normalised.then(|| self.weight(tape, context, inputs));
        let shape = Shape { batch, m: positions, n: head_width, k: self.features };
        let out = if inputs.causal && self.running == Running::States {
            let elements = batch * positions * self.features * head_width;
            let states = tape.operation("keys by values", 1.0, &[self.key, self.value], elements, Keeps::These(&[self.key, self.value]));
            let states = tape.pass("running sum of states", states);
            tape.matmul("queries by state", self.query, states, Shape { batch: batch * positions, m: 1.0, ..shape })
        } else if inputs.causal {
            tape.causal_product([self.query, self.key, self.value], shape)
        } else {
            let query = self.laid_out(tape, context);
            let state = tape.matmul("keys by values", self.key, self.value, Shape { m: self.features, k: positions, ..shape });
            tape.matmul("queries by state", query, state, shape)
        };
        weight.map_or(out, |weight| tape.multiply("normalise", out, weight))
    }

    /// One over the sum of the weights of each query.
    fn weight(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let batch = context.batch.sequences * context.attention.heads as f64;
        let positions = context.batch.length;
        let sums = if inputs.causal {
            let sums = tape.pass("running sum of keys", self.key);
            tape.matmul("normaliser", self.query, sums, Shape { batch: batch * positions, m: 1.0, n: 1.0, k: self.features })
        } else {
            let query = self.laid_out(tape, context);
            let sum = tape.operation("sum of keys", positions, &[self.key], batch * self.features, Keeps::Nothing);
            tape.matmul("normaliser", query, sum, Shape { batch, m: positions, n: 1.0, k: self.features })
        };
        let inverse = tape.operation("inverse", 1.0, &[sums], sums.elements, Keeps::Output);
        tape.pass("one over normaliser", inverse)
    }

    /// The queries' features as a batched product reads them.
    fn laid_out(&self, tape: &mut Tape, context: &Context<'_>) -> Tensor {
        let copied = self.interleaved && context.batch.sequences > 1.0;
        if copied { tape.pass("lay out heads", self.query) } else { self.query }
    }
}
