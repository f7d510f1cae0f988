//! Overlays: a document that says only what differs from another.

use super::diagnostic::Diagnostic;
use super::node::{Data, Node, Origin, Table};

/// The keys that can stand in a table that states one quantity and its uncertainty.
pub const QUANTITY_KEYS: &[&str] =
    &["value", "low", "mode", "high", "mean", "standard_deviation", "median", "geometric_standard_deviation"];

/// The text that takes a key of the base away.
pub const UNSET: &str = "unset";

/// Lays `top` over `base`. Tables are merged key by key; everything else, and a table that states a quantity
/// (`{ low = ..., high = ... }`), is replaced whole. A key that `top` sets to `"unset"` goes.
#[must_use]
pub fn overlay(base: Node, top: Node) -> Node {
    let place = base.origin;
    match (base.data, top.data) {
        (Data::Table(base), Data::Table(top_table)) if !is_quantity(&base) && !is_quantity(&top_table) => {
            let mut merged = base;
            for (key, value) in top_table.entries {
                if value.as_str() == Some(UNSET) {
                    merged.remove(&key);
                    continue;
                }
                match merged.entries.iter().position(|(name, _)| *name == key) {
                    Some(index) => {
                        let (key, old) = merged.entries.remove(index);
                        merged.entries.insert(index, (key, overlay(old, value)));
                    }
                    None => merged.entries.push((key, value)),
                }
            }
            // A merged table stands where its base stood, so that "missing key" points at the file that should have it.
            Node { data: Data::Table(merged), origin: place }
        }
        (_, data) => Node { data, origin: top.origin },
    }
}

fn is_quantity(table: &Table) -> bool {
    table.iter().any(|(key, _)| QUANTITY_KEYS.contains(&key))
}

/// The overlay that `--set KEY=VALUE` means.
///
/// # Errors
/// There is no `=`, the key is not a dotted path, or the value is not TOML.
pub fn assignment(text: &str) -> Result<Node, Diagnostic> {
    assignment_at(text, &Origin::whole("--set"))
}

/// The same where a file says it, so that what is wrong with it is wrong there.
///
/// # Errors
/// See [`assignment`].
pub fn assignment_at(text: &str, origin: &Origin) -> Result<Node, Diagnostic> {
    let Some((path, value)) = text.split_once('=') else {
        return Err(Diagnostic::new(origin, "", format!("\"{text}\""), "KEY=VALUE, such as linear.rank=192"));
    };
    let path = path.trim();
    let proper = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !path.split('.').all(proper) || path.matches('.').count() > 16 {
        return Err(Diagnostic::new(origin, "", format!("key \"{path}\""), "names joined by dots, such as linear.rank"));
    }
    let mut value = Node::parse_value("--set", value.trim()).map_err(|diagnostic| diagnostic.under(path))?;
    value.origin = origin.clone();
    Ok(path.rsplit('.').fold(value, |node, key| {
        let mut table = Table::default();
        table.insert(key, node);
        Node { data: Data::Table(table), origin: origin.clone() }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_and_quantities_are_replaced_whole() {
        let base = Node::parse("base", "a = 1\n[t]\nx = { low = 1, high = 2 }\ny = 3\n").unwrap();
        let top = Node::parse("top", "[t]\nx = { value = 5 }\n").unwrap();
        let merged = overlay(base, top);
        assert_eq!(merged.find("a").unwrap().data, Data::Integer(1));
        assert_eq!(merged.find("t.y").unwrap().data, Data::Integer(3));
        assert!(merged.find("t.x.low").is_none());
        assert_eq!(merged.place("t.x").to_string(), "top:2");
        let merged = overlay(merged, Node::parse("top", "t.y = \"unset\"").unwrap());
        assert!(merged.find("t.y").is_none() && merged.find("t.x").is_some());
    }

    #[test]
    fn an_assignment_is_an_overlay() {
        let node = assignment("linear.rank=192").unwrap();
        assert_eq!(node.find("linear.rank").unwrap().data, Data::Integer(192));
        assert!(assignment("linear.rank").is_err());
        assert!(assignment("a..b=1").is_err());
        assert!(assignment("a={").unwrap_err().to_string().starts_with("--set: a: "));
    }
}
