//! The writer of ledgers.

use super::Ledger;
use super::op::{Component, Cost, Input, Op, Rule, Shape, TensorRecord};

/// A tensor on a tape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor {
    pub(super) id: usize,
    /// Number of elements.
    pub elements: f64,
    pub(super) gradient: bool,
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
    ledger: Ledger,
    component: Component,
    times: f64,
    parameter_times: f64,
    layer: bool,
    element_bytes: f64,
    /// Sequences times positions, the rows of every activation.
    tokens: f64,
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
            element_bytes,
            tokens,
        }
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

    /// Writes `layers` equal layers once. With `shared`, they have one set of parameters between them.
    pub fn repeat<T>(&mut self, layers: f64, shared: bool, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = (self.times, self.parameter_times, self.layer);
        self.layer = true;
        self.times *= layers;
        self.parameter_times *= if shared { 1.0 } else { layers };
        let result = write(self);
        (self.times, self.parameter_times, self.layer) = before;
        result
    }

    /// A trained matrix.
    pub fn matrix(&mut self, rows: f64, columns: f64) -> Tensor {
        let tensor = self.parameter(rows * columns);
        self.ledger.tensors[tensor.id].factored = rows + columns;
        tensor
    }

    /// The same values under another count: what a layer receives from the one before, or what leaves a stack.
    pub fn carry(&mut self, from: Tensor) -> Tensor {
        let tensor = self.activation(from.elements);
        self.ledger.tensors[tensor.id].layer_input = self.layer;
        tensor
    }

    /// A tensor that gradients flow through.
    pub fn activation(&mut self, elements: f64) -> Tensor {
        self.tensor(elements, self.element_bytes, true, None)
    }

    /// A trained parameter.
    pub fn parameter(&mut self, elements: f64) -> Tensor {
        self.tensor(elements, self.element_bytes, true, Some((self.component, self.parameter_times)))
    }

    /// A share of a tensor without a copy; keeping it keeps the whole.
    pub fn view(&mut self, whole: Tensor, share: f64) -> Tensor {
        Tensor { elements: whole.elements * share, ..whole }
    }

    /// A tensor without gradient: an index, a mask, a frozen matrix.
    pub fn constant(&mut self, elements: f64, bytes_per_element: f64) -> Tensor {
        self.tensor(elements, bytes_per_element, false, None)
    }

    fn tensor(&mut self, elements: f64, bytes_per_element: f64, gradient: bool, parameter: Option<(Component, f64)>) -> Tensor {
        let id = self.ledger.tensors.len();
        self.ledger.tensors.push(TensorRecord {
            elements,
            bytes: elements * bytes_per_element,
            times: self.times,
            parameter,
            factored: elements,
            layer: self.layer,
            layer_input: false,
        });
        Tensor { id, elements, gradient }
    }

    /// A matrix product. It keeps an input if the other one needs a gradient.
    pub fn matmul(&mut self, name: &'static str, left: Tensor, right: Tensor, shape: Shape) -> Tensor {
        let output = self.activation(shape.batch * shape.m * shape.n);
        let mut keeps = Vec::with_capacity(2);
        if right.gradient {
            keeps.push(left);
        }
        if left.gradient {
            keeps.push(right);
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
        let bytes = |tensor: &Tensor| self.ledger.tensors[tensor.id].bytes;
        let inputs: Vec<Input> = draft.inputs.iter().map(|t| Input { bytes: bytes(t), gradient: t.gradient }).collect();
        let output_bytes = bytes(&draft.output);
        let kept_bytes: f64 = draft.keeps.iter().map(bytes).sum();
        // Tensors that the op makes beside its output, such as masks and statistics, are written too.
        let made: f64 = draft
            .keeps
            .iter()
            .filter(|kept| kept.id != draft.output.id && !draft.inputs.iter().any(|input| input.id == kept.id))
            .map(bytes)
            .sum();
        let forward = Cost {
            matmul_flops: draft.matmul_flops,
            elementwise_flops: draft.elementwise_flops,
            bytes_read: inputs.iter().map(|input| input.bytes).sum(),
            bytes_written: output_bytes + made,
            launches: 1.0,
            ..Cost::default()
        };
        self.ledger.ops.push(Op {
            component: self.component,
            name: draft.name,
            times: self.times,
            layer: self.layer,
            forward,
            shape: draft.shape,
            formula: draft.formula,
            trained: draft.inputs.iter().any(|input| self.ledger.tensors[input.id].parameter.is_some()),
            rule: draft.rule,
            inputs,
            output_bytes,
            kept_bytes,
            keeps: draft.keeps.iter().map(|tensor| tensor.id).collect(),
        });
    }
}
