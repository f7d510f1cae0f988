//! `use = "name"`: a document that starts from another.

use std::collections::HashMap;

use super::diagnostic::Diagnostic;
use super::node::{Data, Node, Origin, Table};
use super::overlay::overlay;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An architecture, in `models/`.
    Model,
    /// An accelerator, in `hardware_profiles/accelerators/`.
    Accelerator,
    /// What stands around accelerators, in `hardware_profiles/nodes/`.
    Node,
    /// A software stack, in `hardware_profiles/stacks/`.
    Stack,
    /// What a software stack was found to achieve, in `hardware_profiles/calibrations/`.
    Calibration,
    /// A scenario, in `scenarios/`.
    Scenario,
}

impl Kind {
    /// The word that messages use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Accelerator => "accelerator",
            Self::Node => "node",
            Self::Stack => "software stack",
            Self::Calibration => "calibration",
            Self::Scenario => "scenario",
        }
    }
}

/// The text of a document and which copy of it this is.
#[derive(Debug, Clone)]
pub struct Text {
    /// Its path, or `embedded:path`.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// Finds documents by name. The one implementation that touches files is `store`.
pub trait Library {
    /// The text that `name` stands for.
    ///
    /// # Errors
    /// No such document, or it cannot be read; the message carries `origin`, the place that asked.
    fn find(&self, kind: Kind, name: &str, origin: &Origin) -> Result<Text, Diagnostic>;

    /// A data file by its path, such as `grid_profiles/ember.csv`.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read; the message carries `origin`.
    fn data(&self, path: &str, origin: &Origin) -> Result<Text, Diagnostic>;

    /// The document that a text is; a library may know other formats than TOML.
    ///
    /// # Errors
    /// The text is no such document.
    fn parse(&self, _kind: Kind, text: &Text) -> Result<Node, Diagnostic> {
        Node::parse(&text.file, &text.text)
    }
}

/// A document that went into a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// What it is.
    pub kind: Kind,
    /// The copy that was read.
    pub file: String,
    /// Its content, for a hash.
    pub text: String,
}

/// Resolves `use` and remembers what was used.
pub struct Resolver<'a> {
    library: &'a dyn Library,
    used: Vec<Used>,
    /// Documents that were parsed, by kind and name or by path: many cases ask for the same ones.
    parsed: HashMap<(Option<Kind>, String), (String, Node)>,
}

impl<'a> Resolver<'a> {
    /// A resolver that looks names up in `library`.
    #[must_use]
    pub fn new(library: &'a dyn Library) -> Self {
        Self { library, used: Vec::new(), parsed: HashMap::new() }
    }

    /// The library behind it.
    #[must_use]
    pub fn library(&self) -> &'a dyn Library {
        self.library
    }

    /// The documents read so far, in the order they were first read.
    #[must_use]
    pub fn into_used(self) -> Vec<Used> {
        self.used
    }

    /// The document that is the data file at `path`.
    ///
    /// # Errors
    /// There is no such file, or it is not TOML.
    pub fn data(&mut self, path: &str, origin: &Origin) -> Result<Node, Diagnostic> {
        let asked = (None, path.to_string());
        if !self.parsed.contains_key(&asked) {
            let text = self.library.data(path, origin)?;
            self.parsed.insert(asked.clone(), (text.file.clone(), Node::parse(&text.file, &text.text)?));
        }
        Ok(self.parsed[&asked].1.clone())
    }

    /// The document called `name`, with everything it starts from laid under it.
    ///
    /// # Errors
    /// See [`Resolver::resolve`].
    pub fn named(&mut self, kind: Kind, name: &str, origin: &Origin) -> Result<Node, Diagnostic> {
        self.load(kind, name, origin, "", &mut Vec::new())
    }

    /// `node` with the document that its `use` names laid under it. A plain string is short for `{ use = "..." }`.
    ///
    /// # Errors
    /// A name is not known, a document is not valid TOML, or documents use each other in a circle.
    pub fn resolve(&mut self, kind: Kind, node: Node) -> Result<Node, Diagnostic> {
        self.step(kind, node, &mut Vec::new())
    }

    fn step(&mut self, kind: Kind, node: Node, chain: &mut Vec<String>) -> Result<Node, Diagnostic> {
        let Node { data, origin } = as_use(node);
        let Data::Table(mut table) = data else {
            return Err(Diagnostic::new(&origin, "", "neither a name nor a table", format!("a {}", kind.word())));
        };
        let Some(base) = table.remove("use") else { return Ok(Node { data: Data::Table(table), origin }) };
        let Some(name) = base.as_str() else {
            return Err(Diagnostic::new(&base.origin, "use", base.shown(), format!("the name of a {}", kind.word())));
        };
        let under = self.load(kind, name, &base.origin, "use", chain)?;
        Ok(overlay(under, Node { data: Data::Table(table), origin }))
    }

    fn load(&mut self, kind: Kind, name: &str, origin: &Origin, key: &str, chain: &mut Vec<String>) -> Result<Node, Diagnostic> {
        let asked = (Some(kind), name.to_string());
        if !self.parsed.contains_key(&asked) {
            let text = self.library.find(kind, name, origin).map_err(|diagnostic| diagnostic.under(key))?;
            let node = self.library.parse(kind, &text)?;
            if !self.used.iter().any(|used| used.file == text.file) {
                self.used.push(Used { kind, file: text.file.clone(), text: text.text });
            }
            self.parsed.insert(asked.clone(), (text.file, node));
        }
        let (file, node) = self.parsed[&asked].clone();
        if chain.contains(&file) || chain.len() >= 16 {
            chain.push(file);
            return Err(Diagnostic::new(origin, key, format!("a circle: {}", chain.join(" uses ")), "bases that end"));
        }
        chain.push(file);
        self.step(kind, node, chain)
    }
}

/// A plain string as the table it is short for.
fn as_use(node: Node) -> Node {
    if let Data::String(_) = node.data {
        let origin = node.origin.clone();
        let mut table = Table::default();
        table.insert("use", node);
        return Node { data: Data::Table(table), origin };
    }
    node
}

/// Replaces the string at `path` by the table it is short for, so that an overlay can add to it.
pub fn expand(node: &mut Node, path: &[&str]) {
    let Data::Table(table) = &mut node.data else { return };
    let Some(child) = path.first().and_then(|key| table.entries.iter_mut().find(|(name, _)| name == key)) else { return };
    if path.len() > 1 {
        expand(&mut child.1, &path[1..]);
    } else {
        let whole = std::mem::replace(&mut child.1, Node { data: Data::Boolean(false), origin: Origin::whole("") });
        child.1 = as_use(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shelf(Vec<(&'static str, &'static str)>);

    impl Library for Shelf {
        fn find(&self, kind: Kind, name: &str, origin: &Origin) -> Result<Text, Diagnostic> {
            let known: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
            match self.0.iter().find(|(known, _)| *known == name) {
                Some((file, text)) => Ok(Text { file: (*file).into(), text: (*text).into() }),
                None => Err(Diagnostic::unknown(origin, "", kind.word(), name, &known)),
            }
        }

        fn data(&self, path: &str, origin: &Origin) -> Result<Text, Diagnostic> {
            Err(Diagnostic::new(origin, "", path, "no data here"))
        }
    }

    #[test]
    fn a_chain_of_bases_is_laid_from_the_bottom() {
        let shelf = Shelf(vec![("a", "x = 1\ny = 1\nz = 1"), ("b", "use = \"a\"\ny = 2\nz = 2"), ("c", "use = \"b\"\nz = 3")]);
        let mut resolver = Resolver::new(&shelf);
        let node = resolver.named(Kind::Model, "c", &Origin::whole("test")).unwrap();
        let number = |key: &str| node.find(key).unwrap().data.clone();
        assert_eq!((number("x"), number("y"), number("z")), (Data::Integer(1), Data::Integer(2), Data::Integer(3)));
        assert_eq!(resolver.into_used().len(), 3);
    }

    #[test]
    fn circles_and_unknown_names_are_refused_where_they_are_written() {
        let shelf = Shelf(vec![("a", "use = \"b\""), ("b", "\nuse = \"a\""), ("c", "use = \"aa\"")]);
        let message = |name: &str| Resolver::new(&shelf).named(Kind::Model, name, &Origin::whole("t")).unwrap_err().to_string();
        assert_eq!(message("a"), "b:2: use: found a circle: a uses b uses a, allowed: bases that end");
        assert!(message("c").starts_with("c:1: use: found unknown model \"aa\""));
    }
}
