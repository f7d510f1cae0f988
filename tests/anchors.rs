//! Runs that state their time, with and without their power, through the binary.

use std::fs;
use std::process::Command;

use serde_json::Value;

const MODEL: &str = "[model]\nuse = \"bert-base\"\n[training]\nprecision = \"fp16\"\noptimizer = \"adam\"\nsteps = 1000\nglobal_batch = 256\nmicro_batch = 32\nsequence_length = \
                     512\n";

/// The JSON of a scenario of 8 V100 with further sections.
fn run(node: &str, sections: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"b\"\ndraws = 200\n[hardware]\naccelerator = \"V100-SXM2-32GB\"\n{node}accelerators = 8\n[site]\npue \
         = 1.1\nsource = \"s\"\n[sources.s]\ncitation = \"c\"\nyear = 2020\nclass = \"measured\"\n{sections}"
    );
    let path = folder.path().join("mine.toml");
    fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lowcarb"))
        .args(["run", "--format", "json"])
        .arg(&path)
        .current_dir(folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const NODE: &str = "node = \"dgx-v100\"\n";

fn anchor(hours: f64, boundary: &str, power: &str) -> String {
    format!("[anchor]\nduration = \"{hours} h\"\nboundary = \"{boundary}\"\nsource = \"s\"\n{power}")
}

fn value(case: &Value, key: &str) -> f64 {
    case[key]["value"].as_f64().unwrap_or_else(|| panic!("{key} of {case}"))
}

fn says_modelled(case: &Value) -> bool {
    case["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("modelled at the anchored time"))
}

#[test]
fn power_that_an_anchor_does_not_state_is_modelled_at_its_time() {
    let modelled = &run(NODE, MODEL)["variants"][0];
    let hours = value(modelled, "duration_s") / 3600.0;
    let of = |factor: f64| run(NODE, &(anchor(factor * hours, "node", "") + MODEL))["variants"][0].clone();
    let (same, slower) = (of(1.0), of(2.0));
    assert!((value(&same, "energy_kwh") / value(modelled, "energy_kwh") - 1.0).abs() < 1e-9);
    let energy = value(&slower, "energy_kwh") / value(&same, "energy_kwh");
    assert!(energy > 1.1 && energy < 1.9, "twice the time draws less at a time: {energy}");
    let alone = &run("", &(anchor(2.0, "accelerator", "") + MODEL))["variants"][0];
    assert_eq!((&alone["duration_s"]["class"], &alone["energy_kwh"]["class"]), (&"measured".into(), &"modelled".into()));
    assert!(says_modelled(&slower) && !says_modelled(modelled), "{slower}");
    assert!(slower["missing"].as_array().unwrap().iter().all(|text| !text.as_str().unwrap().starts_with("energy")), "{slower}");
}

#[test]
fn the_boundary_is_that_of_a_stated_power_alone() {
    let of = |node: &str, boundary: &str, power: &str| run(node, &(anchor(2.0, boundary, power) + MODEL))["variants"][0].clone();
    let [accelerator, node, facility] = ["accelerator", "node", "facility"].map(|boundary| value(&of(NODE, boundary, ""), "energy_kwh"));
    assert!(accelerator == node && node == facility, "{accelerator} {node} {facility}");
    assert_eq!(of("", "facility", "")["energy_kwh"]["lacks"], serde_json::json!(["node overhead"]));
    let stated = "power = \"2 kW\"\n";
    let [accelerator, node, facility] = ["accelerator", "node", "facility"].map(|boundary| of(NODE, boundary, stated));
    assert!(value(&accelerator, "energy_kwh") > value(&node, "energy_kwh"));
    assert!((value(&node, "energy_kwh") / value(&facility, "energy_kwh") - 1.1).abs() < 1e-9);
    assert!((value(&node, "energy_kwh") - 4.4).abs() < 1e-9 && !says_modelled(&node));
}

#[test]
fn a_variant_is_scaled_in_time_and_its_power_is_modelled_there() {
    let variant = "[[variant]]\nname = \"half\"\ntraining.steps = 500\n";
    let both = run(NODE, &(anchor(2.0, "node", "") + MODEL + variant));
    let [whole, half] = [0, 1].map(|index| &both["variants"][index]);
    assert!((value(half, "duration_s") / 3600.0 - 1.0).abs() < 1e-9);
    assert!((value(half, "energy_kwh") / value(whole, "energy_kwh") - 0.5).abs() < 1e-9, "half of the steps at the same power");
    assert!(says_modelled(half));
}

#[test]
fn without_a_model_power_stays_missing() {
    let case = &run(NODE, &anchor(2.0, "node", ""))["variants"][0];
    assert!(case["energy_kwh"].is_null());
    assert!(case["missing"][0].as_str().unwrap().ends_with("the anchor states no power"), "{}", case["missing"]);
}

#[test]
fn what_a_node_draws_beside_its_accelerators_follows_their_load() {
    let node = |share: &str| {
        format!(
            "node = {{ use = \"dgx-v100\", overhead = {{ power = {{ value = \"1 kW\", source = \"t\" }}{share} }}, sources.t = {{ citation = \"c\", \
             year = 2020 }} }}\n"
        )
    };
    let with = node(", share_of_accelerators = { value = 0.1, source = \"t\" }");
    let stated = anchor(2.0, "accelerator", "power = \"2 kW\"\n");
    let energy = |node: &str, sections: &str| value(&run(node, sections)["variants"][0], "energy_kwh") / 1.1;
    assert!((energy(&with, &stated) - 2.0 * (2.0 + 0.1 * 2.0 + 1.0)).abs() < 1e-9);
    for sections in [MODEL.to_string(), anchor(2.0, "node", "") + MODEL] {
        let (with, without, alone) = (energy(&with, &sections), energy(&node(""), &sections), energy("", &sections));
        assert!(((with - without) / alone - 0.1).abs() < 1e-9, "{with} {without} {alone}");
    }
    let stated = anchor(2.0, "node", "power = \"2 kW\"\n");
    assert!((energy(&with, &stated) - 4.0).abs() < 1e-9, "a node's power holds all of it");
}
