//! The same question has the same answer, byte for byte; the answer to BERT-base is the published one; and every form
//! of it can be read by the program it is for.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::Workplace;
use serde_json::Value;

const RUN: &[&str] = &["run", "bert_base_lrt", "--format", "json"];

/// The metrics of a case, and those under `co2e_kg`.
const METRICS: [&str; 5] = ["duration_s", "gpu_hours", "energy_kwh", "cost_usd", "water_l"];
const EMISSIONS: [&str; 3] = ["operational", "embodied", "total"];

/// Every interval of a case: of its metrics, or of its `savings_percent`.
fn intervals(table: &Value) -> Vec<(String, &Value)> {
    let metrics = METRICS.iter().map(|key| ((*key).to_string(), &table[key]));
    metrics.chain(EMISSIONS.iter().map(|key| (format!("co2e_kg.{key}"), &table["co2e_kg"][key]))).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_anywhere_with_any_number_of_threads() {
    let place = Workplace::new();
    let once = place.printed(RUN);
    assert_eq!(place.printed(RUN), once, "again");
    assert_eq!(Workplace::new().printed(RUN), once, "in another working folder");
    for threads in ["1", "2"] {
        let output = place.command(RUN).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), once, "with {threads} threads");
    }
    for (key, value) in [("LC_ALL", "de_DE.UTF-8"), ("TZ", "Asia/Tokyo"), ("COLUMNS", "40"), ("NO_COLOR", "1")] {
        let output = place.command(RUN).env(key, value).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), once, "with {key}={value}");
    }
}

#[test]
fn another_seed_moves_the_ends_and_not_the_values() {
    let place = Workplace::new();
    let one = place.json(RUN);
    let other = place.json(&[RUN, &["--set", "seed=2"]].concat());
    assert_eq!((&one["seed"], &other["seed"]), (&1.into(), &2.into()));
    let mut moved = 0;
    for (one, other) in one["variants"].as_array().unwrap().iter().zip(other["variants"].as_array().unwrap()) {
        assert_eq!(one["name"], other["name"]);
        for ((key, one), (_, other)) in intervals(one).into_iter().zip(intervals(other)) {
            assert_eq!(one["value"], other["value"], "{key}");
            moved += usize::from(one["low"] != other["low"] || one["high"] != other["high"]);
        }
    }
    assert!(moved > 10, "only {moved} intervals moved");
}

/// Strubell et al. 2019, table 3: 79.2 h on 64 V100 at 12,041.51 W, PUE 1.58, 0.954 lb/kWh, 0.74 to 2.48 USD an hour.
#[test]
fn the_baseline_of_bert_base_lrt_is_the_published_run() {
    let result = Workplace::new().json(RUN);
    let baseline = &result["variants"][0];
    assert_eq!(result["baseline"], "BERT-base");
    assert_eq!(baseline["name"], "BERT-base");
    let rounded = |value: &Value, digits: i32| (value.as_f64().unwrap() * 10_f64.powi(digits)).round() / 10_f64.powi(digits);
    assert_eq!(baseline["duration_s"]["value"], 285_120.0);
    assert_eq!(baseline["gpu_hours"]["value"], 5068.8);
    assert_eq!(rounded(&baseline["energy_kwh"]["value"], 1), 1506.8);
    assert_eq!(rounded(&baseline["cost_usd"]["low"], 1), 3750.9);
    assert_eq!(rounded(&baseline["cost_usd"]["high"], 1), 12_570.6);
    // 1,506.826 kWh at 0.954 lb, each of 0.45359237 kg.
    assert_eq!(rounded(&baseline["co2e_kg"]["operational"]["value"], 2), 652.04);
    for key in ["duration_s", "gpu_hours", "energy_kwh"] {
        assert_eq!(baseline[key]["class"], "published", "{key}");
        assert_eq!(baseline[key]["low"], baseline[key]["value"], "{key}");
        assert_eq!(baseline[key]["high"], baseline[key]["value"], "{key}");
    }
    assert!(baseline.get("savings_percent").is_none(), "the baseline saves nothing against itself");
}

#[test]
fn a_run_gives_the_stable_keys() {
    let result = Workplace::new().json(RUN);
    assert_eq!(result["schema"], 1);
    let variants = result["variants"].as_array().unwrap();
    let names: Vec<&str> = variants.iter().map(|variant| variant["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["BERT-base", "LRT r=256", "LRT r=192", "LRT r=128", "LRT r=100", "LRT r=64"]);
    let classes = ["measured", "calibrated", "modelled", "published", "assumed"];
    for (index, variant) in variants.iter().enumerate() {
        for (key, found) in intervals(variant) {
            assert_ordered(&key, found);
            assert!(classes.contains(&found["class"].as_str().unwrap()), "{key}: {found}");
        }
        if index > 0 {
            for (key, found) in intervals(&variant["savings_percent"]) {
                assert_ordered(&key, found);
            }
        }
    }
}

/// The value lies in its interval, which says its level.
fn assert_ordered(key: &str, interval: &Value) {
    let [value, low, high] =
        ["value", "low", "high"].map(|end| interval[end].as_f64().unwrap_or_else(|| panic!("{key}.{end}: {interval}")));
    assert!(low <= value && value <= high, "{key}: {interval}");
    assert_eq!(interval["level"], 0.9, "{key}");
}

/// The saving is that of the values, in every metric, and grows as the rank falls.
#[test]
fn savings_follow_from_the_values_and_grow_as_the_rank_falls() {
    let result = Workplace::new().json(RUN);
    let variants = result["variants"].as_array().unwrap();
    let baseline = intervals(&variants[0]);
    let mut before = vec![0.0; baseline.len()];
    for variant in &variants[1..] {
        let savings = intervals(&variant["savings_percent"]);
        for (index, (key, found)) in intervals(variant).into_iter().enumerate() {
            let [own, base] = [found, baseline[index].1].map(|found| found["value"].as_f64().unwrap());
            let saving = savings[index].1["value"].as_f64().unwrap();
            assert!((saving - 100.0 * (1.0 - own / base)).abs() < 1e-6, "{} {key}: {saving}", variant["name"]);
            assert!(saving > before[index], "{} {key}", variant["name"]);
            before[index] = saving;
        }
    }
}

#[test]
fn csv_has_as_many_cells_in_every_row_and_the_numbers_of_the_json() {
    let place = Workplace::new();
    let text = place.printed(&["run", "bert_base_lrt", "--format", "csv"]);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert!(rows.iter().all(|row| row.len() == head.len()), "{text}");
    assert_eq!(head.iter().collect::<std::collections::BTreeSet<_>>().len(), head.len(), "two columns of one name: {text}");
    let result = place.json(RUN);
    let variants = result["variants"].as_array().unwrap();
    assert_eq!(rows.len(), variants.len());
    let cell = |row: &csv::StringRecord, name: &str| row[head.iter().position(|other| other == name).unwrap()].to_string();
    for (row, variant) in rows.iter().zip(variants) {
        assert_eq!(cell(row, "case"), variant["name"].as_str().unwrap());
        let energy: f64 = cell(row, "energy_kwh").parse().unwrap();
        let printed = variant["energy_kwh"]["value"].as_f64().unwrap();
        assert!((energy / printed - 1.0).abs() < 1e-12, "{energy} for {printed}");
    }
}

#[test]
fn a_name_with_commas_and_quotes_is_one_cell_of_the_csv() {
    let place = Workplace::new();
    let name = "a, \"b\"";
    place.write("mine.toml", format!("use = \"bert_base_lrt\"\ndraws = 10\n[[variant]]\nname = '{name}'\nmodel.linear.rank = 256\n"));
    let text = place.printed(&["run", "mine.toml", "--format", "csv"]);
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(text.as_bytes()).records().map(Result::unwrap).collect();
    assert!(rows.iter().any(|row| &row[0] == name), "{text}");
}

#[test]
fn the_outcome_folder_holds_json_markdown_and_plots() {
    let place = Workplace::new();
    let output = place.run(&[RUN, &["--out", "outcome/below"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    let read = |name: &str| fs::read(place.path("outcome/below").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(String::from_utf8(read("result.json")).unwrap(), printed, "the file holds what is printed");
    let mut names: Vec<String> =
        fs::read_dir(place.path("outcome/below")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let with = |end: &str| names.iter().filter(|name| name.ends_with(end)).collect::<Vec<_>>();
    assert!(!with(".svg").is_empty() && !with(".png").is_empty(), "{names:?}");
    for name in with(".svg") {
        assert!(read(name).starts_with(b"<svg"), "{name}");
    }
    for name in with(".png") {
        assert!(read(name).starts_with(b"\x89PNG\r\n\x1a\n"), "{name}");
    }
    let report = String::from_utf8(read("report.md")).unwrap();
    assert!(report.starts_with("# "), "{report}");
    for part in ["BERT-base", "LRT r=256", "1,507"] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    for picture in report.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).filter(|name| name.ends_with(".svg")) {
        assert!(names.iter().any(|name| name == picture), "the report shows {picture}, which is not there");
    }
    let known = ["result.json", "report.md"];
    let strange: Vec<_> =
        names.iter().filter(|name| !known.contains(&name.as_str()) && !name.ends_with(".svg") && !name.ends_with(".png")).collect();
    assert!(strange.is_empty(), "left behind: {strange:?}");
}

#[test]
fn the_outcome_folder_is_the_same_bytes_again() {
    let place = Workplace::new();
    let folder = |name: &str| {
        place.printed(&["run", "bert_base_lrt", "--out", name]);
        let mut files: Vec<_> = fs::read_dir(place.path(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let (one, other) = (folder("one"), folder("other"));
    assert!(one.len() >= 4);
    for ((name, one), (other_name, other)) in one.iter().zip(&other) {
        assert_eq!(name, other_name);
        assert!(one == other, "{} differs", name.to_string_lossy());
    }
    assert_eq!(folder("one"), one, "written over");
}

#[test]
fn data_is_on_stdout_and_talk_on_stderr() {
    let place = Workplace::new();
    let output = place.run(&[RUN, &["--out", "outcome"]].concat());
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "stdout is the JSON and nothing else");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("result.json"), "{talk}");
    let output = place.run(&["inspect", "bert-base", "--set", "linear.rank=700", "--format", "json"]);
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("stays dense"), "{talk}");
    assert!(place.run(RUN).stderr.is_empty(), "nothing to say, nothing said");
}

/// Every call that prints something.
const PRINTING: &[&[&str]] = &[
    &["run", "bert_base_lrt"],
    &["run", "bert_base_lrt", "--format", "markdown"],
    &["inspect", "bert-base"],
    &["inspect", "bert-base", "--rows"],
    &["profiles", "list"],
    &["profiles", "list", "grids"],
    &["profiles", "list", "accelerators", "--format", "csv"],
    &["profiles", "show", "h100"],
    &["profiles", "check"],
    &["--help"],
    &["run", "--help"],
];

#[test]
fn pipes_and_no_color_get_no_escape_codes() {
    let place = Workplace::new();
    for arguments in PRINTING.iter().chain([&["run", "no_such_scenario"][..]].iter()) {
        for (key, value) in [("NO_COLOR", "1"), ("TERM", "xterm-256color")] {
            let output = place.command(arguments).env(key, value).output().unwrap();
            assert!(output.stdout.len() + output.stderr.len() > 50, "{arguments:?} says nothing");
            assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?} with {key}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Workplace::new();
    for arguments in PRINTING {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
        command.args(*arguments).current_dir(place.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(!talk.contains("panicked"), "{arguments:?}: {talk}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {talk}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_a_failure_and_no_panic() {
    let place = Workplace::new();
    for arguments in PRINTING {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
        let output = command.args(*arguments).current_dir(place.path("")).stdout(full).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(!talk.contains("panicked"), "{arguments:?}: {talk}");
        // What clap prints for --help is not the program's own data.
        if !arguments.contains(&"--help") {
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {talk}");
            assert!(talk.starts_with("error: stdout: "), "{arguments:?}: {talk}");
        }
    }
}
