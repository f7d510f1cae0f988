//! Element-wise operations: what each computes per element and what it keeps for backward.
//!
//! FLOPs per element follow the constants of ELECTRA's `flops_computation.py` (Clark et al. 2020): layer norm 5,
//! softmax 5, GELU 8, dropout 4, residual 1. What is kept follows PyTorch's derivative formulas
//! (`derivatives.yaml`, 2.6): a softmax keeps its output, GELU its input, dropout its mask.

use super::activation::Activation;
use super::op::{Component, Rule, Shape};
use super::tape::{Draft, INDEX_BYTES, MASK_BYTES, STATISTIC_BYTES, Tape, Tensor};

const COUNTED: &str = "per element (constants of Clark et al. 2020, flops_computation.py)";
pub(super) const TRAFFIC: &str = "one per element; bytes matter";

/// What an element-wise operation keeps for backward.
#[derive(Debug, Clone, Copy)]
pub enum Keeps<'a> {
    /// Nothing: a sum, a scale by a number, a copy.
    Nothing,
    /// Its output: an exponential, a softmax.
    Output,
    /// These tensors: inputs, or masks and indices.
    These(&'a [Tensor]),
    /// Its output and these.
    OutputAnd(&'a [Tensor]),
}

impl Tape {
    fn pointwise(
        &mut self,
        name: &'static str,
        per_element: f64,
        inputs: &[Tensor],
        output: Tensor,
        keeps: &[Tensor],
        formula: &'static str,
    ) {
        let elementwise_flops = per_element * output.elements;
        let rule = Rule::Elementwise;
        self.record(Draft { name, formula, rule, inputs, output, keeps, matmul_flops: 0.0, elementwise_flops, shape: None });
    }

    /// Rows of `from` at `indices`, or `from` sorted by them, as `elements` of output; keeps the indices alone. What a
    /// gather moves goes to places that data decide, so a time model may take it to be slower than a copy.
    pub fn gather(&mut self, name: &'static str, from: Tensor, indices: Tensor, elements: f64) -> Tensor {
        self.pick(name, from, indices, elements, &[indices])
    }

    /// The same for indices of single elements, as `torch.gather` takes them: it keeps what it picks from too.
    pub fn gather_elements(&mut self, name: &'static str, from: Tensor, indices: Tensor, elements: f64) -> Tensor {
        self.pick(name, from, indices, elements, &[from, indices])
    }

    /// `from` in another order, whose indices lie in memory for other reasons; keeps nothing.
    pub fn permute(&mut self, name: &'static str, from: Tensor, order: Tensor, elements: f64) -> Tensor {
        self.pick(name, from, order, elements, &[])
    }

    /// The order of lists of `length` keys: log2 L (log2 L + 1) / 2 passes of compare and exchange over keys and their places
    /// (Batcher 1968, bitonic sort, which is what devices without branches run). Indices without gradient.
    pub fn sort(&mut self, name: &'static str, keys: Tensor, length: f64) -> Tensor {
        let order = self.indices(keys.elements);
        let stages = length.log2().ceil().max(1.0);
        let passes = stages * (stages + 1.0) / 2.0;
        self.record(Draft {
            name,
            formula: "L log2 L (log2 L + 1) / 4 compare-exchanges (Batcher 1968)",
            rule: Rule::Gather,
            inputs: &[keys],
            output: order,
            keeps: &[],
            matmul_flops: 0.0,
            elementwise_flops: 0.5 * passes * keys.elements,
            shape: None,
        });
        if let Some(op) = self.ledger.ops.last_mut() {
            let each_way = passes * (op.forward.bytes_read + op.forward.bytes_written);
            op.forward.bytes_read = each_way;
            op.forward.bytes_written = each_way;
        }
        order
    }

    fn pick(&mut self, name: &'static str, from: Tensor, indices: Tensor, elements: f64, keeps: &[Tensor]) -> Tensor {
        let output = self.made_of(&[from], elements);
        self.record(Draft {
            name,
            formula: TRAFFIC,
            rule: Rule::Gather,
            inputs: &[from, indices],
            output,
            keeps,
            matmul_flops: 0.0,
            elementwise_flops: 0.0,
            shape: None,
        });
        output
    }

    /// An element-wise operation, a reduction, a gather or a copy: `per_element` FLOPs for each of the `elements` of its
    /// output, which backward spends again. `keeps` says what backward needs; masks and statistics that the operation
    /// makes beside its output are constants among them.
    pub fn operation(&mut self, name: &'static str, per_element: f64, inputs: &[Tensor], elements: f64, keeps: Keeps<'_>) -> Tensor {
        self.counted(name, per_element, inputs, elements, keeps, TRAFFIC)
    }

    /// The same with the source of its count.
    pub(super) fn counted(
        &mut self,
        name: &'static str,
        per_element: f64,
        inputs: &[Tensor],
        elements: f64,
        keeps: Keeps<'_>,
        formula: &'static str,
    ) -> Tensor {
        let output = self.made_of(inputs, elements);
        let kept: Vec<Tensor> = match keeps {
            Keeps::Nothing => Vec::new(),
            Keeps::Output => vec![output],
            Keeps::These(tensors) => tensors.to_vec(),
            Keeps::OutputAnd(tensors) => std::iter::once(output).chain(tensors.iter().copied()).collect(),
        };
        self.pointwise(name, per_element, inputs, output, &kept, formula);
        output
    }

    /// The sum of two tensors; keeps nothing.
    pub fn add(&mut self, name: &'static str, left: Tensor, right: Tensor) -> Tensor {
        let output = self.made_of(&[left, right], left.elements.max(right.elements));
        self.pointwise(name, 1.0, &[left, right], output, &[], TRAFFIC);
        output
    }

    /// The element-wise product; keeps an input if the other one needs a gradient.
    pub fn multiply(&mut self, name: &'static str, left: Tensor, right: Tensor) -> Tensor {
        let output = self.made_of(&[left, right], left.elements.max(right.elements));
        let keeps: Vec<Tensor> =
            [(left, right), (right, left)].into_iter().filter(|(_, other)| other.gradient).map(|(kept, _)| kept).collect();
        self.pointwise(name, 1.0, &[left, right], output, &keeps, TRAFFIC);
        output
    }

    /// Rotary positions on queries or keys (Su et al. 2021, equation 34): two products with the tables and a sum.
    pub fn rotate(&mut self, input: Tensor, tables: Tensor) -> Tensor {
        let output = self.made_of(&[input], input.elements);
        self.pointwise("rotary positions", 3.0, &[input, tables], output, &[tables], TRAFFIC);
        output
    }

    /// Fourier transforms of `length` complex numbers each into `elements`, two a complex number; keeps nothing.
    pub fn fourier(&mut self, name: &'static str, input: Tensor, elements: f64, length: f64) -> Tensor {
        let formula = "5 m log2 m for m complex numbers (Cooley and Tukey 1965, as FFTW counts)";
        self.counted(name, 2.5 * length.log2(), &[input], elements, Keeps::Nothing, formula)
    }

    /// A pass that changes every element and keeps nothing: a scale by a number, a mask, a copy.
    pub fn pass(&mut self, name: &'static str, input: Tensor) -> Tensor {
        self.expand(name, input, input.elements)
    }

    /// A copy of a tensor into a larger or smaller one.
    pub fn expand(&mut self, name: &'static str, input: Tensor, elements: f64) -> Tensor {
        let output = self.made_of(&[input], elements);
        self.pointwise(name, 1.0, &[input], output, &[], TRAFFIC);
        output
    }

    /// Softmax over the last dimension; keeps its output. As operations of their own, the exponential keeps its output and the
    /// quotient its denominators, spread over all elements.
    pub fn softmax(&mut self, input: Tensor) -> Tensor {
        if self.separate_softmax {
            let exponential = self.operation("softmax: exponential", 2.0, &[input], input.elements, Keeps::Output);
            let sums = self.operation("softmax: sums", 1.0, &[exponential], input.elements, Keeps::Nothing);
            return self.divide("softmax: quotient", exponential, sums);
        }
        let output = self.made_of(&[input], input.elements);
        self.record(Draft {
            name: "softmax",
            formula: COUNTED,
            rule: Rule::Softmax,
            inputs: &[input],
            output,
            keeps: &[output],
            matmul_flops: 0.0,
            elementwise_flops: 5.0 * output.elements,
            shape: None,
        });
        output
    }

    /// Dropout; keeps a mask, of one byte an element unless the tape says otherwise. Rate 0 does nothing.
    pub fn dropout(&mut self, input: Tensor, rate: f64) -> Tensor {
        if rate == 0.0 || self.is_inference() {
            return input;
        }
        let output = self.made_of(&[input], input.elements);
        let mask = self.constant(input.elements, self.dropout_mask_bytes);
        let mask = self.padded(mask, input.padding);
        self.pointwise("dropout", 4.0, &[input], output, &[mask], COUNTED);
        output
    }

    /// c tanh(x / c): a scale, a hyperbolic tangent, which keeps its output, and a scale.
    pub fn soft_cap(&mut self, input: Tensor) -> Tensor {
        let small = self.pass("soft cap: down", input);
        let tanh = self.activate(Activation::Tanh, small);
        self.pass("soft cap: up", tanh)
    }

    /// Layer normalisation over `width` with weight and bias; keeps its input and two statistics a row.
    pub fn layer_norm(&mut self, input: Tensor, width: f64) -> Tensor {
        self.layer_norm_with(input, width, 2)
    }

    /// Layer normalisation with that many vectors of parameters: weight and bias, weight, or none.
    pub fn layer_norm_with(&mut self, input: Tensor, width: f64, vectors: u8) -> Tensor {
        let before = self.current();
        self.component(Component::Norm);
        let weight = (vectors > 0).then(|| self.parameter(f64::from(vectors) * width));
        let inputs: Vec<Tensor> = std::iter::once(input).chain(weight).collect();
        let output = self.made_of(&inputs, input.elements);
        let statistics = self.constant(2.0 * input.elements / width, STATISTIC_BYTES);
        self.pointwise("layer norm", 5.0, &inputs, output, &[input, statistics], COUNTED);
        self.component(before);
        output
    }

    /// Layer normalisation without parameters, then a product with a weight that is 1 and a parameter: keeps its input and
    /// two statistics a row, the normalised input, and the sum.
    pub fn layer_norm_offset(&mut self, input: Tensor, width: f64) -> Tensor {
        let normalised = self.layer_norm_with(input, width, 0);
        let before = self.current();
        self.component(Component::Norm);
        let weight = self.parameter(width);
        let weight = self.pass("layer norm: one plus weight", weight);
        let output = self.multiply("layer norm: weight", normalised, weight);
        self.component(before);
        output
    }

    /// A weight and a bias for each of `width` columns, as two operations; keeps its input.
    pub fn affine(&mut self, input: Tensor, width: f64) -> Tensor {
        let before = self.current();
        self.component(Component::Norm);
        let (weight, bias) = (self.parameter(width), self.parameter(width));
        let scaled = self.multiply("norm: weight", input, weight);
        let output = self.add("norm: bias", scaled, bias);
        self.component(before);
        output
    }

    /// Layer normalisation in separate operations, with a weight alone: the centred input is made twice, for the variance
    /// and for the quotient, and both are kept, beside one statistic a row and the normalised input.
    pub fn separate_layer_norm(&mut self, input: Tensor, width: f64) -> Tensor {
        let before = self.current();
        self.component(Component::Norm);
        let weight = self.parameter(width);
        let centred = self.pass("layer norm: centre", input);
        let rows = input.elements / width;
        let statistics = self.operation("layer norm: variance", 2.0, &[centred], rows, Keeps::OutputAnd(&[centred]));
        let centred = self.pass("layer norm: centre", input);
        let normalised = self.multiply("layer norm: normalise", centred, statistics);
        let output = self.multiply("layer norm: weight", normalised, weight);
        self.component(before);
        output
    }

    /// Root-mean-square normalisation in separate operations; keeps its input, one statistic a row and the normalised
    /// input.
    pub fn rms_norm(&mut self, input: Tensor, width: f64) -> Tensor {
        self.rms_norm_with(input, width, false)
    }

    /// The same; with `offset`, the weight is 1 and a parameter, and their sum is kept (Gemma).
    pub fn rms_norm_with(&mut self, input: Tensor, width: f64, offset: bool) -> Tensor {
        let before = self.current();
        self.component(Component::Norm);
        let weight = self.parameter(width);
        let weight = if offset { self.pass("rms norm: one plus weight", weight) } else { weight };
        let output = self.made_of(&[input, weight], input.elements);
        let statistics = self.constant(input.elements / width, STATISTIC_BYTES);
        let normalised = self.made_of(&[input], input.elements);
        self.pointwise("rms norm", 4.0, &[input], normalised, &[input, statistics], COUNTED);
        let kept: &[Tensor] = if weight.gradient { &[normalised, weight] } else { &[weight] };
        self.pointwise("rms norm: weight", 1.0, &[normalised, weight], output, kept, COUNTED);
        self.component(before);
        output
    }

    /// Rows of a table picked by `indices`; keeps the indices.
    pub fn lookup(&mut self, name: &'static str, table: Tensor, indices: Tensor, width: f64) -> Tensor {
        self.gather(name, table, indices, indices.elements * width)
    }

    /// The quotient of two tensors; keeps both, as far as the other one's gradient needs them.
    pub fn divide(&mut self, name: &'static str, numerator: Tensor, denominator: Tensor) -> Tensor {
        let keeps: &[Tensor] = if denominator.gradient { &[numerator, denominator] } else { &[denominator] };
        let elements = numerator.elements.max(denominator.elements);
        self.operation(name, 1.0, &[numerator, denominator], elements, Keeps::These(keeps))
    }

    /// A mask of one byte an element laid over scores (`masked_fill`); keeps the mask.
    pub fn masked_fill(&mut self, name: &'static str, input: Tensor, mask: Tensor) -> Tensor {
        self.operation(name, 1.0, &[input, mask], input.elements, Keeps::These(&[mask]))
    }

    /// A mask of one byte an element.
    pub fn mask(&mut self, elements: f64) -> Tensor {
        self.constant(elements, MASK_BYTES)
    }

    /// A row of indices without gradient, such as token ids.
    pub fn indices(&mut self, count: f64) -> Tensor {
        self.constant(count, INDEX_BYTES)
    }

    /// Cross entropy of `positions` rows of `classes` logits: log-softmax in fp32 keeps its output, the loss its labels.
    pub fn cross_entropy(&mut self, logits: Tensor, positions: f64, classes: f64, labels: Tensor) {
        if self.is_inference() {
            return;
        }
        let log_probabilities = Tensor { gradient: logits.gradient, ..self.constant(positions * classes, STATISTIC_BYTES) };
        self.pointwise("log softmax", 5.0, &[logits], log_probabilities, &[log_probabilities], COUNTED);
        let loss = self.constant(1.0, STATISTIC_BYTES);
        self.pointwise("negative log likelihood", 1.0, &[log_probabilities], loss, &[labels, loss], TRAFFIC);
    }

    /// The same loss, with the log probabilities of labelled positions selected by a mask and gathered by label: keeps
    /// the log probabilities, the selected copy of them, and mask and labels.
    pub fn gathered_cross_entropy(&mut self, logits: Tensor, positions: f64, classes: f64, labels: Tensor) {
        let mut of_classes = || Tensor { gradient: true, ..self.constant(positions * classes, STATISTIC_BYTES) };
        let (log_probabilities, selected) = (of_classes(), of_classes());
        let (labelled, losses) = (self.mask(positions), self.mask(positions));
        self.pointwise("log softmax", 5.0, &[logits], log_probabilities, &[log_probabilities], COUNTED);
        self.pointwise("select labelled", 0.0, &[log_probabilities], selected, &[labelled], TRAFFIC);
        let loss = self.constant(1.0, STATISTIC_BYTES);
        self.pointwise("negative log likelihood", 1.0, &[selected], loss, &[selected, labels, losses], TRAFFIC);
    }

    /// The divergence from a teacher's probabilities (Hinton et al. 2015): logits over a temperature, log-softmax in fp32,
    /// the softmax of the teacher's, and t (log t - log s), which keeps the log-softmax and the targets.
    pub fn soft_targets(&mut self, logits: Tensor, positions: f64, classes: f64) {
        if self.is_inference() {
            return;
        }
        let scaled = self.pass("temperature", logits);
        let of_classes = |tape: &mut Self| tape.constant(positions * classes, STATISTIC_BYTES);
        let log_probabilities = Tensor { gradient: logits.gradient, ..of_classes(self) };
        self.pointwise("log softmax", 5.0, &[scaled], log_probabilities, &[log_probabilities], COUNTED);
        let taught = of_classes(self);
        let targets = of_classes(self);
        self.pointwise("softmax of the teacher", 6.0, &[taught], targets, &[], COUNTED);
        let each = Tensor { gradient: logits.gradient, ..of_classes(self) };
        self.pointwise("divergence from the teacher", 4.0, &[log_probabilities, targets], each, &[targets], TRAFFIC);
        let loss = self.constant(1.0, STATISTIC_BYTES);
        self.pointwise("mean divergence", 1.0, &[each], loss, &[], TRAFFIC);
    }

    /// Binary cross entropy of logits: keeps them and their labels as numbers.
    pub fn binary_cross_entropy(&mut self, logits: Tensor) {
        if self.is_inference() {
            return;
        }
        let labels = self.constant(logits.elements, STATISTIC_BYTES);
        self.operation("binary cross entropy", 5.0, &[logits, labels], 1.0, Keeps::These(&[logits, labels]));
    }

    /// Attention in one kernel (FlashAttention): keeps queries, keys, values, the output and one statistic a row and
    /// head; the scores never reach memory.
    pub fn fused_attention(&mut self, inputs: [Tensor; 3], output_elements: f64, scores: Shape, rows: f64) -> Tensor {
        let output = self.made_of(&inputs, output_elements);
        let statistics = self.constant(rows, STATISTIC_BYTES);
        let [query, key, value] = inputs;
        self.record(Draft {
            name: "fused attention",
            formula: "4 b h n m d (Dao et al. 2022); backward 2.5 times, 2 of them model FLOPs",
            rule: Rule::FusedAttention,
            inputs: &inputs,
            output,
            keeps: &[query, key, value, output, statistics],
            matmul_flops: 2.0 * scores.flops(),
            elementwise_flops: 5.0 * scores.batch * scores.m * scores.n,
            shape: Some(scores),
        });
        output
    }

    /// Rows of the queries times the running sum of keys by values, in one kernel that scans the positions (Katharopoulos
    /// et al. 2020): keeps queries, keys and values; backward runs the sums once more.
    pub fn causal_product(&mut self, inputs: [Tensor; 3], shape: Shape) -> Tensor {
        let output = self.made_of(&inputs, shape.batch * shape.m * shape.n);
        self.record(Draft {
            name: "queries by running state",
            formula: "4 n m d_h h (Katharopoulos et al. 2020); backward 2.5 times, 2 of them model FLOPs",
            rule: Rule::FusedAttention,
            inputs: &inputs,
            output,
            keeps: &inputs,
            matmul_flops: 2.0 * shape.flops(),
            elementwise_flops: 0.0,
            shape: Some(shape),
        });
        output
    }
}
