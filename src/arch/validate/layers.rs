//! Layers, each with its attention.

use super::super::attention::{Attention, AttentionKind, Implementation};
use super::super::bottleneck::BottleneckAttention;
use super::super::config::{HeadKind, Model, PositionKind, Projection};
use super::{check_rate, check_size};
use crate::document::Problem;

impl Model {
    /// Checks every attention that a layer has: the model's, or those of the groups of its stacks.
    pub(super) fn check_layers(&self) -> Result<(), Problem> {
        let stacks = [("encoder", &self.encoder, false), ("decoder", &self.decoder, true)];
        for (name, stack, causal) in stacks {
            let Some(stack) = stack else { continue };
            check_rate(&format!("{name}.output_dropout"), stack.output_dropout.value())?;
            if stack.groups.is_empty() {
                self.check_attention(&self.attention, causal).map_err(|problem| problem.under("attention"))?;
            }
            for (index, group) in stack.groups.iter().enumerate() {
                // A last group may do no more than bring the sequence back.
                let least = u64::from(group.upsampling);
                check_size(&format!("{name}.groups.{index}.layers"), group.layers.max(least))?;
                let under = |problem: Problem| problem.under(&format!("{name}.groups.{index}.attention"));
                self.check_attention(&group.attention, causal).map_err(under)?;
                group.feed_forward.check().map_err(|problem| problem.under(&format!("{name}.groups.{index}.feed_forward")))?;
            }
            self.check_pooling(name, stack, causal)?;
            let sum: u64 = stack.groups.iter().map(|group| group.layers).sum();
            if !stack.groups.is_empty() && sum != stack.layers {
                let found = format!("groups of {sum} layers");
                return Err(Problem::new(format!("{name}.groups"), found, format!("groups that sum to the {} layers", stack.layers)));
            }
        }
        Ok(())
    }

    pub(super) fn check_attention(&self, attention: &Attention, causal: bool) -> Result<(), Problem> {
        for (key, size) in [
            ("heads", attention.heads),
            ("key_value_heads", attention.key_value_heads.unwrap_or(1)),
            ("head_width", attention.head_width.unwrap_or(1)),
        ] {
            check_size(key, size)?;
        }
        let width = self.layer_width();
        if attention.head_width.is_none() && !width.is_multiple_of(attention.heads) {
            let allowed = format!("a divisor of the width {width}, or a head_width of its own");
            return Err(Problem::new("heads", attention.heads.to_string(), allowed));
        }
        let head_width = attention.head_width(self.layer_width());
        if self.embedding.positions.width.is_some_and(|width| width > head_width) {
            let found = format!("rotary positions of {} columns", self.embedding.positions.width.unwrap_or_default());
            return Err(Problem::new("head_width", found, format!("at most the {head_width} columns of a head")));
        }
        if !attention.heads.is_multiple_of(attention.groups()) {
            let allowed = format!("a divisor of the {} heads", attention.heads);
            return Err(Problem::new("key_value_heads", attention.groups().to_string(), allowed));
        }
        check_rate("dropout", attention.dropout.unwrap_or_default().value())?;
        check_rate("output_dropout", attention.output_dropout.unwrap_or_default().value())?;
        let word = attention.kind.word();
        let Some(mechanism) = attention.mechanism() else {
            return Err(Problem::new(word, "nothing", format!("a table with the settings of {word}")));
        };
        let abilities = mechanism.abilities();
        let inside = match self.embedding.positions.kind {
            PositionKind::Rotary => !abilities.rotary,
            kind if kind.is_inside() => true,
            _ => false,
        };
        let wanted = [
            ("kind", causal && !abilities.causal, "in a decoder", "a mechanism that hides later positions, such as softmax"),
            (
                "kind",
                inside && !abilities.positions,
                "with positions inside the attention",
                "softmax, or learned, sinusoidal or no positions: the scores that would take them do not exist",
            ),
            (
                "key_value_heads",
                attention.groups() != attention.heads && !abilities.grouped_heads,
                "with fewer key heads",
                "as many as heads",
            ),
            ("fused_projection", attention.fused_projection && !abilities.fused_projection, "with fused_projection", "false"),
            (
                "implementation",
                attention.implementation == Implementation::Fused && !abilities.fused_kernel,
                "with implementation fused",
                "eager: there is no such kernel",
            ),
        ];
        for (key, wrong, with, allowed) in wanted {
            if wrong {
                return Err(Problem::new(key, format!("{word} {with}"), allowed));
            }
        }
        mechanism.check(self, attention)
    }

    pub(super) fn check_bottleneck(&self) -> Result<(), Problem> {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let mut kinds = stacks.flat_map(|stack| self.groups(stack)).map(|(_, attention, _)| attention.kind);
        let shared = self.bottleneck.is_some_and(|bottleneck| bottleneck.attention == BottleneckAttention::Shared);
        if shared && kinds.any(|kind| kind != AttentionKind::Softmax) {
            return Err(Problem::new("bottleneck.attention", "shared with another mechanism than softmax", "narrow"));
        }
        if shared && self.attention.fused_projection {
            return Err(Problem::new("attention.fused_projection", "true with a shared bottleneck", "false"));
        }
        let narrow = self.embedding.width.is_some_and(|width| width < self.width);
        if self.head.widened && (!narrow || self.hidden_width() != self.width) {
            return Err(Problem::new("head.widened", "true", "false, or an embedding.width below the width of the model"));
        }
        if self.embedding.trigrams && self.embedding.projection != Projection::Tokens {
            return Err(Problem::new("embedding.trigrams", "true", "false, or projection = \"tokens\""));
        }
        Ok(())
    }

    /// Checks rows that take the place of the input.
    pub(super) fn check_latents(&self) -> Result<(), Problem> {
        let found = "latents";
        if self.decoder.as_ref().is_some_and(|stack| stack.latents.is_some()) {
            return Err(Problem::new("decoder.latents", found, "latents in an encoder: they hide no later positions"));
        }
        let Some(latents) = self.encoder.as_ref().and_then(|stack| stack.latents) else { return Ok(()) };
        check_size("encoder.latents.count", latents.count)?;
        if self.decoder.is_some() {
            return Err(Problem::new("encoder.latents", "latents before a decoder", "an encoder alone"));
        }
        if !matches!(self.head.kind, HeadKind::Classification | HeadKind::Pooler | HeadKind::None) {
            return Err(Problem::new("head.kind", "a head for every position with encoder.latents", "classification, pooler or none"));
        }
        if self.embedding.positions.kind.is_inside() {
            let allowed = "learned, axial, sinusoidal or none with encoder.latents: layers see latents, which have no positions";
            return Err(Problem::new("embedding.positions.kind", "positions inside the attention", allowed));
        }
        let padded = self.padded_length(latents.count as f64);
        if padded != latents.count as f64 || self.bottleneck.is_some() {
            return Err(Problem::new(
                "encoder.latents.count",
                latents.count.to_string(),
                format!("{padded}, and no bottleneck: whole blocks of the attention"),
            ));
        }
        Ok(())
    }
}
