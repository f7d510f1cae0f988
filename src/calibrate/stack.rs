//! A software stack: what a table of runs leaves unsaid about models and steps of a framework.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{Data, Diagnostic, Node, Table};
use crate::hardware::Precision;
use crate::perf::StepWork;
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
    /// The nodes that its accelerators were measured in, by accelerator, for rows that name none.
    #[serde(default)]
    pub nodes: BTreeMap<String, String>,
    /// Key of the source.
    pub source: String,
    /// Sources by key.
    pub sources: BTreeMap<String, Source>,
    /// Models whose code differs from the others'.
    #[serde(default)]
    pub families: BTreeMap<String, Family>,
    /// What its models are, laid over the sizes that a table states.
    #[serde(skip)]
    pub model: Option<Node>,
}

/// Models of a stack that share code of their own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// How their names in a table's column `model` begin, in any case.
    pub models: Vec<String>,
    /// What they are, laid over what all models of the stack are.
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
    /// The same where the step is in bfloat16; as others where not said.
    #[serde(default)]
    pub bf16_gradient_precision: Option<Precision>,
    /// Whether stages of a pipeline may hold several parts, so that a row that does not say how many has those that take least time.
    #[serde(default)]
    pub interleaves: bool,
    /// Whether, in rows with fused attention, exchanges of tensor parallelism hide behind products where positions are divided
    /// too, and those of a pipeline where its stages hold several parts: newer versions of Megatron-LM.
    #[serde(default)]
    pub hides_exchanges: bool,
    /// Whether gradients are exchanged once the backward pass has ended, so that no work hides it.
    #[serde(default)]
    pub gradients_afterwards: bool,
}

impl StackTraining {
    /// Number format in which gradients of a step are summed; that of the step where nothing is said.
    #[must_use]
    pub fn gradients(&self, precision: Precision) -> Option<Precision> {
        let of_bf16 = self.bf16_gradient_precision.filter(|_| precision.dense() == Precision::Bf16);
        of_bf16.or(self.gradient_precision)
    }

    /// Says of the exchanges of a step whether work hides them, where the stack does other than most.
    pub fn hide_exchanges(&self, work: &mut StepWork, fused_attention: bool, sequence_parallel: bool, interleaving: u64) {
        if self.gradients_afterwards {
            work.between.iter_mut().for_each(|one| one.hidden = false);
        }
        if self.hides_exchanges && fused_attention {
            let within = work.stages.iter_mut().flat_map(|stage| &mut stage.passes).flat_map(|pass| &mut pass.exchanges);
            for one in within.chain(&mut work.between) {
                let tensor = sequence_parallel && one.name.starts_with("tensor parallelism");
                one.hidden |= tensor || interleaving > 1 && one.name == "pipeline";
            }
        }
    }
}

/// What a stack says of a model that is no matter of kernels: rates of dropout and the head are those of a task.
const OF_THE_TASK: &[&str] = &["dropout", "head"];

impl Stack {
    /// Reads a stack.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let mut node = node.clone();
        let model = apart(Some(&mut node));
        let mut of_family = BTreeMap::new();
        if let Some(families) = table(&mut node).and_then(|table| table.get_mut("families")).and_then(table) {
            let names: Vec<String> = families.iter().map(|(name, _)| name.to_string()).collect();
            for name in names {
                let model = apart(families.get_mut(&name));
                of_family.insert(name, model);
            }
        }
        let mut stack: Self = node.read()?;
        for (name, family) in &mut stack.families {
            family.model = of_family.remove(name).flatten();
        }
        if !stack.sources.contains_key(&stack.source) {
            let known: Vec<&str> = stack.sources.keys().map(String::as_str).collect();
            return Err(Diagnostic::unknown(node.place("source"), "source", "source", &stack.source, &known));
        }
        Ok(Self { model, ..stack })
    }

    /// What the stack and the family of a model say of it, to be laid over its sizes in turn.
    pub fn says(&self, model: &str) -> impl Iterator<Item = &Node> {
        let model = model.to_lowercase();
        let family = self.families.values().find(|family| family.models.iter().any(|name| model.starts_with(&name.to_lowercase())));
        self.model.iter().chain(family.and_then(|family| family.model.as_ref()))
    }

    /// What of that is how the stack computes any model, so that it holds for one that is described elsewhere.
    pub fn kernels(&self, model: &str) -> impl Iterator<Item = Node> {
        self.says(model).cloned().map(|mut said| {
            if let Data::Table(table) = &mut said.data {
                OF_THE_TASK.iter().for_each(|key| drop(table.remove(key)));
            }
            said
        })
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

fn table(node: &mut Node) -> Option<&mut Table> {
    if let Data::Table(table) = &mut node.data { Some(table) } else { None }
}

/// Takes what is said of models out of a table.
fn apart(node: Option<&mut Node>) -> Option<Node> {
    table(node?)?.remove("model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{Collective, CollectiveKind, Pass, When};

    #[test]
    fn exchanges_hide_by_what_a_run_divides() {
        let one = |name, when| Collective {
            name,
            kind: CollectiveKind::SendReceive,
            when,
            message: 1.0,
            times: 1.0,
            devices: 2.0,
            reach: 2.0,
            hidden: false,
        };
        let hidden = |gradients_afterwards, sequence_parallel, interleaving| {
            let training = StackTraining { hides_exchanges: true, gradients_afterwards, ..StackTraining::default() };
            let mut pass = Pass::new([], 1.0);
            pass.exchanges.push(one("tensor parallelism: gather", When::Forward));
            let between = vec![one("pipeline", When::Between), Collective { hidden: true, ..one("gradients", When::Between) }];
            let mut work = StepWork { between, ..StepWork::new(vec![pass], 1.0) };
            training.hide_exchanges(&mut work, true, sequence_parallel, interleaving);
            work.collectives().iter().map(|one| one.hidden).collect::<Vec<_>>()
        };
        assert_eq!(hidden(false, true, 1), [true, false, true]);
        assert_eq!(hidden(false, false, 2), [false, true, true]);
        assert_eq!(hidden(true, false, 1), [false, false, false]);
    }

    #[test]
    fn a_family_is_known_by_how_its_models_are_called_and_speaks_after_the_stack() {
        let text = "schema = 1\nname = \"s\"\ntitle = \"s\"\nsource = \"s\"\nmodel = { dropout = 0.1 }\nfamilies = { opt = { models = \
                    [\"opt\"], model = { feed_forward = { activation = \"relu\" } } } }\nsources = { s = { citation = \"s\", year = 2024, \
                    licence = \"none\" } }\n";
        let stack = Stack::read(&Node::parse("s.toml", text).unwrap()).unwrap();
        let activation = |model: &str| stack.says(model).last().and_then(|said| said.find("feed_forward.activation")?.as_str());
        assert_eq!(activation("OPT_13"), Some("relu"));
        assert_eq!(activation("gpt2-large"), None);
        assert_eq!(stack.says("opt").count(), 2);
        assert!(stack.kernels("opt").all(|said| said.find("dropout").is_none()), "a rate is no kernel");
        let training = StackTraining { bf16_gradient_precision: Some(Precision::Fp32), ..StackTraining::default() };
        assert_eq!([Precision::Fp8, Precision::Fp16].map(|precision| training.gradients(precision)), [Some(Precision::Fp32), None]);
        let wrong = Node::parse("s.toml", &text.replace("models = ", "names = ")).unwrap();
        assert!(Stack::read(&wrong).is_err());
    }
}
