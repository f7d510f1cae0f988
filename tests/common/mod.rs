//! What the tests share: the built program in a working folder of its own, and the ledgers of models written as text.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use lowcarb::arch::{Batch, Model};
use lowcarb::document::{Diagnostic, Kind, Node, Problem, Resolver, overlay};
use lowcarb::ledger::Ledger;
use lowcarb::store::Store;
use serde_json::Value;
use tempfile::TempDir;

pub mod fake_nvml;
pub mod sessions;
pub mod virtual_device;

/// An empty working folder with an empty home beside it.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    /// A path in the working folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Writes a file, and the folders it lies in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// The program with arguments, in the working folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
        command.current_dir(self.path("")).env("HOME", self.folder.path().join("home"));
        command.env("XDG_CONFIG_HOME", self.folder.path().join("home/config")).env_remove("NO_COLOR").args(arguments);
        command
    }

    /// What the program does with arguments.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What the program prints, having done its work.
    pub fn printed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?} failed: {talk}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON that the program prints, having done its work.
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.printed(arguments)).unwrap()
    }
}

/// A model from lines of TOML, each laid over those before it: `use = "..."` and what differs.
pub fn model(text: &str) -> Result<Model, Diagnostic> {
    let mut node = Node::parse("test", "schema = 1").unwrap();
    for line in text.lines() {
        node = overlay::overlay(node, Node::parse("test", line).unwrap());
    }
    let store = Store::embedded();
    let node = Resolver::new(&store).resolve(Kind::Model, node)?;
    Model::read(&node)
}

/// The ledger of a model in half precision.
pub fn ledger(model: &Model, sequences: u64, length: u64) -> Ledger {
    model.ledger(Batch { sequences: sequences as f64, length: length as f64, element_bytes: 2.0 }).unwrap()
}

/// The same of a model that may not take such a sequence.
pub fn ledger_or_problem(model: &Model, sequences: u64, length: u64) -> Result<Ledger, Problem> {
    model.ledger(Batch { sequences: sequences as f64, length: length as f64, element_bytes: 2.0 })
}
