//! What of a model limits how it can be divided among devices.

use super::{Attention, Model};

impl Model {
    fn attentions(&self) -> impl Iterator<Item = &Attention> {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        stacks.flat_map(|stack| self.groups(stack)).map(|(_, attention, _)| attention)
    }

    /// Numbers of heads that tensor parallelism must divide, with their keys.
    pub(crate) fn heads(&self) -> Vec<(u64, &'static str)> {
        self.attentions().flat_map(|a| [(a.heads, "attention.heads"), (a.groups(), "attention.key_value_heads")]).collect()
    }

    /// The number of layers, if all are alike and in one stack.
    pub(crate) fn uniform_layers(&self) -> Option<u64> {
        let stack = match (&self.encoder, &self.decoder) {
            (Some(stack), None) | (None, Some(stack)) => stack,
            _ => return None,
        };
        let alike = self.feed_forward.experts().is_none_or(|mixture| mixture.every == 1);
        (stack.groups.is_empty() && alike).then_some(stack.layers)
    }

    /// Whether every layer mixes positions by softmax attention over keys and values that can pass from device to device.
    pub(crate) fn attends_in_rings(&self) -> bool {
        self.attentions().all(|attention| attention.mechanism().is_some_and(|mechanism| mechanism.abilities().cache))
    }

    /// The fewest experts of a layer that has some.
    pub(crate) fn experts(&self) -> Option<u64> {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let groups = stacks.flat_map(|stack| self.groups(stack));
        groups.filter_map(|(_, _, feed_forward)| feed_forward.experts().map(|mixture| mixture.experts)).min()
    }

    /// Elements of the keys and values of all layers, for each position of a sequence.
    pub(crate) fn key_value_elements(&self) -> f64 {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let groups = stacks.flat_map(|stack| self.groups(stack));
        let layer = |attention: &Attention| 2.0 * (attention.groups() * attention.head_width(self.layer_width())) as f64;
        groups.map(|(layers, attention, _)| layers as f64 * layer(attention)).sum()
    }

    /// Elements that go to experts in all layers, for each position of a sequence.
    pub(crate) fn routed_elements(&self) -> f64 {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let groups = stacks.flat_map(|stack| self.groups(stack));
        let routed = groups.filter_map(|(layers, _, feed_forward)| {
            feed_forward.experts().map(|mixture| (layers / mixture.every.max(1)) as f64 * (mixture.top_k * self.width) as f64)
        });
        routed.sum()
    }
}
