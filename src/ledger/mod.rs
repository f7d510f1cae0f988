//! The ledger: what every kernel of a training step computes, moves and keeps.
//!
//! Architectures write [`Op`]s through a [`Tape`]; parameters, FLOPs, activation memory, traffic and, above, time and
//! energy are sums over them. Backward is derived from forward by rule ([`Op::backward`]), never written.
//!
//! Conventions: a multiply-add counts as 2 FLOP; matrix products are counted apart from element-wise work; model FLOPs
//! (what a step needs) apart from executed ones (with recomputation).

mod activation;
mod division;
mod kinds;
mod liveness;
mod op;
mod primitive;
mod rerun;
mod sparse;
mod tape;

pub use activation::Activation;
pub use division::{Division, Exchanges};
pub use kinds::Kept;
pub use op::{Component, Cost, Kernel, Op, Shape, Work};
pub use primitive::Keeps;
pub use rerun::Rerun;
pub use sparse::{Held, Pattern, Unit, Units};
pub use tape::{Experts, Repeat, Tape, Tensor, Tile};

use op::TensorRecord;

/// All operations, tensors and parameters of one forward pass with its loss.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    ops: Vec<Op>,
    tensors: Vec<TensorRecord>,
}

/// The kernels of a step by its passes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passes {
    /// Before and after the layers, both ways.
    pub outside: Vec<Kernel>,
    /// Forward through the layers.
    pub forward: Vec<Kernel>,
    /// Layers run again.
    pub again: Vec<Kernel>,
    /// Backward through the layers.
    pub backward: Vec<Kernel>,
}

impl Ledger {
    /// The operations in the order they run; an op in a repeated layer stands once, with its count in `times`.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    fn parameters_where(&self, of: impl Fn(&TensorRecord, &op::Parameter) -> f64) -> f64 {
        self.tensors.iter().filter_map(|tensor| tensor.parameter.as_ref().map(|parameter| of(tensor, parameter) * parameter.count)).sum()
    }

    /// Elements that are no zeros of a pruned matrix.
    fn elements(tensor: &TensorRecord, parameter: &op::Parameter) -> f64 {
        (tensor.elements * parameter.density).round()
    }

    /// Parameters of one component.
    #[must_use]
    pub fn parameters_of(&self, component: Component) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.component == component { Self::elements(tensor, parameter) } else { 0.0 })
    }

    /// All parameters, shared and tied ones once, pruned ones not.
    #[must_use]
    pub fn parameters(&self) -> f64 {
        self.parameters_where(Self::elements)
    }

    /// The parameters that one position passes through: of experts, as many as it reaches.
    #[must_use]
    pub fn active_parameters(&self) -> f64 {
        self.parameters_where(|tensor, parameter| Self::elements(tensor, parameter) * parameter.active)
    }

    /// Bits of index that say where the elements of pruned matrices stand, once they are stored without zeros.
    #[must_use]
    pub fn index_bits(&self) -> f64 {
        self.parameters_where(|tensor, parameter| Self::elements(tensor, parameter) * parameter.index_bits)
    }

    /// The parameters that training changes, pruned ones not.
    #[must_use]
    pub fn changed_parameters(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.trained { Self::elements(tensor, parameter) } else { 0.0 })
    }

    /// The elements that the optimizer updates: those of a matrix that is held with its zeros are among them.
    #[must_use]
    pub fn trained_parameters(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.trained { tensor.elements } else { 0.0 })
    }

    /// Bytes of the parameters that training changes, as the step holds them.
    #[must_use]
    pub fn trained_bytes(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.trained { tensor.bytes } else { 0.0 })
    }

    /// Bytes of all parameters as the step holds them: frozen ones may be narrower than the rest.
    #[must_use]
    pub fn parameter_bytes(&self) -> f64 {
        self.parameters_where(|tensor, _| tensor.bytes)
    }

    /// The same without what lies beside them: masks, and copies that each device makes of its own.
    #[must_use]
    pub fn weight_bytes(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.density > 0.0 { tensor.bytes } else { 0.0 })
    }

    /// Rows and columns of every trained matrix, and elements of every other trained parameter: what a factored second
    /// moment holds (Shazeer and Stern 2018, section 4).
    #[must_use]
    pub fn factored_parameters(&self) -> f64 {
        self.parameters_where(|_, parameter| if parameter.trained { parameter.factored } else { 0.0 })
    }

    /// What the forward pass computes and moves.
    #[must_use]
    pub fn forward(&self) -> Cost {
        self.ops.iter().map(|op| op.forward * op.times).sum()
    }

    /// What the backward pass computes and moves.
    #[must_use]
    pub fn backward(&self) -> Cost {
        self.ops.iter().map(|op| op.backward() * op.times).sum()
    }

    /// Bytes of the tensors that the operations selected by `filter` keep for backward; one that two operations keep
    /// counts once, and one in a reversible layer not at all, since backward makes it again.
    pub fn kept_bytes_where(&self, filter: impl Fn(&Op) -> bool) -> f64 {
        self.kept(filter).filter(|tensor| !tensor.reversible).map(|tensor| tensor.bytes * tensor.times).sum()
    }

    fn kept(&self, filter: impl Fn(&Op) -> bool) -> impl Iterator<Item = &TensorRecord> {
        let mut seen = vec![false; self.tensors.len()];
        self.ops.iter().filter(|op| filter(op)).for_each(|op| op.keeps.iter().for_each(|id| seen[*id] = true));
        self.tensors.iter().zip(seen).filter(|(tensor, seen)| *seen && tensor.made()).map(|(tensor, _)| tensor)
    }

    /// Bytes that training keeps for backward in one step.
    #[must_use]
    pub fn kept_bytes(&self) -> f64 {
        self.kept_bytes_where(|_| true)
    }

    /// Bytes kept when every layer keeps its input alone and runs again in backward (full checkpointing, Chen et al.
    /// 2016): the inputs of all layers, what one layer keeps while it runs again, and what stands outside layers.
    #[must_use]
    pub fn kept_bytes_checkpointed(&self) -> f64 {
        self.held_bytes(Rerun::Layers) + self.rerun_bytes(Rerun::Layers)
    }

    /// Bytes of the tensors that are alive at once when nothing is kept for backward: from the operation that makes one,
    /// or first reads it, to the last one that reads it. Parameters are not among them.
    #[must_use]
    pub fn working_bytes(&self) -> f64 {
        let mut life: Vec<Option<(usize, usize)>> = self.tensors.iter().map(|tensor| tensor.maker.map(|op| (op, op))).collect();
        for (index, op) in self.ops.iter().enumerate() {
            for input in &op.inputs {
                let (first, _) = life[input.id].unwrap_or((index, index));
                life[input.id] = Some((first, index));
            }
        }
        let mut change = vec![0.0; self.ops.len() + 1];
        for (tensor, (first, last)) in self.tensors.iter().zip(life).filter_map(|(tensor, life)| life.map(|life| (tensor, life))) {
            if tensor.made() {
                change[first] += tensor.bytes;
                change[last + 1] -= tensor.bytes;
            }
        }
        let alive = change.into_iter().scan(0.0, |alive, change| {
            *alive += change;
            Some(*alive)
        });
        alive.fold(0.0, f64::max)
    }

    /// The kernels of the forward pass alone.
    pub fn forward_kernels(&self) -> impl Iterator<Item = Kernel> + '_ {
        self.ops.iter().map(Op::forward_kernel)
    }

    /// The kernels of forward and backward, for a time model; those that run again twice.
    pub fn kernels(&self, rerun: Rerun) -> impl Iterator<Item = Kernel> + '_ {
        let again = self.ops.iter().filter(move |op| rerun.runs(op)).map(Op::forward_kernel);
        self.forward_kernels().chain(again).chain(self.ops.iter().flat_map(Op::later_kernels))
    }

    /// The same by the passes of a step. What only the core of attention runs again belongs to the backward pass.
    #[must_use]
    pub fn passes(&self, rerun: Rerun) -> Passes {
        let of = |layer: bool| self.ops.iter().filter(move |op| op.layer == layer);
        let again = || of(true).filter(|op| rerun.runs(op)).map(Op::forward_kernel);
        let whole = matches!(rerun, Rerun::Layers | Rerun::LayersOf(_));
        let later = of(true).flat_map(Op::later_kernels);
        Passes {
            outside: of(false).map(Op::forward_kernel).chain(of(false).flat_map(Op::later_kernels)).collect(),
            forward: of(true).map(Op::forward_kernel).collect(),
            again: if whole { again().collect() } else { Vec::new() },
            backward: if whole { later.collect() } else { again().chain(later).collect() },
        }
    }

    /// What runs again because of checkpointing.
    #[must_use]
    pub fn recomputed(&self, rerun: Rerun) -> Cost {
        self.ops.iter().filter(|op| rerun.runs(op) && !op.reversible).map(|op| op.forward * op.times).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One GPT layer in half precision as in Korthikanti et al. 2022, section 4.1.
    fn layer_bytes(sequence: f64, width: f64, heads: f64) -> (f64, f64) {
        let mut tape = Tape::new(2.0, 1.0 * sequence);
        let stream = tape.activation(sequence * width);
        tape.component(Component::Attention);
        let x = tape.layer_norm(stream, width);
        let project = |tape: &mut Tape, x: Tensor, from: f64, to: f64| {
            let weight = tape.parameter(from * to);
            tape.matmul("projection", x, weight, Shape::product(sequence, to, from))
        };
        let (q, k, v) = (project(&mut tape, x, width, width), project(&mut tape, x, width, width), project(&mut tape, x, width, width));
        let shape = Shape { batch: heads, m: sequence, n: sequence, k: width / heads };
        let scores = tape.matmul("scores", q, k, shape);
        let weights = tape.softmax(scores);
        let dropped = tape.dropout(weights, 0.1);
        let context = tape.matmul("values", dropped, v, Shape { batch: heads, m: sequence, n: width / heads, k: sequence });
        let out = project(&mut tape, context, width, width);
        let out = tape.dropout(out, 0.1);
        let stream = tape.add("residual", stream, out);
        tape.component(Component::FeedForward);
        let x = tape.layer_norm(stream, width);
        let hidden = project(&mut tape, x, width, 4.0 * width);
        let hidden = tape.activate(Activation::Gelu, hidden);
        let out = project(&mut tape, hidden, 4.0 * width, width);
        let out = tape.dropout(out, 0.1);
        tape.add("residual", stream, out);
        let ledger = tape.finish();
        let statistics = 2.0 * 2.0 * 4.0 * sequence;
        (ledger.kept_bytes() - statistics, ledger.forward().matmul_flops)
    }

    #[test]
    fn korthikanti_2022_activation_formula_falls_out() {
        for (s, h, a) in [(2048.0, 6144.0, 64.0), (1024.0, 768.0, 12.0), (2048.0, 25_600.0, 160.0)] {
            let (bytes, flops) = layer_bytes(s, h, a);
            assert_eq!(bytes, 34.0 * s * h + 5.0 * a * s * s);
            assert_eq!(flops, 24.0 * s * h * h + 4.0 * s * s * h);
        }
    }

    #[test]
    fn a_product_has_the_tiles_of_its_output_and_backward_those_of_its_input() {
        let mut tape = Tape::new(4.0, 8.0);
        let x = tape.activation(1000.0 * 64.0);
        let w = tape.parameter(64.0 * 300.0);
        tape.matmul("p", x, w, Shape::product(1000.0, 300.0, 64.0));
        let tiles: Vec<f64> =
            tape.finish().kernels(Rerun::Nothing).filter(|kernel| kernel.matmul_flops > 0.0).map(|kernel| kernel.tiles).collect();
        // 1000 x 300 forward, 1000 x 64 backward.
        assert_eq!(tiles, [24.0, 8.0]);
    }

    #[test]
    fn backward_of_a_product_with_a_frozen_weight_has_one_product() {
        let cost = |frozen: bool| {
            let mut tape = Tape::new(4.0, 8.0);
            let x = tape.activation(8.0 * 16.0);
            let w = if frozen { tape.constant(16.0 * 32.0, 4.0) } else { tape.parameter(16.0 * 32.0) };
            tape.matmul("p", x, w, Shape::product(8.0, 32.0, 16.0));
            let ledger = tape.finish();
            (ledger.forward().matmul_flops, ledger.backward().matmul_flops)
        };
        assert_eq!(cost(false), (8192.0, 16_384.0));
        assert_eq!(cost(true), (8192.0, 8192.0));
    }
}
