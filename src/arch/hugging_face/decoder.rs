//! What decoders alone have in common: their heads.

use super::config::Import;
use super::head::{Task, labels, task};
use crate::document::Diagnostic;

/// The heads of a decoder.
pub(super) struct Heads {
    /// Dropout rate before a classification of tokens.
    pub token_dropout: f64,
    /// Whether the vocabulary projection has a bias.
    pub bias: bool,
    /// Whether the vocabulary projection is the token table, where the configuration does not say.
    pub tied: bool,
}

/// Sets the head that the configuration names.
pub(super) fn head(import: &mut Import<'_>, heads: &Heads) -> Result<(), Diagnostic> {
    match task(import, &[Task::CausalLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Model])? {
        Task::CausalLm => {
            import.put("head.kind", "causal_lm");
            import.put("head.bias", heads.bias);
            import.set("head.tied", import.flag("tie_word_embeddings", heads.tied)?, "tie_word_embeddings");
        }
        Task::Sequence => {
            import.put("head.kind", "classification");
            import.put("head.pooling", "last");
            import.put("head.classes", labels(import)?);
        }
        Task::Tokens => {
            import.put("head.kind", "token_classification");
            import.put("head.classes", labels(import)?);
            import.put("head.dropout", heads.token_dropout);
        }
        Task::Answer => {
            import.put("head.kind", "question_answering");
            import.put("head.dropout", 0.0);
        }
        _ => import.put("head.kind", "none"),
    }
    Ok(())
}

/// The dropout rate before a classification of tokens, as most families find it.
pub(super) fn token_dropout(import: &Import<'_>, hidden: Option<f64>) -> Result<f64, Diagnostic> {
    let fallback = import.rate("hidden_dropout", hidden.unwrap_or(0.1))?;
    import.rate("classifier_dropout", fallback)
}

/// The first of several names of one key that the configuration has, or the first of all.
pub(super) fn named<'k>(import: &Import<'_>, keys: &[&'k str]) -> &'k str {
    keys.iter().copied().find(|key| import.says(key)).or(keys.first().copied()).unwrap_or_default()
}

/// Refuses a flag that changes the arithmetic.
pub(super) fn refuse(import: &Import<'_>, key: &str, default: bool, allowed: bool) -> Result<(), Diagnostic> {
    if import.flag(key, default)? == allowed { Ok(()) } else { Err(import.wrong(key, format!("{allowed}: nothing else is modelled"))) }
}
