//! Times of the two inner loops: a ledger, and an estimate per draw.
//!
//! `cargo bench --bench ledger`

use std::hint::black_box;
use std::time::Instant;

use lowcarb::arch::{Batch, Model};
use lowcarb::document::{Kind, Origin, Resolver};
use lowcarb::estimate;
use lowcarb::scenario::Scenario;
use lowcarb::store::Store;

fn main() {
    let store = Store::embedded();
    println!("{:<40} {:>12} {:>12} {:>12}", "microseconds", "median", "least", "bar");

    let model = Resolver::new(&store).named(Kind::Model, "bert-base", &Origin::whole("bench"));
    let model = model.and_then(|node| Model::read(&node)).expect("a shipped model");
    let batch = Batch { sequences: 64.0, length: 128.0, element_bytes: 2.0 };
    let ledger = times(2_000, || {
        black_box(black_box(&model).ledger(black_box(batch)).expect("a ledger"));
    });
    row("ledger of bert-base", &ledger, Some(50.0));

    let few = estimates(&store, 0);
    let many = estimates(&store, 10_000);
    row("bert_base_lrt, no draws", &few, None);
    row("bert_base_lrt, 10,000 draws", &many, None);
    let cases = scenario(&store, 0).names().len();
    println!("{:<40} {:>12.3}", format!("per draw of its {cases} cases"), (median(&many) - median(&few)) / 10_000.0);
}

/// Microseconds of the estimator alone, the scenario read before.
fn estimates(store: &Store, draws: usize) -> Vec<f64> {
    let scenario = scenario(store, draws);
    times(21, || {
        black_box(estimate::run(black_box(&scenario), &mut Resolver::new(store)).expect("an estimate"));
    })
}

fn scenario(store: &Store, draws: usize) -> Scenario {
    Scenario::read(&mut Resolver::new(store), "bert_base_lrt", &[format!("draws={draws}")]).expect("a shipped scenario")
}

/// Microseconds of each of `runs` runs, in rising order, after a tenth as many that are not counted.
fn times(runs: usize, mut work: impl FnMut()) -> Vec<f64> {
    for _ in 0..runs / 10 {
        work();
    }
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn median(times: &[f64]) -> f64 {
    times[times.len() / 2]
}

fn row(name: &str, times: &[f64], bar: Option<f64>) {
    let bar = bar.map_or_else(String::new, |bar| format!("below {bar}"));
    println!("{name:<40} {:>12.1} {:>12.1} {bar:>12}", median(times), times[0]);
}
