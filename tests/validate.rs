//! The model against what was recorded, measured and published, through the program.

mod common;

use common::Workplace;
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn validate_shows_ledgers_runs_and_circular_figures_each_apart() {
    let place = Workplace::new();
    let printed = place.printed(&["validate", "--out", "o"]);
    for title in
        ["Ledgers and memory", "Time and power of a step", "by device", "Whole regimes held out", "Kernels by themselves", "Circular: "]
    {
        assert!(printed.contains(title), "no {title} in\n{printed}");
    }
    let read = |name: &str| std::fs::read_to_string(place.path("o").join(name)).unwrap();
    let all: Value = serde_json::from_str(&read("validation.json")).unwrap();
    for (key, count) in [("tables", 3), ("circular", 2)] {
        let tables = all[key].as_array().unwrap();
        assert!(tables.len() >= count);
        for table in tables {
            assert!(!table["source"].as_str().unwrap().is_empty());
            for case in table["cases"].as_array().unwrap() {
                // What is outside its bar says why.
                assert!(case["within_bar"] == true || case["explanation"].is_string(), "{case}");
                // An explanation does not bring an error inside its bar.
                let [error, bar] = ["error_percent", "bar_percent"].map(|key| number(&case[key]).abs());
                assert!(case["within_bar"] == false || error <= bar * (1.0 + 1e-9), "{case}");
            }
        }
    }
    // Every measured figure is there as seen and as held out, and the errors that are stated follow from them.
    let points = all["runs"]["points"].as_array().unwrap();
    for fit in all["runs"]["fits"].as_array().unwrap() {
        for errors in fit["errors"].as_array().unwrap() {
            let whole = if errors["held_out"] == true { "fifths of the rows, each in turn" } else { "all rows" };
            if errors["regime"] != whole {
                continue;
            }
            let of = |point: &&Value| {
                point["calibration"] == fit["name"]
                    && point["figure"] == errors["figure"]
                    && point["held_out"].is_string() == (errors["held_out"] == true)
            };
            let here: Vec<&Value> = points.iter().filter(of).collect();
            assert_eq!(Some(here.len() as u64), errors["rows"].as_u64());
            let mean = here.iter().map(|point| number(&point["error_percent"]).abs()).sum::<f64>() / here.len() as f64;
            assert!((mean - number(&errors["mean_error_percent"])).abs() < 1e-9);
            let inside = here.iter().filter(|point| (number(&point["low"])..=number(&point["high"])).contains(&number(&point["measured"])));
            assert!((100.0 * inside.count() as f64 / here.len() as f64 - number(&errors["inside_interval_percent"])).abs() < 1e-9);
        }
    }
    // What is recorded with the shipped calibrations is what comes out now.
    for fit in all["runs"]["fits"].as_array().unwrap() {
        let shipped = all["calibrations"].as_array().unwrap().iter().find(|shipped| shipped["name"] == fit["name"]).unwrap();
        let held_out = |fit: &Value| {
            let errors = fit["errors"].as_array().unwrap().iter().find(|errors| errors["held_out"] == true).unwrap();
            number(&errors["mean_error_percent"])
        };
        assert!((held_out(fit) - held_out(shipped)).abs() < 0.02, "{}: {} {}", fit["name"], held_out(fit), held_out(shipped));
    }
    // Of kernels, nothing is fitted; the errors follow from the points alike, and every point is in one of them.
    let points = all["kernels"]["points"].as_array().unwrap();
    let mut rows = 0;
    for errors in all["kernels"]["errors"].as_array().unwrap() {
        let of = |point: &&Value| ["table", "device", "kernel"].iter().all(|key| point[key] == errors[key]);
        let here: Vec<&Value> = points.iter().filter(of).collect();
        let mean = here.iter().map(|point| number(&point["error_percent"]).abs()).sum::<f64>() / here.len() as f64;
        assert!((mean - number(&errors["mean_error_percent"])).abs() < 1e-9, "{errors}");
        rows += here.len();
    }
    assert_eq!((rows, points.len()), (6 * 1024 + 42 + 74 + 120, rows));
    // By hand: the products of FlashAttention at the class's shares of an A100's peak, saturation and launch.
    let long = points.iter().find(|point| point["kernel"] == "FlashAttention, fwd" && point["id"] == "table 18, 65536 positions").unwrap();
    let seconds = 4.0 * 16.0 * 8.0 * 65536_f64.powi(2) * 64.0 / (0.8 * 0.8 * 312e12) + 8e-6 + 4e-6;
    assert!((number(&long["predicted"]) / seconds - 1.0).abs() < 1e-9, "{long}");
    // Every shipped table is compared, or it is said why not.
    for folder in ["runs", "kernels", "power", "published"] {
        for file in std::fs::read_dir(format!("{}/measurements/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap() {
            let path = file.unwrap().path();
            let name = format!("| {folder}/{} |", path.file_stem().unwrap().to_string_lossy());
            assert!(read("validation.md").contains(&name), "{name} is not in validation.md");
        }
    }
    assert!(read("validation.md").contains("| runs/vtrain_single | seconds |") && read("validation.md").contains("validation.svg"));
    assert!(read("validation.svg").contains("runs/vtrain_single"));
}

#[test]
fn every_case_can_be_printed() {
    let place = Workplace::new();
    let rows = place.printed(&["validate", "--rows"]);
    assert!(rows.lines().count() > 3000);
    assert!(rows.contains("vtrain-multi-0") && rows.contains("held out") && rows.contains("not fitted"));
}

#[test]
fn a_file_in_the_way_is_told_before_the_work() {
    let place = Workplace::new();
    place.write("o", "");
    let output = place.run(&["validate", "--out", "o"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}
