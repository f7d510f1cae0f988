//! Recorded Hugging Face configurations with values changed at random: each gives a model or a message, never a panic.

mod common;

use std::fs;
use std::path::Path;

use common::ledger_or_problem;
use lowcarb::arch::{Model, hugging_face};
use lowcarb::document::Node;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::{Map, Value, json};

/// Every configuration of the recordings.
fn recorded() -> Vec<Map<String, Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("measurements/pytorch");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let models = files.flat_map(|text| {
        let recording: Value = serde_json::from_str(&text).unwrap();
        recording["models"].as_object().unwrap().values().filter_map(|model| model.get("config").cloned()).collect::<Vec<_>>()
    });
    models.filter_map(|config| config.as_object().cloned()).collect()
}

/// Values that a key may be changed to.
fn values() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(7),
        json!(-1),
        json!(16_777_216),
        json!(9_223_372_036_854_775_807_i64),
        json!(0.0),
        json!(0.5),
        json!(1.0),
        json!(1e308),
        json!(-0.1),
        json!(true),
        json!(false),
        json!(""),
        json!("gelu"),
        json!([]),
        json!([1, 2]),
        json!([0]),
        json!({}),
        json!({ "a": 1 }),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(20_201_016), ..ProptestConfig::default() })]

    #[test]
    fn a_changed_configuration_gives_a_model_or_a_message(
        which in any::<Index>(), changes in prop::collection::vec((any::<Index>(), values()), 1..4), length in 1_u64..40,
    ) {
        let all = recorded_once();
        let mut config = which.get(all).clone();
        let keys: Vec<String> = config.keys().filter(|key| *key != "model_type").cloned().collect();
        for (index, value) in changes {
            config.insert(index.get(&keys).clone(), value);
        }
        let text = Value::Object(config).to_string();
        let model = Node::parse_json("config.json", &text).and_then(|node| Model::read(&hugging_face::import(&node)?));
        match model {
            Ok(model) => {
                let _ = model.notes_at(length);
                if let Ok(ledger) = ledger_or_problem(&model, 2, length) {
                    for number in [ledger.parameters(), ledger.forward().matmul_flops, ledger.backward().bytes(), ledger.kept_bytes()] {
                        prop_assert!(number.is_finite() && number >= 0.0, "{number}: {text}");
                    }
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

fn recorded_once() -> &'static [Map<String, Value>] {
    static ALL: std::sync::OnceLock<Vec<Map<String, Value>>> = std::sync::OnceLock::new();
    ALL.get_or_init(recorded)
}
