//! One message for one bad input.

use std::fmt;

use super::node::Origin;

/// What is wrong with an input: where, what was found, what is allowed, and the nearest known name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// File and line of the value.
    pub origin: Origin,
    /// Dotted path of the key, empty for the document as a whole.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
    /// The known name that is most like the one found.
    pub nearest: Option<String>,
}

impl Diagnostic {
    /// A message about the value at `key`.
    pub fn new(origin: &Origin, key: &str, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { origin: origin.clone(), key: key.to_string(), found: found.into(), allowed: allowed.into(), nearest: None }
    }

    /// A message about a name that is not one of `known`.
    pub fn unknown(origin: &Origin, key: &str, what: &str, name: &str, known: &[&str]) -> Self {
        let list = if known.len() > 12 {
            format!("{} and {} more", known[..12].join(", "), known.len() - 12)
        } else if known.is_empty() {
            "none here".to_string()
        } else {
            known.join(", ")
        };
        let mut out = Self::new(origin, key, format!("unknown {what} \"{name}\""), list);
        out.nearest = nearest(name, known.iter().copied());
        out
    }

    /// The same message with the key put under `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.key = join(parent, &self.key);
        self
    }
}

/// Joins two dotted paths, either of which may be empty.
pub(super) fn join(parent: &str, child: &str) -> String {
    match (parent.is_empty(), child.is_empty()) {
        (true, _) => child.to_string(),
        (_, true) => parent.to_string(),
        _ => format!("{parent}.{child}"),
    }
}

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate.to_string())
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}: ", self.origin);
        if !self.key.is_empty() {
            text += &format!("{}: ", self.key);
        }
        text += &format!("found {}, allowed: {}", self.found, self.allowed);
        if let Some(nearest) = &self.nearest {
            text += &format!("; nearest: \"{nearest}\"");
        }
        // A message is one line, and nothing that a file holds may repaint a terminal.
        text.chars().try_for_each(|c| if c.is_control() { write!(out, "{}", c.escape_default()) } else { write!(out, "{c}") })
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_near() {
        assert_eq!(nearest("bert-bas", ["bert-base", "gpt2"]), Some("bert-base".into()));
        assert_eq!(nearest("H10", ["h100", "a100"]), Some("h100".into()));
        assert_eq!(nearest("xyz", ["bert-base", "gpt2"]), None);
    }

    #[test]
    fn one_line_names_everything() {
        let origin = Origin::line("a.toml", 3);
        let text = Diagnostic::unknown(&origin, "model", "model", "bert-bas", &["bert-base", "gpt2"]).to_string();
        assert_eq!(text, "a.toml:3: model: found unknown model \"bert-bas\", allowed: bert-base, gpt2; nearest: \"bert-base\"");
    }
}
