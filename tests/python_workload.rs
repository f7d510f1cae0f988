//! `python/lowcarb_workload.py` in a real PyTorch, where there is one: LOWCARB_TORCH_PYTHON, or a python3 that can import it.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::Workplace;
use lowcarb::calibrate::{COLUMNS, RunTable};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

const ENCODER: &str = r#"
schema = 1
name = "small"
source = "here"
width = 64
dropout = 0.1
embedding = { vocabulary = 500, segments = 2, norm = true, positions = { kind = "learned", length = 96 } }
encoder = { layers = 2 }
attention = { kind = "softmax", heads = 4 }
feed_forward = { width = 128, activation = "gelu" }
norm = { kind = "layer", placement = "post" }
head = { kind = "masked_lm", bias = true }
sources = { here = { citation = "sizes chosen for a test", year = 2026 } }
"#;

fn decoder() -> String {
    let text = ENCODER.replace("encoder = ", "decoder = ").replace("masked_lm\", bias = true", "causal_lm\"");
    text.replace("\"post\"", "\"pre\"").replace("\"gelu\"", "\"gelu_new\"").replace("segments = 2, norm = true, ", "")
}

/// What `--set` makes of the encoder.
const ENCODERS: &[&str] = &[
    "dropout=0.1",
    "attention.fused_projection=true",
    "attention={ bias = false, output_bias = true, head_width = 8 }",
    "linear.rank=8",
    "linear={ ratio = 0.5, components = ['query', 'output'] }",
    "linear={ rank = 20, components = ['vocabulary', 'head_transform', 'feed_forward'] }",
    "attention={ kind = 'linformer', linformer = { projected_length = 16, sharing = 'none' } }",
    "attention={ kind = 'linformer', linformer = { projected_length = 16, length = 80 } }",
    "attention={ kind = 'linformer', linformer = { projected_length = 16, sharing = 'key_value', order = 'compress_then_project' } }",
    "attention={ kind = 'linformer', linformer = { projected_length = 16, sharing = 'layerwise' } }",
    "attention={ kind = 'performer', performer = { features = 24 } }",
    "attention={ kind = 'performer' }",
    "attention={ kind = 'performer', performer = { kernel = 'relu' } }",
    "attention={ kind = 'linear' }",
    "attention={ kind = 'local', local = { window = 16 } }",
    "attention={ kind = 'local', local = { window = 24, look_backward = 2, look_forward = 0, padding = 'always' } }",
    "norm={ placement = 'pre' }",
    "head={ tied = false, transform = false }",
    "feed_forward={ dropout = 0.2, bias = false, activation = 'relu' }",
    "prune.heads=0.5",
];

/// The same of the decoder.
const DECODERS: &[&str] = &[
    "dropout=0.1",
    "attention.fused_projection=true",
    "linear.rank=8",
    "embedding.positions.kind=none",
    "attention={ kind = 'performer', performer = { running = 'states' } }",
    "attention={ kind = 'linear', linear = { running = 'states' } }",
    "attention={ kind = 'local', local = { window = 24 } }",
];

/// A Python that has PyTorch; without one the program is whole, and nothing here is tried.
fn torch() -> Option<PathBuf> {
    let named = std::env::var_os("LOWCARB_TORCH_PYTHON").map(PathBuf::from);
    let candidates = named.clone().map_or_else(|| vec!["python3".into(), "/usr/bin/python3".into()], |named| vec![named]);
    let has = |path: &PathBuf| {
        let tried = Command::new(path).args(["-c", "import torch"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = candidates.into_iter().find(has);
    assert!(found.is_some() || named.is_none(), "LOWCARB_TORCH_PYTHON is {named:?}, which cannot import torch");
    if found.is_none() {
        eprintln!("skipped: no python3 with PyTorch here (LOWCARB_TORCH_PYTHON names one), so lowcarb_workload.py was not tried");
    }
    found
}

/// What `inspect` says of a model, with a name for the case.
fn case(place: &Workplace, name: &str, text: &str, arguments: &[&str]) -> Value {
    place.write("model.toml", text);
    let mut case = place.json(&[&["inspect", "./model.toml", "--batch", "4", "--seq-len", "64", "--format", "json"], arguments].concat());
    case["id"] = name.into();
    case
}

fn all_cases(place: &Workplace) -> Vec<Value> {
    let decoder = decoder();
    let mut cases = Vec::new();
    for (word, text, sets) in [("encoder", ENCODER, ENCODERS), ("decoder", &decoder, DECODERS)] {
        for (index, set) in sets.iter().enumerate() {
            cases.push(case(place, &format!("{word}-{index}"), text, &["--set", set]));
        }
    }
    cases
}

/// Runs a script of the folder on cases, as a user does, with marks.
fn workload(torch: &PathBuf, place: &Workplace, cases: &[Value], arguments: &[&str]) -> (Output, Vec<String>) {
    place.write("cases.json", cases.iter().map(|case| format!("{case:#}\n")).collect::<String>());
    let marks = place.path("marks");
    let _ = std::fs::remove_file(&marks);
    let mut command = Command::new(torch);
    command.arg("-B").arg(format!("{FOLDER}/lowcarb_workload.py")).arg(place.path("cases.json"));
    command.args(["--device", "cpu"]).args(arguments).env("LOWCARB_MARKS", &marks).env_remove("RANK").env("OMP_NUM_THREADS", "1");
    let output = command.output().unwrap();
    let text = std::fs::read_to_string(&marks).unwrap_or_default();
    (output, text.lines().map(str::to_string).collect())
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the script itself says: PyTorch has warnings of its own.
fn told(output: &Output) -> Vec<String> {
    talk(output).lines().filter_map(|line| line.strip_prefix("lowcarb_workload: ")).map(str::to_string).collect()
}

fn results(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Steps and facts of each phase that is not inside another.
fn phases(marks: &[String]) -> BTreeMap<String, (u64, Vec<Value>)> {
    let mut phases: BTreeMap<String, (u64, Vec<Value>)> = BTreeMap::new();
    let mut open: Option<String> = None;
    for line in marks {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[0] {
            "begin" => {
                assert_eq!(open, None, "{line}");
                open = Some(words[1].to_string());
                phases.entry(words[1].to_string()).or_default();
            }
            "end" => assert_eq!(open.take().as_deref(), Some(words[1])),
            "step" => {
                assert!(line.contains("samples=4 ") && line.contains("tokens=256 ") && line.contains("monotonic="), "{line}");
                let count = line.split(' ').find_map(|word| word.strip_prefix("count=")).map_or(1, |count| count.parse().unwrap());
                phases.get_mut(open.as_ref().unwrap()).unwrap().0 += count;
            }
            "fact" => phases.get_mut(open.as_ref().unwrap()).unwrap().1.push(serde_json::from_str(words[2]).unwrap()),
            "plan" => assert!(line.starts_with("plan steps=")),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(open, None);
    phases
}

#[test]
fn every_kind_of_model_trains_with_the_parameters_that_lowcarb_counts() {
    let Some(torch) = torch() else { return };
    let place = Workplace::new();
    let cases = all_cases(&place);
    let (output, marks) = workload(&torch, &place, &cases, &["--steps", "3", "--warmup", "1"]);
    assert!(output.status.success(), "{}", talk(&output));
    let (results, phases) = (results(&output), phases(&marks));
    assert_eq!((results.len(), phases.len()), (cases.len(), cases.len() + 1));
    assert_eq!(phases["warmup"], (0, Vec::new()));
    for (case, result) in cases.iter().zip(&results) {
        let id = case["id"].as_str().unwrap();
        assert_eq!((&result["id"], &result["parameters"]), (&case["id"], &case["parameters"]["total"]));
        let loss = result["loss"].as_f64().unwrap();
        assert!((5.0..8.0).contains(&loss), "{id}: a loss of {loss} at first, of 500 tokens");
        let (steps, facts) = &phases[id];
        assert_eq!((*steps, facts.len()), (3, 1), "{id}");
        assert_eq!(facts[0]["mechanism"], case["configuration"]["attention"]["kind"]);
        assert_eq!(facts[0]["rank"], case["configuration"]["linear"]["rank"]);
    }
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    columns.push("measured_s");
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let rows = results.iter().map(|result| {
        let seconds = &result["seconds_per_step"];
        COLUMNS.iter().map(|column| cell(&result[column])).chain([cell(seconds)]).collect::<Vec<_>>().join(",")
    });
    let table = format!("{}\n{}\n", columns.join(","), rows.collect::<Vec<_>>().join("\n"));
    let table = RunTable::read("facts", &table, &[]).unwrap();
    for (_, run) in table.rows {
        let row = run.unwrap();
        let run = row.run().unwrap();
        assert_eq!(run.decoder, run.id.starts_with("decoder"));
        assert!(run.seconds.is_some());
    }
}

#[test]
fn flops_of_both_passes_are_those_that_pytorch_counts() {
    let Some(torch) = torch() else { return };
    let script = "
import json, sys
try: from torch.utils.flop_counter import FlopCounterMode
except ImportError: sys.exit(77)
import torch
from lowcarb_model import build
text, decoder, place, out = sys.stdin.read(), json.JSONDecoder(), 0, []
while text[place:].strip():
    place += len(text[place:]) - len(text[place:].lstrip())
    case, place = decoder.raw_decode(text, place)
    model = build(case)
    ids = torch.randint(500, (case['batch'], case['seq_len']))
    with FlopCounterMode(display=False) as forward: loss = model.loss(ids, ids)
    with FlopCounterMode(display=False) as backward: loss.backward()
    out.append([forward.get_total_flops(), backward.get_total_flops()])
print(json.dumps(out))
";
    let place = Workplace::new();
    let mut cases = all_cases(&place);
    cases.push(case(&place, "fused", ENCODER, &["--set", "attention.implementation=fused"]));
    cases.push(case(&place, "fused", &decoder(), &["--set", "attention.implementation=fused"]));
    place.write("cases.json", cases.iter().map(Value::to_string).collect::<String>());
    let mut command = Command::new(torch);
    command
        .args(["-B", "-c", script])
        .env("PYTHONPATH", FOLDER)
        .env("OMP_NUM_THREADS", "1")
        .stdin(std::fs::File::open(place.path("cases.json")).unwrap());
    let output = command.output().unwrap();
    if output.status.code() == Some(77) {
        return eprintln!("skipped: this PyTorch counts no FLOPs (from 2.1 on), so those of lowcarb_workload.py were not compared");
    }
    assert!(output.status.success(), "{}", talk(&output));
    let counted: Vec<[i64; 2]> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counted.len(), cases.len());
    for (case, counted) in cases.iter().zip(counted) {
        let flops = |key: &str| case["flops"][key].as_i64().unwrap();
        let expected = [flops("matmul_forward"), flops("matmul_backward") - flops("matmul_recomputed")];
        assert_eq!(counted, expected, "{}: {}", case["id"], case["configuration"]["attention"]);
    }
}

#[test]
fn fused_attention_trains_or_says_which_pytorch_it_needs() {
    let Some(torch) = torch() else { return };
    let place = Workplace::new();
    let fused = |text: &str, set: &str| case(&place, "f", text, &["--set", "attention.implementation=fused", "--set", set]);
    let linformer = "attention={ kind = 'linformer', linformer = { projected_length = 16 } }";
    let cases = [fused(ENCODER, "dropout=0.1"), fused(ENCODER, linformer), fused(&decoder(), "dropout=0.1")];
    let (output, marks) = workload(&torch, &place, &cases, &["--steps", "2"]);
    let phases = phases(&marks);
    if talk(&output).contains("attention.implementation = fused needs PyTorch 2.0 or newer") {
        eprintln!("skipped: {}", talk(&output));
        assert_eq!((output.status.code(), phases.len()), (Some(1), 0));
        return;
    }
    assert!(output.status.success(), "{}", talk(&output));
    for (name, result) in ["f", "f-2", "f-3"].iter().zip(results(&output)) {
        assert_eq!((&result["id"], &result["attention"]), (&json!(name), &json!("flash")));
        assert!(result["loss"].as_f64().unwrap() < 8.0);
        assert_eq!(phases[*name].0, 2);
    }
}

#[test]
fn one_case_has_warm_up_and_training_in_any_precision_and_phase() {
    let Some(torch) = torch() else { return };
    let place = Workplace::new();
    let mut one = [case(&place, "one", ENCODER, &["--precision", "bf16"])];
    let mut precision = "bf16-mixed";
    let (tried, _) = workload(&torch, &place, &one, &["--steps", "1"]);
    if talk(&tried).contains("bf16 on a CPU cannot be run by PyTorch") {
        eprintln!("skipped: {}", talk(&tried));
        (one[0], precision) = (case(&place, "one", ENCODER, &[]), "fp32");
    }
    for (phase, has_loss) in [("train_step", true), ("forward_backward", true), ("forward", false)] {
        let (output, marks) = workload(&torch, &place, &one, &["--seconds", "0.1", "--phase", phase, "--optimizer", "sgd"]);
        assert!(output.status.success(), "{}", talk(&output));
        let (results, phases) = (results(&output), phases(&marks));
        let steps = results[0]["steps"].as_u64().unwrap();
        assert!(steps >= 1 && results[0]["seconds"].as_f64().unwrap() >= 0.1);
        assert_eq!(phases.keys().collect::<Vec<_>>(), ["train", "warmup"]);
        assert_eq!((phases["train"].0, &phases["train"].1[0]["phase"]), (steps, &json!(phase)));
        assert_eq!(phases["train"].1[0]["precision"], precision);
        assert_eq!(results[0]["loss"].is_null(), !has_loss);
    }
}

#[test]
fn what_cannot_be_built_exactly_is_refused_by_name() {
    let Some(torch) = torch() else { return };
    let place = Workplace::new();
    let set = |value: &str| case(&place, "one", ENCODER, &["--set", value]);
    let mut miscounted = set("dropout=0.1");
    miscounted["parameters"]["total"] = 110_133.into();
    let linformer_bias = "attention={ kind = 'linformer', linformer = { projected_length = 8, bias = true } }";
    let refused = [
        (set(linformer_bias), "attention.linformer.bias = true"),
        (set("attention={ kind = 'fnet', fnet = {} }"), "attention.kind = \"fnet\""),
        (set("linear.adapter.rank=4"), "linear.adapter = "),
        (set("norm.kind=rms"), "norm.kind = \"rms\" cannot be built in PyTorch here, only: \"layer\""),
        (set("embedding.width=32"), "embedding.width"),
        (case(&place, "one", &decoder(), &["--set", "attention={ kind = 'linear' }"]), "running = states can be built"),
        (case(&place, "one", ENCODER, &["--checkpointing", "full"]), "checkpointing"),
        (case(&place, "one", ENCODER, &["--precision", "fp16"]), "precision fp16 needs --device cuda"),
        (miscounted, "built 110132 parameters, and lowcarb counts 110133"),
    ];
    let cases: Vec<Value> = refused.iter().map(|(case, _)| case.clone()).collect();
    let (output, marks) = workload(&torch, &place, &cases, &["--steps", "1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(phases(&marks).is_empty(), "{marks:?}");
    let told = told(&output);
    assert_eq!(told.len(), refused.len(), "{told:?}");
    for (line, (_, part)) in told.iter().zip(&refused) {
        assert!(line.starts_with("one") && line.contains(part), "{line}");
    }
    let (output, _) = workload(&torch, &place, &[json!({ "models": [] })], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("cases.json:1: no `configuration`"), "{}", talk(&output));
}

#[test]
fn a_case_that_does_not_fit_is_named_and_the_others_run() {
    let Some(torch) = torch() else { return };
    let place = Workplace::new();
    let mut cases: Vec<Value> = ["first", "large", "last"].map(|name| case(&place, name, ENCODER, &[])).into();
    // More than any address space holds.
    cases[1]["batch"] = 10_000_000_000_000_u64.into();
    let (output, marks) = workload(&torch, &place, &cases, &["--steps", "2"]);
    assert!(output.status.success(), "{}", talk(&output));
    assert_eq!(told(&output), ["large: out of memory on cpu"]);
    let phases = phases(&marks);
    assert_eq!(phases["large"], (0, Vec::new()));
    assert_eq!((phases["first"].0, phases["last"].0), (2, 2));
    let (output, marks) = workload(&torch, &place, &cases, &["--steps", "2", "--seconds-total", "1e-6"]);
    assert!(talk(&output).contains("3 of 3 cases were not begun"), "{}", talk(&output));
    assert!(output.status.success() && self::phases(&marks).is_empty());
}
