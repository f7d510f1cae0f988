//! The ledger against counts of real PyTorch modules: parameters and products exact, bytes kept within their share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lowcarb::document::Resolver;
use lowcarb::store::Store;
use lowcarb::validate::Recording;

#[test]
fn every_recorded_module_is_matched() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("measurements/pytorch");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let store = Store::embedded();
    let mut resolver = Resolver::new(&store);
    let (mut failures, mut cases) = (Vec::new(), 0);
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let recording = Recording::parse(&file, &fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        let comparisons = recording.compare(&mut resolver).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(!comparisons.is_empty(), "{file} holds no case");
        cases += comparisons.len();
        let mut worst: BTreeMap<String, f64> = BTreeMap::new();
        for case in comparisons {
            let entry = worst.entry(case.model.clone()).or_default();
            *entry = entry.max(case.kept.error().abs());
            if case.holds() {
                continue;
            }
            let at = format!("{file}: {} b{} n{}", case.model, case.batch, case.sequence_length);
            for (what, verdict) in [
                ("parameters", case.parameters),
                ("forward", case.forward),
                ("both passes", case.forward_backward),
                ("bytes kept", case.kept),
            ] {
                failures.push(format!(
                    "{at} {what}: {} for {} ({:+}, {:+.3} %)",
                    verdict.ours,
                    verdict.theirs,
                    verdict.ours - verdict.theirs,
                    100.0 * verdict.error()
                ));
            }
        }
        for (model, gap) in worst {
            println!("{file}: {model}: bytes kept within {:.2} %", 100.0 * gap);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases >= 224, "only {cases} cases");
}
