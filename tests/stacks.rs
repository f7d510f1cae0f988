//! Scenarios that name the software stack that trains, through the binary.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn scenario(device: &str, performance: &str, training: &str) -> String {
    format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"b\"\ndraws = 2000\n[model]\nuse = \"gpt2-medium\"\n[hardware]\naccelerator = \"{device}\"\naccelerators \
         = 8\n[site]\npue = 1.1\nsource = \"s\"\n[training]\nprecision = \"bf16\"\noptimizer = \"adam\"\nsteps = 100\nglobal_batch = 64\nmicro_batch = \
         4\nsequence_length = 1024\n{training}[performance]\n{performance}\n[sources.s]\ncitation = \"c\"\nyear = 2020\n"
    )
}

fn run(text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_lowcarb"))
        .args(["run", "./mine.toml"])
        .args(arguments)
        .current_dir(folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .output()
        .unwrap()
}

/// The results of one case.
fn case(device: &str, performance: &str, arguments: &[&str]) -> (Value, Value) {
    let output = run(&scenario(device, performance, ""), &[&["--format", "json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    (whole["variants"][0].clone(), whole)
}

/// What a bad scenario is answered.
fn refused(text: &str) -> String {
    let output = run(text, &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8(output.stderr).unwrap()
}

fn width(case: &Value) -> f64 {
    let of = |key: &str| case["duration_s"][key].as_f64().unwrap();
    (of("high") / of("low")).ln()
}

const MEGATRON: &str = "stack = \"megatron\"";

#[test]
fn a_calibration_of_the_device_speaks_before_one_of_siblings_and_that_before_class_defaults() {
    let (known, whole) = case("A100-SXM4-80GB", MEGATRON, &[]);
    assert_eq!((&known["basis"], &known["duration_s"]["class"]), (&"calibration megatron-nvidia".into(), &"calibrated".into()));
    // No watts were measured, so power stays that of the class.
    assert_eq!(known["energy_kwh"]["class"], "modelled");
    let inputs = whole["inputs"].as_array().unwrap();
    let of = |name: &str| inputs.iter().find(|input| input["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["device: efficiency of products", "scatter of measured runs around the calibration"] {
        assert_eq!(of(name)["class"], "calibrated");
        let source = of(name)["source"].as_str().unwrap();
        assert!(source.contains("calibration megatron-nvidia") && source.contains("measurements/runs/megatron.csv (25 rows)"), "{source}");
    }
    assert_eq!(of("device: energy of a FLOP")["class"], "modelled");

    let (siblings, _) = case("H200-SXM-141GB", MEGATRON, &[]);
    assert!(siblings["basis"].as_str().unwrap().starts_with("siblings of calibration megatron-nvidia"), "{}", siblings["basis"]);
    assert_eq!(siblings["duration_s"]["class"], "modelled");
    assert!(width(&siblings) > 1.2 * width(&known), "{} {}", width(&siblings), width(&known));

    let (none, _) = case("MI250X", MEGATRON, &[]);
    assert_eq!((&none["basis"], &none["duration_s"]["class"]), (&"class defaults".into(), &"modelled".into()));
    let (without, other) = case("A100-SXM4-80GB", MEGATRON, &["--without-shipped"]);
    let (unnamed, whole) = case("A100-SXM4-80GB", "", &[]);
    assert_eq!(other["inputs"], whole["inputs"]);
    assert!(without["duration_s"]["value"].as_f64() < unnamed["duration_s"]["value"].as_f64(), "kernels are still those of the stack");
}

#[test]
fn every_form_of_output_says_the_basis() {
    let text = scenario("A100-SXM4-80GB", MEGATRON, "");
    for format in ["table", "markdown"] {
        let output = String::from_utf8(run(&text, &["--format", format]).stdout).unwrap();
        let words = output.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("what the software stack achieves is from calibration megatron-nvidia"), "{output}");
        assert!(output.contains("calibrations/megatron-nvidia.toml") && !output.contains("pytorch-eager"), "{output}");
    }
}

#[test]
fn what_a_scenario_states_wins_over_the_calibration() {
    let stated = format!("{MEGATRON}\nmatmul.efficiency = {{ value = 0.5, source = \"s\" }}");
    let (case, whole) = case("A100-SXM4-80GB", &stated, &[]);
    let input = whole["inputs"].as_array().unwrap().iter().find(|input| input["name"] == "device: efficiency of products").unwrap();
    assert_eq!((&input["distribution"]["value"], &input["class"]), (&0.5.into(), &"published".into()));
    assert_eq!(case["duration_s"]["class"], "modelled", "not all of it was fitted any more");
}

#[test]
fn a_stack_is_a_known_name_and_its_framework_is_the_scenario_s() {
    let error = refused(&scenario("A100-SXM4-80GB", "stack = \"megatrn\"", ""));
    assert!(
        error.contains("mine.toml:21: performance.stack: found unknown software stack \"megatrn\"") && error.contains("megatron"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    let error = refused(&scenario("A100-SXM4-80GB", MEGATRON, "framework = \"graph\"\n"));
    assert!(error.contains("training.framework: found \"graph\", allowed: \"eager\", as the software stack \"megatron\""), "{error}");
}

/// GPT-2 XL through `run`, with what else the scenario says of the model, of the training and besides.
fn gpt2_xl(stack: &str, accelerators: u64, model: &str, training: &str, besides: &str) -> Value {
    let text = format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"b\"\ndraws = 0\nmodel = {{ use = \"gpt2-xl\"{model} }}\nhardware = {{ accelerator = \
         \"A100-SXM4-80GB\", node = \"dgx-a100\", accelerators = {accelerators} }}\ntraining = {{ precision = \"bf16\", optimizer = \"adam\", \
         steps = 1, global_batch = 64, micro_batch = 4, sequence_length = 1024{training} }}\nperformance.stack = \"{stack}\"\n{besides}\n"
    );
    let output = run(&text, &["--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    whole["variants"][0].clone()
}

fn seconds(case: &Value) -> f64 {
    case["duration_s"]["value"].as_f64().unwrap()
}

#[test]
fn run_and_predict_agree_on_a_model_of_a_stack() {
    const COLUMNS: &str = "id,source,framework,phase,model,kind,layers,hidden,heads,feed_forward,vocabulary,seq_len,device,gpus,gpus_per_node,\
                           tensor_parallel,pipeline_parallel,interleaving,data_parallel,sharding,global_batch,micro_batch,precision,\
                           recompute,attention,dropout,measured_s";
    // Stack; accelerators; tensor, pipeline, interleaving and data; recomputation and attention of the row; the same of the scenario.
    let runs = [
        ("megatron", 8, "1,1,1,8", "none,eager", ""),
        ("megatron", 8, "1,2,2,4", "none,flash", ", pipeline_parallel = 2, interleaving = 2"),
        ("megatron", 5, "5,1,1,1", "selective+SP,flash", ", tensor_parallel = 5, sequence_parallel = true, checkpointing = \"selective\""),
        ("megatron-deepspeed", 8, "1,1,1,8", "full,flash", ", checkpointing = \"full\""),
        ("llm-foundry", 8, "1,1,1,8", "none,flash", ""),
    ];
    for (stack, accelerators, degrees, kind, training) in runs {
        let row = format!(
            "r,s,{stack},train_step,gpt2-xl,decoder,48,1600,25,6400,50257,1024,A100-SXM4-80GB,{accelerators},8,{degrees},none,64,4,bf16-mixed,\
             {kind},0.1,"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t.csv"), format!("{COLUMNS}\n{row}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
        let output = command.args(["predict", "t.csv"]).current_dir(folder.path()).env("XDG_CONFIG_HOME", folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: HashMap<String, String> = csv::Reader::from_reader(&output.stdout[..]).deserialize().next().unwrap().unwrap();
        let predicted: f64 = found["predicted_s"].parse().unwrap();
        let model = if kind.ends_with("flash") { ", attention.implementation = \"fused\"" } else { "" };
        let case = gpt2_xl(stack, accelerators, model, training, "");
        assert!((seconds(&case) / predicted - 1.0).abs() < 0.01, "{stack} {training}: {} by run, {predicted} by predict", seconds(&case));
        assert!(!case["notes"].to_string().contains("kernels"), "{}", case["notes"]);
    }
}

#[test]
fn what_a_scenario_states_of_kernels_and_gradients_wins_over_the_stack() {
    let plain = seconds(&gpt2_xl("megatron", 8, "", "", ""));
    assert!(seconds(&gpt2_xl("megatron", 8, ", attention.scale = \"scores\"", "", "")) > 1.02 * plain);
    assert!(seconds(&gpt2_xl("megatron", 8, ", feed_forward.activation = \"gelu_new\"", "", "")) > 1.05 * plain);
    assert!(seconds(&gpt2_xl("megatron", 8, "", ", gradient_precision = \"bf16\"", "")) < plain);
    let memory = |training| gpt2_xl("megatron", 8, "", training, "")["memory_bytes"]["gradients"].as_f64().unwrap();
    assert_eq!(memory(""), 2.0 * memory(", gradient_precision = \"bf16\""));
}

#[test]
fn a_model_that_cannot_have_the_kernels_of_a_stack_keeps_its_own_and_says_so() {
    let text = scenario("A100-SXM4-80GB", MEGATRON, "").replace("gpt2-medium", "bert-base-linformer").replace("1024", "128");
    let output = run(&text, &["--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = whole["variants"][0]["notes"].to_string();
    assert!(notes.contains("cannot have those of the software stack megatron (attention.fused_projection: found"), "{notes}");
    assert_eq!(whole["variants"][0]["basis"], "calibration megatron-nvidia");
}

#[test]
fn a_teacher_has_the_vocabulary_of_its_student_on_a_stack_too() {
    let teacher = "techniques.distillation.teacher = \"gpt2-xl\"";
    let case = gpt2_xl("megatron", 5, "", ", tensor_parallel = 5", teacher);
    assert!(case["notes"].to_string().contains("distilled from gpt2-xl"), "{}", case["notes"]);
}
