//! Values that know where they came from.

use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;

/// The file and line of a value. Its texts stand behind thin pointers, so that a result that may hold a message stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    file: Arc<String>,
    line: usize,
    /// The key in that file, where it has a name of its own.
    key: Option<Arc<String>>,
}

impl Origin {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A place that has no lines, such as the command line.
    #[must_use]
    pub fn whole(file: &str) -> Self {
        Self { file: Arc::new(file.to_string()), line: 0, key: None }
    }

    /// A line of a file, counted from 1.
    #[must_use]
    pub fn line(file: &str, line: usize) -> Self {
        Self { file: Arc::new(file.to_string()), line, key: None }
    }

    /// The same place, where the value is called `key`.
    #[must_use]
    pub fn named(&self, key: &str) -> Self {
        Self { key: Some(Arc::new(key.to_string())), ..self.clone() }
    }

    /// What the value is called there, if it has a name of its own.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref().map(String::as_str)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { write!(out, "{}", self.file) } else { write!(out, "{}:{}", self.file, self.line) }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Where it stands.
    pub origin: Origin,
}

/// The kinds of values TOML has. Dates are kept as text.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// true or false.
    Boolean(bool),
    /// A list.
    Array(Vec<Node>),
    /// Named values.
    Table(Table),
}

/// Named values in the order they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub(super) entries: Vec<(String, Node)>,
    /// Keys that a JSON document calls null, which are not there.
    pub(super) nulls: Vec<String>,
}

/// Tables and arrays may nest this deep; no document needs more, and a deeper one is an attack on the stack.
const DEPTH: usize = 32;

impl Node {
    /// Parses a whole TOML document.
    ///
    /// # Errors
    /// The text is empty, is not TOML, or nests too deep.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostic> {
        let whole = Origin::whole(file);
        if text.trim().is_empty() {
            return Err(Diagnostic::new(&whole, "", "an empty file", "a TOML document"));
        }
        let lines = Lines::new(file, text);
        check_depth(file, text)?;
        let document = DeTable::parse(text).map_err(|error| syntax(&error, &lines))?;
        let start = document.span().start;
        Ok(Node { data: Data::Table(lines.table(document.into_inner())?), origin: lines.at(start) })
    }

    /// Parses the right-hand side of `--set KEY=VALUE`; a bare word is text.
    ///
    /// # Errors
    /// The text is neither a TOML value nor a bare word.
    pub fn parse_value(file: &str, text: &str) -> Result<Self, Diagnostic> {
        let lines = Lines { file: Arc::new(file.to_string()), starts: Vec::new() };
        let bare = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./ ".contains(c));
        if too_deep(text).is_some() {
            return Err(Diagnostic::new(&Origin::whole(file), "", "keys or brackets nested too deep", format!("at most {DEPTH} levels")));
        }
        match DeValue::parse(text) {
            Ok(value) => lines.node(value),
            Err(_) if bare => Ok(Node { data: Data::String(text.to_string()), origin: Origin::whole(file) }),
            Err(error) => Err(syntax(&error, &lines)),
        }
    }

    /// The table that this node is, if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Table> {
        if let Data::Table(table) = &self.data { Some(table) } else { None }
    }

    /// The text that this node is, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Data::String(text) = &self.data { Some(text) } else { None }
    }

    /// The node at a dotted path below this one.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| match &node.data {
            Data::Table(table) => table.get(key),
            Data::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        })
    }

    /// The place of the value at `path`, or of the nearest table above it that exists.
    #[must_use]
    pub fn place(&self, path: &str) -> &Origin {
        let mut node = self;
        for key in path.split('.') {
            match node.find(key) {
                Some(next) => node = next,
                None => break,
            }
        }
        &node.origin
    }

    /// What a person sees there, shortened.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.data {
            Data::String(text) if text.chars().count() > 60 => format!("\"{}...\"", text.chars().take(57).collect::<String>()),
            Data::String(text) => format!("\"{text}\""),
            Data::Integer(value) => value.to_string(),
            Data::Float(value) => value.to_string(),
            Data::Boolean(value) => value.to_string(),
            Data::Array(_) => "a list".to_string(),
            Data::Table(_) => "a table".to_string(),
        }
    }
}

impl Table {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether a JSON document says that `key` is null, where that differs from not saying it.
    #[must_use]
    pub fn is_null(&self, key: &str) -> bool {
        self.nulls.iter().any(|name| name == key)
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(index).1)
    }

    /// Sets `key`, in place if it is there.
    pub fn insert(&mut self, key: &str, node: Node) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = node,
            None => self.entries.push((key.to_string(), node)),
        }
    }

    /// Keys and values in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries.iter().map(|(key, node)| (key.as_str(), node))
    }
}

/// Refuses a text that could nest too deep, before it is parsed.
pub(super) fn check_depth(file: &str, text: &str) -> Result<(), Diagnostic> {
    let allowed = || format!("at most {DEPTH} levels");
    too_deep(text).map_or(Ok(()), |line| Err(Diagnostic::new(&Origin::line(file, line), "", "keys or brackets nested too deep", allowed())))
}

/// Turns byte offsets into lines.
pub(super) struct Lines {
    file: Arc<String>,
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        Self { file: Arc::new(file.to_string()), starts: starts.collect() }
    }

    pub(super) fn at(&self, offset: usize) -> Origin {
        Origin { line: self.starts.partition_point(|start| *start <= offset), file: self.file.clone(), key: None }
    }

    fn table(&self, table: DeTable<'_>) -> Result<Table, Diagnostic> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let origin = self.at(key.span().start);
            let mut node = self.node(value).map_err(|error| error.under(key.get_ref()))?;
            node.origin = origin;
            entries.push((key.span().start, key.into_inner().into_owned(), node));
        }
        entries.sort_by_key(|(start, _, _)| *start);
        Ok(Table { entries: entries.into_iter().map(|(_, key, node)| (key, node)).collect(), nulls: Vec::new() })
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Result<Node, Diagnostic> {
        let origin = self.at(value.span().start);
        let data = match value.into_inner() {
            DeValue::String(text) => Data::String(text.into_owned()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Data::Integer(parsed.map_err(|_| Diagnostic::new(&origin, "", number.as_str(), "a whole number of 64 bits"))?)
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().parse();
                Data::Float(parsed.map_err(|_| Diagnostic::new(&origin, "", number.as_str(), "a number"))?)
            }
            DeValue::Boolean(value) => Data::Boolean(value),
            DeValue::Datetime(date) => Data::String(date.to_string()),
            DeValue::Array(items) => {
                let items = items.into_iter().enumerate();
                let nodes = items.map(|(index, item)| self.node(item).map_err(|error| error.under(&index.to_string())));
                Data::Array(nodes.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => Data::Table(self.table(table)?),
        };
        Ok(Node { data, origin })
    }
}

fn syntax(error: &toml::de::Error, lines: &Lines) -> Diagnostic {
    let origin = error.span().map_or(Origin { file: lines.file.clone(), line: 0, key: None }, |span| lines.at(span.start));
    let reason = error.message().lines().next().unwrap_or("a syntax error").to_string();
    Diagnostic::new(&origin, "", reason, "TOML 1.0")
}

/// The first line on which brackets or a dotted key could nest deeper than [`DEPTH`]: a cheap bound before parsing.
fn too_deep(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (index, line) in text.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > DEPTH {
                return Some(index + 1);
            }
        }
        if longest_dotted_run(line) > DEPTH {
            return Some(index + 1);
        }
    }
    None
}

/// The number of dots in the longest stretch of `line` that could be one dotted key.
fn longest_dotted_run(line: &str) -> usize {
    line.split(['=', ',', '{', '}', '#']).map(|part| part.matches('.').count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let node = Node::parse("a.toml", "x = 1\n[t]\ny = \"two\"\nz = { low = 1.5 }\n").unwrap();
        assert_eq!(node.place("t.y").to_string(), "a.toml:3");
        assert_eq!(node.place("t.z.low").to_string(), "a.toml:4");
        assert_eq!(node.place("t.absent").to_string(), "a.toml:2");
        assert_eq!(node.find("t.y").unwrap().as_str(), Some("two"));
    }

    #[test]
    fn bad_documents_are_refused_with_their_line() {
        let message = |text: &str| Node::parse("a.toml", text).unwrap_err().to_string();
        assert_eq!(message(" \n"), "a.toml: found an empty file, allowed: a TOML document");
        assert!(message("x = 1\ny = = 2\n").starts_with("a.toml:2: "));
        assert!(message("x = 1\nx = 2\n").starts_with("a.toml:2: "));
        assert!(message(&format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000))).contains("nested too deep"));
        assert!(message(&format!("a{} = 1", ".a".repeat(100_000))).contains("nested too deep"));
        assert!(message("x = 99999999999999999999").contains("64 bits"));
    }

    #[test]
    fn a_bare_word_on_the_command_line_is_text() {
        assert_eq!(Node::parse_value("--set", "low_rank").unwrap().as_str(), Some("low_rank"));
        assert_eq!(Node::parse_value("--set", "192").unwrap().data, Data::Integer(192));
        assert_eq!(Node::parse_value("--set", "700 W").unwrap().as_str(), Some("700 W"));
        assert!(Node::parse_value("--set", "{ x").is_err());
    }
}
