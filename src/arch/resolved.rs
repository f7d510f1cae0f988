//! A model with every value that it takes from elsewhere said where it is used, so that a program can build it without
//! knowing these defaults.

use super::attention::Attention;
use super::config::{HeadKind, Model};
use super::feed_forward::FeedForward;
use super::linear::LinearKind;
use crate::ledger::Activation;

impl Model {
    /// The same model, which says of every part what it has from the model as a whole: widths, rates, which layers are factorised.
    #[must_use]
    pub fn resolved(&self) -> Self {
        let mut model = self.clone();
        let (width, dropout) = (self.layer_width(), self.dropout);
        let attention = |attention: &mut Attention| {
            attention.head_width = Some(attention.head_width(width));
            attention.key_value_heads = Some(attention.groups());
            attention.output_bias.get_or_insert(attention.bias);
            attention.dropout.get_or_insert(dropout);
            attention.output_dropout.get_or_insert(dropout);
            attention.dropout_mask.get_or_insert(self.dropout_mask);
            let head_width = attention.head_width(width) as f64;
            if let Some(performer) = &mut attention.performer {
                performer.features = performer.random_features(head_width).map(|features| features as u64);
            }
            if let Some(linformer) = &mut attention.linformer {
                linformer.length = linformer.rows(self);
            }
        };
        let network = |network: &mut FeedForward| {
            network.output_dropout.get_or_insert(dropout);
        };
        attention(&mut model.attention);
        network(&mut model.feed_forward);
        for stack in [&mut model.encoder, &mut model.decoder].into_iter().flatten() {
            for group in &mut stack.groups {
                attention(&mut group.attention);
                network(&mut group.feed_forward);
            }
        }
        model.embedding.width.get_or_insert(self.width);
        model.embedding.dropout.get_or_insert(dropout);
        model.norm.last = Some(self.norm.follows());
        model.head.transform = Some(self.head.transforms());
        if self.head.kind == HeadKind::MaskedLm {
            model.head.activation.get_or_insert(Activation::Gelu);
        }
        let low_rank = self.linear.is_low_rank();
        model.linear.kind = Some(if low_rank { LinearKind::LowRank } else { LinearKind::Dense });
        model.linear.components = low_rank.then(|| self.linear.groups().to_vec());
        model
    }
}
