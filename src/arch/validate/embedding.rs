//! Tables of the embedding.

use super::super::config::{EmbeddingKind, HeadKind, Model};
use super::check_size;
use crate::document::Problem;

impl Model {
    /// Checks patches, which stand where tokens would.
    pub(super) fn check_patches(&self) -> Result<(), Problem> {
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
    pub(super) fn check_axial(&self) -> Result<(), Problem> {
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
}
