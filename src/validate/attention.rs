//! Peak memory of attention alone, as published with FlashAttention.
//!
//! What was measured is attention between given queries, keys and values, which lie in one tensor with its gradient
//! beside it; keys are scaled before the product, as in the authors' reference code. Linformer is the same function with
//! keys and values shortened where they are used; its projections, being parameters, are not counted.

use super::published::Table;
use super::{Check, Validation};
use crate::document::{Diagnostic, Library};
use crate::ledger::{Ledger, Rerun, Shape, Tape, Tensor};

/// Sequences, heads and width of a head of the table.
const SIZES: (f64, f64, f64) = (16.0, 8.0, 64.0);
/// Bytes of an element.
const ELEMENT: f64 = 2.0;
const MIB: f64 = 1_048_576.0;

/// What stands beside the softmax between scores and values: padding filled in before it, dropout behind it, as in the authors'
/// benchmark. A fused kernel does both inside.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Between {
    pub masked: bool,
    pub dropout: bool,
}

/// The rate; no figure depends on it.
const DROPOUT: f64 = 0.1;

/// A function that the table names: from which length on it is compared, the bar, and its ledger at a length.
struct Function {
    name: &'static str,
    from: f64,
    bar: f64,
    write: fn(&mut Tape, f64, Between) -> Tensor,
}

const FUNCTIONS: [Function; 3] = [
    Function { name: "PyTorch Attention", from: 128.0, bar: 0.0, write: standard },
    // Below, one block holds the whole sequence, and the kernel needs no fp32 sum.
    Function { name: "FlashAttention", from: 512.0, bar: 0.0, write: fused },
    Function { name: "Linformer", from: 1024.0, bar: 0.0145, write: linformer },
];

/// Queries, keys and values in one tensor.
fn packed(tape: &mut Tape, length: f64) -> [Tensor; 3] {
    let (sequences, heads, width) = SIZES;
    let whole = tape.leaf(3.0 * sequences * length * heads * width);
    [1.0, 1.0, 1.0].map(|part| tape.view(whole, part / 3.0))
}

fn eager(tape: &mut Tape, length: f64, keys: f64, between: Between) -> Tensor {
    let (sequences, heads, width) = SIZES;
    let batch = sequences * heads;
    let [query, key, value] = packed(tape, length);
    let shorter = |tape: &mut Tape, x: Tensor| {
        if keys == length {
            return x;
        }
        let projection = tape.matrix(length, keys);
        tape.matmul("length projection", projection, x, Shape { batch: sequences, m: keys, n: heads * width, k: length })
    };
    let key = tape.pass("scale keys", key);
    let key = shorter(tape, key);
    let scores = tape.matmul("scores", query, key, Shape { batch, m: length, n: keys, k: width });
    let scores = if between.masked {
        let padding = tape.mask(sequences * keys);
        tape.masked_fill("padding", scores, padding)
    } else {
        scores
    };
    let weights = tape.softmax(scores);
    let weights = tape.dropout(weights, if between.dropout { DROPOUT } else { 0.0 });
    let value = shorter(tape, value);
    tape.matmul("weighted values", weights, value, Shape { batch, m: length, n: width, k: keys })
}

fn standard(tape: &mut Tape, length: f64, between: Between) -> Tensor {
    eager(tape, length, length, between)
}

fn linformer(tape: &mut Tape, length: f64, between: Between) -> Tensor {
    eager(tape, length, (length / 8.0).min(256.0), between)
}

fn fused(tape: &mut Tape, length: f64, _: Between) -> Tensor {
    let (sequences, heads, width) = SIZES;
    let inputs = packed(tape, length);
    let scores = Shape { batch: sequences * heads, m: length, n: length, k: width };
    tape.fused_attention(inputs, inputs[0].elements, scores, scores.batch * length)
}

impl Function {
    fn ledger(&self, length: f64, between: Between) -> Ledger {
        let mut tape = Tape::new(ELEMENT, SIZES.0 * length);
        (self.write)(&mut tape, length, between);
        tape.finish()
    }
}

/// The ledger of exact attention by the name that the paper gives it; nothing of other functions.
pub(super) fn exact(method: &str, length: f64, between: Between) -> Option<Ledger> {
    FUNCTIONS[..2].iter().find(|function| function.name == method).map(|function| function.ledger(length, between))
}

/// Compares the table.
///
/// # Errors
/// The table cannot be read.
pub fn attention(library: &dyn Library) -> Result<Validation, Diagnostic> {
    let table = Table::<(String, f64, f64)>::read(library, "attention_memory", "method,sequence_length,peak_mib")?;
    let mut checks = Vec::new();
    for (method, length, recorded) in table.rows {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == method && length >= function.from) else { continue };
        // The table prints whole MiB, halves to the even neighbour.
        let predicted = (function.ledger(length, Between::default()).peak_bytes(Rerun::Nothing) / MIB).round_ties_even();
        checks.push(Check {
            case: format!("{method}, {length} positions"),
            quantity: "peak memory, MiB",
            predicted,
            recorded,
            bar: function.bar,
            explanation: None,
            holds: (predicted / recorded - 1.0).abs() <= function.bar,
        });
    }
    Ok(Validation { table: "published/attention_memory".into(), source: table.source, checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B sequences, H heads, N positions, D = 512 columns, k shorter length.
    #[test]
    fn the_constants_fall_out() {
        let units = |length: f64| 16.0 * length * 512.0 * 2.0;
        let peak = |index: usize, length: f64| FUNCTIONS[index].ledger(length, Between::default()).peak_bytes(Rerun::Nothing);
        for n in [512.0, 1024.0, 4096.0] {
            assert_eq!(peak(0, n), 4.0 * 16.0 * 8.0 * n * n * 2.0 + 10.0 * units(n));
            assert_eq!(peak(1, n), 13.0 * units(n) + 2.0 * 16.0 * 8.0 * n * 4.0);
        }
        let shortened = 16.0 * 256.0 * 512.0 * 2.0;
        assert_eq!(peak(2, 4096.0), 4.0 * 16.0 * 8.0 * 4096.0 * 256.0 * 2.0 + 10.0 * units(4096.0) + shortened);
    }
}
