//! The ledger against counts of real PyTorch modules: parameters and products exact, bytes kept within their share.

use lowcarb::store::Store;
use lowcarb::validate;

#[test]
fn every_recorded_module_is_matched() {
    let store = Store::embedded();
    let validations = validate::modules(&store, &store.data_files("measurements/pytorch")).unwrap_or_else(|error| panic!("{error}"));
    let mut failures = Vec::new();
    for validation in &validations {
        assert!(!validation.checks.is_empty(), "{} holds no case", validation.table);
        for check in validation.checks.iter().filter(|check| !check.holds) {
            let (ours, theirs) = (check.predicted, check.recorded);
            let difference = format!("{:+}, {:+.3} %", ours - theirs, 100.0 * check.error());
            failures.push(format!("{}: {}: {}: {ours} for {theirs} ({difference})", validation.table, check.case, check.quantity));
        }
        for summary in validation.summaries() {
            println!("{}: {}: {} cases, worst {:.3} %", validation.table, summary.quantity, summary.cases, 100.0 * summary.worst);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let cases: usize = validations.iter().map(|validation| validation.checks.len() / 4).sum();
    assert!(cases >= 224, "only {cases} cases");
}

#[test]
fn published_peaks_of_attention_are_matched() {
    let validation = validate::attention(&Store::embedded()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(validation.checks.len(), 21);
    for check in &validation.checks {
        assert!(check.holds, "{}: {} for {}", check.case, check.predicted, check.recorded);
    }
}

/// Memory of 35 cells without a fitted number, and speeds whose time model was fitted to five of them.
#[test]
fn published_steps_of_long_range_arena_are_matched() {
    let validation = validate::arena(&Store::embedded()).unwrap_or_else(|error| panic!("{error}"));
    let of = |quantity: &str| validation.checks.iter().filter(|check| check.quantity == quantity).collect::<Vec<_>>();
    let (memory, speed, ranks) = (of("memory, GB"), of("steps a second"), of("rank correlation of speeds"));
    assert_eq!((memory.len(), speed.len(), ranks.len()), (35, 9, 1));
    for check in memory.into_iter().chain(speed) {
        assert!(check.holds, "{}: {}: {} for {}", check.case, check.quantity, check.predicted, check.recorded);
    }
    // Short of 0.95: of three models within 4 % of each other, one comes first that was third and two are equal; no other pair
    // stands in another order.
    assert!((ranks[0].predicted - (1.0 - 6.0 * 6.5 / 720.0)).abs() < 1e-9, "{}", ranks[0].predicted);
}

/// Ratios of two models on one card, without a fitted number: the cells outside the bar are these and no others.
#[test]
fn published_savings_of_linformer_are_matched_but_for_known_cells() {
    let validation = validate::linformer(&Store::embedded()).unwrap_or_else(|error| panic!("{error}"));
    let of = |quantity: &str| validation.checks.iter().filter(|check| check.quantity == quantity).collect::<Vec<_>>();
    let outside =
        |quantity: &str| of(quantity).into_iter().filter(|check| !check.holds).map(|check| check.case.as_str()).collect::<Vec<_>>();
    assert_eq!((of("time saved").len(), of("memory saved").len()), (19, 19));
    let time = ["2048 positions, 128 projected", "2048 positions, 256 projected", "2048 positions, 512 projected"];
    assert_eq!(outside("time saved"), [&time[..], &["16384 positions, 2048 projected"]].concat());
    let memory = ["8192 positions, 256 projected", "16384 positions, 256 projected"];
    assert_eq!(outside("memory saved"), [&time[..2], &memory].concat());
    // Without room for one sequence nothing is claimed.
    for quantity in ["time saved, no room", "memory saved, no room"] {
        assert_eq!(of(quantity).len(), 10);
        assert!(of(quantity).iter().all(|check| !check.holds && check.explanation.is_some()));
    }
    for check in of("time saved").into_iter().chain(of("memory saved")) {
        assert!(check.error().abs() < 0.31, "{}: {}: {} for {}", check.case, check.quantity, check.predicted, check.recorded);
    }
}
