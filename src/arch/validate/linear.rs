//! Kinds of linear layers and their ranks.

use super::super::config::{HeadKind, LinearComponent, Model};
use super::super::feed_forward::FeedForwardKind;
use super::super::linear::settings::Products;
use super::super::linear::{LinearKind, break_even};
use crate::document::Problem;

impl Model {
    pub(super) fn check_linear(&self) -> Result<(), Problem> {
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
    pub(super) fn check_kinds(&self) -> Result<(), Problem> {
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
    pub(super) fn factorised_sizes(&self) -> Vec<(u64, u64)> {
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
    pub(super) fn full_rank(&self) -> u64 {
        self.factorised_sizes().into_iter().map(|(m, n)| m.min(n)).max().unwrap_or(1)
    }

    /// The rank from which no factorised layer saves anything.
    #[must_use]
    pub fn break_even_rank(&self) -> u64 {
        let limit = self.factorised_sizes().into_iter().map(|(m, n)| break_even(m, n)).fold(0.0, f64::max);
        limit.ceil() as u64
    }
}
