//! Structured pruning: whole heads, neurons and layers are taken out, so that what is left is a smaller dense model
//! (Michel et al. 2019, arXiv 1905.10650; Fan et al. 2020, arXiv 1909.11556). It is a change of sizes and nothing else.

use serde::{Deserialize, Serialize};

use super::config::{Model, Stack};
use crate::document::Problem;
use crate::units::Ratio;

/// The shares that are taken out.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Of the heads of every layer; a head's width stays.
    #[serde(default)]
    pub heads: Ratio,
    /// Of the inner width of every position-wise network.
    #[serde(default)]
    pub feed_forward: Ratio,
    /// Of the layers of every stack.
    #[serde(default)]
    pub layers: Ratio,
}

impl Model {
    /// The model with the smaller sizes that its `prune` asks for, and what that did in `pruned`.
    pub(super) fn after_pruning(mut self) -> Result<Self, Problem> {
        let Some(prune) = self.prune.take() else { return Ok(self) };
        for (key, share) in [("heads", prune.heads), ("feed_forward", prune.feed_forward), ("layers", prune.layers)] {
            if share.value() >= 1.0 {
                return Err(Problem::new(format!("prune.{key}"), share.value().to_string(), "0 or more and below 1"));
            }
        }
        let mut said = Vec::new();
        let width = self.layer_width();
        let mut cut = |what: &str, of: &mut u64, share: Ratio| {
            let before = *of;
            *of = left(before, share);
            let line = format!("{before} to {of} {what}");
            if *of != before && !said.contains(&line) {
                said.push(line);
            }
        };
        let stacks = [&mut self.encoder, &mut self.decoder];
        let groups = stacks.into_iter().flatten().flat_map(|stack| &mut stack.groups);
        let parts = std::iter::once((&mut self.attention, &mut self.feed_forward));
        for (attention, network) in parts.chain(groups.map(|group| (&mut group.attention, &mut group.feed_forward))) {
            if prune.heads.value() > 0.0 {
                attention.head_width = Some(attention.head_width(width));
                cut("heads", &mut attention.heads, prune.heads);
                if let Some(heads) = &mut attention.key_value_heads {
                    cut("key and value heads", heads, prune.heads);
                }
            }
            cut("inner width of the feed-forward network", &mut network.width, prune.feed_forward);
        }
        for (name, stack) in [("encoder layers", &mut self.encoder), ("decoder layers", &mut self.decoder)] {
            if let Some(Stack { layers, groups, .. }) = stack {
                if groups.is_empty() {
                    cut(name, layers, prune.layers);
                } else {
                    groups.iter_mut().for_each(|group| cut(name, &mut group.layers, prune.layers));
                    *layers = groups.iter().map(|group| group.layers).sum();
                }
            }
        }
        self.pruned = (!said.is_empty()).then(|| format!("pruned to a smaller dense model: {}", said.join(", ")));
        Ok(self)
    }
}

/// What is left of a number, at least one of any.
fn left(of: u64, share: Ratio) -> u64 {
    if share.value() == 0.0 { of } else { ((of as f64 * (1.0 - share.value())).round() as u64).max(of.min(1)) }
}
