//! Running a trained model, comparing two, and the quality beside a saving: through the program.

mod common;

use common::Workplace;
use serde_json::Value;

const ON_DEVICE: &str = "schema = 1\ntitle = \"t\"\nbaseline = \"base\"\nmodel = \"gpt2\"\ndraws = 0\n\
    hardware.accelerator = \"A100-SXM4-80GB\"\nsite.pue = 1.0\nsite.carbon_intensity = \"400 g/kWh\"\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn run(scenario: &str) -> Value {
    let place = Workplace::new();
    place.write("s.toml", scenario);
    json(&place.printed(&["run", "./s.toml", "--format", "json"]))
}

fn refused(scenario: &str) -> String {
    let place = Workplace::new();
    place.write("s.toml", scenario);
    let output = place.run(&["run", "./s.toml"]);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_forward_pass_costs_a_third_of_a_training_step_and_keeps_nothing() {
    let place = Workplace::new();
    let model = json(&place.printed(&["inspect", "bert-base", "--seq-len", "128", "--format", "json"]));
    let inference = &model["inference"];
    assert_eq!(inference["matmul_flops"], model["flops"]["matmul_forward"]);
    assert_eq!(inference["stored_bytes"]["fp32"], 109_514_298 * 4);
    assert_eq!(inference["stored_bytes"]["fp16"], 109_514_298 * 2);
    assert_eq!(inference["cache_bytes"], Value::Null, "an encoder has no cache");
    assert!(inference["working_bytes"].as_f64().unwrap() < model["memory_bytes"]["activations"].as_f64().unwrap() / 4.0);
}

#[test]
fn a_cache_holds_keys_and_values_of_every_layer() {
    let place = Workplace::new();
    let gpt2 = json(&place.printed(&["inspect", "gpt2", "--seq-len", "1024", "--precision", "fp16", "--format", "json"]));
    // 2 x 12 layers x 768 x 2 bytes.
    assert_eq!(gpt2["inference"]["cache_bytes_per_position"], 36_864);
    assert_eq!(gpt2["inference"]["cache_bytes"], 36_864 * 1024);
    let grouped = ["inspect", "gpt2", "--precision", "fp16", "--format", "json", "--set", "attention.key_value_heads=4"];
    assert_eq!(json(&place.printed(&grouped))["inference"]["cache_bytes_per_position"], 36_864 / 3);
}

#[test]
fn generated_tokens_are_bound_by_memory_and_come_on_top_of_the_prompt() {
    let with = |more: &str| {
        let result = run(&format!("{ON_DEVICE}inference = {{ precision = \"fp16\", sequence_length = 512{more} }}\n"));
        let case = result["variants"][0].clone();
        (case["duration_s"]["value"].as_f64().unwrap(), case["phases"].clone())
    };
    let (prompt, _) = with("");
    let (both, phases) = with(", generated = 100");
    assert!(both > 10.0 * prompt, "100 tokens one by one take far longer than 512 at once: {prompt} then {both}");
    let decode = &phases[1];
    assert_eq!((decode["steps"].as_f64(), decode["sequence_length"].as_u64()), (Some(100.0), Some(1)));
    // Each token reads every weight: 124 M parameters less the position table, of 2 bytes.
    assert!(decode["bytes_moved"].as_f64().unwrap() > 2.0 * 123e6);
    let (twice, _) = with(", generated = 100, samples = 2");
    assert!((twice / both - 2.0).abs() < 1e-9);
}

#[test]
fn what_cannot_be_run_is_refused() {
    let encoder = ON_DEVICE.replace("gpt2", "bert-base");
    let message = refused(&format!("{encoder}inference = {{ precision = \"fp16\", sequence_length = 128, generated = 5 }}\n"));
    assert!(message.contains("inference.generated") && message.contains("key-value cache"), "{message}");
    let message = refused(&format!("{ON_DEVICE}inference = {{ precision = \"fp16\", sequence_length = 0 }}\n"));
    assert!(message.contains("s.toml:9: inference.sequence_length: found 0"), "{message}");
    let training = "training = { precision = \"fp16\", optimizer = \"sgd\", steps = 1, micro_batch = 1, sequence_length = 128 }\n";
    let message = refused(&format!("{ON_DEVICE}inference = {{ precision = \"fp16\", sequence_length = 128 }}\n{training}"));
    assert!(message.contains("one of training and inference"), "{message}");
}

#[test]
fn quality_is_the_published_figure_of_the_case_that_names_it_and_of_no_other() {
    let scenario = format!(
        "{ON_DEVICE}inference = {{ precision = \"fp16\", sequence_length = 128 }}\n\
         quality = {{ set = \"long-range-arena\", model = \"transformer\", task = \"text\" }}\n\
         [[variant]]\nname = \"other\"\n[[variant]]\nname = \"performer\"\n\
         quality = {{ set = \"long-range-arena\", model = \"Performer\", task = \"text\" }}\n"
    );
    let result = run(&scenario);
    let quality = |index: usize| result["variants"][index]["quality"].clone();
    assert_eq!((quality(0)["printed"].as_str(), quality(0)["class"].as_str()), (Some("64.27"), Some("published")));
    assert!(quality(0)["source"].as_str().unwrap().contains("Long Range Arena"));
    assert_eq!(quality(1), Value::Null, "a variant has no quality that it does not name");
    assert_eq!(quality(2)["value"], 65.4);
    let message = refused(&scenario.replace("\"Performer\"", "\"Perfomer\""));
    assert!(message.contains("quality.model") && message.contains("nearest: \"Performer\""), "{message}");
}

#[test]
fn two_models_stand_side_by_side() {
    let place = Workplace::new();
    for arguments in [["inspect", "--compare", "bert-base", "bert-base-lrt"], ["inspect", "bert-base", "--compare", "bert-base-lrt"]] {
        let text = place.printed(&arguments);
        assert!(text.contains("109,514,298") && text.contains("67,046,970") && text.contains("0.612"), "{text}");
    }
    let both = json(&place.printed(&["inspect", "--compare", "bert-base", "bert-base", "--format", "json"]));
    assert_eq!(both["models"][0], both["models"][1]);
    assert_eq!(both["second_over_first"]["parameters"]["total"], 1.0);
    let output = place.run(&["inspect", "--compare", "bert-base"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("two models"));
}
