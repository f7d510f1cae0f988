//! Sparse Sinkhorn attention: positions in blocks of b, each of which sees itself and the block that a learned sorting
//! puts beside it (Tay et al. 2020, arXiv 2002.11296).
//!
//! A sort net turns every block into a row of logits over blocks; rounds of subtracting the log-sum-exp of rows and of
//! columns (Sinkhorn 1964; Adams and Zemel 2011) make of them a soft permutation R, and R K and R V are the sorted blocks.
//!
//! Products, forward, per sequence and layer, with m = n / b blocks: 2 m d^2 + 2 m h M d for the sort net on sums of
//! hidden states, M blocks at most; 2 m n h d_h for each of R K and R V; 4 n b h d_h for the scores of both blocks, as
//! many for the values. Kept: inputs and outputs of every log-sum-exp, R, blocks before and after sorting, the weights.
//!
//! Long Range Arena's released code (Tay et al. 2021) sorts by one softmax of a layer on sums of keys, sums blocks
//! instead of permuting them, and gives own and sorted block a softmax each.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::{Abilities, Attention, Context, Inputs, Mechanism, blocks, project};
use crate::document::Problem;
use crate::ledger::{Activation, Keeps, Shape, Tape, Tensor};

/// What makes logits of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SortNet {
    /// Two layers with a relu between on the sum of a block's hidden states, with columns for every head.
    #[default]
    HiddenStates,
    /// One layer without bias on the sum of a block's keys, the same for every head (Long Range Arena).
    Keys,
    /// Products of the mean query and the mean key of blocks, without parameters; noise joins their logarithm
    /// (sinkhorn-transformer).
    Means,
}

/// How blocks are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sorting {
    /// R K: a weighted sum of blocks.
    #[default]
    Permutation,
    /// The sum of all blocks times the sum of a row of R: no product (Long Range Arena).
    RowSums,
}

/// Settings of Sinkhorn attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of a block, b.
    pub block: u64,
    /// Rounds of normalising rows and columns; none is one softmax.
    #[serde(default = "seven")]
    pub iterations: u64,
    /// hidden_states, keys or means.
    #[serde(default)]
    pub sort_net: SortNet,
    /// permutation or row_sums.
    #[serde(default)]
    pub sorting: Sorting,
    /// Whether own and sorted block have a softmax each, whose results are added.
    #[serde(default)]
    pub separate: bool,
    /// Blocks at most, M; those of the longest position where not said.
    #[serde(default)]
    pub blocks: Option<u64>,
}

fn seven() -> u64 {
    7
}

impl Settings {
    /// Blocks at most.
    fn most(&self, model: &Model) -> Option<u64> {
        self.blocks.or(model.embedding.positions.length.map(|length| length.div_ceil(self.block.max(1))))
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, ..Abilities::default() }
    }

    fn check(&self, model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("sinkhorn.block", self.block)?;
        check_size("sinkhorn.iterations", self.iterations.saturating_add(1))?;
        match self.most(model) {
            _ if self.sort_net == SortNet::Means => Ok(()),
            None => Err(Problem::new("sinkhorn.blocks", "nothing", "the blocks of the longest sequence")),
            Some(blocks) => {
                check_size("sinkhorn.blocks", blocks)?;
                check_size("sinkhorn.blocks", blocks.saturating_mul(self.block))
            }
        }
    }

    fn longest(&self, model: &Model) -> Option<(u64, &'static str)> {
        // Products of means have no parameters, and a sum over blocks takes any number of them.
        let limited = self.sorting == Sorting::Permutation && self.sort_net != SortNet::Means;
        let limit = self.most(model).filter(|_| limited);
        limit.map(|blocks| (blocks * self.block, "sinkhorn.blocks"))
    }

    fn note(&self, length: u64) -> Option<String> {
        (2 * self.block >= length).then(|| format!("Sinkhorn attention saves nothing at {length} positions: two blocks hold them"))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let heads = context.attention.heads;
        let blocks = Blocks::new(self, context);
        let x = blocks::pad(tape, context, inputs.x, blocks.count * blocks.length);
        let query = project(tape, context, "query projection", heads, x);
        let key = project(tape, context, "key projection", heads, x);
        let value = project(tape, context, "value projection", heads, x);
        let logits = match self.sort_net {
            SortNet::HiddenStates => self.sort_hidden_states(tape, context, blocks, x),
            SortNet::Keys => self.sort_keys(tape, context, blocks, key),
            SortNet::Means => sort_means(tape, blocks, query, key),
        };
        let order = self.order(tape, logits, blocks, inputs.causal);
        let [sorted_key, sorted_value] = [key, value].map(|x| self.sort(tape, context, blocks, order, x));
        let seen = |tape: &mut Tape, heads: [Tensor; 3], seen: f64| {
            let mask = inputs.causal.then(|| tape.mask(blocks.count * blocks.length * seen * blocks.length));
            blocks::attend(tape, context, heads, blocks.scores(seen), mask)
        };
        let out = if self.separate {
            let own = seen(tape, [query, key, value], 1.0);
            let sorted = seen(tape, [query, sorted_key, sorted_value], 1.0);
            tape.add("sum of own and sorted", own, sorted)
        } else {
            let [key, value] = [(sorted_key, key), (sorted_value, value)]
                .map(|(sorted, own)| tape.operation("join blocks", 0.0, &[sorted, own], 2.0 * own.elements, Keeps::Nothing));
            seen(tape, [query, key, value], 2.0)
        };
        tape.view(out, context.batch.length / (blocks.count * blocks.length))
    }
}

/// The blocks of all sequences and heads.
#[derive(Clone, Copy)]
struct Blocks {
    /// Sequences times heads.
    rows: f64,
    /// Blocks of a sequence.
    count: f64,
    /// Positions of a block.
    length: f64,
    head_width: f64,
}

impl Blocks {
    fn new(settings: &Settings, context: &Context<'_>) -> Self {
        Self {
            rows: context.batch.sequences * context.attention.heads as f64,
            count: (context.batch.length as u64).div_ceil(settings.block.max(1)) as f64,
            length: settings.block as f64,
            head_width: context.attention.head_width(context.model.width) as f64,
        }
    }

    /// The sizes of the scores where a block sees `seen` blocks.
    fn scores(&self, seen: f64) -> Shape {
        Shape { batch: self.rows * self.count, m: self.length, n: seen * self.length, k: self.head_width }
    }
}

impl Settings {
    fn sort_hidden_states(&self, tape: &mut Tape, context: &Context<'_>, blocks: Blocks, x: Tensor) -> Tensor {
        let (width, heads) = (context.model.width as f64, context.attention.heads as f64);
        let rows = context.batch.sequences * blocks.count;
        let most = self.most(context.model).unwrap_or_default() as f64;
        let sums = tape.operation("sums of blocks", blocks.length, &[x], rows * width, Keeps::Nothing);
        let hidden = layer(tape, "first layer of the sort net", sums, [rows, width, width]);
        let hidden = tape.activate(Activation::Relu, hidden);
        let logits = layer(tape, "second layer of the sort net", hidden, [rows, heads * most, width]);
        self.columns(tape, logits, blocks, most)
    }

    fn sort_keys(&self, tape: &mut Tape, context: &Context<'_>, blocks: Blocks, key: Tensor) -> Tensor {
        let most = self.most(context.model).unwrap_or_default() as f64;
        let rows = blocks.rows * blocks.count;
        let sums = tape.operation("sums of blocks", blocks.length, &[key], rows * blocks.head_width, Keeps::Nothing);
        let weight = tape.matrix(blocks.head_width, most);
        let logits = tape.matmul("sort net", sums, weight, Shape::product(rows, most, blocks.head_width));
        self.columns(tape, logits, blocks, most)
    }

    /// The columns of blocks that the sequence has.
    fn columns(&self, tape: &mut Tape, logits: Tensor, blocks: Blocks, most: f64) -> Tensor {
        if self.sorting == Sorting::Permutation { tape.view(logits, blocks.count / most) } else { logits }
    }

    /// Logits to a soft permutation.
    fn order(&self, tape: &mut Tape, mut logits: Tensor, blocks: Blocks, causal: bool) -> Tensor {
        if causal {
            logits = tape.pass("causal mask of blocks", logits);
        }
        if self.iterations == 0 {
            return tape.softmax(logits);
        }
        let (elements, sums) = (logits.elements, logits.elements / blocks.count);
        for _ in 0..2 * self.iterations {
            let total = tape.operation("log-sum-exp of blocks", 2.0 * blocks.count, &[logits], sums, Keeps::OutputAnd(&[logits]));
            logits = tape.operation("normalise blocks", 1.0, &[logits, total], elements, Keeps::Nothing);
        }
        tape.operation("exponential", 1.0, &[logits], elements, Keeps::Output)
    }

    /// Keys or values in the order of R. With more than one sequence, logits that were made for all heads at once are
    /// laid out anew for the batched product.
    fn sort(&self, tape: &mut Tape, context: &Context<'_>, blocks: Blocks, order: Tensor, x: Tensor) -> Tensor {
        if self.sorting == Sorting::RowSums {
            let block = blocks.length * blocks.head_width;
            let sums = tape.operation("sum of blocks", blocks.count, &[x], blocks.rows * block, Keeps::Nothing);
            let shares = tape.operation("sums of rows", blocks.count, &[order], blocks.rows * blocks.count, Keeps::Nothing);
            return tape.operation("spread over blocks", 1.0, &[sums, shares], x.elements, Keeps::These(&[sums, shares]));
        }
        let apart = context.batch.sequences > 1.0 && self.sort_net == SortNet::HiddenStates;
        let order = if apart { tape.pass("lay out order", order) } else { order };
        let shape = Shape { batch: blocks.rows, m: blocks.count, n: blocks.length * blocks.head_width, k: blocks.count };
        tape.matmul("sort blocks", order, x, shape)
    }
}

/// Logits of the products of mean queries and keys.
fn sort_means(tape: &mut Tape, blocks: Blocks, query: Tensor, key: Tensor) -> Tensor {
    let elements = blocks.rows * blocks.count * blocks.head_width;
    let [query, key] = [query, key].map(|x| tape.operation("means of blocks", blocks.length, &[x], elements, Keeps::Nothing));
    let shape = Shape { batch: blocks.rows, m: blocks.count, n: blocks.count, k: blocks.head_width };
    let products = tape.matmul("sort net", query, key, shape);
    let products = tape.pass("scale", products);
    let products = tape.activate(Activation::Relu, products);
    let products = tape.pass("above zero", products);
    let logits = tape.operation("logarithm", 1.0, &[products], products.elements, Keeps::These(&[products]));
    tape.pass("noise and temperature", logits)
}

/// A layer with a bias, of `[rows, outputs, inputs]`.
fn layer(tape: &mut Tape, name: &'static str, x: Tensor, [rows, outputs, inputs]: [f64; 3]) -> Tensor {
    let weight = tape.matrix(inputs, outputs);
    tape.parameter(outputs);
    tape.matmul(name, x, weight, Shape::product(rows, outputs, inputs))
}
