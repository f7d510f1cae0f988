//! The writer of ledgers.

use super::Ledger;
use super::op::{Component, Cost, Input, Op, Parameter, Rule, Shape, TensorRecord};
use super::sparse::Units;

/// A tensor on a tape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor {
    pub(super) id: usize,
    /// Number of elements.
    pub elements: f64,
    pub(super) gradient: bool,
    /// Elements in memory for each of its own: more than 1 where memory holds whole tiles.
    pub(super) padding: f64,
}

/// The smallest piece of a matrix that memory holds: rows and columns. A TPU pads the last two dimensions of a tensor in fp32
/// to multiples of 8 and 128, whichever way round takes less (OpenXLA, tiled layout).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tile {
    /// Rows.
    pub rows: f64,
    /// Columns.
    pub columns: f64,
}

impl Tile {
    /// Elements in memory for each element of a product.
    fn padding(&self, shape: &Shape) -> f64 {
        let whole = |size: f64, piece: f64| (size / piece).ceil() * piece;
        let stored = |m: f64, n: f64| whole(m, self.rows) * whole(n, self.columns);
        stored(shape.m, shape.n).min(stored(shape.n, shape.m)) / (shape.m * shape.n)
    }
}

/// Bytes of a mask element, as on a GPU.
pub(super) const MASK_BYTES: f64 = 1.0;
/// Bytes of an index.
pub(super) const INDEX_BYTES: f64 = 8.0;
/// Bytes of a statistic or a logit of the loss, which stay in fp32.
pub(super) const STATISTIC_BYTES: f64 = 4.0;

/// Records the operations of a forward pass.
#[derive(Debug)]
pub struct Tape {
    pub(super) ledger: Ledger,
    component: Component,
    times: f64,
    parameter_times: f64,
    layer: bool,
    reversible: bool,
    split: bool,
    /// Whether no loss depends on what is written.
    unused: bool,
    /// Stacks of equal layers so far, and the one that is written.
    regions: (usize, usize),
    /// Whether training changes the parameters that follow.
    trained: bool,
    /// Whether a trained model is only run: no dropout, no loss, nothing kept.
    inference: bool,
    experts: Experts,
    pub(super) element_bytes: f64,
    pub(super) dropout_mask_bytes: f64,
    /// Whether a softmax is an exponential and a quotient, each an operation of its own.
    pub(super) separate_softmax: bool,
    tile: Option<Tile>,
    /// Tensors with their copies in one byte an element.
    pub(super) rounded: Vec<(Tensor, Tensor)>,
    /// Sequences times positions, the rows of every activation.
    tokens: f64,
}

/// Equal layers that are written once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeat {
    /// How many there are.
    pub layers: f64,
    /// Sets of parameters that they have: one each, or one between all of them (Lan et al. 2020).
    pub parameters: f64,
    /// Whether backward computes their inputs from their outputs, so that none is kept (Gomez et al. 2017).
    pub reversible: bool,
}

/// Networks that are alike and share the rows of a tensor between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: f64,
    /// How many of them one position passes through.
    pub active: f64,
    /// How many of them one pass reaches.
    pub read: f64,
}

impl Experts {
    const ONE: Self = Self { count: 1.0, active: 1.0, read: 1.0 };
}

/// An operation before its traffic is known.
pub(super) struct Draft<'a> {
    pub name: &'static str,
    pub formula: &'static str,
    pub rule: Rule,
    pub inputs: &'a [Tensor],
    pub output: Tensor,
    pub keeps: &'a [Tensor],
    pub matmul_flops: f64,
    pub elementwise_flops: f64,
    pub shape: Option<Shape>,
}

impl Tape {
    /// A tape whose activations have `element_bytes` each; `tokens` is the rows of a hidden state.
    #[must_use]
    pub fn new(element_bytes: f64, tokens: f64) -> Self {
        Self {
            ledger: Ledger::default(),
            component: Component::Embedding,
            times: 1.0,
            parameter_times: 1.0,
            layer: false,
            reversible: false,
            split: false,
            unused: false,
            regions: (0, 0),
            trained: true,
            inference: false,
            experts: Experts::ONE,
            element_bytes,
            dropout_mask_bytes: MASK_BYTES,
            separate_softmax: false,
            tile: None,
            rounded: Vec::new(),
            tokens,
        }
    }

    /// The same in memory that holds whole tiles.
    #[must_use]
    pub fn in_tiles(self, tile: Option<Tile>) -> Self {
        Self { tile, ..self }
    }

    /// A tape of a trained model that is only run: no dropout, no loss, no gradient, nothing kept.
    #[must_use]
    pub fn inference(element_bytes: f64, tokens: f64) -> Self {
        Self { inference: true, ..Self::new(element_bytes, tokens) }
    }

    /// Whether a trained model is only run.
    #[must_use]
    pub fn is_inference(&self) -> bool {
        self.inference
    }

    /// The finished ledger.
    #[must_use]
    pub fn finish(self) -> Ledger {
        self.ledger
    }

    /// What follows belongs to `component`.
    pub fn component(&mut self, component: Component) {
        self.component = component;
    }

    pub(super) fn current(&self) -> Component {
        self.component
    }

    /// Sequences times positions.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    /// Sets the rows of the hidden states that follow (a decoder's differ from an encoder's).
    pub fn set_tokens(&mut self, tokens: f64) {
        self.tokens = tokens;
    }

    /// Writes equal layers once.
    pub fn repeat<T>(&mut self, repeat: Repeat, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = (self.times, self.parameter_times, self.layer, self.reversible);
        let region = self.regions.1;
        self.regions = (self.regions.0 + 1, self.regions.0 + 1);
        self.layer = true;
        self.reversible |= repeat.reversible;
        self.times *= repeat.layers;
        self.parameter_times *= repeat.parameters;
        let result = write(self);
        (self.times, self.parameter_times, self.layer, self.reversible) = before;
        self.regions.1 = region;
        result
    }

    /// Writes what a reversible layer remembers of its forward pass, so that its backward pass does not run it again.
    pub fn once<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.reversible, false);
        let result = write(self);
        self.reversible = before;
        result
    }

    /// Writes what is computed though no loss depends on it: it keeps what it would, and nothing flows back.
    pub fn unused<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.unused, true);
        let result = write(self);
        self.unused = before;
        result
    }

    /// Writes what lies between the first and the last linear layer of a sub-layer: tensor parallelism splits it.
    pub fn split<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.split, true);
        let result = write(self);
        self.split = before;
        result
    }

    /// Writes experts once, each parameter as those of all of them side by side.
    pub fn experts<T>(&mut self, experts: Experts, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.experts, experts);
        let result = write(self);
        self.experts = before;
        result
    }

    /// Writes what training changes, or what it leaves as it is: parameters of the latter kind take no gradient.
    pub fn with_trained<T>(&mut self, trained: bool, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.trained, trained);
        let result = write(self);
        self.trained = before;
        result
    }

    /// Writes with parameters that belong to another model and are counted there.
    pub fn with_borrowed<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.parameter_times, 0.0);
        let result = write(self);
        self.parameter_times = before;
        result
    }

    /// Writes what keeps masks of dropout in so many bytes an element: 1 as a GPU's kernels do, 4 where the mask is a number.
    pub fn with_dropout_masks<T>(&mut self, bytes: f64, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.dropout_mask_bytes, bytes);
        let result = write(self);
        self.dropout_mask_bytes = before;
        result
    }

    /// Writes a softmax as operations of their own, or as one kernel.
    pub fn with_separate_softmax<T>(&mut self, separate: bool, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.separate_softmax, separate);
        let result = write(self);
        self.separate_softmax = before;
        result
    }

    /// A matrix, trained unless what is written is frozen.
    pub fn matrix(&mut self, rows: f64, columns: f64) -> Tensor {
        let factored = rows + columns;
        self.weight(rows * columns, self.element_bytes, Parameter { factored, ..self.described(0.0) })
    }

    /// A parameter, trained unless what is written is frozen.
    pub fn parameter(&mut self, elements: f64) -> Tensor {
        self.weight(elements, self.element_bytes, self.described(elements))
    }

    /// A parameter that training does not change, held in `bytes_per_element`.
    pub fn frozen(&mut self, elements: f64, bytes_per_element: f64) -> Tensor {
        self.weight(elements, bytes_per_element, Parameter { trained: false, ..self.described(elements) })
    }

    pub(super) fn described(&self, factored: f64) -> Parameter {
        let Experts { count, active, read } = self.experts;
        let (active, read) = (active / count, read / count);
        Parameter {
            component: self.component,
            count: self.parameter_times,
            trained: self.trained,
            factored,
            active,
            read,
            density: 1.0,
            index_bits: 0.0,
        }
    }

    pub(super) fn weight(&mut self, elements: f64, bytes_per_element: f64, parameter: Parameter) -> Tensor {
        let copies = self.experts.count;
        let tensor = self.tensor(copies * elements, bytes_per_element, parameter.trained);
        self.ledger.tensors[tensor.id].parameter = Some(Parameter { factored: copies * parameter.factored, ..parameter });
        tensor
    }

    /// The same values under another count: what a layer receives from the one before, or what leaves a stack.
    pub fn carry(&mut self, from: Tensor) -> Tensor {
        let tensor = self.made_of(&[from], from.elements);
        let record = &mut self.ledger.tensors[tensor.id];
        (record.layer_input, record.carried) = (self.layer, Some(from.id));
        tensor
    }

    /// An input that gradients flow to, which lives with its gradient from before the pass to after it.
    pub fn leaf(&mut self, elements: f64) -> Tensor {
        let tensor = self.activation(elements);
        self.ledger.tensors[tensor.id].leaf = true;
        tensor
    }

    /// A tensor that gradients flow through.
    pub fn activation(&mut self, elements: f64) -> Tensor {
        self.tensor(elements, self.element_bytes, true)
    }

    /// What an operation makes of `inputs`: gradients flow through it if they flow through one of them.
    pub(super) fn made_of(&mut self, inputs: &[Tensor], elements: f64) -> Tensor {
        let tensor = self.tensor(elements, self.element_bytes, inputs.iter().any(|input| input.gradient));
        match inputs.iter().find(|input| input.elements == elements) {
            Some(input) => self.padded(tensor, input.padding),
            None => tensor,
        }
    }

    /// The tensor with as many elements in memory for each of its own.
    pub(super) fn padded(&mut self, tensor: Tensor, padding: f64) -> Tensor {
        self.ledger.tensors[tensor.id].bytes *= padding / tensor.padding;
        Tensor { padding, ..tensor }
    }

    /// A share of a tensor without a copy; keeping it keeps the whole.
    pub fn view(&mut self, whole: Tensor, share: f64) -> Tensor {
        Tensor { elements: (whole.elements * share).round(), ..whole }
    }

    /// A tensor without gradient and not a parameter: an index, a mask, a fixed table.
    pub fn constant(&mut self, elements: f64, bytes_per_element: f64) -> Tensor {
        self.tensor(elements, bytes_per_element, false)
    }

    /// A tensor like another one, without gradient: a noise.
    pub fn like(&mut self, tensor: Tensor) -> Tensor {
        self.constant(tensor.elements, self.element_bytes)
    }

    /// Counts and means in fp32, without gradient.
    pub fn statistics(&mut self, elements: f64) -> Tensor {
        self.constant(elements, STATISTIC_BYTES)
    }

    /// A fixed table that lies beside the parameters for the whole of training, so that no step makes it or keeps it.
    pub fn buffer(&mut self, elements: f64) -> Tensor {
        let tensor = self.constant(elements, self.element_bytes);
        self.ledger.tensors[tensor.id].buffer = true;
        tensor
    }

    /// Whether gradients flow into it.
    #[must_use]
    pub fn has_gradient(&self, tensor: Tensor) -> bool {
        tensor.gradient
    }

    /// The same values without a gradient (`detach`, `no_grad`).
    #[must_use]
    pub fn detached(&self, tensor: Tensor) -> Tensor {
        Tensor { gradient: false, ..tensor }
    }

    pub(super) fn tensor(&mut self, elements: f64, bytes_per_element: f64, gradient: bool) -> Tensor {
        let id = self.ledger.tensors.len();
        self.ledger.tensors.push(TensorRecord {
            elements,
            bytes: elements * bytes_per_element,
            times: self.times,
            parameter: None,
            maker: None,
            buffer: false,
            carried: None,
            leaf: false,
            region: self.regions.1,
            layer: self.layer,
            reversible: self.reversible,
            layer_input: false,
            split: self.split,
        });
        Tensor { id, elements, gradient: gradient && !self.inference, padding: 1.0 }
    }

    /// Whether a tensor is of the stack of equal layers that is written.
    pub(super) fn in_this_region(&self, tensor: Tensor) -> bool {
        self.ledger.tensors[tensor.id].region == self.regions.1
    }

    /// A matrix product. It keeps an input if the other one needs a gradient.
    pub fn matmul(&mut self, name: &'static str, left: Tensor, right: Tensor, shape: Shape) -> Tensor {
        self.product(name, [left, right], [left, right], shape)
    }

    /// The same with what is kept of each input.
    pub(super) fn product(&mut self, name: &'static str, inputs: [Tensor; 2], of_inputs: [Tensor; 2], shape: Shape) -> Tensor {
        let ([left, right], [of_left, of_right]) = (inputs, of_inputs);
        let output = self.made_of(&[left, right], shape.batch * shape.m * shape.n);
        let output = self.padded(output, self.tile.map_or(1.0, |tile| tile.padding(&shape)));
        let mut keeps = Vec::with_capacity(2);
        if right.gradient {
            keeps.push(of_left);
        }
        if left.gradient {
            keeps.push(of_right);
        }
        self.record(Draft {
            name,
            formula: "2 m n k batch (Narayanan et al. 2021, appendix)",
            rule: Rule::Product,
            inputs: &[left, right],
            output,
            keeps: &keeps,
            matmul_flops: shape.flops(),
            elementwise_flops: 0.0,
            shape: Some(shape),
        });
        output
    }

    pub(super) fn record(&mut self, draft: Draft<'_>) {
        let bytes = |tensor: &Tensor| {
            let record = &self.ledger.tensors[tensor.id];
            // Of a view, only what is in it moves.
            let share = if record.elements > 0.0 { tensor.elements / record.elements } else { 1.0 };
            record.bytes * share * record.parameter.map_or(1.0, |parameter| parameter.read)
        };
        let inputs: Vec<Input> =
            draft.inputs.iter().map(|t| Input { id: t.id, elements: t.elements, bytes: bytes(t), gradient: t.gradient }).collect();
        let output_bytes = bytes(&draft.output);
        // Without a gradient to compute there is nothing to keep.
        let differentiable = inputs.iter().any(|input| input.gradient);
        let keeps = if differentiable { draft.keeps } else { &[] };
        let kept_bytes: f64 = keeps.iter().map(bytes).sum();
        // Tensors that the op makes beside its output, such as masks and statistics, are written too.
        let made: f64 = keeps
            .iter()
            .filter(|kept| kept.id != draft.output.id && !draft.inputs.iter().any(|input| input.id == kept.id))
            .map(bytes)
            .sum();
        let forward = Cost {
            matmul_flops: draft.matmul_flops,
            elementwise_flops: draft.elementwise_flops,
            // Of what it picks from, a gather reads what it writes.
            bytes_read: inputs
                .iter()
                .map(|input| if draft.rule == Rule::Gather { input.bytes.min(output_bytes) } else { input.bytes })
                .sum(),
            bytes_written: output_bytes + made,
            launches: 1.0,
            ..Cost::default()
        };
        self.ledger.tensors[draft.output.id].maker.get_or_insert(self.ledger.ops.len());
        self.ledger.ops.push(Op {
            component: self.component,
            name: draft.name,
            times: self.times,
            layer: self.layer,
            reversible: self.reversible,
            unused: self.unused,
            forward,
            shape: draft.shape,
            formula: draft.formula,
            trained: draft.inputs.iter().any(|input| self.ledger.tensors[input.id].parameter.is_some()),
            units: Units::default(),
            rounded: 1.0,
            rule: draft.rule,
            inputs,
            split: self.split,
            region: self.regions.1,
            output: draft.output.id,
            output_bytes,
            kept_bytes,
            keeps: keeps.iter().map(|tensor| tensor.id).collect(),
        });
    }
}
