//! Whether a model holds together.

use super::attention::{Attention, AttentionKind, Implementation};
use super::bottleneck::BottleneckAttention;
use super::config::{EmbeddingKind, HeadKind, HeadPositions, LinearComponent, Loss, Model, NormKind, NormPlacement};
use super::config::{Pooling, PositionKind, Projection, Streams};
use super::feed_forward::FeedForwardKind;
use super::linear::settings::Products;
use super::linear::{LinearKind, break_even};
use crate::document::Problem;

/// Sizes above this are typing errors; three times the product of two of them still fits a machine word.
const LARGEST: u64 = 1 << 24;

impl Model {
    /// Checks every value against the others.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.schema != 1 {
            return Err(Problem::new("schema", self.schema.to_string(), "1"));
        }
        if !self.sources.contains_key(&self.source) {
            return Err(Problem::new("source", format!("\"{}\"", self.source), "a key of [sources]"));
        }
        self.check_sizes()?;
        self.check_layers()?;
        self.check_linear()?;
        self.check_bottleneck()?;
        self.check_latents()?;
        self.check_head()
    }

    fn check_sizes(&self) -> Result<(), Problem> {
        let layers = |stack: &Option<super::Stack>| stack.as_ref().map_or(1, |stack| stack.layers);
        let sizes = [
            ("width", self.width),
            ("bottleneck.width", self.layer_width()),
            ("embedding.vocabulary", if self.embedding.patches.is_some() { 1 } else { self.embedding.vocabulary }),
            ("embedding.width", self.embedding.width.unwrap_or(1)),
            ("embedding.positions.length", self.embedding.positions.length.unwrap_or(1)),
            ("embedding.positions.buckets", self.embedding.positions.buckets.unwrap_or(1)),
            ("encoder.layers", layers(&self.encoder)),
            ("decoder.layers", layers(&self.decoder)),
            ("head.inner_width", self.head.inner_width.unwrap_or(1)),
            ("head.classes", self.head.classes.unwrap_or(1)),
            ("head.block_width", self.head.block_width.unwrap_or(1)),
            ("head.sentence_classes", self.head.sentence_classes.unwrap_or(1)),
        ];
        for (key, size) in sizes {
            check_size(key, size)?;
        }
        self.check_patches()?;
        if self.embedding.segments > LARGEST {
            return Err(Problem::new("embedding.segments", self.embedding.segments.to_string(), format!("0 to {LARGEST}")));
        }
        if self.encoder.is_none() && self.decoder.is_none() {
            return Err(Problem::new("encoder", "neither encoder nor decoder", "at least one of them"));
        }
        check_rate("dropout", self.dropout.value())?;
        check_rate("embedding.dropout", self.embedding.dropout.unwrap_or_default().value())?;
        check_rate("head.dropout", self.head.dropout.unwrap_or_default().value())?;
        self.feed_forward.check().map_err(|problem| problem.under("feed_forward"))?;
        check_rate("embedding.positions.dropout", self.embedding.positions.dropout.value())?;
        let positions = &self.embedding.positions;
        if positions.kind == PositionKind::Axial {
            self.check_axial()?;
        }
        if positions.wide && positions.kind != PositionKind::Learned {
            return Err(Problem::new("embedding.positions.wide", "true without learned positions", "false"));
        }
        if let Some(width) = positions.width {
            check_size("embedding.positions.width", width)?;
        }
        let side_by_side = matches!(self.norm.placement, NormPlacement::Parallel | NormPlacement::ParallelShared);
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        if side_by_side && (self.encoder.is_some() && self.decoder.is_some() || stacks.into_iter().any(|stack| stack.reversible)) {
            let allowed = "pre, post or sandwich: a decoder behind an encoder and reversible layers have sub-layers in a row";
            return Err(Problem::new("norm.placement", "sub-layers side by side", allowed));
        }
        if !self.norm.weight && self.norm.kind != NormKind::Layer {
            return Err(Problem::new("norm.weight", "false with a root-mean-square norm", "true, or a layer norm"));
        }
        if !self.norm.weight && self.norm.bias {
            return Err(Problem::new("norm.bias", "true without a weight", "false"));
        }
        let rows = positions.kind == PositionKind::Learned || positions.kind.has_vectors() || positions.idle_table;
        if rows && positions.length.is_none() {
            return Err(Problem::new("embedding.positions.length", "nothing", "the rows of the learned table"));
        }
        if positions.idle_table && !positions.kind.has_vectors() && positions.kind != PositionKind::None {
            return Err(Problem::new(
                "embedding.positions.idle_table",
                "true",
                "false, or positions of kind relative_key, relative_key_query or none",
            ));
        }
        if positions.kind == PositionKind::Learned && positions.longest().is_some_and(|longest| longest == 0) {
            let allowed = "fewer than the rows of the table in embedding.positions.length";
            return Err(Problem::new("embedding.positions.reserved", positions.reserved.to_string(), allowed));
        }
        if positions.kind == PositionKind::RelativeBias && positions.buckets.is_none() {
            return Err(Problem::new("embedding.positions.buckets", "nothing", "the rows of the bias table, such as 32"));
        }
        Ok(())
    }

    /// Checks patches, which stand where tokens would.
    fn check_patches(&self) -> Result<(), Problem> {
        let wanted = self.embedding.kind == EmbeddingKind::Patches;
        let Some(patches) = self.embedding.patches.as_ref().filter(|_| wanted) else {
            return match (wanted, &self.embedding.patches) {
                (true, _) => Err(Problem::new("embedding.patches", "nothing", "image, size and channels")),
                (false, Some(_)) => Err(Problem::new("embedding.kind", "patches of another kind", "patches")),
                (false, None) => Ok(()),
            };
        };
        for (key, sizes) in [("image", &patches.image[..]), ("size", &patches.size[..]), ("channels", &[patches.channels][..])] {
            sizes.iter().try_for_each(|size| check_size(&format!("embedding.patches.{key}"), *size))?;
        }
        let sizes = [("size", patches.numbers()), ("image", patches.image_numbers()), ("size", patches.count())];
        sizes.iter().try_for_each(|(key, size)| check_size(&format!("embedding.patches.{key}"), *size))?;
        if self.embedding.vocabulary > 0 {
            return Err(Problem::new("embedding.vocabulary", "a vocabulary beside patches", "one of the two"));
        }
        if self.decoder.is_some() {
            return Err(Problem::new("embedding.patches", "patches with a decoder", "an encoder alone"));
        }
        let words = matches!(self.head.kind, HeadKind::MaskedLm | HeadKind::CausalLm | HeadKind::SequenceToSequence);
        if words {
            return Err(Problem::new("head.kind", "a language model of patches", "classification, pooler or none"));
        }
        Ok(())
    }

    /// Checks the tables of axial positions.
    fn check_axial(&self) -> Result<(), Problem> {
        let (shape, widths) = (&self.embedding.positions.shape, &self.embedding.positions.widths);
        if shape.is_empty() || shape.len() > 4 {
            return Err(Problem::new("embedding.positions.shape", format!("{} axes", shape.len()), "the rows of each of 1 to 4 axes"));
        }
        for (key, sizes) in [("embedding.positions.shape", shape), ("embedding.positions.widths", widths)] {
            sizes.iter().try_for_each(|size| check_size(key, *size))?;
        }
        check_size("embedding.positions.shape", shape.iter().fold(1, |product: u64, rows| product.saturating_mul(*rows)))?;
        let width = self.embedding.width.unwrap_or(self.width);
        if !widths.is_empty() && (widths.len() != shape.len() || widths.iter().sum::<u64>() != width) {
            let allowed =
                format!("one width for each of the {} axes, which sum to {width}, or none for tables that are summed", shape.len());
            return Err(Problem::new("embedding.positions.widths", format!("{widths:?}"), allowed));
        }
        Ok(())
    }

    /// Checks every attention that a layer has: the model's, or those of the groups of its stacks.
    fn check_layers(&self) -> Result<(), Problem> {
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

    fn check_attention(&self, attention: &Attention, causal: bool) -> Result<(), Problem> {
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

    fn check_linear(&self) -> Result<(), Problem> {
        let linear = &self.linear;
        if linear.rank.is_some() && linear.ratio.is_some() {
            return Err(Problem::new("linear.ratio", "a ratio beside a rank", "one of rank and ratio"));
        }
        match linear.kind {
            Some(LinearKind::LowRank) if !linear.is_low_rank() => {
                return Err(Problem::new("linear.rank", "nothing", "a rank or a ratio for low_rank layers"));
            }
            Some(LinearKind::Dense) if linear.is_low_rank() => {
                return Err(Problem::new("linear.kind", "dense with a rank or a ratio", "low_rank"));
            }
            _ => {}
        }
        if let Some(ratio) = linear.ratio
            && !(ratio > 0.0 && ratio <= 1.0)
        {
            return Err(Problem::new("linear.ratio", ratio.to_string(), "above 0, at most 1"));
        }
        self.check_kinds()?;
        if let Some(rank) = linear.rank {
            let full = self.full_rank();
            if rank == 0 || rank > full {
                let limit = self.break_even_rank();
                let allowed = format!("1 to the full rank {full}; it saves below {limit}");
                return Err(Problem::new("linear.rank", rank.to_string(), allowed));
            }
        }
        Ok(())
    }

    /// Checks prunings, quantisation and adapters of linear layers.
    fn check_kinds(&self) -> Result<(), Problem> {
        let linear = &self.linear;
        let under = |key: &'static str| move |problem: Problem| problem.under(&format!("linear.{key}"));
        linear.n_of_m.as_ref().map_or(Ok(()), |kind| kind.check().map_err(under("n_of_m")))?;
        linear.blocks.as_ref().map_or(Ok(()), |kind| kind.check().map_err(under("blocks")))?;
        linear.unstructured.as_ref().map_or(Ok(()), |kind| kind.check().map_err(under("unstructured")))?;
        linear.adapter.as_ref().map_or(Ok(()), |kind| kind.check().map_err(under("adapter")))?;
        let prunings =
            [("n_of_m", linear.n_of_m.is_some()), ("blocks", linear.blocks.is_some()), ("unstructured", linear.unstructured.is_some())];
        let mut set = prunings.into_iter().filter(|(_, set)| *set).map(|(key, _)| key);
        if let (Some(first), Some(second)) = (set.next(), set.next()) {
            return Err(Problem::new(
                format!("linear.{second}"),
                format!("{second} beside {first}"),
                "one of n_of_m, blocks and unstructured",
            ));
        }
        if let (Some(word), Some(first)) = (
            linear.products.map(Products::word),
            linear.quantised.as_ref().map(|_| "quantised").or(linear.blocks.as_ref().map(|_| "blocks")),
        ) {
            let found = format!("{word} products beside {first}");
            let allowed = format!("{word} products of layers that are neither quantised nor block-pruned");
            return Err(Problem::new("linear.products", found, allowed));
        }
        let lists = [
            ("n_of_m", linear.n_of_m.as_ref().and_then(|kind| kind.components.as_ref())),
            ("blocks", linear.blocks.as_ref().and_then(|kind| kind.components.as_ref())),
            ("unstructured", linear.unstructured.as_ref().and_then(|kind| kind.components.as_ref())),
            ("quantised", linear.quantised.as_ref().and_then(|kind| kind.components.as_ref())),
            ("adapter", linear.adapter.as_ref().and_then(|kind| kind.components.as_ref())),
            ("", linear.components.as_ref()),
        ];
        use LinearComponent::{Key, Query, QueryKeyValue, Value};
        for (kind, components) in lists.into_iter().filter_map(|(kind, components)| components.map(|components| (kind, components))) {
            let key = if kind.is_empty() { "linear.components".to_string() } else { format!("linear.{kind}.components") };
            if components.is_empty() {
                return Err(Problem::new(key, "an empty list", "attention, feed_forward, pooler, head_transform, vocabulary"));
            }
            let apart = components.iter().any(|component| matches!(component, Query | Key | Value));
            if apart && self.attention.fused_projection {
                return Err(Problem::new(key, "a projection of its own with fused_projection", "query_key_value, which is one matrix"));
            }
            if components.contains(&QueryKeyValue) && !self.attention.fused_projection {
                return Err(Problem::new(key, "query_key_value without fused_projection", "query, key, value or attention"));
            }
        }
        Ok(())
    }

    /// Inputs and outputs of the layers that a factorisation would touch.
    fn factorised_sizes(&self) -> Vec<(u64, u64)> {
        let narrow = self.embedding.width.unwrap_or(self.width);
        let head_width = self.attention.head_width(self.layer_width());
        self.linear
            .groups()
            .iter()
            .flat_map(|group| match group {
                LinearComponent::Attention => {
                    self.attention.mechanism().map(|mechanism| mechanism.linear_sizes(self, &self.attention)).unwrap_or_default()
                }
                LinearComponent::QueryKeyValue => vec![(self.width, (self.attention.heads + 2 * self.attention.groups()) * head_width)],
                LinearComponent::Key | LinearComponent::Value => vec![(self.width, self.attention.groups() * head_width)],
                LinearComponent::Query | LinearComponent::Output => vec![(self.width, self.attention.heads * head_width)],
                LinearComponent::FeedForward if self.feed_forward.kind == FeedForwardKind::None => Vec::new(),
                LinearComponent::FeedForward => vec![(self.width, self.feed_forward.width)],
                LinearComponent::Pooler if matches!(self.head.kind, HeadKind::Pooler | HeadKind::Classification) => {
                    vec![(self.width, self.head.inner_width.unwrap_or(self.width))]
                }
                LinearComponent::Pooler => Vec::new(),
                LinearComponent::HeadTransform => vec![(self.width, narrow)],
                LinearComponent::Vocabulary => vec![(narrow, self.embedding.vocabulary)],
            })
            .collect()
    }

    /// The largest rank that any factorised layer can have.
    fn full_rank(&self) -> u64 {
        self.factorised_sizes().into_iter().map(|(m, n)| m.min(n)).max().unwrap_or(1)
    }

    /// The rank from which no factorised layer saves anything.
    #[must_use]
    pub fn break_even_rank(&self) -> u64 {
        let limit = self.factorised_sizes().into_iter().map(|(m, n)| break_even(m, n)).fold(0.0, f64::max);
        limit.ceil() as u64
    }

    fn check_bottleneck(&self) -> Result<(), Problem> {
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
    fn check_latents(&self) -> Result<(), Problem> {
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

    fn check_head(&self) -> Result<(), Problem> {
        let head = &self.head;
        let decodes = self.decoder.is_some();
        let fits = match head.kind {
            HeadKind::MaskedLm | HeadKind::Pooler | HeadKind::Discriminator => !decodes,
            HeadKind::Classification => match head.pooling {
                Pooling::First | Pooling::FirstAsIs | Pooling::Mean | Pooling::MeanAsIs => !decodes,
                Pooling::End => decodes && self.encoder.is_some(),
                Pooling::Last => decodes && self.encoder.is_none(),
            },
            HeadKind::QuestionAnswering => true,
            HeadKind::TokenClassification => self.encoder.is_none() || !decodes,
            HeadKind::CausalLm => decodes && self.encoder.is_none(),
            HeadKind::SequenceToSequence => decodes && self.encoder.is_some(),
            HeadKind::None => true,
        };
        if !fits {
            let allowed = match (&self.encoder, &self.decoder) {
                (Some(_), Some(_)) => {
                    "sequence_to_sequence, classification with pooling end, question_answering or none for an encoder with a decoder"
                }
                (None, _) => "causal_lm, classification with pooling last, token_classification or none for a decoder",
                _ => "masked_lm, classification, token_classification, question_answering, discriminator, pooler or none for an encoder",
            };
            return Err(Problem::new("head.kind", "a head that does not fit the stacks", allowed));
        }
        if matches!(head.kind, HeadKind::Classification | HeadKind::TokenClassification) && head.classes.is_none() {
            return Err(Problem::new("head.classes", "nothing", "the number of classes"));
        }
        let vocabulary = matches!(head.kind, HeadKind::MaskedLm | HeadKind::CausalLm | HeadKind::SequenceToSequence);
        if head.loss == Loss::Mean && !vocabulary {
            return Err(Problem::new("head.loss", "mean", "cross_entropy, or a head with a vocabulary projection"));
        }
        if head.tied && vocabulary && self.embedding.kind == EmbeddingKind::Vectors {
            return Err(Problem::new("head.tied", "true with an embedding of kind vectors", "false: there is no token table"));
        }
        if head.positions == HeadPositions::Masked {
            let share = head.masked_share.map_or(0.0, crate::units::Ratio::value);
            if !(share > 0.0 && share <= 1.0) {
                return Err(Problem::new("head.masked_share", share.to_string(), "the share of masked positions, above 0, at most 1"));
            }
        }
        if head.positions == HeadPositions::Predicted && head.kind != HeadKind::CausalLm {
            return Err(Problem::new(
                "head.positions",
                "predicted",
                "all, masked, or a causal_lm head, whose labels are the next positions",
            ));
        }
        let wide = |stack: &super::Stack| stack.reversible && stack.streams == Streams::Concatenated;
        if decodes && self.encoder.as_ref().is_some_and(wide) {
            return Err(Problem::new(
                "encoder.streams",
                "concatenated before a decoder",
                "averaged: a decoder attends to the model's width",
            ));
        }
        let vocabulary = matches!(head.kind, HeadKind::CausalLm | HeadKind::SequenceToSequence | HeadKind::MaskedLm);
        let table = self.embedding.width.unwrap_or(self.width);
        if head.tied && vocabulary && !head.transforms() && self.hidden_width() != table {
            let found = format!("true with hidden states of {} columns and a token table of {table}", self.hidden_width());
            let allowed = "false, a transform or a projection to the table's width, or averaged streams";
            return Err(Problem::new("head.tied", found, allowed));
        }
        if head.projection && self.embedding.width.is_none() {
            return Err(Problem::new("head.projection", "true without a width of the embedding", "false, or an embedding.width"));
        }
        if head.projection && (head.transforms() || self.last_stack_is_double()) {
            return Err(Problem::new("head.projection", "true with a transform or concatenated streams", "false"));
        }
        Ok(())
    }

    /// Checks that a sequence of `length` positions fits.
    pub(super) fn check_length(&self, length: u64) -> Result<(), Problem> {
        let asked = length.saturating_sub(u64::from(self.embedding.class_token));
        if self.length_of(asked) != asked {
            let allowed = format!("{}, the patches of the image", self.length_of(asked));
            return Err(Problem::new("embedding.patches", format!("a sequence of {asked}"), allowed));
        }
        let positions = &self.embedding.positions;
        let grid: u64 = positions.shape.iter().product();
        if positions.kind == PositionKind::Axial && length > grid {
            let allowed = format!("sequences of at most {grid} positions, the product of the axes");
            return Err(Problem::new("embedding.positions.shape", format!("a sequence of {length}"), allowed));
        }
        if let Some(limit) = positions.longest()
            && (positions.kind == PositionKind::Learned || positions.kind.has_vectors())
            && length > limit
        {
            let allowed =
                format!("sequences of at most {limit} positions, the learned table's rows; set embedding.positions.length for more");
            return Err(Problem::new("embedding.positions.length", format!("a sequence of {length}"), allowed));
        }
        for (name, stack) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            let Some(stack) = stack else { continue };
            for (index, (_, attention, _)) in self.groups(stack).into_iter().enumerate() {
                let Some((limit, key)) = attention.mechanism().and_then(|mechanism| mechanism.longest(self)) else { continue };
                if length > limit {
                    let base = if stack.groups.is_empty() { String::new() } else { format!("{name}.groups.{index}.") };
                    let allowed = format!("sequences of at most {limit} positions, the rows of the parameter");
                    return Err(Problem::new(format!("{base}attention.{key}"), format!("a sequence of {length}"), allowed));
                }
            }
        }
        Ok(())
    }
}

/// Checks that a size is one.
pub(super) fn check_size(key: &str, size: u64) -> Result<(), Problem> {
    if size == 0 || size > LARGEST {
        return Err(Problem::new(key, size.to_string(), format!("1 to {LARGEST}")));
    }
    Ok(())
}

/// Checks that a rate of dropout leaves something.
pub(super) fn check_rate(key: &str, rate: f64) -> Result<(), Problem> {
    if rate >= 1.0 { Err(Problem::new(key, rate.to_string(), "0 or more and below 1")) } else { Ok(()) }
}
