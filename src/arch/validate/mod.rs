//! Whether a model holds together.

mod embedding;
mod head;
mod layers;
mod linear;

use super::config::{Model, NormKind, NormPlacement, PositionKind};
use super::feed_forward::FeedForwardKind;
use crate::document::Problem;

/// Sizes above this are typing errors; three times the product of two of them still fits a machine word.
const LARGEST: u64 = 1 << 24;

impl Model {
    /// Checks every value against the others.
    pub(in crate::arch) fn check(&self) -> Result<(), Problem> {
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
            ("attention.heads", self.attention.heads),
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
        let mut networks = [&self.encoder, &self.decoder].into_iter().flatten().flat_map(|stack| self.groups(stack));
        if side_by_side && networks.any(|(_, _, network)| network.kind == FeedForwardKind::None) {
            return Err(Problem::new("norm.placement", "sub-layers side by side in layers of one", "pre, post or sandwich"));
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
        if positions.longest() == Some(0) {
            let allowed = "fewer than the rows of the table in embedding.positions.length";
            return Err(Problem::new("embedding.positions.reserved", positions.reserved.to_string(), allowed));
        }
        if self.embedding.class_token && positions.longest() == Some(1) {
            return Err(Problem::new("embedding.positions.length", "one row for the class token", "rows for a sequence beside it"));
        }
        if positions.kind == PositionKind::RelativeBias && positions.buckets.is_none() {
            return Err(Problem::new("embedding.positions.buckets", "nothing", "the rows of the bias table, such as 32"));
        }
        Ok(())
    }

    /// Checks that a sequence of `length` positions fits.
    pub(in crate::arch) fn check_length(&self, length: u64) -> Result<(), Problem> {
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
pub(in crate::arch) fn check_size(key: &str, size: u64) -> Result<(), Problem> {
    if size == 0 || size > LARGEST {
        return Err(Problem::new(key, size.to_string(), format!("1 to {LARGEST}")));
    }
    Ok(())
}

/// Checks that a rate of dropout leaves something.
pub(in crate::arch) fn check_rate(key: &str, rate: f64) -> Result<(), Problem> {
    if rate >= 1.0 { Err(Problem::new(key, rate.to_string(), "0 or more and below 1")) } else { Ok(()) }
}
