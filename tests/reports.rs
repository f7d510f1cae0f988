//! The committed example of every shipped scenario is what the program writes today.
//!
//! To renew them after a change that is meant: `LOWCARB_WRITE_REPORTS=1 cargo test --test reports`, then read the diff.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SCENARIOS: [&str; 9] = [
    "bert_base_lrt",
    "bert_base_today",
    "long_range_arena",
    "lrt_on_device",
    "lrt_or_linformer",
    "mlperf_node_power",
    "patterson_2021",
    "strubell_2019",
    "techniques_bert_base",
];

/// Runs a scenario in an empty folder, so that only the embedded copies can be used.
fn written(scenario: &str) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lowcarb"))
        .args(["run", scenario, "--out"])
        .arg(&out)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{scenario}: {}", String::from_utf8_lossy(&output.stderr));
    (home, out)
}

fn committed(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports").join(scenario)
}

/// Numbers may differ in the last digits between mathematics libraries; everything else may not.
fn same(path: &str, left: &Value, right: &Value) {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9), "{path}: {a} is committed, {b} is written");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).enumerate().for_each(|(index, (a, b))| same(&format!("{path}.{index}"), a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{path}");
            a.iter().for_each(|(key, value)| same(&format!("{path}.{key}"), value, &b[key]));
        }
        _ => assert_eq!(left, right, "{path}"),
    }
}

#[test]
fn every_shipped_scenario_has_its_committed_report() {
    let mut shipped: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    shipped.sort();
    assert_eq!(shipped, SCENARIOS);
    for scenario in SCENARIOS {
        let (_home, out) = written(scenario);
        let folder = committed(scenario);
        if std::env::var_os("LOWCARB_WRITE_REPORTS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            for file in std::fs::read_dir(&out).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "png") {
                    continue;
                }
                std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
        let read =
            |folder: &Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{scenario}/{name}: {e}"));
        assert_eq!(read(&folder, "report.md"), read(&out, "report.md"), "{scenario}/report.md");
        let json = |folder: &Path| serde_json::from_str::<Value>(&read(folder, "result.json")).unwrap();
        same(scenario, &json(&folder), &json(&out));
        let plot = if folder.join("sweep.svg").exists() { "sweep" } else { "cases" };
        assert_eq!(read(&folder, &format!("{plot}.svg")), read(&out, &format!("{plot}.svg")), "{scenario}/{plot}.svg");
        assert!(std::fs::read(out.join(format!("{plot}.png"))).unwrap().starts_with(b"\x89PNG"), "{scenario}/{plot}.png");
    }
}

#[test]
fn published_tables_are_reproduced() {
    let (_strubell_home, strubell) = written("strubell_2019");
    let (_patterson_home, patterson) = written("patterson_2021");
    let rows = |out: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(out.join("result.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["published"].as_array().unwrap().clone()
    };
    let strubell = rows(&strubell);
    // Eight rows: costs of all at both prices, energy and emissions of the five that state a power.
    assert_eq!(strubell.len(), 8 * 2 + 5 * 2);
    for row in strubell {
        assert_eq!(row["same_digits"], true, "{row}");
    }
    let patterson = rows(&patterson);
    assert_eq!(patterson.len(), 6 * 3);
    for row in patterson {
        assert!(row["difference_percent"].as_f64().unwrap().abs() < 1.0, "{row}");
    }
}
