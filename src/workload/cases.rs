//! What the workload runs: kernels of a transformer's training step, by precision and size, as plain data.
//!
//! FLOP and bytes of a call are those of the ledger, so that a measured kernel and a modelled one speak of the same work: 2 m n k
//! batch for a product, the constants of ELECTRA's `flops_computation.py` for the rest, every operand moved once. Of operands that
//! fit the device's cache, less reaches its memory.

use serde_json::{Value, json};

use crate::hardware::Precision;
use crate::ledger::{Activation, Cost, Keeps, Shape, Tape};

/// What a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Nothing, with the context alive.
    Idle,
    /// A kernel of one thread that does nothing: what a launch costs.
    Launch,
    /// Products `m x k` times `k x n`, `batch` of them, of matrices as `linear` layers lay them (the second one transposed).
    Gemm,
    /// A copy inside the device's memory.
    Copy,
    /// The sum of two tensors.
    Add,
    /// GELU by the error function.
    Gelu,
    /// Softmax over `m` rows of `n`.
    Softmax,
    /// Layer normalisation over `m` rows of `n`, with weight, bias and statistics.
    LayerNorm,
    /// `m` rows of `n`, picked from a table of `k` rows.
    Gather,
}

impl Kernel {
    /// Every kernel, in the order in which they run.
    pub const ALL: [Self; 9] =
        [Self::Idle, Self::Launch, Self::Gemm, Self::Copy, Self::Add, Self::Gelu, Self::Softmax, Self::LayerNorm, Self::Gather];

    /// The word in files and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Launch => "launch",
            Self::Gemm => "gemm",
            Self::Copy => "copy",
            Self::Add => "add",
            Self::Gelu => "gelu",
            Self::Softmax => "softmax",
            Self::LayerNorm => "layer_norm",
            Self::Gather => "gather",
        }
    }
}

/// A kernel at one precision and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// What runs.
    pub kernel: Kernel,
    /// The format of its numbers; none where it has none.
    pub precision: Option<Precision>,
    /// Rows, where it has rows.
    pub m: Option<u64>,
    /// Columns, where it has rows.
    pub n: Option<u64>,
    /// The inner size of a product; rows of the table of a gather.
    pub k: Option<u64>,
    /// Products in one call.
    pub batch: Option<u64>,
    /// Elements of the output, where it is no product.
    pub elements: Option<u64>,
}

/// The keys of a case in `kernels`, in their order; `calls` follows when it has run.
pub const COLUMNS: [&str; 9] = ["kernel", "precision", "m", "n", "k", "batch", "elements", "flop", "bytes"];

impl Case {
    const fn bare(kernel: Kernel) -> Self {
        Self { kernel, precision: None, m: None, n: None, k: None, batch: None, elements: None }
    }

    pub(super) fn gemm(precision: Precision, batch: u64, [m, n, k]: [u64; 3]) -> Self {
        Self { precision: Some(precision), m: Some(m), n: Some(n), k: Some(k), batch: Some(batch), ..Self::bare(Kernel::Gemm) }
    }

    pub(super) fn elementwise(kernel: Kernel, precision: Precision, elements: u64) -> Self {
        Self { precision: Some(precision), elements: Some(elements), ..Self::bare(kernel) }
    }

    pub(super) fn rows(kernel: Kernel, precision: Precision, [m, n]: [u64; 2]) -> Self {
        Self { m: Some(m), n: Some(n), ..Self::elementwise(kernel, precision, m * n) }
    }

    /// The name of its phase.
    #[must_use]
    pub fn name(&self) -> String {
        let size = match (self.batch, self.m, self.n, self.k, self.elements) {
            (Some(1), Some(m), Some(n), Some(k), _) => format!("{m}x{n}x{k}"),
            (Some(batch), Some(m), Some(n), Some(k), _) => format!("{batch}:{m}x{n}x{k}"),
            (_, Some(m), Some(n), Some(k), _) => format!("{m}x{n}:{k}"),
            (_, Some(m), Some(n), None, _) => format!("{m}x{n}"),
            (.., Some(elements)) => elements.to_string(),
            _ => return self.kernel.word().to_string(),
        };
        [self.kernel.word(), self.precision.map_or("", Precision::word), &size].join("/")
    }

    /// What one call computes and moves.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let Some(precision) = self.precision else { return Cost::default() };
        let size = |value: Option<u64>| value.unwrap_or(1) as f64;
        let (m, n, k, batch, elements) = (size(self.m), size(self.n), size(self.k), size(self.batch), size(self.elements));
        let mut tape = Tape::new(precision.element_bytes(), m);
        match self.kernel {
            Kernel::Idle | Kernel::Launch => {}
            Kernel::Gemm => {
                let (left, right) = (tape.activation(batch * m * k), tape.activation(batch * k * n));
                tape.matmul("product", left, right, Shape { batch, m, n, k });
            }
            Kernel::Copy => {
                let input = tape.activation(elements);
                tape.operation("copy", 0.0, &[input], elements, Keeps::Nothing);
            }
            Kernel::Add => {
                let (left, right) = (tape.activation(elements), tape.activation(elements));
                tape.add("sum", left, right);
            }
            Kernel::Gelu => {
                let input = tape.activation(elements);
                tape.activate(Activation::Gelu, input);
            }
            Kernel::Softmax => {
                let input = tape.activation(elements);
                tape.softmax(input);
            }
            Kernel::LayerNorm => {
                let input = tape.activation(elements);
                tape.layer_norm(input, n);
            }
            Kernel::Gather => {
                let (table, indices) = (tape.matrix(k, n), tape.indices(m));
                tape.lookup("rows", table, indices, n);
            }
        }
        tape.finish().ops().iter().map(|op| op.forward).sum()
    }

    /// The case as columns of `kernels`; null is what it does not have.
    #[must_use]
    pub fn columns(&self) -> Value {
        let cost = self.cost();
        let whole = |value: f64| value as u64;
        json!({
            "kernel": self.kernel.word(),
            "precision": self.precision.map(Precision::word),
            "m": self.m,
            "n": self.n,
            "k": self.k,
            "batch": self.batch,
            "elements": self.elements,
            "flop": whole(cost.matmul_flops + cost.elementwise_flops),
            "bytes": whole(cost.bytes()),
        })
    }
}

/// Cases as CSV, the name of the phase first; an empty cell is what a case does not have.
#[must_use]
pub fn csv(cases: &[Case]) -> String {
    let mut text = format!("name,{}\n", COLUMNS.join(","));
    for case in cases {
        let columns = case.columns();
        let cell = |column: &str| match &columns[column] {
            Value::Null => String::new(),
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        let cells: Vec<String> = std::iter::once(case.name()).chain(COLUMNS.map(cell)).collect();
        text += &(cells.join(",") + "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flop_and_bytes(case: &Case) -> [u64; 2] {
        let columns = case.columns();
        ["flop", "bytes"].map(|column| columns[column].as_u64().unwrap())
    }

    /// Counted by hand.
    #[test]
    fn flop_and_bytes_are_those_of_the_formula() {
        let (full, half) = (Precision::Fp32, Precision::Bf16);
        for (case, expected) in [
            (Case::bare(Kernel::Idle), [0, 0]),
            (Case::bare(Kernel::Launch), [0, 0]),
            (Case::gemm(half, 1, [8192, 768, 192]), [2 * 8192 * 768 * 192, 2 * (8192 * 192 + 192 * 768 + 8192 * 768)]),
            (Case::gemm(Precision::Tf32, 3, [4, 5, 6]), [2 * 3 * 4 * 5 * 6, 4 * 3 * (4 * 6 + 6 * 5 + 4 * 5)]),
            (Case::elementwise(Kernel::Copy, full, 1024), [0, 2 * 4 * 1024]),
            (Case::elementwise(Kernel::Add, half, 1024), [1024, 3 * 2 * 1024]),
            (Case::elementwise(Kernel::Gelu, full, 1024), [8 * 1024, 2 * 4 * 1024]),
            (Case::rows(Kernel::Softmax, half, [64, 16]), [5 * 1024, 2 * 2 * 1024]),
            // Input and output, weight and bias, mean and deviation in fp32.
            (Case::rows(Kernel::LayerNorm, half, [64, 16]), [5 * 1024, 2 * 2 * 1024 + 2 * 2 * 16 + 2 * 4 * 64]),
            // Rows that are picked, their places of 8 bytes, and the output.
            (Case { k: Some(4096), ..Case::rows(Kernel::Gather, full, [64, 16]) }, [0, 2 * 4 * 1024 + 8 * 64]),
        ] {
            assert_eq!(flop_and_bytes(&case), expected, "{}", case.name());
        }
    }

    #[test]
    fn every_column_is_there_and_null_where_a_case_has_none() {
        let columns = Case::gemm(Precision::Fp16, 2, [8, 8, 8]).columns();
        let keys: Vec<&String> = columns.as_object().unwrap().keys().collect();
        assert_eq!(keys, COLUMNS.iter().collect::<Vec<_>>());
        assert_eq!((&columns["precision"], &columns["elements"]), (&json!("fp16"), &Value::Null));
        assert_eq!(csv(&[Case::bare(Kernel::Idle)]).lines().last(), Some("idle,idle,,,,,,,0,0"));
    }
}
