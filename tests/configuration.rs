//! The configuration that `inspect` prints: a model read from it alone has the same ledger, so it leaves out nothing that matters.

mod common;

use common::{Workplace, ledger_or_problem};
use lowcarb::arch::Model;
use lowcarb::document::{Node, overlay};

/// The model that a program would build from the configuration in the output of `inspect`.
fn rebuilt(inspection: &serde_json::Value) -> Model {
    let node = Node::parse_json("configuration", &inspection["configuration"].to_string()).unwrap();
    let sources = "name = \"rebuilt\"\nsource = \"s\"\nsources = { s = { citation = \"s\", year = 2026 } }\n";
    Model::read(&overlay::overlay(node, Node::parse("sources", sources).unwrap())).unwrap()
}

fn agrees(place: &Workplace, arguments: &[&str]) {
    let inspection = place.json(&[&["inspect"], arguments, &["--precision", "bf16", "--format", "json"]].concat());
    let model = rebuilt(&inspection);
    let length = inspection["seq_len"].as_u64().unwrap();
    let ledger = ledger_or_problem(&model, 1, length).unwrap();
    let figures = [
        (&inspection["parameters"]["total"], ledger.parameters()),
        (&inspection["trained_parameters"], ledger.changed_parameters()),
        (&inspection["flops"]["matmul_forward"], ledger.forward().matmul_flops),
        (&inspection["flops"]["elementwise_backward"], ledger.backward().elementwise_flops),
        (&inspection["bytes_moved"]["forward"], ledger.forward().bytes()),
        (&inspection["bytes_moved"]["backward"], ledger.backward().bytes()),
        (&inspection["memory_bytes"]["activations"], ledger.kept_bytes()),
    ];
    for (printed, figure) in figures {
        let printed = printed.as_f64().unwrap();
        assert!((printed - figure).abs() <= 0.5 + 1e-12 * figure, "{arguments:?}: {printed} and {figure}");
    }
}

#[test]
fn it_holds_all_that_matters_of_every_shipped_model() {
    let place = Workplace::new();
    let mut models = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/models")).unwrap() {
        let path = entry.unwrap().path();
        agrees(&place, &[path.file_stem().unwrap().to_str().unwrap()]);
        models += 1;
    }
    assert!(models > 100, "only {models}");
}

#[test]
fn it_has_overlays_defaults_and_what_pruning_left() {
    let place = Workplace::new();
    let inspection = place.json(&["inspect", "bert-base", "--set", "linear.ratio=0.5", "--set", "prune.heads=0.25", "--format", "json"]);
    let configuration = &inspection["configuration"];
    for (path, value) in [
        ("/linear/ratio", serde_json::json!(0.5)),
        ("/linear/kind", "low_rank".into()),
        ("/linear/components", serde_json::json!(["attention", "feed_forward", "pooler"])),
        ("/attention/heads", 9.into()),
        ("/attention/head_width", 64.into()),
        ("/attention/dropout", serde_json::json!(0.1)),
        ("/attention/implementation", "eager".into()),
        ("/prune", serde_json::Value::Null),
        ("/norm/final", false.into()),
        ("/head/activation", "gelu".into()),
        ("/embedding/positions/length", 512.into()),
    ] {
        assert_eq!(configuration.pointer(path), Some(&value), "{path}");
    }
    for set in ["attention={ kind = \"performer\" }", "linear.n_of_m.keep=2", "linear.adapter.rank=8", "linear.quantised.format=nf4"] {
        agrees(&place, &["bert-base", "--set", set]);
    }
}
