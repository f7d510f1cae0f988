//! `lowcarb session export`: what other tools read is what the session says, and what is not known is empty.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use common::Workplace;
use common::fake_nvml::{measure, script};
use common::sessions::{IDLE, IDLE_WATTS, Node, START, node};
use serde_json::Value;

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().unwrap()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: \"{}\"", row[column]))
}

#[track_caller]
fn close(value: f64, truth: f64) {
    assert!((value - truth).abs() <= 1e-3 * truth.abs().max(1e-9), "{value}, not {truth}");
}

fn marked() -> Node {
    let marks = [
        (1.0, "begin train"),
        (1.0, "fact runs {\"model\": \"a, \\\"b\\\"\", \"gpus\": 1}"),
        (2.0, "step tokens=10"),
        (2.5, "begin evaluation"),
        (3.5, "end evaluation"),
        (4.0, "step tokens=10"),
        (5.0, "end train"),
        (5.5, "begin gemm"),
        (5.5, "fact kernels {\"kernel\": \"gemm\", \"calls\": 4}"),
        (6.5, "end gemm"),
        (7.0, "begin rest"),
        (7.0, "fact kernels {\"kernel\": \"idle\", \"calls\": 0}"),
        (9.0, "end rest"),
        (9.0, "begin unknown"),
        (9.0, "fact kernels {\"kernel\": \"add\"}"),
        (9.5, "end unknown"),
    ];
    node("one", "a", "GPU-1").marks(&marks)
}

#[test]
fn every_reading_is_a_row_for_a_spreadsheet() {
    let workplace = Workplace::new();
    let two = Node { sealed: false, exit: None, processors: Some(100.0), ..node("two", "b", "GPU-2") };
    marked().write(&workplace.path("run/a"));
    two.write(&workplace.path("run/b"));
    let text = workplace.printed(&["session", "export", "run", "--format", "csv"]);
    let rows = rows(&text);
    let checked = workplace.printed(&["session", "check", "run"]);
    let readings: usize = checked.lines().map(|line| line.split(' ').rev().nth(6).unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(rows.len(), readings);
    // Accelerators, packages and memory of both, in the time of the session and of the wall clock.
    let devices: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row["host"].as_str(), row["device_uuid"].as_str())).collect();
    assert_eq!(devices, BTreeSet::from([("a", "GPU-1"), ("b", "GPU-2"), ("b", "b/package-0"), ("b", "b/package-0/dram")]));
    for row in &rows {
        close(number(row, "time_unix_s"), START - IDLE + number(row, "session_s"));
    }
    let at = |uuid: &str, time: f64| {
        let found = rows.iter().find(|row| row["device_uuid"] == uuid && (number(row, "session_s") - IDLE - time).abs() < 0.01);
        found.unwrap_or_else(|| panic!("no row of {uuid} at {time}"))
    };
    assert_eq!(at("GPU-1", 0.0)["time_utc"], "2027-01-15T08:00:00.000Z");
    // Energy adds up from the first reading on, whatever the counter stood at.
    close(number(at("GPU-1", 10.0), "energy_j"), IDLE_WATTS * IDLE + 3000.0);
    close(number(at("b/package-0", 10.0), "energy_j") - number(at("b/package-0", 5.0), "energy_j"), 400.0);
    let phases = [0.5, 1.5, 3.0, 4.5, 5.2, 8.0, 9.7].map(|time| at("GPU-1", time)["phase"].as_str());
    assert_eq!(phases, ["", "train", "train > evaluation", "train", "", "rest", ""]);
    // The phase of the node that marks is that of the others too.
    assert_eq!(at("GPU-2", 3.0)["phase"], "train > evaluation");
    assert_eq!([-0.5, 5.0, 10.5].map(|time| at("GPU-1", time)["window"].as_str()), ["idle_before", "run", "idle_after"]);
    assert_eq!(
        [-1.0, 5.0].map(|time| at("GPU-1", time)["throttle_reasons"].as_str()),
        ["none", "applications_clocks_setting+software_power_cap"]
    );
    assert_eq!((at("GPU-1", 5.0)["memory_bytes"].as_str(), at("GPU-1", 5.1)["memory_bytes"].as_str()), ("8000000000", ""));
    assert_eq!((at("b/package-0", 5.0)["power_w"].as_str(), at("b/package-0", 5.0)["device_kind"].as_str()), ("", "host"));
}

#[test]
fn a_reading_that_another_session_counts_says_so() {
    let workplace = Workplace::new();
    node("one", "a", "GPU-1").write(&workplace.path("x"));
    Node { run: (6.0, 14.0), ..node("two", "a", "GPU-1") }.write(&workplace.path("y"));
    workplace.printed(&["session", "merge", "x", "y", "--out", "m"]);
    let rows = rows(&workplace.printed(&["session", "export", "m", "--format", "csv"]));
    let range = |id: &str| {
        let counted = rows.iter().filter(|row| row["session"] == id && row["counted"] == "yes");
        let times: Vec<f64> = counted.map(|row| number(row, "time_unix_s") - START).collect();
        (times.iter().copied().fold(f64::INFINITY, f64::min), times.iter().copied().fold(0.0, f64::max))
    };
    assert_eq!((range("one"), range("two")), ((0.0, 10.0), (10.0, 14.0)));
}

/// The fields of `EmissionsData` in their order: mlco2/codecarbon, codecarbon/output_methods/emissions_data.py, tag v3.2.9 (MIT).
const CODECARBON: &str = "timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power gpu_power ram_power \
    cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name country_iso_code region cloud_provider cloud_region os \
    python_version codecarbon_version cpu_count cpu_model gpu_count gpu_model longitude latitude ram_total_size tracking_mode \
    cpu_utilization_percent gpu_utilization_percent ram_utilization_percent ram_used_gb on_cloud pue wue";

#[test]
fn codecarbon_s_columns_have_its_names_and_units_and_nothing_made_up() {
    let workplace = Workplace::new();
    Node { processors: Some(100.0), ..node("one", "a", "GPU-1") }.write(&workplace.path("full"));
    Node { gpus: Vec::new(), ..node("two", "b", "") }.write(&workplace.path("empty"));
    let output = workplace.run(&["session", "export", "full", "empty", "--format", "codecarbon"]);
    assert!(talk(&output).contains("two: energy_consumed and emissions are without: GPUs: no driver"), "{}", talk(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().next().unwrap().split(',').collect::<Vec<_>>(), CODECARBON.split_whitespace().collect::<Vec<_>>());
    let [full, empty] = &rows(&text)[..] else { panic!("{text}") };
    for (column, value) in [
        ("duration", 10.0),
        ("gpu_energy", 3000.0 / 3.6e6),
        ("cpu_energy", 800.0 / 3.6e6),
        ("ram_energy", 200.0 / 3.6e6),
        ("energy_consumed", 4000.0 / 3.6e6),
        ("gpu_power", 300.0),
        ("cpu_power", 80.0),
        ("ram_power", 20.0),
        ("gpu_count", 1.0),
        ("gpu_utilization_percent", 90.0),
    ] {
        close(number(full, column), value);
    }
    assert_eq!((full["run_id"].as_str(), full["timestamp"].as_str()), ("one", "2027-01-15T08:00:10"));
    let filled =
        |row: &BTreeMap<String, String>| row.iter().filter(|(_, cell)| !cell.is_empty()).map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(filled(empty), ["duration", "project_name", "run_id", "timestamp", "tracking_mode"]);
    assert!(!filled(full).iter().any(|name| name.starts_with("emissions") || name == "water_consumed" || name == "pue"));
    // With a grid, kilograms by the first table that knows the zone.
    let text = workplace.printed(&["session", "export", "full", "--format", "codecarbon", "--grid", "DE"]);
    let table = std::fs::read_to_string(format!("{}/grid_profiles/electricity_maps.csv", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let of_zone: Vec<_> = rows(&table).into_iter().filter(|row| row["zone"] == "DE").collect();
    let latest = of_zone.iter().max_by_key(|row| row["year"].parse::<u32>().unwrap()).unwrap();
    let row = &rows(&text)[0];
    close(number(row, "emissions"), 4000.0 / 3.6e6 * number(latest, "g_per_kwh") / 1000.0);
    close(number(row, "emissions_rate"), number(row, "emissions") / 10.0);
}

/// Samples by metric and labels, as a strict reader of the text format takes them (prometheus.io, "Exposition formats", text format
/// details; "Data model" for names; node_exporter's textfile collector refuses times).
fn samples(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let is_name = |name: &str, colon: bool| {
        let allowed =
            |(place, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':') || (place > 0 && c.is_ascii_digit());
        !name.is_empty() && name.chars().enumerate().all(allowed)
    };
    let mut out = BTreeMap::new();
    let (mut types, mut helps): (BTreeMap<String, String>, BTreeSet<String>) = Default::default();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helps.insert(name.into()) && !help.contains('\\'), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind) && types.insert(name.into(), kind.into()).is_none(), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            last = name.into();
        } else {
            let (name, rest) = line.split_once('{').unwrap();
            assert!(is_name(name, true) && types.contains_key(name) && helps.contains(name), "{line}");
            assert_eq!(name, last, "lines of a metric stand together");
            let (labels, value) = rest.rsplit_once("} ").unwrap();
            let mut left = labels;
            let mut labels = BTreeMap::new();
            while !left.is_empty() {
                let (label, rest) = left.split_once("=\"").unwrap();
                assert!(is_name(label, false) && !label.starts_with("__"), "{line}");
                let mut value = String::new();
                let mut characters = rest.char_indices();
                let end = loop {
                    match characters.next().unwrap() {
                        (end, '"') => break end,
                        (_, '\\') => value.push(match characters.next().unwrap().1 {
                            'n' => '\n',
                            c @ ('\\' | '"') => c,
                            c => panic!("\\{c} in {line}"),
                        }),
                        (_, c) => value.push(c),
                    }
                };
                assert!(labels.insert(label.to_string(), value).is_none(), "{line}");
                left = rest[end + 1..].strip_prefix(',').unwrap_or(&rest[end + 1..]);
            }
            assert!(!value.contains(' '), "a time: {line}");
            assert!(out.insert((name.to_string(), labels), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    assert_eq!(types.keys().collect::<Vec<_>>(), helps.iter().collect::<Vec<_>>());
    out
}

#[test]
fn prometheus_reads_what_the_session_says() {
    let workplace = Workplace::new();
    let odd = Node { processors: Some(100.0), ..Node { host: "a\\\"b\nc", ..marked() } };
    odd.write(&workplace.path("x"));
    Node { gpus: Vec::new(), exit: None, sealed: false, ..node("two", "b", "") }.write(&workplace.path("y"));
    workplace.printed(&["session", "export", "x", "y", "--format", "prometheus", "--out", "lowcarb.prom"]);
    let text = std::fs::read_to_string(workplace.path("lowcarb.prom")).unwrap();
    let samples = samples(&text);
    let of = |name: &str, wanted: &[(&str, &str)]| {
        let holds =
            |labels: &BTreeMap<String, String>| wanted.iter().all(|(label, value)| labels.get(*label).is_some_and(|known| known == value));
        samples.iter().filter(|((known, labels), _)| known == name && holds(labels)).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let [joules] =
        of("lowcarb_gpu_energy_joules_total", &[("uuid", "GPU-1"), ("host", "a\\\"b\nc"), ("session", "one"), ("basis", "counter")])[..]
    else {
        panic!("{text}")
    };
    close(joules, 3000.0);
    close(of("lowcarb_host_energy_joules_total", &[("domain", "package-0"), ("added", "yes")])[0], 800.0);
    close(of("lowcarb_phase_gpu_energy_joules_total", &[("phase", "evaluation")])[0], 300.0);
    close(of("lowcarb_phase_duration_seconds_total", &[("phase", "train")])[0], 4.0);
    assert_eq!(of("lowcarb_steps_total", &[("phase", "train")]), [2.0]);
    assert_eq!(of("lowcarb_gpu_utilization_ratio", &[]), [0.9]);
    assert_eq!(of("lowcarb_run_exit_code", &[]), [0.0], "nothing of the one that was not seen to end");
    assert_eq!(of("lowcarb_run_info", &[("session", "two"), ("state", "recovered")]), [1.0]);
    assert_eq!(of("lowcarb_run_faults", &[("session", "two"), ("code", "recovered")]), [1.0]);
}

#[test]
fn runs_and_kernels_are_tables_and_an_idle_device_has_the_power_of_its_phase() {
    let workplace = Workplace::new();
    marked().write(&workplace.path("s"));
    let run = &rows(&workplace.printed(&["session", "export", "s", "--format", "runs"]))[0];
    assert_eq!((run["model"].as_str(), run["source"].as_str(), run["steps"].as_str()), ("a, \"b\"", "session one", "2"));
    close(number(run, "measured_w"), 300.0);
    close(number(run, "idle_w"), IDLE_WATTS);
    let output = workplace.run(&["session", "export", "s", "--format", "kernels"]);
    assert_eq!(talk(&output), "phase unknown: it does not state its calls\n");
    let kernels = rows(&String::from_utf8(output.stdout).unwrap());
    let [gemm, idle] = &kernels[..] else { panic!("{kernels:?}") };
    close(number(gemm, "seconds"), 0.25);
    close(number(gemm, "energy_j"), 75.0);
    assert_eq!((idle["kernel"].as_str(), idle["calls"].as_str()), ("idle", "0"));
    close(number(idle, "seconds"), 2.0);
    close(number(idle, "energy_j"), 600.0);
    close(number(idle, "measured_w"), 300.0);
    // Nothing stated is an empty table and a word.
    node("two", "b", "GPU-2").write(&workplace.path("t"));
    let output = workplace.run(&["session", "export", "t", "--format", "runs"]);
    assert!(output.status.success() && talk(&output).contains("no run"), "{}", talk(&output));
}

#[test]
fn a_session_that_was_really_measured_is_exported_whole_and_cut_short() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:200", "trace=flat:100 counter=no instant=no usage=no limit=650"]);
    measure(&workplace, &["--idle", "0.2", "--out", "s", "--", "sleep", "1"]).assert().success();
    std::fs::remove_file(workplace.path("s/seal.json")).unwrap();
    let text = std::fs::read(workplace.path("s/samples.csv")).unwrap();
    workplace.write("s/samples.csv", &text[..text.len() - 7]);
    let shown: Value = workplace.json(&["session", "show", "s", "--format", "json"]);
    let readings = rows(&workplace.printed(&["session", "export", "s", "--format", "csv"]));
    let last = readings.iter().rfind(|row| row["device_uuid"].starts_with("GPU-00000000") && row["window"] == "run").unwrap();
    assert!(number(last, "energy_j") > 200.0, "{last:?}");
    // A limit is no reading.
    let bare: Vec<_> = readings.iter().filter(|row| row["device_uuid"].starts_with("GPU-00000001")).collect();
    assert!(bare.iter().all(|row| row["energy_j"].is_empty() && row["energy_basis"].is_empty()));
    let output = workplace.run(&["session", "export", "s", "--format", "codecarbon"]);
    assert!(talk(&output).contains("is its power limit times the time, an upper bound"), "{}", talk(&output));
    let row = &rows(&String::from_utf8(output.stdout).unwrap())[0];
    close(number(row, "energy_consumed"), shown["energy_j"].as_f64().unwrap() / 3.6e6);
    let limit = samples(&workplace.printed(&["session", "export", "s", "--format", "prometheus"]));
    let of_limit = limit.keys().find(|(name, labels)| name == "lowcarb_gpu_energy_joules_total" && labels["basis"] == "limit");
    assert!(of_limit.unwrap().1["uuid"].starts_with("GPU-00000001"));
}

#[test]
fn a_file_is_written_whole_or_not_at_all_and_wrong_usage_writes_none() {
    let workplace = Workplace::new();
    Node { host: "a\u{1b}[31m\u{9b}b", ..node("one", "", "GPU-1") }.write(&workplace.path("s"));
    std::fs::create_dir(workplace.path("folder")).unwrap();
    for (arguments, code, said) in [
        (&["s", "--format", "xml"] as &[&str], 2, "csv, codecarbon, prometheus, svg, png, runs, kernels"),
        (&["s"], 2, "--format"),
        (&["nowhere", "--format", "csv", "--out", "f"], 2, "nowhere: found no such folder"),
        (&["s", "--format", "csv", "--grid", "DE", "--out", "f"], 2, "--grid: found form csv"),
        (&["s", "--format", "codecarbon", "--grid", "Atlantis", "--out", "f"], 2, "unknown grid"),
        (&["s", "--format", "csv", "--out", "folder"], 2, "folder: found a folder"),
        (&["s", "--format", "csv", "--out", "none/f"], 1, "none/f: "),
    ] {
        let output = workplace.run(&[&["session", "export"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", talk(&output));
        assert!(talk(&output).contains(said) && output.stdout.is_empty(), "{arguments:?}: {}", talk(&output));
        assert_eq!(std::fs::read_dir(workplace.path("")).unwrap().count(), 2, "{arguments:?}");
    }
    let picture = workplace.run(&["session", "export", "s", "--format", "png"]);
    assert!(picture.status.success() && picture.stdout.starts_with(b"\x89PNG\r\n\x1a\n"));
    for format in ["csv", "codecarbon", "prometheus", "svg", "runs", "kernels"] {
        let printed = workplace.printed(&["session", "export", "s", "--format", format]);
        assert!(!printed.contains(['\u{1b}', '\u{9b}']), "{format}: a control character reaches the terminal");
        workplace.printed(&["session", "export", "s", "--format", format, "--out", "f"]);
        let written = std::fs::read_to_string(workplace.path("f")).unwrap();
        assert_eq!(written.replace(['\u{1b}', '\u{9b}'], "\u{fffd}"), printed);
    }
}
