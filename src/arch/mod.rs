//! Architectures: from a description to a ledger.
//!
//! An architecture is a composition, never a special case: embedding, stacks of layers, head; a layer is an attention
//! mechanism, a linear-layer kind, a feed-forward kind and a norm placement. Each mechanism is one file that writes
//! its operations on a [`Tape`].

mod attention;
mod config;
mod embedding;
mod feed_forward;
mod head;
mod linear;
mod stack;
mod validate;

pub use attention::{Implementation, LinformerOrder, LinformerSharing};
pub use config::*;
pub use linear::LinearKind;

use crate::document::{Diagnostic, Node, Problem};
use crate::ledger::{Ledger, Tape, Tensor};

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
pub(crate) struct Context<'a> {
    pub model: &'a Model,
    pub batch: Batch,
}

impl Model {
    /// Reads a model from a document and checks that it holds together.
    ///
    /// # Errors
    /// A key is unknown, missing or of the wrong type, or values contradict each other.
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let model: Self = node.read()?;
        model.check().map_err(|problem| problem.at(node))?;
        Ok(model)
    }

    /// What a reader should know of this model: choices that are allowed and save nothing.
    #[must_use]
    pub fn notes_at(&self, length: u64) -> Vec<String> {
        let mut out = Vec::new();
        let limit = self.break_even_rank();
        if self.linear.rank.is_some_and(|rank| rank >= limit) {
            out.push(format!("every layer stays dense: from rank {limit} on, two factors cost more than one matrix"));
        }
        if let (AttentionKind::Linformer, Some(linformer)) = (self.attention.kind, &self.attention.linformer)
            && linformer.projected_length >= length
        {
            let k = linformer.projected_length;
            out.push(format!("Linformer saves nothing at {length} positions: it projects them to {k}"));
        }
        out
    }

    /// Layers of all stacks.
    #[must_use]
    pub fn layers(&self) -> u64 {
        [&self.encoder, &self.decoder].into_iter().flatten().map(|stack| stack.layers).sum()
    }

    /// The ledger of one forward pass with its loss.
    ///
    /// # Errors
    /// The sequence is longer than the model's positions or length projections.
    pub fn ledger(&self, batch: Batch) -> Result<Ledger, Problem> {
        self.check_length(batch.length as u64)?;
        let context = Context { model: self, batch };
        let mut tape = Tape::new(batch.element_bytes, batch.sequences * batch.length);
        let ids = tape.indices(tape.tokens());
        let table = embedding::table(&mut tape, &context);
        let positions = embedding::rotary_tables(&mut tape, &context);
        let mut encoded: Option<Tensor> = None;
        if let Some(encoder) = &self.encoder {
            let x = embedding::write(&mut tape, &context, table, ids);
            encoded = Some(stack::write(&mut tape, &context, encoder, x, None, positions, false));
        }
        let (hidden, causal) = match &self.decoder {
            Some(decoder) => {
                let ids = if encoded.is_some() { tape.indices(tape.tokens()) } else { ids };
                let x = embedding::write(&mut tape, &context, table, ids);
                (stack::write(&mut tape, &context, decoder, x, encoded, positions, true), true)
            }
            None => match encoded {
                Some(encoded) => (encoded, false),
                None => return Err(Problem::new("encoder", "neither encoder nor decoder", "at least one of them")),
            },
        };
        head::write(&mut tape, &context, hidden, table, causal && encoded.is_none());
        Ok(tape.finish())
    }
}
