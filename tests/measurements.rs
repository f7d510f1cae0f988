//! Measured tables: every one says where it is from, and every run names a device that there is a profile of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lowcarb::document::{Kind, Library, Node, Origin};
use lowcarb::hardware::Accelerator;
use lowcarb::source::Class;
use lowcarb::store::Store;

/// The tables of a folder of measurements.
fn tables(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("measurements").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let tables: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "csv")).collect();
    assert!(!tables.is_empty());
    tables
}

/// The rows of the tables of runs, by column, each with the name of its table.
fn runs() -> Vec<(String, BTreeMap<String, String>)> {
    let mut rows = Vec::new();
    for table in tables("runs") {
        let name = table.file_stem().unwrap().to_string_lossy().into_owned();
        for row in csv::Reader::from_path(&table).unwrap().deserialize() {
            rows.push((name.clone(), row.unwrap()));
        }
    }
    rows
}

fn whole(row: &BTreeMap<String, String>, column: &str) -> u64 {
    row[column].parse().unwrap_or_else(|_| panic!("{}: {column} is \"{}\"", row["id"], row[column]))
}

#[test]
fn every_table_has_a_side_car_with_its_sources() {
    for table in ["runs", "kernels", "power"].into_iter().flat_map(tables) {
        let name = table.file_stem().unwrap().to_string_lossy().into_owned();
        let path = table.with_extension("toml");
        let side_car: toml::Table = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no {}", path.display())).parse().unwrap();
        let text = |key: &str| side_car.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("{name}: no {key}"));
        assert_eq!(text("name"), name);
        assert_eq!(text("data"), format!("{name}.csv"));
        assert!(!text("title").is_empty() && text("notes").contains("Columns:"), "{name}");
        let sources = side_car.get("sources").and_then(toml::Value::as_table).unwrap_or_else(|| panic!("{name}: no sources"));
        assert!(!sources.is_empty(), "{name}");
        for (key, source) in sources {
            let source: lowcarb::source::Source = source.clone().try_into().unwrap_or_else(|error| panic!("{name}: {key}: {error}"));
            assert!(!source.citation.is_empty() && source.licence.is_some_and(|licence| !licence.is_empty()), "{name}: {key}");
            assert!((1990..=2100).contains(&source.year), "{name}: {key}");
            assert_eq!(source.class, Class::Measured, "{name}: {key}");
        }
        let mut reader = csv::Reader::from_path(&table).unwrap();
        let columns = reader.headers().unwrap().len();
        assert!(reader.records().map(|row| assert_eq!(row.unwrap().len(), columns)).count() > 0, "{name}");
    }
}

/// With the copies inside the program alone, so that an installed one finds them too.
#[test]
fn every_device_of_a_run_has_a_profile() {
    let store = Store::embedded();
    let mut devices: Vec<String> = runs().into_iter().map(|(_, row)| row["device"].clone()).collect();
    devices.sort();
    devices.dedup();
    assert!(devices.len() > 10);
    for device in devices {
        let text = store.find(Kind::Accelerator, &device, &Origin::whole("test")).unwrap_or_else(|error| panic!("{device}: {error}"));
        let profile = Accelerator::read(&Node::parse(&text.file, &text.text).unwrap()).unwrap();
        let names = profile.aliases.iter().chain([&profile.name]).map(|name| name.to_lowercase());
        assert!(names.into_iter().any(|name| name == device.to_lowercase()), "{device} is not a name of {}", profile.name);
    }
}

#[test]
fn every_run_took_a_time_and_its_degrees_make_its_gpus() {
    let runs = runs();
    assert!(runs.len() > 1000);
    // Kernels of a session may stand among them.
    let is_run = |row: &BTreeMap<String, String>| row.get("kernel").is_none_or(String::is_empty);
    for (table, row) in runs.into_iter().filter(|(_, row)| is_run(row)) {
        let id = format!("{table}: {}", row["id"]);
        let measured: f64 = row["measured_s"].parse().unwrap();
        assert!(measured.is_finite() && measured > 0.0, "{id}");
        let degrees: u64 = ["tensor_parallel", "pipeline_parallel", "data_parallel"].iter().map(|degree| whole(&row, degree)).product();
        assert_eq!(degrees, whole(&row, "gpus"), "{id}");
        // Where a table does not say, the fastest that fits is taken.
        let micro_batch = if row["micro_batch"].is_empty() { 1 } else { whole(&row, "micro_batch") };
        assert!(whole(&row, "global_batch").is_multiple_of(micro_batch * whole(&row, "data_parallel")), "{id}");
        if row.get("interleaving").is_some_and(|chunks| !chunks.is_empty()) {
            let chunks = whole(&row, "interleaving") * whole(&row, "pipeline_parallel");
            assert!(whole(&row, "layers").is_multiple_of(chunks), "{id}");
        }
    }
}
