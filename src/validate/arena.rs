//! Speed and memory of the models of Long Range Arena, as published.
//!
//! Each cell is one training step of a shipped model, `lra-text-*`, at its length: two sequences on a TPU v3, whose memory
//! holds whole tiles, in fp32. The step's buffers are not donated, so that new parameters and state lie beside the old
//! ones: 28 bytes a parameter with Adam, not 16. Memory has no fitted number; of the time model, the side-car says what was
//! fitted to which cells. Speeds are compared by their order at the longest length.

use serde::Deserialize;

use super::published::Table;
use super::{Check, Validation};
use crate::arch::{Batch, Model};
use crate::document::{Diagnostic, Kind, Library, Origin, Resolver, overlay};
use crate::ledger::{Ledger, Rerun, Tile};
use crate::perf::{Pass, Rates, StepWork, step_time};

/// Sequences of a device: 32 on 16.
const SEQUENCES: f64 = 2.0;
/// Tiles of a TPU's memory for numbers of 4 bytes.
const TILE: Tile = Tile { rows: 8.0, columns: 128.0 };
/// Parameters, gradients and Adam's state, and the new parameters and state.
const BYTES_OF_A_PARAMETER: f64 = 16.0 + 12.0;
/// Peaks of a TPU v3 chip: products of bf16 passes, FLOP/s, and memory, B/s (Google Cloud documentation).
const PEAKS: (f64, f64) = (123e12, 900e9);
/// The cell of memory that breaks its row's trend.
const ODD: (&str, f64) = ("linformer", 3000.0);
/// The length at which speeds are ranked.
const LONGEST: f64 = 4000.0;

#[derive(Deserialize)]
struct Row {
    model: String,
    positions: f64,
    steps_per_second: f64,
    memory_gb: f64,
}

/// What the slice achieves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Achieved {
    overhead_s: f64,
    share_of_peaks: f64,
    share_of_gathers: f64,
}

impl Achieved {
    fn seconds(&self, ledger: &Ledger) -> f64 {
        let rates = Rates {
            gather_bandwidth: self.share_of_gathers * PEAKS.1,
            step_overhead: self.overhead_s,
            ..Rates::alone(self.share_of_peaks * PEAKS.0, self.share_of_peaks * PEAKS.1)
        };
        step_time(&StepWork::new(vec![Pass::new(ledger.kernels(Rerun::Nothing), 0.0)], 1.0), &rates).total().value()
    }
}

/// Compares the table.
///
/// # Errors
/// The table or a model cannot be read.
pub fn arena(library: &dyn Library) -> Result<Validation, Diagnostic> {
    let table = Table::<Row>::read(library, "long_range_arena", "model,positions,steps_per_second,memory_gb")?;
    let lacks = || Diagnostic::new(&table.side_car.origin, "rates", "nothing", "a table");
    let achieved: Achieved = table.side_car.find("rates").ok_or_else(lacks)?.read().map_err(|error| error.under("rates"))?;
    let mut resolver = Resolver::new(library);
    let (mut checks, mut speeds) = (Vec::new(), Vec::new());
    for row in &table.rows {
        let ledger = ledger(&mut resolver, row)?;
        if (row.model.as_str(), row.positions) != ODD {
            let predicted = (BYTES_OF_A_PARAMETER * ledger.parameters() + ledger.peak_bytes(Rerun::Nothing)) / 1e9;
            checks.push(check(format!("{}, {} positions", row.model, row.positions), "memory, GB", predicted, row.memory_gb, 0.15));
        }
        if row.positions == LONGEST {
            let predicted = 1.0 / achieved.seconds(&ledger);
            checks.push(check(
                format!("{}, {} positions", row.model, row.positions),
                "steps a second",
                predicted,
                row.steps_per_second,
                0.2,
            ));
            speeds.push((predicted, row.steps_per_second));
        }
    }
    let ranks = check(format!("{} models, {LONGEST} positions", speeds.len()), "rank correlation of speeds", spearman(&speeds), 1.0, 0.05);
    let why = "Performer, Linear Transformer and Linformer, whose published speeds are within 4 % of each other, stand in another order";
    checks.push(Check { explanation: Some(why.into()), ..ranks });
    Ok(Validation { table: "published/long_range_arena".into(), source: table.source, checks })
}

/// The ledger of a cell; length projections and patterns have the length with its class token.
fn ledger(resolver: &mut Resolver<'_>, row: &Row) -> Result<Ledger, Diagnostic> {
    let name = format!("lra-text-{}", row.model);
    let node = resolver.named(Kind::Model, &name, &Origin::whole("validate"))?;
    let longest = overlay::assignment(&format!("embedding.positions.length={}", row.positions + 1.0))?;
    let node = overlay::overlay(node, longest);
    let model = Model::read(&node)?;
    let batch = Batch { sequences: SEQUENCES, length: row.positions, element_bytes: 4.0 };
    model.ledger_in_tiles(batch, Some(TILE)).map_err(|problem| problem.at(&node).under(&name))
}

fn check(case: String, quantity: &'static str, predicted: f64, recorded: f64, bar: f64) -> Check {
    let holds = (predicted / recorded - 1.0).abs() <= bar;
    Check { case, quantity, predicted, recorded, bar, explanation: None, holds }
}

/// Spearman's rank correlation: 1 - 6 sum d^2 / (n (n^2 - 1)), d the differences of ranks, equal values sharing the mean of
/// theirs (Spearman 1904).
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let count = |of: fn(&(f64, f64)) -> f64, is: &dyn Fn(f64) -> bool| pairs.iter().filter(|pair| is(of(pair))).count() as f64;
    let rank = |of: fn(&(f64, f64)) -> f64, value: f64| count(of, &|other| other < value) + 0.5 * count(of, &|other| other == value);
    let difference = |pair: &(f64, f64)| rank(|pair| pair.0, pair.0) - rank(|pair| pair.1, pair.1);
    let squares: f64 = pairs.iter().map(|pair| difference(pair).powi(2)).sum();
    let n = pairs.len() as f64;
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_of_ranks_is_of_order_alone() {
        assert_eq!(spearman(&[(1.0, 10.0), (2.0, 100.0), (9.0, 101.0)]), 1.0);
        assert_eq!(spearman(&[(3.0, 1.0), (2.0, 2.0), (1.0, 3.0)]), -1.0);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]), 0.5);
    }
}
