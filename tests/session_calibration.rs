//! From sessions to calibrations and back to predictions, through the binary, on a device whose true parameters are known.

mod common;

use std::collections::HashMap;

use common::Workplace;
use common::virtual_device::{Device, Noise, Piece, write_session};
use lowcarb::calibrate::Units;
use lowcarb::hardware::Parameter;
use lowcarb::workload;
use serde_json::{Map, Value, json};

const DEVICE: Device = Device { name: "h100", idle: 95.0, truth };
/// The same host with another card.
const SIBLING: Device = Device { name: "a100-80gb", idle: 70.0, truth };
/// What the driver calls it.
const REPORTED: &str = "NVIDIA H100 80GB HBM3";

fn truth(units: Units) -> Vec<(Parameter, f64)> {
    let (matmul, flop_energy) = if units == Units::Vector { (0.87, 21.0) } else { (0.71, 0.82) };
    vec![
        (Parameter::Matmul, matmul),
        (Parameter::Mixing, 0.6),
        (Parameter::Wave, 0.3),
        (Parameter::Saturation, 4.5e-6),
        (Parameter::Memory, 0.9),
        (Parameter::Gather, 0.62),
        (Parameter::Launch, 2.6e-6),
        (Parameter::HostFloor, 0.4e-3),
        (Parameter::StepOverhead, 6e-3),
        (Parameter::FlopEnergy, flop_energy),
        (Parameter::ByteEnergy, 120.0),
    ]
}

type Row = HashMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} = {:?}", row[column]))
}

/// Mean absolute error of what is predicted in a column, of the rows that have it.
fn mean_error(rows: &[Row], predicted: &str, measured: &str) -> f64 {
    let of = |row: &&Row| !row[measured].is_empty() && !row[predicted].is_empty();
    let errors: Vec<f64> = rows.iter().filter(of).map(|row| (number(row, predicted) / number(row, measured) - 1.0).abs()).collect();
    assert!(!errors.is_empty());
    errors.iter().sum::<f64>() / errors.len() as f64
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The kernels of the workload as they ran for two seconds each.
fn kernels(noise: &mut Noise) -> Vec<Piece> {
    let facts: Vec<Map<String, Value>> = workload::standard().iter().map(|case| map(case.columns())).collect();
    let measured = DEVICE.measure(&facts);
    let piece = |(facts, (seconds, watts)): (Map<String, Value>, (f64, f64))| {
        let times = if seconds > 0.0 { (2.0 / seconds).ceil() as u64 } else { 0 };
        Piece { table: "kernels", facts, seconds: seconds * noise.factor(), times, watts: watts * noise.factor() }
    };
    facts.into_iter().zip(measured).map(piece).collect()
}

/// Training steps of BERT-base, dense, low-rank and with Linformer, on one device.
fn runs(device: &Device, reported: &str, noise: &mut Noise) -> Vec<Piece> {
    let mut facts = Vec::new();
    let variants =
        [("vanilla", 0), ("vanilla", 64), ("vanilla", 128), ("vanilla", 256), ("linformer", 0), ("linformer", 128), ("performer", 0)];
    for (batch, length, precision) in
        [(64, 128, "bf16-mixed"), (16, 512, "bf16-mixed"), (8, 1024, "bf16-mixed"), (1, 128, "tf32"), (16, 512, "tf32")]
    {
        for (mechanism, rank) in variants {
            facts.push(map(json!({
                "id": format!("{mechanism}-r{rank}-b{batch}-n{length}-{precision}"), "framework": "pytorch-eager 2.4", "phase": "train_step",
                "model": "bert-skeleton", "kind": "encoder", "layers": 12, "hidden": 768, "heads": 12, "feed_forward": 3072, "vocabulary": 30522,
                "seq_len": length, "device": reported, "gpus": 1, "gpus_per_node": 1, "tensor_parallel": 1, "pipeline_parallel": 1,
                "data_parallel": 1, "sharding": "none", "global_batch": batch, "micro_batch": batch, "precision": precision,
                "recompute": "none", "attention": "eager", "dropout": 0.1, "mechanism": mechanism, "rank": rank,
                "length_projection": if mechanism == "linformer" { json!(64) } else { Value::Null },
                "features": if mechanism == "performer" { json!(256) } else { Value::Null },
            })));
        }
    }
    let measured = device.measure(&facts);
    let piece = |(facts, (seconds, watts)): (Map<String, Value>, (f64, f64))| Piece {
        table: "runs",
        facts,
        seconds: seconds * noise.factor(),
        times: 30,
        watts: watts * noise.factor(),
    };
    facts.into_iter().zip(measured).map(piece).collect()
}

/// Every fourth piece, and the others.
fn parted(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Piece>) {
    let (out, kept): (Vec<_>, Vec<_>) = pieces.into_iter().enumerate().partition(|(index, piece)| index % 4 == 2 && piece.times > 0);
    let pieces = |of: Vec<(usize, Piece)>| of.into_iter().map(|(_, piece)| piece).collect();
    (pieces(out), pieces(kept))
}

/// The parameters of a calibration file with their intervals.
fn parameters(workplace: &Workplace, file: &str) -> HashMap<String, [f64; 3]> {
    let text = std::fs::read_to_string(workplace.path(file)).unwrap();
    let file: toml::Table = text.parse().unwrap();
    let values = file["parameters"].as_table().unwrap().iter();
    values.map(|(key, value)| (key.clone(), ["value", "low", "high"].map(|part| value[part].as_float().unwrap()))).collect()
}

/// That fitted parameters are near the truth, and that most of the intervals that the file states hold it.
#[track_caller]
fn recovered(workplace: &Workplace, file: &str, units: Units, wanted: &[(Parameter, f64)]) {
    let found = parameters(workplace, file);
    let truth: HashMap<&str, f64> = truth(units).into_iter().map(|(parameter, value)| (parameter.key(), value)).collect();
    let mut inside = 0;
    for (parameter, tolerance) in wanted {
        let ([value, low, high], truth) = (found[parameter.key()], truth[parameter.key()]);
        let error = value / truth - 1.0;
        eprintln!("{file} {}: {value:.4e} ({low:.3e} to {high:.3e}), truly {truth:.4e}: {:+.1} %", parameter.key(), 100.0 * error);
        assert!(error.abs() < *tolerance, "{file} {}: {value} ({low} to {high}), not {truth}", parameter.key());
        inside += usize::from(low <= truth && truth <= high);
    }
    assert!(10 * inside >= 7 * wanted.len(), "{inside} of {} intervals hold the truth", wanted.len());
}

#[test]
fn a_session_of_kernels_gives_back_what_the_device_does() {
    let workplace = Workplace::new();
    let (left_out, seen) = parted(kernels(&mut Noise::new(7, 0.02)));
    write_session(&workplace.path("seen"), REPORTED, 60.0, &seen);
    write_session(&workplace.path("left-out"), REPORTED, 60.0, &left_out);
    let out = workplace.run(&["calibrate", "seen", "--out", "made"]);
    let talk = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(0), "{talk}");
    let table = String::from_utf8(out.stdout).unwrap();
    eprintln!("{talk}\n{table}");
    // Kernels that a cache holds would make memory look faster than it is: named, not used.
    assert!(talk.contains("bytes: found no more than a cache may hold between two calls"), "{talk}");
    for regime in ["kernel gemm bf16", "kernel gemm fp32", "kernel copy fp32", "every kernel in turn"] {
        assert!(table.contains(regime), "no {regime} in {table}");
    }
    use Parameter::{ByteEnergy, FlopEnergy, Gather, Launch, Matmul, Memory, Mixing, Saturation, Wave};
    let tensor = [
        (Matmul, 0.03),
        (Mixing, 0.05),
        (Wave, 0.3),
        (Saturation, 0.15),
        (Memory, 0.03),
        (Gather, 0.05),
        (Launch, 0.05),
        (FlopEnergy, 0.1),
        (ByteEnergy, 0.1),
    ];
    recovered(&workplace, "made/kernels-nvidia.toml", Units::Tensor, &tensor);
    let vector = [(Matmul, 0.03), (Mixing, 0.05), (Memory, 0.03), (Gather, 0.05), (Launch, 0.05), (FlopEnergy, 0.1), (ByteEnergy, 0.1)];
    recovered(&workplace, "made/kernels-nvidia-fp32.toml", Units::Vector, &vector);
    // The idle power is that of the device while it is ready, not that before the program began.
    let text = std::fs::read_to_string(workplace.path("made/kernels-nvidia.toml")).unwrap();
    let idle: f64 = text.lines().find_map(|line| line.strip_prefix("idle_w = ")).unwrap().parse().unwrap();
    assert!((idle / 95.0 - 1.0).abs() < 0.06, "{idle}");
    let found = rows(&workplace.printed(&[
        "predict",
        "left-out",
        "--without-shipped",
        "--calibration",
        "made/kernels-nvidia.toml",
        "--calibration",
        "made/kernels-nvidia-fp32.toml",
    ]));
    let large = |row: &Row| row["kernel"] == "gemm" || row["kernel"] == "launch" || number(row, "bytes") >= 268_435_456.0;
    let of_memory: Vec<Row> = found.into_iter().filter(large).collect();
    assert!(of_memory.iter().all(|row| row["basis"].starts_with("calibration kernels-nvidia")), "{of_memory:?}");
    let seconds = mean_error(&of_memory, "predicted_s", "seconds");
    let watts = mean_error(&of_memory, "predicted_w", "measured_w");
    eprintln!("left out: seconds {:.2} %, watts {:.2} %, of {} rows", 100.0 * seconds, 100.0 * watts, of_memory.len());
    assert!(seconds < 0.035 && watts < 0.035, "{seconds} {watts}");
}

#[test]
fn a_session_of_runs_gives_back_what_steps_take_and_kernels_help() {
    let workplace = Workplace::new();
    let mut noise = Noise::new(11, 0.02);
    let (left_out, seen) = parted(runs(&DEVICE, REPORTED, &mut noise));
    write_session(&workplace.path("runs"), REPORTED, 95.0, &seen);
    write_session(&workplace.path("left-out"), REPORTED, 95.0, &left_out);
    write_session(&workplace.path("kernels"), REPORTED, 95.0, &kernels(&mut noise));
    let predicted = |calibrations: &[&str], basis: &str| {
        let mut arguments = vec!["predict", "left-out", "--without-shipped"];
        arguments.extend(calibrations.iter().flat_map(|file| ["--calibration", *file]));
        let found = rows(&workplace.printed(&arguments));
        assert_eq!(found.len(), left_out.len());
        assert!(found.iter().all(|row| row["basis"] == basis), "{}", found[0]["basis"]);
        let errors = [mean_error(&found, "predicted_s", "measured_s"), mean_error(&found, "predicted_w", "measured_w")];
        let holds = |row: &&Row| {
            let [low, measured, high] = ["predicted_low_s", "measured_s", "predicted_high_s"].map(|column| number(row, column));
            low <= measured && measured <= high
        };
        let inside = found.iter().filter(holds).count();
        eprintln!("{basis}: seconds {:.2} %, watts {:.2} %, {inside} inside", 100.0 * errors[0], 100.0 * errors[1]);
        assert!(inside + 2 >= found.len(), "{inside} of {} intervals by {basis} hold what was measured", found.len());
        errors
    };
    workplace.printed(&["calibrate", "runs", "--out", "of-runs"]);
    let [seconds, watts] = predicted(&["of-runs/pytorch-eager-nvidia.toml"], "calibration pytorch-eager-nvidia");
    assert!(seconds < 0.035 && watts < 0.035, "{seconds} {watts}");
    // Both in one fit: kernels say what steps of few kinds leave open.
    workplace.printed(&["calibrate", "runs", "kernels", "--out", "of-both"]);
    let [seconds, watts] = predicted(&["of-both/pytorch-eager-nvidia.toml"], "calibration pytorch-eager-nvidia");
    assert!(seconds < 0.035 && watts < 0.035, "{seconds} {watts}");
    use Parameter::{ByteEnergy, FlopEnergy, HostFloor, Launch, Matmul, Memory, StepOverhead};
    let wanted =
        [(Matmul, 0.03), (Memory, 0.03), (Launch, 0.05), (HostFloor, 0.2), (StepOverhead, 0.2), (FlopEnergy, 0.1), (ByteEnergy, 0.1)];
    recovered(&workplace, "of-both/pytorch-eager-nvidia.toml", Units::Tensor, &wanted);
    // Kernels alone know the device and not the host.
    let alone = predicted(&["of-both/kernels-nvidia.toml"], "kernels of this device in calibration kernels-nvidia");
    let defaults = predicted(&[], "class defaults");
    assert!(alone[1] < defaults[1], "{alone:?} {defaults:?}");
    // The host is known from steps on another card.
    write_session(&workplace.path("sibling"), "NVIDIA A100-SXM4-80GB", 70.0, &runs(&SIBLING, "NVIDIA A100-SXM4-80GB", &mut noise));
    workplace.printed(&["calibrate", "sibling", "--out", "of-sibling"]);
    let siblings = predicted(&["of-sibling/pytorch-eager-nvidia.toml"], "siblings of calibration pytorch-eager-nvidia");
    let joined = predicted(
        &["of-sibling/pytorch-eager-nvidia.toml", "of-both/kernels-nvidia.toml"],
        "kernels of this device in calibration kernels-nvidia and the host of pytorch-eager-nvidia",
    );
    assert!(joined[0] < 0.12 && joined[0] < alone[0], "{siblings:?} {joined:?}");
}

/// A scenario that names a stack takes kernels of its device where no run of the stack is known, and says so.
#[test]
fn a_scenario_takes_kernels_of_its_device_and_its_idle_power() {
    let workplace = Workplace::new();
    write_session(&workplace.path("kernels"), REPORTED, 95.0, &kernels(&mut Noise::new(3, 0.02)));
    workplace.printed(&["calibrate", "kernels", "--out", "made"]);
    let scenario = "schema = 1\ntitle = \"t\"\nbaseline = \"b\"\nmodel = { use = \"bert-base\" }\nhardware = { accelerator = \"h100\" }\n\
                    performance = { stack = \"pytorch-eager\" }\ntraining = { precision = \"bf16\", optimizer = \"adamw\", steps = 1000, global_batch = 64, \
                    micro_batch = 64, sequence_length = 128 }\nsite = { grid = \"DE\", pue = 1.2 }\n";
    workplace.write("s.toml", scenario);
    let of = |more: &[&str]| {
        let mut arguments = vec!["run", "./s.toml", "--format", "json", "--without-shipped"];
        arguments.extend(more);
        workplace.json(&arguments)
    };
    let (with, without) = (of(&["--calibration", "made/kernels-nvidia.toml"]), of(&[]));
    let case = |whole: &Value, key: &str| whole["variants"][0][key].clone();
    assert_eq!(case(&with, "basis"), "kernels of this device in calibration kernels-nvidia");
    assert_eq!(case(&without, "basis"), "class defaults");
    // The stack was not seen: what its host takes is as the class knows it.
    assert_eq!(case(&with, "duration_s")["class"], "modelled");
    let idle = |whole: &Value| {
        let inputs = whole["inputs"].as_array().unwrap();
        let input = inputs
            .iter()
            .find(|input| input["name"].as_str().is_some_and(|name| name.ends_with("device: idle power")))
            .unwrap_or_else(|| panic!("{inputs:?}"));
        (input["distribution"].clone(), input["source"].to_string())
    };
    let (measured, profile) = (idle(&with), idle(&without));
    let watts = measured.0["value"].as_f64().unwrap();
    assert!((watts / 95.0 - 1.0).abs() < 0.06 && measured.1.contains("calibration kernels-nvidia"), "{measured:?}");
    assert_eq!(profile.0["low"], 69.0, "{profile:?}");
}

/// The table that a script beside lowcarb writes: no device, PyTorch's names, a kernel that no model has.
#[test]
fn a_table_of_kernels_goes_through_the_door_of_runs_and_what_it_lacks_is_named() {
    let workplace = Workplace::new();
    let table = "kernel,precision,m,n,k,batch,elements,flop,bytes,seconds,measured_w,energy_j,calls\n\
                 gemm,bf16,4096,4096,4096,1,,137438953472,100663296,0.000205,640,0.13,9000\n\
                 gemm,bf16,8192,768,64,1,,805306368,13729792,0.0000121,310,0.004,90000\n\
                 gemm,bf16,512,512,64,384,,12884901888,251658240,0.000085,520,0.05,9000\n\
                 copy,bfloat16,,,,,134217728,,536870912,0.000185,390,0.07,9000\n\
                 layernorm,bfloat16,,,,,134217216,,536868864,0.000191,380,0.07,9000\n\
                 sort,int64,,,,,174762,,2796192,0.0001,200,0.02,9000\n\
                 launch,none,,,,,1,,8,0.0000031,120,0.0004,900000\n";
    workplace.write("kernels.csv", table);
    let without = workplace.run(&["calibrate", "kernels.csv"]);
    let talk = String::from_utf8(without.stderr).unwrap();
    assert_eq!(without.status.code(), Some(2), "{talk}");
    assert!(
        talk.contains("kernels.csv:2: device: found nothing, allowed: the accelerator that it ran on") && talk.contains("(6 rows)"),
        "{talk}"
    );
    let out = workplace.run(&["calibrate", "kernels.csv", "--device", "h100", "--out", "made"]);
    let talk = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(0), "{talk}");
    assert!(talk.contains("kernel: found \"sort\", allowed: gemm, copy"), "{talk}");
    assert!(workplace.path("made/kernels-nvidia.toml").is_file() && !workplace.path("made/kernels-nvidia-fp32.toml").exists());
    let arguments = ["predict", "kernels.csv", "--set", "device=h100", "--without-shipped", "--calibration", "made/kernels-nvidia.toml"];
    let found = rows(&workplace.printed(&arguments));
    assert_eq!(found.iter().filter(|row| row["basis"] == "calibration kernels-nvidia").count(), 6);
    assert!(mean_error(&found, "predicted_s", "seconds") < 0.15);
    // A kernel without its sizes is a message of its own.
    workplace.write("wrong.csv", table.replace("8192,768,64,1", "8192,,64,1"));
    let talk = String::from_utf8(workplace.run(&["calibrate", "wrong.csv", "--device", "h100"]).stderr).unwrap();
    assert!(talk.contains("wrong.csv:3: n: found nothing, allowed: a whole number"), "{talk}");
    let lacking = table.replace("bytes", "byte");
    workplace.write("lacking.csv", lacking);
    let out = workplace.run(&["calibrate", "lacking.csv", "--device", "h100"]);
    let talk = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{talk}");
    assert!(talk.contains("lacking.csv:1: bytes: found no such column") && talk.contains("\"byte\""), "{talk}");
}
