//! Steps in fp8, through the program and the library.

mod common;

use common::{Workplace, ledger, model};
use lowcarb::arch::{Batch, Model, Products};
use lowcarb::document::Kind;
use lowcarb::ledger::Ledger;
use lowcarb::store::Store;
use serde_json::Value;

/// The second of two cases, beside a first in bf16.
fn run(model: &str, accelerator: &str, training: &str, variant: &str) -> Value {
    let place = Workplace::new();
    place.write("s.toml", scenario(model, accelerator, training, variant));
    serde_json::from_str(&place.printed(&["run", "./s.toml", "--format", "json"])).unwrap()
}

fn scenario(model: &str, accelerator: &str, training: &str, variant: &str) -> String {
    format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"base\"\ndraws = 0\nmodel.use = \"{model}\"\nhardware.accelerator = \"{accelerator}\"\n\
         site = {{ pue = 1.0, carbon_intensity = \"400 g/kWh\" }}\n\
         training = {{ optimizer = \"adam\", framework = \"graph\", steps = 10, {training} }}\n\
         [[variant]]\nname = \"other\"\n{variant}\n"
    )
}

fn inspected(model: &str, options: &[&str]) -> Value {
    let all = [&["inspect", model, "--format", "json"], options].concat();
    serde_json::from_str(&Workplace::new().printed(&all)).unwrap()
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} of {value}"))
}

#[test]
fn a_large_step_is_faster_in_fp8_and_a_device_without_it_refuses() {
    let training = "precision = \"bf16\", global_batch = 4, sequence_length = 4096";
    let result = run("llama-3-8b", "H100-SXM5-80GB", training, "training.precision = \"fp8\"");
    let saved = number(&result, "/variants/1/savings_percent/duration_s/value");
    // Linear layers alone run at twice the rate; they are no more than all of a step, and rounding takes time.
    assert!((10.0..50.0).contains(&saved), "{saved}");
    assert!(result["variants"][1]["notes"].to_string().contains("fp8 products run at 2.001 times the dense bf16 rate"), "{result}");
    let small =
        run("bert-base", "H100-SXM5-80GB", "precision = \"bf16\", global_batch = 2, sequence_length = 64", "training.precision = \"fp8\"");
    assert!(number(&small, "/variants/1/savings_percent/duration_s/value") < 0.0, "small products do not repay the rounding");

    let place = Workplace::new();
    place.write("s.toml", scenario("bert-base", "V100-SXM2-32GB", "precision = \"fp8\", global_batch = 2, sequence_length = 64", ""));
    let output = place.run(&["run", "./s.toml"]);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{talk}");
    assert!(talk.contains("training.precision: found fp8, which the V100-SXM2-32GB has no known peak for, allowed: fp32, fp16"), "{talk}");
}

#[test]
fn the_setting_of_a_model_and_the_precision_of_a_step_are_one() {
    let training = "precision = \"bf16\", global_batch = 4, sequence_length = 512";
    let of = |variant| run("bert-base", "H100-SXM5-80GB", training, variant);
    let (set, asked) = (of("model.linear.products = \"fp8\""), of("training.precision = \"fp8\""));
    let duration = "/variants/1/savings_percent/duration_s/value";
    assert_eq!(number(&set, duration), number(&asked, duration));
    // Without a rate the products are those of bf16.
    let unable = run("bert-base", "A100-SXM4-80GB", training, "model.linear.products = \"fp8\"");
    assert!(number(&unable, duration) < 0.0 && unable["variants"][1]["notes"].to_string().contains("fp8 products save nothing"));
}

/// As Transformer Engine documents a linear layer: its input in 8 bits for 16, two 8-bit copies of its weight beside it.
#[test]
fn a_step_in_fp8_keeps_inputs_in_8_bits_and_copies_of_weights() {
    let at = |batch: &str, precision: &str| {
        let options = ["--batch", batch, "--seq-len", "4096", "--precision", precision, "--set", "attention.implementation=\"fused\""];
        inspected("llama-2-7b", &options)
    };
    let [bf16, fp8] = ["bf16", "fp8"].map(|precision| at("16", precision));
    // 32 x (4 x 4096 x 4096 + 3 x 4096 x 11008) weights lie in the layers.
    let inside = 6_476_005_376.0;
    let parameters = "/memory_bytes/parameters";
    assert_eq!(number(&fp8, parameters) - number(&bf16, parameters), 2.0 * inside);
    // Of each layer: the inputs of the first projections and of the two of the network, 4096 and 4096 and 11008 wide, take one
    // byte for two; that of the output projection is kept by attention in 16 bits, so that its copy comes on top.
    let tokens = 16.0 * 4096.0;
    let activations = "/memory_bytes/activations";
    let saved = 32.0 * tokens * (4096.0 + 4096.0 + 11008.0 - 4096.0);
    assert_eq!(number(&bf16, activations) - number(&fp8, activations), saved);
    assert!(number(&fp8, "/memory_bytes/peak") < number(&bf16, "/memory_bytes/peak"), "a large batch repays the copies");
    assert!(
        at("1", "fp8").pointer("/memory_bytes/peak").unwrap().as_f64() > at("1", "bf16").pointer("/memory_bytes/peak").unwrap().as_f64()
    );
    for same in ["/parameters/total", "/trained_parameters", "/flops/matmul_forward", "/flops/matmul_backward", "/memory_bytes/optimizer"] {
        assert_eq!(number(&fp8, same), number(&bf16, same), "{same}");
    }
    // Of two tensor-parallel devices, each has half of the two inputs that lie inside a sub-layer.
    let on_two = |precision: &str| {
        let options = ["--batch", "16", "--seq-len", "4096", "--precision", precision, "--set", "attention.implementation=\"fused\""];
        number(&inspected("llama-2-7b", &[&options[..], &["--tensor-parallel", "2"]].concat()), activations)
    };
    assert_eq!(on_two("bf16") - on_two("fp8"), 32.0 * tokens * (4096.0 + 4096.0 + (11008.0 - 4096.0) / 2.0));
    // A model that is only run holds the weights of its layers in 8 bits alone.
    let held = "/inference/held_bytes";
    assert_eq!(number(&bf16, held) - number(&fp8, held), inside);
}

#[test]
fn copies_are_of_each_device_its_own_and_are_not_exchanged() {
    let of =
        |precision: &str| inspected("gpt2", &["--precision", precision, "--data-parallel", "4", "--tensor-parallel", "2", "--zero", "1"]);
    let (bf16, fp8) = (of("bf16"), of("fp8"));
    let messages = |step: &Value| step["step"]["collectives"].to_string();
    assert_eq!(messages(&bf16), messages(&fp8));
    // 12 x (4 x 768 x 768 + 2 x 768 x 3072) weights of two 8-bit copies, on two devices.
    assert_eq!(number(&fp8, "/memory_bytes/parameters") - number(&bf16, "/memory_bytes/parameters"), 84_934_656.0);
}

#[test]
fn rounding_takes_bytes_as_documented() {
    let dense = model("use = \"bert-base\"").unwrap();
    let (bf16, fp8) = (ledger(&dense, 2, 128), ledger(&dense.with_products(Products::Fp8).unwrap(), 2, 128));
    let op = |of: &Ledger, name: &str| of.ops().iter().find(|op| op.name == name).unwrap().clone();
    let name = "second feed-forward layer";
    let (rows, inputs, outputs) = (256.0, 3072.0, 768.0);
    let (dense_op, rounded) = (op(&bf16, name), op(&fp8, name));
    let read = rows * inputs + inputs * outputs;
    assert_eq!((dense_op.forward.bytes_read, rounded.forward.bytes_read), (2.0 * read, read));
    assert_eq!(dense_op.forward.bytes_written, rounded.forward.bytes_written);
    // Both products read the gradient and the other factor in 8 bits and write 16; before, it is read in 16 and written twice.
    let gradients = rows * inputs + inputs * outputs;
    let backward = rounded.backward();
    assert_eq!(backward.bytes_read, 2.0 * rows * outputs + 2.0 * rows * outputs + gradients);
    assert_eq!(backward.bytes_written, 2.0 * gradients + 2.0 * rows * outputs);
    assert_eq!(backward.launches, dense_op.backward().launches + 1.0);
    // Queries, keys and values read one copy of their input.
    let rounds = fp8.ops().iter().filter(|op| op.name == "round input" && op.layer).count();
    assert_eq!(rounds, 4);
}

#[test]
fn what_does_not_go_with_fp8_is_refused() {
    let refused = |options: &[&str], said: &str| {
        let output = Workplace::new().run(&[&["inspect", "bert-base"], options].concat());
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && talk.contains(said), "{talk}");
    };
    refused(&["--precision", "fp8", "--set", "linear.quantised.format=\"int8\""], "found fp8 products beside quantised");
    refused(&["--precision", "fp8", "--set", "linear.products=\"int8\""], "found int8 in a step of fp8, allowed: fp8 or nothing");
    refused(&["--gradient-precision", "fp8"], "allowed: fp32, tf32, fp16, bf16");
    refused(&["--zero", "2"], "zero: found 2 without data_parallel: there is one device to divide among");
}

/// Laws over every shipped model that fp8 goes with: products and parameters are those of the dense model, two copies lie beside
/// the weights that layers round, the bytes that are kept no more grow in a straight line with the batch (from two sequences on:
/// a mechanism may spare copies of one), and what is only run holds no more.
#[test]
fn fp8_changes_bytes_and_neither_products_nor_parameters() {
    let store = Store::embedded();
    let mut seen = 0;
    for name in store.list(Kind::Model).into_iter().map(|entry| entry.name) {
        let dense = model(&format!("use = \"{name}\"")).unwrap();
        let Ok(fp8) = dense.with_products(Products::Fp8) else { continue };
        let length = dense.length_of(dense.usual_length().min(128));
        let of = |model: &Model, sequences: u64| ledger(model, sequences, length);
        let (plain, two) = (of(&dense, 2), of(&fp8, 2));
        let flops = |ledger: &Ledger| (ledger.forward().matmul_flops, ledger.backward().matmul_flops);
        assert_eq!((plain.parameters(), plain.trained_parameters()), (two.parameters(), two.trained_parameters()), "{name}");
        assert_eq!(plain.weight_bytes(), two.weight_bytes(), "{name}");
        assert_eq!(flops(&plain), flops(&two), "{name}");
        let rounded: f64 = two.ops().iter().filter(|op| op.name == "round weight").map(|op| op.forward.elementwise_flops / 3.0).sum();
        assert!(two.parameter_bytes() - plain.parameter_bytes() >= rounded, "{name}");
        let saved = |sequences: u64| of(&dense, sequences).kept_bytes() - of(&fp8, sequences).kept_bytes();
        let (first, second) = (saved(3) - saved(2), saved(4) - saved(3));
        assert!((first - second).abs() <= 1e-3 * second.abs(), "{name}: {first} {second}");
        let run = |model: &Model| {
            let batch = Batch { sequences: 1.0, length: length as f64, element_bytes: 2.0 };
            model.inference_ledger(batch, 0.0).unwrap()
        };
        assert!(run(&fp8).parameter_bytes() <= run(&dense).parameter_bytes(), "{name}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}
