//! Heads.

use super::super::config::{EmbeddingKind, HeadKind, HeadPositions, Loss, Model, Pooling, Stack, Streams};
use crate::document::Problem;

impl Model {
    pub(super) fn check_head(&self) -> Result<(), Problem> {
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
        let wide = |stack: &Stack| stack.reversible && stack.streams == Streams::Concatenated;
        if decodes && self.encoder.as_ref().is_some_and(wide) {
            return Err(Problem::new(
                "encoder.streams",
                "concatenated before a decoder",
                "averaged: a decoder attends to the model's width",
            ));
        }
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
}
