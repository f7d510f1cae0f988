//! A software stack: what a table of runs leaves unsaid about models and steps of a framework.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Data, Diagnostic, Node};
use crate::hardware::Precision;
use crate::source::Source;
use crate::training::Framework;

/// A software stack.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Version of the file format, 1.
    pub schema: u32,
    /// Its name, that of the file and of the column `framework`.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// What a reader should know.
    #[serde(default)]
    pub notes: Option<String>,
    /// What launches kernels.
    #[serde(default)]
    pub framework: Framework,
    /// Vocabularies are padded to multiples of this for each tensor-parallel accelerator, where there are several.
    #[serde(default)]
    pub padded_vocabulary: Option<u64>,
    /// What its steps do.
    #[serde(default)]
    pub training: StackTraining,
    /// Key of the source.
    pub source: String,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
    /// What its models are, laid over the sizes that a table states.
    #[serde(skip)]
    pub model: Option<Node>,
}

/// What the steps of a stack do where a table does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackTraining {
    /// Number format in which gradients are summed.
    #[serde(default)]
    pub gradient_precision: Option<Precision>,
    /// Whether gradients are exchanged once the backward pass has ended, so that no work hides it.
    #[serde(default)]
    pub gradients_afterwards: bool,
}

impl Stack {
    /// Reads a stack.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let mut node = node.clone();
        let model = if let Data::Table(table) = &mut node.data { table.remove("model") } else { None };
        let stack: Self = node.read()?;
        if !stack.sources.contains_key(&stack.source) {
            let known: Vec<&str> = stack.sources.keys().map(String::as_str).collect();
            return Err(Diagnostic::unknown(node.place("source"), "source", "source", &stack.source, &known));
        }
        Ok(Self { model, ..stack })
    }

    /// The vocabulary as it is computed with.
    #[must_use]
    pub fn vocabulary(&self, tokens: u64, tensor: u64) -> u64 {
        match self.padded_vocabulary {
            Some(multiple) if tensor > 1 => tokens.next_multiple_of(multiple.max(1) * tensor),
            _ => tokens,
        }
    }
}
