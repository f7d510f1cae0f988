//! One operation and the rules that follow from it.

use std::iter::Sum;
use std::ops::{Add, Mul};

use super::sparse::{Unit, Units};

/// The part of a model that an operation or a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Token, position and segment tables and what sums them.
    Embedding,
    /// Projections and the mixing of positions.
    Attention,
    /// The position-wise network.
    FeedForward,
    /// Normalisation layers, wherever they stand.
    Norm,
    /// What turns hidden states into a loss.
    Head,
}

impl Component {
    /// Every component, in the order of the pass.
    pub const ALL: [Self; 5] = [Self::Embedding, Self::Attention, Self::FeedForward, Self::Norm, Self::Head];

    /// The key in outputs.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::FeedForward => "feed_forward",
            Self::Norm => "norm",
            Self::Head => "head",
        }
    }
}

/// The sizes of a (batched) matrix product `m x k` times `k x n`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Independent products in one kernel.
    pub batch: f64,
    /// Rows.
    pub m: f64,
    /// Columns.
    pub n: f64,
    /// Inner size.
    pub k: f64,
}

impl Shape {
    /// A single product.
    #[must_use]
    pub fn product(m: f64, n: f64, k: f64) -> Self {
        Self { batch: 1.0, m, n, k }
    }

    /// 2 m n k per product: a multiply-add counts as 2.
    #[must_use]
    pub fn flops(&self) -> f64 {
        2.0 * self.batch * self.m * self.n * self.k
    }
}

/// What some operations compute and move. Adds up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// FLOPs of matrix products that the model needs.
    pub matmul_flops: f64,
    /// FLOPs of matrix products done again to save memory, on top.
    pub recomputed_flops: f64,
    /// FLOPs of everything else.
    pub elementwise_flops: f64,
    /// Bytes read from device memory.
    pub bytes_read: f64,
    /// Bytes written to device memory.
    pub bytes_written: f64,
    /// Kernel launches.
    pub launches: f64,
}

impl Cost {
    /// FLOPs of matrix products, those done again among them.
    #[must_use]
    pub fn executed_matmul_flops(&self) -> f64 {
        self.matmul_flops + self.recomputed_flops
    }

    /// Bytes moved either way.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.bytes_read + self.bytes_written
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            matmul_flops: self.matmul_flops + other.matmul_flops,
            recomputed_flops: self.recomputed_flops + other.recomputed_flops,
            elementwise_flops: self.elementwise_flops + other.elementwise_flops,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
            launches: self.launches + other.launches,
        }
    }
}

impl Mul<f64> for Cost {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self {
            matmul_flops: self.matmul_flops * factor,
            recomputed_flops: self.recomputed_flops * factor,
            elementwise_flops: self.elementwise_flops * factor,
            bytes_read: self.bytes_read * factor,
            bytes_written: self.bytes_written * factor,
            launches: self.launches * factor,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// How an operation's backward pass follows from its forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// A matrix product: one product of the same size for each input that needs a gradient.
    Product,
    /// Attention in one kernel: the backward kernel computes the scores again, 2.5 times the forward FLOPs in all
    /// (Dao 2023, FlashAttention-2, section 4.1), of which 2 are model FLOPs.
    FusedAttention,
    /// Element-wise: as many FLOPs as forward (the convention of ELECTRA's `flops_computation.py`), one kernel.
    Elementwise,
    /// Rows picked by an index, or sorted by one: backward puts gradients back where they are from.
    Gather,
    /// Softmax: element-wise, and backward first multiplies the gradient with the output.
    Softmax,
}

/// An input of an operation: how large, and whether a gradient flows into it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Input {
    pub id: usize,
    pub elements: f64,
    pub bytes: f64,
    pub gradient: bool,
}

/// One operation of the forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// The part of the model it belongs to.
    pub component: Component,
    /// What it does.
    pub name: &'static str,
    /// How often it runs in one forward pass.
    pub times: f64,
    /// Whether it belongs to a repeated layer, which checkpointing runs again.
    pub layer: bool,
    /// Whether it belongs to a reversible layer, whose backward pass runs its forward pass again.
    pub reversible: bool,
    /// Whether no loss depends on it, so that nothing flows back.
    pub unused: bool,
    /// What one run computes and moves.
    pub forward: Cost,
    /// The sizes of the product, where it is one.
    pub shape: Option<Shape>,
    /// The formula of its FLOPs and where that is from.
    pub formula: &'static str,
    /// Whether an input is a parameter.
    pub(super) trained: bool,
    /// What its products can run on.
    pub(super) units: Units,
    /// Bytes of the copies that its products read over those of the inputs and of the output's gradient: below 1 where those
    /// are rounded before.
    pub(super) rounded: f64,
    pub(super) rule: Rule,
    pub(super) inputs: Vec<Input>,
    /// Whether it lies between the first and the last linear layer of a sub-layer.
    pub(super) split: bool,
    /// The stack of equal layers that it belongs to, 0 for none.
    pub(super) region: usize,
    pub(super) output: usize,
    pub(super) output_bytes: f64,
    pub(super) kept_bytes: f64,
    pub(super) keeps: Vec<usize>,
}

impl Op {
    /// What one run of the backward pass computes and moves, derived from the forward pass by rule; in a reversible
    /// layer with the forward pass that comes again before it.
    #[must_use]
    pub fn backward(&self) -> Cost {
        let again = Cost { matmul_flops: 0.0, recomputed_flops: self.forward.matmul_flops, ..self.forward };
        if self.reversible { self.derivative() + again } else { self.derivative() }
    }

    fn derivative(&self) -> Cost {
        if self.unused || !self.inputs.iter().any(|input| input.gradient) {
            return Cost::default();
        }
        let gradients: f64 = self.inputs.iter().filter(|input| input.gradient).map(|input| input.bytes).sum();
        let all: f64 = self.inputs.iter().map(|input| input.bytes).sum();
        match self.rule {
            Rule::Product => {
                let gradients = self.inputs.iter().filter(|input| input.gradient).map(|input| self.product_gradient(input, all));
                gradients.chain(self.rounding()).sum()
            }
            Rule::FusedAttention => Cost {
                matmul_flops: 2.0 * self.forward.matmul_flops,
                recomputed_flops: 0.5 * self.forward.matmul_flops,
                elementwise_flops: self.forward.elementwise_flops,
                bytes_read: all + 2.0 * self.output_bytes,
                bytes_written: gradients,
                launches: 2.0,
            },
            Rule::Elementwise | Rule::Gather | Rule::Softmax => Cost {
                elementwise_flops: self.forward.elementwise_flops,
                bytes_read: self.output_bytes + self.kept_bytes,
                bytes_written: if self.rule == Rule::Gather { self.output_bytes } else { gradients },
                launches: 1.0,
                ..Cost::default()
            },
        }
    }

    /// Bytes that backward needs for a moment beside gradients and what is kept: PyTorch's softmax multiplies gradient and
    /// output first; FlashAttention sums the queries' gradient in fp32 and takes one more statistic a row (Dao 2023,
    /// algorithm 2).
    pub(super) fn scratch_bytes(&self) -> f64 {
        match self.rule {
            Rule::Softmax => self.output_bytes,
            Rule::FusedAttention => {
                let query = self.inputs.first().map_or(0.0, |query| 4.0 * query.elements);
                query + self.forward.bytes_written - self.output_bytes
            }
            Rule::Product => self.rounding().map_or(0.0, |rounding| rounding.bytes_written),
            Rule::Elementwise | Rule::Gather => 0.0,
        }
    }

    /// Whether it belongs to the core of attention, which selective checkpointing runs again: what lies between the
    /// projections in and out and has no trained matrix (Korthikanti et al. 2022).
    #[must_use]
    pub fn is_attention_core(&self) -> bool {
        self.layer && self.split && !self.trained && self.component == Component::Attention
    }

    /// The gradient of one input of a product: the output's gradient times the other input. `all` is the bytes of both.
    fn product_gradient(&self, input: &Input, all: f64) -> Cost {
        Cost {
            matmul_flops: self.forward.matmul_flops,
            bytes_read: (self.output_bytes + all - input.bytes) * self.rounded,
            bytes_written: input.bytes,
            launches: 1.0,
            ..Cost::default()
        }
    }

    /// What rounds the output's gradient before both products of the backward pass, to one copy for each.
    fn rounding(&self) -> Option<Cost> {
        let products = self.inputs.iter().filter(|input| input.gradient).count() as f64;
        let copy = self.output_bytes * self.rounded;
        (self.rounded < 1.0).then(|| Cost {
            elementwise_flops: 3.0 * copy,
            bytes_read: self.output_bytes,
            bytes_written: products * copy,
            launches: 1.0,
            ..Cost::default()
        })
    }

    /// What kind of work it does.
    #[must_use]
    pub fn work(&self) -> Work {
        match (self.shape, self.trained) {
            (None, _) if self.rule == Rule::Gather => Work::Gather,
            (None, _) => Work::Elementwise,
            (Some(_), true) => Work::Linear,
            (Some(_), false) => Work::Mixing,
        }
    }

    /// The forward kernel.
    pub(super) fn forward_kernel(&self) -> Kernel {
        let tiles = self.plain().map_or(0.0, |shape| tiles(shape.batch, shape.m, shape.n));
        Kernel { tiles, ..self.kernel(self.forward, self.times, self.units.forward) }
    }

    fn kernel(&self, cost: Cost, times: f64, unit: Unit) -> Kernel {
        let launches = cost.launches.max(1.0);
        let one = cost * (1.0 / launches);
        Kernel {
            component: self.component,
            work: self.work(),
            times: times * launches,
            matmul_flops: one.executed_matmul_flops(),
            elementwise_flops: one.elementwise_flops,
            bytes: one.bytes(),
            unit,
            aligned: self.is_aligned(),
            tiles: 0.0,
        }
    }

    /// Whether every size of its product is a multiple of 4 bytes, the least that an asynchronous copy to shared memory moves
    /// (NVIDIA, CUDA C++ Programming Guide, asynchronous data copies). Products whose sizes are multiples of 16 bytes are
    /// faster still (Matrix Multiplication Background User's Guide); that is not told apart.
    fn is_aligned(&self) -> bool {
        let Some((shape, input)) = self.shape.zip(self.inputs.first()) else { return true };
        let bytes = if input.elements > 0.0 { input.bytes / input.elements } else { 1.0 };
        [shape.m, shape.n, shape.k].into_iter().all(|size| (size * bytes) % 4.0 == 0.0)
    }

    /// The backward kernels, after the forward kernel of an operation in a reversible layer.
    pub(super) fn later_kernels(&self) -> impl Iterator<Item = Kernel> {
        let again = self.reversible.then(|| self.forward_kernel());
        again.into_iter().chain(self.backward_kernels().into_iter().flatten())
    }

    /// The sizes of a plain product; nothing of what a fused kernel computes.
    fn plain(&self) -> Option<Shape> {
        self.shape.filter(|_| self.rule == Rule::Product)
    }

    /// The kernels of both gradients of a product that differ in what they can run on, or all backward kernels as one row. Both have the
    /// tiles of the input's gradient: that of the weights sums over many positions, which libraries divide where its own are few.
    fn backward_kernels(&self) -> [Option<Kernel>; 3] {
        let backward_tiles = self.plain().map_or(0.0, |shape| tiles(shape.batch, shape.m, shape.k));
        if self.rule == Rule::Product && self.units != Units::default() && !self.unused {
            let all: f64 = self.inputs.iter().map(|input| input.bytes).sum();
            let of = |index: usize, unit: Unit| {
                let input = self.inputs.get(index).filter(|input| input.gradient)?;
                Some(Kernel { tiles: backward_tiles, ..self.kernel(self.product_gradient(input, all), self.times, unit) })
            };
            let products = [of(0, self.units.input_gradient), of(1, self.units.weight_gradient)];
            let rounding = self.rounding().filter(|_| products.iter().any(Option::is_some));
            let [input, weight] = products;
            return [input, weight, rounding.map(|rounding| self.kernel(rounding, self.times, Unit::Dense))];
        }
        let backward = self.derivative();
        let kernel = || Kernel { tiles: backward_tiles, ..self.kernel(backward, self.times, Unit::Dense) };
        [(backward.launches > 0.0).then(kernel), None, None]
    }
}

/// Tiles of an output of these sizes.
fn tiles(batch: f64, rows: f64, columns: f64) -> f64 {
    const SIDE: f64 = 128.0;
    batch * (rows / SIDE).ceil() * (columns / SIDE).ceil()
}

/// What kind of work a kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// A product with a trained matrix.
    Linear,
    /// A product of two activations: the mixing of positions.
    Mixing,
    /// Rows picked by an index or sorted by one: memory traffic at places that data decide.
    Gather,
    /// Everything else.
    Elementwise,
}

/// A kernel as a time model sees it: executed work of one launch, and how many launches are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel {
    /// The part of the model it belongs to.
    pub component: Component,
    /// What kind of work it does.
    pub work: Work,
    /// Launches in one step.
    pub times: f64,
    /// Executed FLOPs of matrix products in one launch.
    pub matmul_flops: f64,
    /// Executed element-wise FLOPs in one launch.
    pub elementwise_flops: f64,
    /// Bytes moved in one launch.
    pub bytes: f64,
    /// What its products can run on.
    pub unit: Unit,
    /// Whether every size of its product is a whole number of the 4 bytes that a copy to tensor units moves at least.
    pub aligned: bool,
    /// Tiles of 128 x 128 that the output of its product is cut into, padded at the edges; 0 of what is no plain product.
    pub tiles: f64,
}

/// A parameter as the ledger remembers it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parameter {
    pub component: Component,
    /// Copies of it: one a layer, or one in all.
    pub count: f64,
    /// Whether training changes it.
    pub trained: bool,
    /// Rows and columns together, if it is a matrix; else the elements.
    pub factored: f64,
    /// Share of it that one position passes through.
    pub active: f64,
    /// Share of it that one pass reads.
    pub read: f64,
    /// Share of its elements that are not pruned away.
    pub density: f64,
    /// Bits that say where an element that is left stands.
    pub index_bits: f64,
}

/// A tensor as the ledger remembers it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorRecord {
    pub elements: f64,
    pub bytes: f64,
    /// Copies of it in one forward pass: one a layer.
    pub times: f64,
    pub parameter: Option<Parameter>,
    /// Whether it is a fixed table beside the parameters.
    pub buffer: bool,
    /// The operation that made it.
    pub maker: Option<usize>,
    /// The tensor whose values it has under another count.
    pub carried: Option<usize>,
    /// Whether it is an input that lives, as its gradient does, from before the pass to after it.
    pub leaf: bool,
    /// The stack of equal layers that it belongs to, 0 for none.
    pub region: usize,
    /// Whether it belongs to a repeated layer.
    pub layer: bool,
    /// Whether that layer is reversible.
    pub reversible: bool,
    /// Whether it is the input of a repeated layer.
    pub layer_input: bool,
    /// Whether tensor parallelism splits it: it lies between the first and the last linear layer of a sub-layer.
    pub split: bool,
}

impl TensorRecord {
    /// Whether a step makes it: it is no parameter and no fixed table.
    pub fn made(&self) -> bool {
        self.parameter.is_none() && !self.buffer
    }
}
