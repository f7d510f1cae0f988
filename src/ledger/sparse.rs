//! Matrices that are not held as they are: pruned, quantised, frozen; and what a product with them can run on.

use serde::Deserialize;

use super::op::{Parameter, Rule, Shape};
use super::tape::{Draft, Tape, Tensor};

/// What products can run on, if an accelerator has it. All count their dense FLOPs: what an accelerator makes of them is
/// told by its profile.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Unit {
    /// Products at the precision of the step.
    #[default]
    Dense,
    /// Zeros that stand in a pattern.
    Pattern(Pattern),
    /// Zeros that stand anywhere, and the share of elements that are none.
    Unstructured(f64),
    /// 8-bit integers.
    Int8,
    /// 8-bit floating point.
    Fp8,
}

/// At most `keep` of `of` neighbours are no zeros, as in 2:4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Elements kept.
    pub keep: u32,
    /// Neighbours they are kept of.
    pub of: u32,
}

impl Pattern {
    /// The share of elements that are kept.
    #[must_use]
    pub fn density(self) -> f64 {
        f64::from(self.keep) / f64::from(self.of)
    }
}

/// What the products of an operation can run on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Units {
    /// The forward product.
    pub forward: Unit,
    /// The product that makes the gradient of the input.
    pub input_gradient: Unit,
    /// The product that makes the gradient of the weight.
    pub weight_gradient: Unit,
}

/// How a matrix is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Rows.
    pub rows: f64,
    /// Columns.
    pub columns: f64,
    /// Elements held over rows times columns.
    pub share: f64,
    /// Elements held that are no zeros, over those held.
    pub density: f64,
    /// Bits that say where an element that is no zero stands, in a file.
    pub index_bits: f64,
    /// Bytes of an element held, where they are not those of the step; such a matrix is frozen.
    pub bytes: Option<f64>,
}

impl Tape {
    /// A matrix that is not held as it is.
    pub fn held(&mut self, held: Held) -> Tensor {
        let elements = (held.rows * held.columns * held.share).round();
        let described = self.described(held.rows + held.columns);
        let parameter = Parameter {
            density: held.density,
            index_bits: held.index_bits,
            trained: described.trained && held.bytes.is_none(),
            ..described
        };
        self.weight(elements, held.bytes.unwrap_or(self.element_bytes), parameter)
    }

    /// What says which of the `elements` of a matrix are pruned: as many numbers of its type, held beside it and counted as no
    /// parameter.
    pub fn pruning_mask(&mut self, elements: f64) -> Tensor {
        let parameter = Parameter { density: 0.0, trained: false, ..self.described(0.0) };
        self.weight(elements, self.element_bytes, parameter)
    }

    /// A quantised matrix in the precision of the step: a code looked up and scaled, 2 FLOPs an element. The copy is not
    /// kept; where `x`, which it is to be multiplied with, needs a gradient, backward makes it again.
    pub fn dequantise(&mut self, weight: Tensor, elements: f64, x: Tensor) -> Tensor {
        let output = self.tensor(elements, self.element_bytes, false);
        self.record(Draft {
            name: "dequantise",
            formula: "2 per element: look up, scale",
            rule: Rule::Elementwise,
            inputs: &[weight],
            output,
            keeps: &[],
            matmul_flops: 0.0,
            elementwise_flops: 2.0 * elements,
            shape: None,
        });
        self.ledger.tensors[output.id].reversible = true;
        if let Some(op) = self.ledger.ops.last_mut() {
            op.reversible |= x.gradient;
        }
        output
    }

    /// A product with a weight that can run on `units`.
    pub fn matmul_on(&mut self, name: &'static str, units: Units, x: Tensor, weight: Tensor, shape: Shape) -> Tensor {
        let output = self.matmul(name, x, weight, shape);
        self.of_weight(units);
        output
    }

    /// A product with the blocks of a matrix that are left, as many products as there are blocks, summed into
    /// `elements` of output.
    pub fn matmul_blocks(&mut self, name: &'static str, x: Tensor, weight: Tensor, shape: Shape, elements: f64) -> Tensor {
        let output = self.made_of(&[x, weight], elements);
        let keeps: Vec<Tensor> = [(x, weight), (weight, x)].into_iter().filter(|(_, other)| other.gradient).map(|(kept, _)| kept).collect();
        self.record(Draft {
            name,
            formula: "2 m n k of each block (Gray et al. 2017)",
            rule: Rule::Product,
            inputs: &[x, weight],
            output,
            keeps: &keeps,
            matmul_flops: shape.flops(),
            elementwise_flops: 0.0,
            shape: Some(shape),
        });
        self.of_weight(Units::default());
        output
    }

    /// A product with a weight of `elements` an expert, on `units`, that reads copies of both inputs in one byte an element:
    /// one for each product that needs the input, forward and as factor of the other's gradient. The copy of x for the
    /// gradient of the weight is kept; those of the weight lie beside it. Backward rounds the gradient of the output so too.
    pub fn matmul_rounded(&mut self, name: &'static str, units: Units, x: Tensor, weight: Tensor, elements: f64, shape: Shape) -> Tensor {
        let x_copy = self.rounded_input(x, weight);
        let beside = Parameter { density: 0.0, trained: false, ..self.described(0.0) };
        let weight_copy = self.weight(elements, layouts(x), beside);
        self.round("round weight", weight, weight_copy);
        let output = self.product(name, [x, weight], [x_copy, weight_copy], shape);
        self.of_weight(units);
        if let Some(op) = self.ledger.ops.last_mut() {
            op.rounded = 1.0 / self.element_bytes;
            op.forward.bytes_read *= op.rounded;
            op.forward.bytes_written = op.output_bytes;
        }
        output
    }

    /// The copy of `x` in one byte an element that a product with `weight` reads; one for all products of a layer that read x.
    pub fn rounded_input(&mut self, x: Tensor, weight: Tensor) -> Tensor {
        let known = |(of, copy): &(Tensor, Tensor)| of.id == x.id && of.elements == x.elements && self.in_this_region(*copy);
        if let Some((_, copy)) = self.rounded.iter().find(|known_copy| known(known_copy)) {
            return *copy;
        }
        let copy = self.constant(x.elements, 1.0);
        self.ledger.tensors[copy.id].split = self.ledger.tensors[x.id].split;
        self.round("round input", x, copy);
        if let Some(op) = self.ledger.ops.last_mut() {
            op.forward.bytes_written *= layouts(weight);
        }
        self.rounded.push((x, copy));
        copy
    }

    /// Absolute maximum, scale, round.
    fn round(&mut self, name: &'static str, from: Tensor, copy: Tensor) {
        let values = self.detached(from);
        self.record(Draft {
            name,
            formula: "3 per element: absolute maximum, scale, round",
            rule: Rule::Elementwise,
            inputs: &[values],
            output: copy,
            keeps: &[],
            matmul_flops: 0.0,
            elementwise_flops: 3.0 * from.elements,
            shape: None,
        });
        self.of_weight(Units::default());
    }

    /// The last operation is a product with a weight, though what it read may be a copy of one.
    fn of_weight(&mut self, units: Units) {
        if let Some(op) = self.ledger.ops.last_mut() {
            op.trained = true;
            op.units = units;
        }
    }
}

/// Copies of a factor: for the product itself, and for the gradient of the `other` one.
fn layouts(other: Tensor) -> f64 {
    if other.gradient { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of 1,024 x 1,024 on as many rows, as Transformer Engine's documentation measures it on Hopper and Ada ("Performance
    /// considerations", memory usage, cases 1 and 2): 2 MB of weights, 2 MB of kept input and 2 MB of output in bf16; in fp8 2 MB and 1
    /// MB of weights, 1 MB of kept input and 2 MB of output. Its input needs no gradient, so that one copy of the weight does.
    #[test]
    fn a_layer_in_fp8_holds_what_transformer_engine_measured() {
        let megabytes = |rounded: bool| {
            let mut tape = Tape::new(2.0, 1024.0);
            let x = tape.constant(1024.0 * 1024.0, 2.0);
            let weight = tape.matrix(1024.0, 1024.0);
            let shape = Shape::product(1024.0, 1024.0, 1024.0);
            let output = if rounded {
                tape.matmul_rounded("p", Units::default(), x, weight, 1024.0 * 1024.0, shape)
            } else {
                tape.matmul("p", x, weight, shape)
            };
            let ledger = tape.finish();
            [ledger.parameter_bytes(), ledger.kept_bytes(), 2.0 * output.elements].map(|bytes| bytes / f64::from(1 << 20))
        };
        assert_eq!(megabytes(false), [2.0, 2.0, 2.0]);
        assert_eq!(megabytes(true), [3.0, 1.0, 2.0]);
    }
}
