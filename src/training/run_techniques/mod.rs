//! Training techniques that wrap a whole run. The work of each is the sum of ledgers: of the model's own, and of those of
//! the models that run beside it or of passes that only evaluate. None has a formula of its own.

mod distillation;
mod evaluation;
mod replaced_tokens;
mod runs;

pub use distillation::Distillation;
pub use evaluation::Evaluation;
pub use replaced_tokens::ReplacedTokens;
pub use runs::{EarlyStopping, OtherRuns};

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{PhaseWork, Training, in_precision};
use crate::arch::Model;
use crate::document::Problem;
use crate::numeric::Estimate;
use crate::source::{Class, Source};
use crate::units::Ratio;

/// What wraps a training run.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTechniques {
    /// A teacher's probabilities as targets.
    #[serde(default)]
    pub distillation: Option<Distillation>,
    /// A generator that replaces tokens, and the model that tells which.
    #[serde(default)]
    pub replaced_tokens: Option<ReplacedTokens>,
    /// Passes over other data while the model trains.
    #[serde(default)]
    pub evaluation: Option<Evaluation>,
    /// An end before the last step.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// Failed and development runs beside the final one.
    #[serde(default)]
    pub other_runs: Option<OtherRuns>,
    /// Share of the wall-clock time that makes progress (Llama 3.1: above 0.9, Grattafiori et al. 2024, arXiv
    /// 2407.21783, section 3.3.4).
    #[serde(default)]
    pub goodput: Option<Estimate<Ratio>>,
    /// Share of a step's time, the wait with it, in which accelerators wait for data.
    #[serde(default)]
    pub input_wait: Option<Estimate<Ratio>>,
}

/// The models that run beside the one that is trained.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Companions {
    /// The teacher of a distillation.
    pub teacher: Option<Model>,
    /// The generator of replaced tokens, where it is not derived from the model's sizes.
    pub generator: Option<Model>,
}

impl RunTechniques {
    /// Checks every value.
    ///
    /// # Errors
    /// A value is out of its range, a model that is needed is not named, or a source is not known.
    pub fn check(&self, companions: &Companions, sources: &BTreeMap<String, Source>) -> Result<(), Problem> {
        if self.distillation.is_some() && companions.teacher.is_none() {
            return Err(Problem::new("distillation.teacher", "nothing", "a model, such as \"bert-base\""));
        }
        let checks = [
            ("replaced_tokens", self.replaced_tokens.as_ref().map(|technique| technique.check(companions.generator.as_ref()))),
            ("evaluation", self.evaluation.as_ref().map(Evaluation::check)),
            ("early_stopping", self.early_stopping.as_ref().map(EarlyStopping::check)),
            ("other_runs", self.other_runs.as_ref().map(OtherRuns::check)),
            ("goodput", self.goodput.as_ref().map(runs::check_goodput)),
            ("input_wait", self.input_wait.as_ref().map(runs::check_input_wait)),
        ];
        for (key, result) in checks.into_iter().filter_map(|(key, result)| result.map(|result| (key, result))) {
            result.map_err(|problem| problem.under(key))?;
        }
        for (key, source, _) in self.stated() {
            if let Some(source) = source.filter(|source| !sources.contains_key(*source)) {
                let known: Vec<&str> = sources.keys().map(String::as_str).collect();
                let allowed = format!("a key of [sources]: {}", known.join(", "));
                return Err(Problem::new(format!("{key}.source"), format!("\"{source}\""), allowed));
            }
        }
        Ok(())
    }

    /// The techniques that rest on a stated number, its source, and its class where it has one of its own.
    fn stated(&self) -> impl Iterator<Item = (&'static str, Option<&String>, Option<Class>)> {
        let stated = [
            self.early_stopping.as_ref().map(|technique| ("early_stopping", technique.source.as_ref(), None)),
            self.other_runs.as_ref().map(|technique| ("other_runs", technique.source.as_ref(), None)),
            self.goodput.as_ref().map(|share| ("goodput", share.source.as_ref(), share.class)),
            self.input_wait.as_ref().map(|share| ("input_wait", share.source.as_ref(), share.class)),
        ];
        stated.into_iter().flatten()
    }

    /// The class of the weakest number that a technique states; a number without a source is assumed.
    #[must_use]
    pub fn class(&self, sources: &BTreeMap<String, Source>) -> Class {
        let of = |source: Option<&String>| source.and_then(|key| sources.get(key)).map_or(Class::Assumed, |source| source.class);
        self.stated().map(|(_, source, own)| own.unwrap_or(of(source))).fold(Class::Measured, Class::max)
    }

    /// The work of every phase of `model` trained on `accelerators` with these techniques, and of the passes that evaluate.
    ///
    /// # Errors
    /// A batch does not divide, a sequence is too long for a model, or a technique does not go with the model.
    pub fn plan(&self, training: &Training, model: &Model, companions: &Companions, accelerators: u64) -> Result<Vec<PhaseWork>, Problem> {
        let model = &*in_precision(model, training.precision).map_err(|problem| problem.under("model"))?;
        let mut trained = Cow::Borrowed(model);
        if self.distillation.is_some() {
            trained.to_mut().head.soft_targets = true;
        }
        let mut phases = training.plan(&trained, accelerators)?;
        if let (Some(distillation), Some(teacher)) = (&self.distillation, &companions.teacher) {
            distillation.apply(training, model, teacher, &mut phases).map_err(|problem| problem.under("techniques.distillation"))?;
        }
        if let Some(replaced) = &self.replaced_tokens {
            replaced.apply(training, model, companions.generator.as_ref(), accelerators, &mut phases)?;
        }
        if let Some(early) = &self.early_stopping {
            phases.iter_mut().for_each(|phase| phase.steps *= early.share.value());
        }
        if let Some(evaluation) = &self.evaluation {
            let passes =
                evaluation.plan(training, model, accelerators, &phases).map_err(|problem| problem.under("techniques.evaluation"))?;
            phases.extend(passes);
        }
        if let Some(others) = &self.other_runs {
            phases.iter_mut().for_each(|phase| phase.steps *= others.factor);
        }
        Ok(phases)
    }

    /// What a reader should know: what each technique adds, and what of it is not priced.
    #[must_use]
    pub fn notes(&self, companions: &Companions, sources: &BTreeMap<String, Source>) -> Vec<String> {
        let cited = |source: Option<&String>| {
            let source = source.and_then(|key| sources.get(key));
            source.map_or_else(|| "assumed, no source is stated".to_string(), |source| format!("{} ({})", source.citation, source.year))
        };
        let notes = [
            self.distillation.as_ref().zip(companions.teacher.as_ref()).map(|(technique, teacher)| technique.note(teacher)),
            self.replaced_tokens.as_ref().map(|technique| technique.note(companions.generator.as_ref())),
            self.evaluation.as_ref().map(Evaluation::note),
            self.early_stopping.as_ref().map(|technique| technique.note(&cited(technique.source.as_ref()))),
            self.other_runs.as_ref().map(|technique| technique.note(&cited(technique.source.as_ref()))),
            self.input_wait.as_ref().map(|share| runs::note_input_wait(share, &cited(share.source.as_ref()))),
            self.goodput.as_ref().map(|share| runs::note_goodput(share, &cited(share.source.as_ref()))),
        ];
        notes.into_iter().flatten().collect()
    }
}
