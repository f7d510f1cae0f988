//! Predictions of runs and calibrations from measured ones, through the binary.

use std::fs;
use std::path::Path;
use std::process::Command;

const COLUMNS: &str = "id,source,framework,phase,model,kind,layers,hidden,heads,feed_forward,vocabulary,seq_len,device,gpus,\
                       gpus_per_node,tensor_parallel,pipeline_parallel,data_parallel,sharding,global_batch,micro_batch,precision,\
                       recompute,attention,dropout,measured_s,note";
const ROW: &str = "r,s,megatron-deepspeed,train_step,,decoder,24,1024,16,4096,50257,1024,A100-SXM4-80GB,2,8,1,2,1,none,16,8,\
                   fp16-mixed,full,eager,,0.372160408,";

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

/// What the program does with arguments in a folder.
fn lowcarb(arguments: &[&str], folder: &Path) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
    let output = command.current_dir(folder).env("XDG_CONFIG_HOME", folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The table as a file in a folder.
fn table(folder: &Path, rows: &[String]) -> String {
    let path = folder.join("table.csv");
    fs::write(&path, format!("{COLUMNS}\n{}\n", rows.join("\n"))).unwrap();
    path.display().to_string()
}

/// The rows that a command prints, by column.
fn rows(text: &str) -> Vec<std::collections::HashMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn number(row: &std::collections::HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} = {:?}", row[column]))
}

#[test]
fn a_row_keeps_its_columns_and_gets_seconds_with_an_interval_and_parts_that_sum() {
    let folder = tempfile::tempdir().unwrap();
    let out = lowcarb(&["predict", &table(folder.path(), &[ROW.into()])], folder.path());
    assert_eq!(out.code, 0, "{}", out.stderr);
    let row = &rows(&out.stdout)[0];
    assert_eq!(row["id"], "r");
    assert_eq!(row["basis"], "calibration megatron-deepspeed-nvidia");
    let (seconds, low, high) = (number(row, "predicted_s"), number(row, "predicted_low_s"), number(row, "predicted_high_s"));
    assert!(low < seconds && seconds < high && (seconds / 0.372 - 1.0).abs() < 0.1, "{low} {seconds} {high}");
    let parts = ["compute_s", "memory_s", "launch_s", "host_s", "exchange_s", "optimizer_s", "bubble_s", "throttled_s"];
    let sum: f64 = parts.iter().map(|part| number(row, part)).sum();
    assert!((sum / seconds - 1.0).abs() < 1e-9, "{sum} {seconds}");
    let watts = number(row, "predicted_w");
    assert!((60.0..=400.0).contains(&watts), "{watts}");
    assert!(number(row, "predicted_low_w") < watts && watts < number(row, "predicted_high_w"));
    let joules: f64 = ["idle_j", "products_j", "traffic_j", "links_j"].iter().map(|part| number(row, part)).sum();
    assert!((joules / (watts * seconds) - 1.0).abs() < 1e-9, "{joules}");
}

/// A lower limit draws less, takes longer, and saves energy until it is very low, as Zeus measured.
#[test]
fn a_power_limit_trades_time_for_energy() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("measurements/runs/zeus_bert.csv")).unwrap();
    let row = text.lines().find(|line| line.contains("V100") && line.contains("squad")).unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, format!("{}\n{row}\n", text.lines().next().unwrap())).unwrap();
    let of = |limit: &str| {
        let out = lowcarb(&["predict", &path.display().to_string(), "--set", &format!("power_limit_w={limit}")], folder.path());
        let row = rows(&out.stdout).remove(0);
        (number(&row, "predicted_s"), number(&row, "predicted_w"), row["basis"].clone())
    };
    let (full, half) = (of("250"), of("125"));
    assert_eq!(full.2, "calibration zeus-nvidia-fp32");
    let (time, energy) = (half.0 / full.0, half.0 * half.1 / (full.0 * full.1));
    let out = lowcarb(&["predict", &path.display().to_string(), "--set", "power_limit_w=20"], folder.path());
    assert_eq!(out.code, 2);
    assert!(out.stderr.contains("power_limit_w: found 20 W, allowed: more than 35 W"), "{}", out.stderr);
    // Zeus, BERT on a V100 at 125 W against 250 W: 1.45 times the time, 0.78 times the energy.
    assert!((1.25..1.65).contains(&time) && (0.7..0.86).contains(&energy), "{time} {energy}");
}

#[test]
fn a_row_that_cannot_be_predicted_is_reported_and_the_others_are_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = [
        (ROW.replace("A100-SXM4-80GB", "A100-SXM5"), "unknown accelerator"),
        (ROW.replace("megatron-deepspeed", "megatron-deepsped"), "unknown software stack"),
        (ROW.replace(",24,1024,16", ",many,1024,16"), "layers: found \"many\""),
        (ROW.replace("fp16-mixed", "fp4"), "precision: found \"fp4\""),
        (ROW.replace("fp16-mixed", "fp8-mixed"), "precision: found fp8, which the A100-SXM4-80GB has no known peak for"),
        (ROW.replace(",24,1024,16,", ",24,4294967296,16,"), "hidden: found 4294967296"),
        (ROW.replace(",24,1024,16,", ",24,1024,7,"), "heads: found 7"),
        (ROW.replace(",2,8,1,2,1,", ",3,8,1,2,1,"), "gpus: found 3"),
        (ROW.replace(",none,16,8,", ",none,16,5,"), "micro_batch"),
    ];
    let all: Vec<String> = wrong.iter().map(|(row, _)| row.clone()).chain([ROW.into()]).collect();
    let out = lowcarb(&["predict", &table(folder.path(), &all)], folder.path());
    assert_eq!(out.code, 0, "{}", out.stderr);
    let found = rows(&out.stdout);
    assert_eq!(found.len(), all.len());
    for ((_, why), row) in wrong.iter().zip(&found) {
        assert!(row["predicted_s"].is_empty() && row["basis"].starts_with("not predicted: "), "{row:?}");
        assert!(row["basis"].contains(why), "{} lacks {why}", row["basis"]);
        assert!(out.stderr.contains(why), "{}", out.stderr);
    }
    assert!(number(&found[wrong.len()], "predicted_s") > 0.0);
    let out = lowcarb(&["predict", &table(folder.path(), &all[..1])], folder.path());
    assert_eq!(out.code, 2);
}

#[test]
fn a_table_without_a_column_is_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, format!("{}\n{ROW}\n", COLUMNS.replace("micro_batch", "microbatch"))).unwrap();
    let out = lowcarb(&["predict", &path.display().to_string()], folder.path());
    assert_eq!((out.code, out.stdout.as_str()), (2, ""));
    assert!(out.stderr.contains("micro_batch: found no such column") && out.stderr.contains("microbatch"), "{}", out.stderr);
    for broken in ["", "not a table", "a,a\n1,2\n", "\u{0}"] {
        fs::write(&path, broken).unwrap();
        let out = lowcarb(&["predict", &path.display().to_string()], folder.path());
        assert_eq!(out.code, 2, "{broken:?}: {}", out.stderr);
    }
}

#[test]
fn a_column_can_be_overlaid_and_a_micro_batch_is_chosen_where_none_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), &[ROW.into()]);
    let of = |set: &[&str]| {
        let arguments: Vec<&str> = ["predict", &path].into_iter().chain(set.iter().flat_map(|set| ["--set", *set])).collect();
        let out = lowcarb(&arguments, folder.path());
        assert_eq!(out.code, 0, "{}", out.stderr);
        rows(&out.stdout).remove(0)
    };
    let plain = of(&[]);
    assert!(number(&of(&["recompute=none"]), "predicted_s") < number(&plain, "predicted_s"));
    let chosen = of(&["micro_batch="]);
    assert!(number(&chosen, "predicted_s") <= number(&plain, "predicted_s"));
    assert!(!chosen["predicted_micro_batch"].is_empty());
    // A column that tables may have need not be in this one.
    let limited = of(&["power_limit_w=150", "node=dgx-a100"]);
    assert_eq!((&*limited["power_limit_w"], &*limited["node"], &*limited["bound_by"]), ("150", "dgx-a100", "power cap"));
    assert!(number(&limited, "predicted_s") > number(&plain, "predicted_s"));
    let other = of(&["device=H100-SXM5-80GB"]);
    assert!(other["basis"].starts_with("siblings of calibration"), "{}", other["basis"]);
    let spread = |row| number(row, "predicted_high_s") / number(row, "predicted_low_s");
    assert!(spread(&other) > spread(&plain), "a device that was not measured is less certain");
}

#[test]
fn measured_rows_become_a_calibration_that_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("measurements/runs/vtrain_single.csv")).unwrap();
    let few: Vec<&str> = text.lines().take(1).chain(text.lines().skip(1).step_by(31)).collect();
    let path = folder.path().join("few.csv");
    fs::write(&path, few.join("\n") + "\n").unwrap();
    let (path, out_folder) = (path.display().to_string(), folder.path().join("made"));
    let out = lowcarb(&["calibrate", &path, "--device", "a100-80gb", "--out", &out_folder.display().to_string()], folder.path());
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(out.stdout.contains("fifths of the rows, each in turn") && out.stdout.contains("held out"), "{}", out.stdout);
    let made = out_folder.join("megatron-deepspeed-nvidia.toml").display().to_string();
    let out = lowcarb(&["predict", &path, "--without-shipped", "--calibration", &made], folder.path());
    assert_eq!(out.code, 0, "{}", out.stderr);
    let found = rows(&out.stdout);
    let errors: Vec<f64> = found.iter().map(|row| (number(row, "predicted_s") / number(row, "measured_s") - 1.0).abs()).collect();
    assert!(errors.iter().sum::<f64>() / (errors.len() as f64) < 0.06, "{errors:?}");
    assert!(found.iter().all(|row| row["basis"] == "calibration megatron-deepspeed-nvidia"));
    let out = lowcarb(&["predict", &path, "--without-shipped"], folder.path());
    assert!(rows(&out.stdout).iter().all(|row| row["basis"] == "class defaults"));
}

#[test]
fn nothing_to_fit_is_one_message_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), &[ROW.replace("0.372160408", "")]);
    let made = folder.path().join("made");
    let out = lowcarb(&["calibrate", &path, "--out", &made.display().to_string()], folder.path());
    assert_eq!(out.code, 2, "{}", out.stderr);
    assert!(out.stderr.contains("measured_s") && !made.exists(), "{}", out.stderr);
    let out = lowcarb(&["calibrate", &path, "--device", "nothing"], folder.path());
    assert_eq!(out.code, 2, "{}", out.stderr);
}

/// What the shipped calibrations say of the rows that they were fitted to, beside what `predict` computes of them.
#[test]
fn the_errors_that_a_calibration_states_are_those_that_predict_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = root.join("measurements/runs/mpt.csv").display().to_string();
    let out = lowcarb(&["predict", &table], root);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let found = rows(&out.stdout);
    let mean =
        found.iter().map(|row| (number(row, "predicted_s") / number(row, "measured_s") - 1.0).abs()).sum::<f64>() / found.len() as f64;
    let file = fs::read_to_string(root.join("hardware_profiles/calibrations/llm-foundry-nvidia.toml")).unwrap();
    let stated = file.split("regime = \"all rows\"").nth(1).unwrap().split("mean = ").nth(1).unwrap();
    let stated: f64 = stated.lines().next().unwrap().parse().unwrap();
    assert!((mean - stated).abs() < 2e-3, "{mean} {stated}");
}
