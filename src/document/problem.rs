//! What a value that was read contradicts, before its place is looked up.

use super::diagnostic::Diagnostic;
use super::node::Node;

/// A value that contradicts another: its key, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: found {found}, allowed: {allowed}")]
pub struct Problem {
    /// Dotted path of the key in its document.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl Problem {
    /// A problem with the value at `key`.
    pub fn new(key: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { key: key.into(), found: found.into(), allowed: allowed.into() }
    }

    /// The same problem in a document that holds this one under `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.key = super::diagnostic::join(parent, &self.key);
        self
    }

    /// The message with the place of the key in the document that was read, and its name there.
    #[must_use]
    pub fn at(self, node: &Node) -> Diagnostic {
        let named = node.find(&self.key).and_then(|value| value.origin.key());
        let key = named.map_or_else(|| self.key.clone(), |name| format!("{name} ({})", self.key));
        Diagnostic::new(node.place(&self.key), &key, self.found, self.allowed)
    }
}
