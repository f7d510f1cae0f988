//! Ledgers against counts of real PyTorch modules.
//!
//! A file of `measurements/pytorch/` holds models, each as lines of the overlay that `--set` takes or as the
//! `config.json` of a Hugging Face model, and for each of them what one forward and backward pass of the real module
//! counted at a batch and a length.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::arch::{Batch, Model};
use crate::document::{Diagnostic, Kind, Node, Origin, Resolver, overlay};
use crate::ledger::Ledger;

/// What was recorded of one family of modules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// What was counted, with which software.
    pub source: String,
    /// When.
    pub year: u32,
    /// The terms the counts are under.
    pub licence: String,
    /// The share by which bytes kept may differ.
    pub kept_within: f64,
    /// Why a case differs where it does, by the model's name.
    #[serde(default)]
    pub explained: BTreeMap<String, Explanation>,
    /// The models by name.
    models: BTreeMap<String, Description>,
    cases: Vec<Case>,
}

/// Why a module differs from its model, and by how much.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// What PyTorch, its counter or the module does.
    pub why: String,
    /// Parameters that the module has and the model has not.
    #[serde(default)]
    pub parameters: i64,
    /// FLOPs that the counter counts in a forward pass and the ledger does not, per sequence.
    #[serde(default)]
    pub matmul_forward: i64,
    /// The share by which both passes may differ, where it is more than 0.1 %.
    #[serde(default)]
    pub both_within: Option<f64>,
}

/// How a model is described: by overlays on a shipped one, or as Hugging Face does.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Description {
    /// Lines of `KEY=VALUE`; the first may be `use="..."`.
    Set(Vec<String>),
    /// A `config.json`.
    Config(serde_json::Value),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    model: String,
    batch: u64,
    sequence_length: u64,
    parameters: u64,
    matmul_forward: u64,
    matmul_forward_backward: u64,
    activation_bytes: u64,
}

/// A figure of the ledger beside the recorded one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Of the ledger.
    pub ours: f64,
    /// Of the module.
    pub theirs: f64,
}

impl Verdict {
    /// The ledger's figure over the recorded one, less 1.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.ours / self.theirs - 1.0
    }
}

/// One recorded case and what the ledger says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The model's name in the recording.
    pub model: String,
    /// Sequences.
    pub batch: u64,
    /// Positions.
    pub sequence_length: u64,
    /// All parameters.
    pub parameters: Verdict,
    /// FLOPs of the matrix products of a forward pass.
    pub forward: Verdict,
    /// The same of a forward and a backward pass.
    pub forward_backward: Verdict,
    /// Bytes kept for backward.
    pub kept: Verdict,
    /// The share by which these may differ.
    pub kept_within: f64,
    /// Why it differs, if it does.
    pub explanation: Option<Explanation>,
}

impl Comparison {
    /// Whether, but for what is explained, parameters and forward products are exact, both passes within 0.1 %, and bytes kept within their share.
    #[must_use]
    pub fn holds(&self) -> bool {
        let told = |of: fn(&Explanation) -> i64| self.explanation.as_ref().map_or(0, of) as f64;
        let both_within = self.explanation.as_ref().and_then(|explanation| explanation.both_within).unwrap_or(0.001);
        self.parameters.ours + told(|explanation| explanation.parameters) == self.parameters.theirs
            && self.forward.ours + told(|explanation| explanation.matmul_forward) * self.batch as f64 == self.forward.theirs
            && self.forward_backward.error().abs() <= both_within
            && self.kept.error().abs() <= self.kept_within
    }
}

impl Recording {
    /// Reads a file of `measurements/pytorch/`.
    ///
    /// # Errors
    /// The text is not such a file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostic> {
        serde_json::from_str(text)
            .map_err(|error| Diagnostic::new(&Origin::line(file, error.line()), "", error.to_string(), "a recording of modules"))
    }

    /// The number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Compares every case.
    ///
    /// # Errors
    /// A model cannot be read, or a sequence is too long for it.
    pub fn compare(&self, resolver: &mut Resolver<'_>) -> Result<Vec<Comparison>, Diagnostic> {
        let mut models = BTreeMap::new();
        for (name, description) in &self.models {
            let node = description.node(name, resolver).map_err(|diagnostic| diagnostic.under(name))?;
            models.insert(name, (Model::read(&node).map_err(|diagnostic| diagnostic.under(name))?, node));
        }
        self.cases.iter().map(|case| self.compare_case(case, &models)).collect()
    }

    fn compare_case(&self, case: &Case, models: &BTreeMap<&String, (Model, Node)>) -> Result<Comparison, Diagnostic> {
        let known: Vec<&str> = models.keys().map(|name| name.as_str()).collect();
        let (model, node) = models
            .get(&case.model)
            .ok_or_else(|| Diagnostic::unknown(&Origin::whole("recording"), "model", "model", &case.model, &known))?;
        let batch = Batch { sequences: case.batch as f64, length: case.sequence_length as f64, element_bytes: 4.0 };
        let ledger: Ledger = model.ledger(batch).map_err(|problem| problem.at(node).under(&case.model))?;
        let (forward, backward) = (ledger.forward(), ledger.backward());
        let both = forward.matmul_flops + backward.matmul_flops + backward.recomputed_flops;
        Ok(Comparison {
            model: case.model.clone(),
            batch: case.batch,
            sequence_length: case.sequence_length,
            parameters: Verdict { ours: ledger.parameters(), theirs: case.parameters as f64 },
            forward: Verdict { ours: forward.matmul_flops, theirs: case.matmul_forward as f64 },
            forward_backward: Verdict { ours: both, theirs: case.matmul_forward_backward as f64 },
            kept: Verdict { ours: ledger.kept_bytes(), theirs: case.activation_bytes as f64 },
            kept_within: self.kept_within,
            explanation: self.explained.get(&case.model).cloned(),
        })
    }
}

impl Description {
    fn node(&self, name: &str, resolver: &mut Resolver<'_>) -> Result<Node, Diagnostic> {
        match self {
            Self::Set(lines) => {
                let mut node = Node::parse(name, "schema = 1")?;
                for line in lines {
                    node = overlay::overlay(node, overlay::assignment(line)?);
                }
                resolver.resolve(Kind::Model, node)
            }
            Self::Config(_) => Err(Diagnostic::new(&Origin::whole(name), "", "a Hugging Face configuration", "overlays, for now")),
        }
    }
}
