//! Architectures: from a description to a ledger.
//!
//! An architecture is a composition, never a special case: embedding, stacks of layers, head; a layer is an attention
//! mechanism, a linear-layer kind, a feed-forward kind and a norm placement. Each mechanism is one file that writes
//! its operations on a [`Tape`].

mod attention;
mod bottleneck;
mod config;
mod degrees;
mod embedding;
mod feed_forward;
mod head;
pub mod hugging_face;
mod latents;
mod linear;
mod pooling;
mod prune;
mod resolved;
mod stack;
mod validate;

pub use attention::{Attention, AttentionKind, Implementation};
pub use bottleneck::{Bottleneck, BottleneckAttention};
pub use config::*;
pub use feed_forward::{Combine, FeedForward, FeedForwardKind, Mixture};
pub use linear::LinearKind;
pub use linear::settings::Products;

use crate::document::{Data, Diagnostic, Node, Problem, Table, overlay};
use crate::ledger::{Ledger, Tape, Tensor, Tile};

/// The sizes of one forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch {
    /// Sequences.
    pub sequences: f64,
    /// Positions of a sequence, in encoder and decoder alike.
    pub length: f64,
    /// Bytes of an activation element: 4 in fp32, 2 in half precision.
    pub element_bytes: f64,
}

/// What every mechanism needs while it writes.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub model: &'a Model,
    /// The attention and the position-wise network of the layers that are written.
    pub attention: &'a Attention,
    pub feed_forward: &'a FeedForward,
    pub batch: Batch,
    /// Positions whose keys and values a decoder finds in its cache.
    pub cached: f64,
    /// Positions of each sequence that only fill up whole blocks.
    pub padding: f64,
    /// What was pooled since the layers before.
    pub pooled: Option<pooling::Pooled>,
}

impl Model {
    /// Reads a model from a document and checks that it holds together.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or values contradict each other.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let node = completed(node);
        let model: Self = node.read()?;
        let place = |problem: Problem| problem.at(&node);
        model.check().map_err(place)?;
        let model = model.after_pruning().map_err(place)?;
        model.check().map_err(place)?;
        Ok(model)
    }

    /// The model with products of its linear layers in another format.
    ///
    /// # Errors
    /// Its layers are of kinds that such products do not go with, or have products of their own.
    pub fn with_products(&self, products: Products) -> Result<Self, Problem> {
        let mut model = self.clone();
        match model.linear.products.replace(products) {
            Some(own) if own != products => {
                let found = format!("{} in a step of {}", own.word(), products.word());
                Err(Problem::new("linear.products", found, format!("{} or nothing", products.word())))
            }
            _ => model.check().map(|()| model),
        }
    }

    /// What a reader should know of this model: choices that are allowed and save nothing.
    #[must_use]
    pub fn notes_at(&self, length: u64) -> Vec<String> {
        let mut out = Vec::new();
        let limit = self.break_even_rank();
        if self.linear.rank.is_some_and(|rank| rank >= limit) {
            out.push(format!("every layer stays dense: from rank {limit} on, two factors cost more than one matrix"));
        }
        out.extend(self.pruned.clone());
        out.extend(self.linear.notes());
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let groups = stacks.flat_map(|stack| self.groups(stack));
        for note in groups.filter_map(|(_, attention, _)| attention.mechanism()?.note(length)) {
            if !out.contains(&note) {
                out.push(note);
            }
        }
        out.extend(self.beside_full_attention(length));
        out
    }

    /// What attention to a part of the pairs does not save at a length, beside the same model with full attention.
    fn beside_full_attention(&self, length: u64) -> Option<String> {
        let mut full = self.clone();
        let stacks = [&mut full.encoder, &mut full.decoder].into_iter().flatten();
        let groups = stacks.flat_map(|stack| &mut stack.groups).map(|group| &mut group.attention);
        let words: Vec<&str> = std::iter::once(&mut full.attention).chain(groups).filter_map(Attention::complete).collect();
        let word = words.first()?;
        let batch = Batch { sequences: 1.0, length: length as f64, element_bytes: 4.0 };
        let [ours, theirs] = [self, &full].map(|model| model.ledger(batch).ok());
        let (ours, theirs) = (ours?, theirs?);
        let traffic = |ledger: &Ledger| ledger.forward().bytes() + ledger.backward().bytes();
        let ratios = [
            ("takes {} the products", ours.forward().matmul_flops / theirs.forward().matmul_flops),
            ("moves {} the bytes", traffic(&ours) / traffic(&theirs)),
            ("keeps {} the bytes", ours.kept_bytes() / theirs.kept_bytes()),
        ];
        let wasted = ratios.into_iter().filter(|(_, ratio)| *ratio >= 1.0);
        let parts: Vec<String> = wasted.map(|(text, ratio)| text.replace("{}", &format!("{ratio:.2} times"))).collect();
        (!parts.is_empty())
            .then(|| format!("with {word} attention this model {} of full attention at {length} positions", parts.join(", ")))
    }

    /// The groups of equal layers of a stack, in the order they run: their number, attention and position-wise network.
    fn groups<'a>(&'a self, stack: &'a Stack) -> Vec<(u64, &'a Attention, &'a FeedForward)> {
        if stack.groups.is_empty() {
            return vec![(stack.layers, &self.attention, &self.feed_forward)];
        }
        stack.groups.iter().map(|group| (group.layers, &group.attention, &group.feed_forward)).collect()
    }

    /// The length to look at where none is said: 512, or the longest if that is less.
    #[must_use]
    pub fn usual_length(&self) -> u64 {
        let longest = self.embedding.positions.longest().unwrap_or(512).saturating_sub(self.class_positions() as u64);
        self.length_of(longest.min(512))
    }

    /// The length of a sequence where `asked` is asked for: another one only if an image's patches are the sequence.
    #[must_use]
    pub fn length_of(&self, asked: u64) -> u64 {
        self.embedding.patches.as_ref().map_or(asked, Patches::count)
    }

    /// Width of what reaches the head: twice the model's where reversible layers end in two streams, that of narrow tables
    /// where a projection leads back to it.
    pub(crate) fn hidden_width(&self) -> u64 {
        if self.head.projection {
            return self.embedding.width.unwrap_or(self.width);
        }
        if self.last_stack_is_double() { 2 * self.width } else { self.width }
    }

    /// Whether the last stack ends in two streams side by side.
    fn last_stack_is_double(&self) -> bool {
        let last = self.decoder.as_ref().or(self.encoder.as_ref());
        last.is_some_and(|stack| stack.reversible && stack.streams == Streams::Concatenated)
    }

    /// Width inside a layer.
    pub(crate) fn layer_width(&self) -> u64 {
        self.bottleneck.map_or(self.width, |bottleneck| bottleneck.width)
    }

    /// Layers of all stacks, as often as they run.
    #[must_use]
    pub fn layers(&self) -> u64 {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let again = |stack: &Stack| -> u64 { stack.groups.iter().map(|group| group.layers * (group.repeats - 1)).sum() };
        stacks.map(|stack| stack.layers + again(stack)).sum()
    }

    /// The ledger of one forward pass with its loss.
    ///
    /// # Errors
    /// The sequence is longer than the model's positions or length projections.
    pub fn ledger(&self, batch: Batch) -> Result<Ledger, Problem> {
        self.ledger_in_tiles(batch, None)
    }

    /// The same on a device whose memory holds whole tiles of matrices.
    ///
    /// # Errors
    /// As [`Model::ledger`].
    pub fn ledger_in_tiles(&self, batch: Batch, tile: Option<Tile>) -> Result<Ledger, Problem> {
        self.check_length((batch.length + self.class_positions()) as u64)?;
        let tape = Tape::new(batch.element_bytes, batch.sequences * batch.length).in_tiles(tile);
        self.write(tape, batch, 0.0)
    }

    /// The ledger of a trained model that is only run: no dropout, no loss, nothing kept. A decoder may find the keys and
    /// values of `cached` earlier positions of each sequence in its cache.
    ///
    /// # Errors
    /// The sequence is longer than the model's parameters allow, or the model has no such cache.
    pub fn inference_ledger(&self, batch: Batch, cached: f64) -> Result<Ledger, Problem> {
        self.check_length((batch.length + cached + self.class_positions()) as u64)?;
        if cached > 0.0 && self.cache_elements().is_none() {
            return Err(Problem::new("attention.kind", "a model without a key-value cache", "a decoder of softmax attention alone"));
        }
        self.write(Tape::inference(batch.element_bytes, batch.sequences * batch.length), batch, cached)
    }

    /// Elements that a decoder caches for each position of a sequence: keys and values of every layer (Pope et al. 2022,
    /// section 2.1). None for a model that generates nothing from a cache.
    #[must_use]
    pub fn cache_elements(&self) -> Option<f64> {
        let decoder = self.decoder.as_ref().filter(|_| self.encoder.is_none())?;
        let layer = |attention: &Attention| {
            attention.mechanism()?.abilities().cache.then(|| 2.0 * (attention.groups() * attention.head_width(self.layer_width())) as f64)
        };
        self.groups(decoder).into_iter().map(|(layers, attention, _)| Some(layers as f64 * layer(attention)?)).sum()
    }

    /// Positions that stand before those of the sequence.
    fn class_positions(&self) -> f64 {
        f64::from(u8::from(self.embedding.class_token))
    }

    /// The length that sequences of `length` are filled up to, because a mechanism works on whole blocks.
    fn padded_length(&self, length: f64) -> f64 {
        let stacks = [&self.encoder, &self.decoder].into_iter().flatten();
        let attentions = stacks.flat_map(|stack| self.groups(stack)).filter_map(|(_, attention, _)| attention.mechanism());
        attentions.map(|mechanism| mechanism.padded_length(length as u64) as f64).fold(length, f64::max)
    }

    fn write(&self, mut tape: Tape, batch: Batch, cached: f64) -> Result<Ledger, Problem> {
        let masks = self.dropout_mask.bytes();
        tape.with_trained(self.linear.adapter.is_none(), |tape| tape.with_dropout_masks(masks, |tape| self.write_on(tape, batch, cached)))?;
        Ok(tape.finish())
    }

    fn write_on(&self, tape: &mut Tape, batch: Batch, cached: f64) -> Result<(), Problem> {
        let class = self.class_positions();
        let whole = Batch { length: batch.length + class, ..batch };
        let latents = self.encoder.as_ref().and_then(|encoder| encoder.latents);
        let length = if latents.is_some() { whole.length } else { self.padded_length(whole.length) };
        let batch = Batch { length, ..batch };
        let padding = batch.length - whole.length;
        let ids = embedding::input(tape, self, Batch { length: batch.length - class, ..batch });
        tape.set_tokens(batch.sequences * batch.length);
        let context =
            Context { model: self, attention: &self.attention, feed_forward: &self.feed_forward, batch, cached, padding, pooled: None };
        let table = embedding::table(tape, &context);
        let positions = embedding::rotary_tables(tape, &context);
        let mut encoded: Option<Tensor> = None;
        if let Some(encoder) = &self.encoder {
            let x = embedding::write(tape, &context, table, ids);
            let x = latents.map_or(x, |latents| latents::write(tape, &context, latents, x));
            let length = latents.map_or(batch.length, |latents| latents.count as f64);
            let context = Context { batch: Batch { length, ..batch }, ..context };
            encoded = Some(stack::write(tape, &context, encoder, x, None, positions, false));
        }
        let (hidden, causal) = match &self.decoder {
            Some(decoder) => {
                tape.set_tokens(batch.sequences * batch.length);
                let ids = if encoded.is_some() { tape.indices(tape.tokens()) } else { ids };
                let x = embedding::write(tape, &context, table, ids);
                (stack::write(tape, &context, decoder, x, encoded, positions, true), true)
            }
            None => match encoded {
                Some(encoded) => (encoded, false),
                None => return Err(Problem::new("encoder", "neither encoder nor decoder", "at least one of them")),
            },
        };
        let whole = Batch { length: latents.map_or(whole.length, |latents| latents.count as f64), ..whole };
        tape.set_tokens(whole.sequences * whole.length);
        head::write(tape, &Context { batch: whole, ..context }, hidden, table, causal && encoded.is_none() && self.head.shifted);
        Ok(())
    }
}

/// The document with what it leaves to be understood: an empty table for the settings of a mechanism that has none, and
/// in a group of layers everything that the group does not say.
fn completed(node: &Node) -> Node {
    let mut node = node.clone();
    let settings = |attention: &mut Node| {
        let kind = attention.find("kind").and_then(Node::as_str).map(str::to_string);
        let origin = attention.origin.clone();
        if let (Data::Table(table), Some(kind)) = (&mut attention.data, kind)
            && AttentionKind::ALL.iter().any(|known| known.word() == kind)
            && !table.contains(&kind)
        {
            table.insert(&kind, Node { data: Data::Table(Table::default()), origin });
        }
    };
    let bases = ["attention", "feed_forward"].map(|key| (key, node.find(key).cloned()));
    let Data::Table(model) = &mut node.data else { return node };
    if let Some(attention) = model.get_mut("attention") {
        settings(attention);
    }
    for stack in ["encoder", "decoder"] {
        let Some(Data::Table(stack)) = model.get_mut(stack).map(|node| &mut node.data) else { continue };
        let Some(Data::Array(groups)) = stack.get_mut("groups").map(|node| &mut node.data) else { continue };
        for group in groups {
            let origin = group.origin.clone();
            let Data::Table(group) = &mut group.data else { continue };
            for (key, base) in &bases {
                let own = group.remove(key).unwrap_or(Node { data: Data::Table(Table::default()), origin: origin.clone() });
                let Some(base) = base.clone() else { continue };
                let mut whole = overlay::overlay(base, own);
                if *key == "attention" {
                    settings(&mut whole);
                }
                group.insert(key, whole);
            }
        }
    }
    node
}
