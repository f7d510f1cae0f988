//! Replaced token detection: a small generator fills masked positions, and the model tells for every position whether its
//! token was replaced (Clark et al. 2020, ELECTRA, section 2).
//!
//! A step is forward and backward of both, with one loss: the sum of two ledgers. The generator is the model with width,
//! heads and feed-forward width times its size, as many layers, a masked-language-model head on the masked positions alone,
//! and the model's own embedding tables, which are counted once.

use serde::Deserialize;

use crate::arch::{Head, HeadKind, HeadPositions, Model, Pooling};
use crate::document::Problem;
use crate::ledger::Activation;
use crate::training::{PhaseWork, Training};
use crate::units::Ratio;

/// Settings of replaced token detection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacedTokens {
    /// Width of the generator over that of the model, where no generator is named (ELECTRA: 1/4 to 1/2).
    #[serde(default)]
    pub generator_size: Option<Ratio>,
    /// Share of positions that are masked and filled.
    #[serde(default = "usual")]
    pub masked_share: Ratio,
}

fn usual() -> Ratio {
    Ratio::new(0.15)
}

impl ReplacedTokens {
    pub(super) fn check(&self, generator: Option<&Model>) -> Result<(), Problem> {
        let size = match (self.generator_size, generator) {
            (Some(_), Some(_)) => {
                return Err(Problem::new("generator_size", "a size beside a generator", "one of generator_size and generator"));
            }
            (None, None) => return Err(Problem::new("generator_size", "nothing", "a size such as 0.25, or a generator")),
            (size, _) => size.unwrap_or(Ratio::new(1.0)),
        };
        for (key, share) in [("generator_size", size), ("masked_share", self.masked_share)] {
            if !(share.value() > 0.0 && share.value() <= 1.0) {
                return Err(Problem::new(key, share.value().to_string(), "above 0, at most 1"));
            }
        }
        Ok(())
    }

    /// Adds the generator's training to every step.
    pub(super) fn apply(
        &self,
        training: &Training,
        model: &Model,
        named: Option<&Model>,
        accelerators: u64,
        phases: &mut [PhaseWork],
    ) -> Result<(), Problem> {
        if model.head.kind != HeadKind::Discriminator {
            let found = "a model whose head is no discriminator";
            return Err(Problem::new("model.head.kind", found, "discriminator, which tells replaced tokens (techniques.replaced_tokens)"));
        }
        let generator = match named {
            Some(generator) => {
                let mut generator = generator.clone();
                generator.embedding.borrowed = true;
                generator
            }
            None => self.generator(model)?,
        };
        let under = |problem: Problem| problem.under("techniques.replaced_tokens.generator");
        for (phase, other) in phases.iter_mut().zip(training.plan(&generator, accelerators).map_err(under)?) {
            phase.work.join(&other.work);
            phase.companions = phase.companions + other.memory;
            phase.memory = phase.memory + other.memory;
        }
        Ok(())
    }

    /// The generator of the model's sizes times its own.
    fn generator(&self, model: &Model) -> Result<Model, Problem> {
        let size = self.generator_size.map_or(1.0, Ratio::value);
        let stacks = [&model.encoder, &model.decoder].into_iter().flatten();
        if stacks.into_iter().any(|stack| !stack.groups.is_empty()) {
            return Err(Problem::new("techniques.replaced_tokens.generator_size", "a size of layers in groups", "a generator"));
        }
        let scaled = |whole: u64| ((whole as f64 * size).round() as u64).max(1);
        let mut generator = model.clone();
        generator.name = format!("{} generator", model.name);
        generator.width = scaled(model.width);
        generator.attention.heads = scaled(model.attention.heads);
        generator.attention.key_value_heads = model.attention.key_value_heads.map(scaled);
        generator.attention.head_width = Some(model.attention.head_width.unwrap_or(model.width / model.attention.heads));
        generator.feed_forward.width = scaled(model.feed_forward.width);
        generator.embedding.width = Some(model.embedding.width.unwrap_or(model.width));
        generator.embedding.borrowed = true;
        generator.head = Head {
            kind: HeadKind::MaskedLm,
            transform: Some(true),
            tied: true,
            bias: true,
            positions: HeadPositions::Masked,
            masked_share: Some(self.masked_share),
            activation: Some(Activation::Gelu),
            pooling: Pooling::First,
            ..model.head.clone()
        };
        Ok(generator)
    }

    pub(super) fn note(&self, named: Option<&Model>) -> String {
        let generator = match (named, self.generator_size) {
            (Some(model), _) => model.name.clone(),
            (None, size) => format!("a generator of {} % of the model's width", 100.0 * size.map_or(1.0, Ratio::value)),
        };
        format!(
            "replaced tokens: {generator} trains in every step beside the model, which predicts every position, and is in the memory but not among the parameters; not priced: drawing the tokens"
        )
    }
}
