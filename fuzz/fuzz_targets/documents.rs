//! Whatever a document says, reading it and using it ends in a value or a message, soon and without a panic.
//!
//! The first byte of the input selects the kind of document; the rest is its text.

#![no_main]

use libfuzzer_sys::fuzz_target;

use lowcarb::arch::{Batch, Model, hugging_face};
use lowcarb::document::{Diagnostic, Kind, Library, Node, Origin, Resolver, Text};
use lowcarb::estimate;
use lowcarb::hardware::{Accelerator, NodeProfile, Performance};
use lowcarb::report::{self, Report};
use lowcarb::scenario::Scenario;
use lowcarb::store::Store;

/// The embedded documents, and one more scenario.
struct Shelf<'a> {
    store: Store,
    text: &'a str,
}

impl Library for Shelf<'_> {
    fn find(&self, kind: Kind, name: &str, origin: &Origin) -> Result<Text, Diagnostic> {
        if kind == Kind::Scenario && name == "fuzz" {
            return Ok(Text { file: "fuzz".into(), text: self.text.into() });
        }
        // A path would read files of this machine, and the result would depend on them.
        if name.contains(['/', '\\']) || name.ends_with(".toml") || name.ends_with(".json") {
            return Err(Diagnostic::new(origin, "", format!("the path \"{name}\""), "a name"));
        }
        self.store.find(kind, name, origin)
    }

    fn data(&self, path: &str, origin: &Origin) -> Result<Text, Diagnostic> {
        self.store.data(path, origin)
    }
}

/// A file may ask for this many estimates before the target leaves it: more only take time.
const MOST_ESTIMATES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((selector, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let shelf = Shelf { store: Store::embedded(), text };
    let mut resolver = Resolver::new(&shelf);
    let parsed = |resolver: &mut Resolver<'_>, kind: Kind| Node::parse("fuzz", text).and_then(|node| resolver.resolve(kind, node));
    // Digits and letters alike, so that a seed's selector can be read.
    match selector % 6 {
        0 => drop(parsed(&mut resolver, Kind::Accelerator).and_then(|node| Accelerator::read(&node)).map(|device| device.findings())),
        1 => drop(parsed(&mut resolver, Kind::Node).and_then(|node| NodeProfile::read(&node)).map(|node| node.findings())),
        2 => drop(parsed(&mut resolver, Kind::Model).and_then(|node| Model::read(&node)).map(|model| ledger(&model))),
        3 => drop(Node::parse("fuzz", text).and_then(|node| Performance::read(&node)).map(|parameters| parameters.findings())),
        4 => drop(scenario(&shelf)),
        _ => drop(configuration(text).map(|model| ledger(&model))),
    }
});

/// A model from a Hugging Face configuration.
fn configuration(text: &str) -> Result<Model, Diagnostic> {
    Model::read(&hugging_face::import(&Node::parse_json("fuzz", text)?)?)
}

/// A small ledger, and every sum that is taken over one.
fn ledger(model: &Model) {
    let Ok(ledger) = model.ledger(Batch { sequences: 2.0, length: 16.0, element_bytes: 4.0 }) else { return };
    assert!(ledger.parameters() >= 0.0);
    assert!(ledger.forward().matmul_flops >= 0.0);
    assert!(ledger.backward().matmul_flops >= 0.0);
    assert!(ledger.kept_bytes_checkpointed() >= 0.0);
    assert!(ledger.factored_parameters() >= 0.0);
    assert!(ledger.kernels(lowcarb::ledger::Rerun::Layers).count() >= ledger.ops().len());
    let _ = model.break_even_rank();
}

/// A scenario, all its cases, and its answer in every form of text.
fn scenario(shelf: &Shelf<'_>) -> Result<(), Diagnostic> {
    let mut resolver = Resolver::new(shelf);
    let scenario = Scenario::read(&mut resolver, "fuzz", &["draws=8".to_string()])?;
    let points = scenario.settings.sweep.as_ref().map_or(1, |sweep| sweep.values.len());
    if (points + scenario.assumptions().len()) * scenario.names().len() > MOST_ESTIMATES {
        return Ok(());
    }
    for name in scenario.names() {
        drop(scenario.case(&mut resolver, name, &[]));
    }
    let results = estimate::run(&scenario, &mut resolver)?;
    let report = Report::new(&results, resolver.into_used(), report::equivalents(shelf)?);
    for text in [report.table(), report.json(), report.csv(), report.markdown(None)] {
        assert!(!text.is_empty());
    }
    Ok(())
}
