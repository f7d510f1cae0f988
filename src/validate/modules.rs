//! Ledgers against counts of real PyTorch modules.
//!
//! A file of `measurements/pytorch/` holds models, each as lines of the overlay that `--set` takes or as the
//! `config.json` of a Hugging Face model, and for each of them what one forward and backward pass of the real module
//! counted at a batch and a length.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Check;
use crate::arch::{Batch, Model, hugging_face};
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
    /// What is recorded and the ledger has not, for each position of a sequence.
    #[serde(default)]
    pub per_position: Terms,
    /// The same for each pair of positions of a sequence.
    #[serde(default)]
    pub per_pair: Terms,
    /// The share by which both passes may differ, where it is more than 0.1 %.
    #[serde(default)]
    pub both_within: Option<f64>,
}

/// What is recorded and the ledger has not; below zero where the ledger has more.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// FLOPs of a forward pass.
    #[serde(default)]
    pub matmul_forward: i64,
    /// FLOPs of both passes.
    #[serde(default)]
    pub matmul_both: i64,
    /// Bytes kept.
    #[serde(default)]
    pub bytes_kept: i64,
}

impl Explanation {
    /// What is recorded and the ledger has not, by a term, in `sequences` of `length` positions.
    fn missing(&self, sequences: f64, length: f64, term: impl Fn(&Terms) -> i64) -> f64 {
        sequences * (length * term(&self.per_position) as f64 + length * length * term(&self.per_pair) as f64)
    }
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
    /// FLOPs of both passes that PyTorch's counter counts and no kernel computes, as the explanation says.
    #[serde(default)]
    overcounted: u64,
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

    /// Compares every case: parameters and forward products must be equal, both passes within 0.1 %, bytes kept within
    /// the share that the recording states.
    ///
    /// # Errors
    /// A model cannot be read, or a sequence is too long for it.
    pub fn compare(&self, resolver: &mut Resolver<'_>) -> Result<Vec<Check>, Diagnostic> {
        let mut models = BTreeMap::new();
        for (name, description) in &self.models {
            let node = description.node(name, resolver).map_err(|diagnostic| diagnostic.under(name))?;
            models.insert(name.as_str(), (Model::read(&node).map_err(|diagnostic| diagnostic.under(name))?, node));
        }
        let checks = self.cases.iter().map(|case| self.compare_case(case, &models)).collect::<Result<Vec<_>, _>>()?;
        Ok(checks.into_iter().flatten().collect())
    }

    fn compare_case(&self, case: &Case, models: &BTreeMap<&str, (Model, Node)>) -> Result<[Check; 4], Diagnostic> {
        let known: Vec<&str> = models.keys().copied().collect();
        let (model, node) = models
            .get(case.model.as_str())
            .ok_or_else(|| Diagnostic::unknown(&Origin::whole("recording"), "model", "model", &case.model, &known))?;
        let batch = Batch { sequences: case.batch as f64, length: case.sequence_length as f64, element_bytes: 4.0 };
        let ledger: Ledger = model.ledger(batch).map_err(|problem| problem.at(node).under(&case.model))?;
        let (forward, backward) = (ledger.forward(), ledger.backward());
        let both = forward.matmul_flops + backward.executed_matmul_flops();
        let told = self.explained.get(&case.model);
        let why = told.map(|told| told.why.clone());
        let missing = |term: fn(&Terms) -> i64| told.map_or(0.0, |told| told.missing(batch.sequences, batch.length, term));
        let parameters = told.map_or(0.0, |told| told.parameters as f64);
        let forward_more = told.map_or(0.0, |told| told.matmul_forward as f64 * batch.sequences) + missing(|terms| terms.matmul_forward);
        let check = |quantity, predicted: f64, recorded: u64, missing: f64, bar: f64| {
            let recorded = recorded as f64;
            Check {
                case: format!("{}, batch {}, {} positions", case.model, case.batch, case.sequence_length),
                quantity,
                predicted,
                recorded,
                bar,
                explanation: why.clone().filter(|_| predicted != recorded),
                holds: ((predicted + missing) / recorded - 1.0).abs() <= bar,
            }
        };
        let both_more = missing(|terms| terms.matmul_both) + case.overcounted as f64;
        let both_within = told.and_then(|told| told.both_within).unwrap_or(0.001);
        Ok([
            check("parameters", ledger.parameters(), case.parameters, parameters, 0.0),
            check("matmul forward", forward.matmul_flops, case.matmul_forward, forward_more, 0.0),
            check("matmul both passes", both, case.matmul_forward_backward, both_more, both_within),
            check("bytes kept", ledger.kept_bytes(), case.activation_bytes, missing(|terms| terms.bytes_kept), self.kept_within),
        ])
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
            Self::Config(config) => hugging_face::import(&Node::parse_json(name, &config.to_string())?),
        }
    }
}
