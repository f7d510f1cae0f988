//! From nodes to typed values, by serde; every error ends with the place and key of the value that caused it.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::diagnostic::{Diagnostic, join, nearest};
use super::node::{Data, Node, Origin};

impl Node {
    /// Reads this node into a typed value.
    ///
    /// # Errors
    /// A key is unknown, missing, of the wrong type, or its value is not allowed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        T::deserialize(self).map_err(|error| error.into_diagnostic(&self.origin))
    }
}

/// An error of reading, before its place is known.
#[derive(Debug)]
pub struct ReadError {
    found: String,
    allowed: String,
    nearest: Option<String>,
    key: String,
    origin: Option<Origin>,
}

impl ReadError {
    fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { found: found.into(), allowed: allowed.into(), nearest: None, key: String::new(), origin: None }
    }

    /// Fills in where the error is, innermost first: a place that is known already stays.
    fn at(mut self, origin: &Origin, key: &str) -> Self {
        self.origin.get_or_insert_with(|| origin.clone());
        self.key = join(key, &self.key);
        self
    }

    fn into_diagnostic(self, whole: &Origin) -> Diagnostic {
        Diagnostic {
            origin: self.origin.unwrap_or_else(|| whole.clone()),
            key: self.key,
            found: self.found,
            allowed: self.allowed,
            nearest: self.nearest,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "found {}, allowed: {}", self.found, self.allowed)
    }
}

impl std::error::Error for ReadError {}

/// How a type that checks its own values tells what it found and what it allows: `found X, allowed: Y`.
impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.strip_prefix("found ").and_then(|rest| rest.split_once(", allowed: ")) {
            Some((found, allowed)) => Self::new(found, allowed),
            None => Self::new(text, "a value that holds together"),
        }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(shown(&unexpected), plain(expected))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(shown(&unexpected), plain(expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let nearest = nearest(variant, expected.iter().copied());
        Self { nearest, ..Self::new(format!("\"{variant}\""), expected.join(", ")) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let nearest = nearest(field, expected.iter().copied());
        Self { nearest, ..Self::new("an unknown key", expected.join(", ")) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { key: field.to_string(), ..Self::new("nothing", "this key is needed") }
    }
}

/// What is expected, in words of the file and not of the program.
fn plain(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of zero or more".to_string(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_string(),
        "f32" | "f64" => "a number".to_string(),
        "a boolean" => "true or false".to_string(),
        "a string" => "text".to_string(),
        "a sequence" => "a list".to_string(),
        "a map" => "a table".to_string(),
        _ if text.starts_with("struct ") => "a table".to_string(),
        _ => text,
    }
}

fn shown(unexpected: &de::Unexpected<'_>) -> String {
    match unexpected {
        de::Unexpected::Str(text) => format!("\"{}\"", text.chars().take(60).collect::<String>()),
        de::Unexpected::Signed(value) => value.to_string(),
        de::Unexpected::Unsigned(value) => value.to_string(),
        de::Unexpected::Float(value) => value.to_string(),
        de::Unexpected::Bool(value) => value.to_string(),
        de::Unexpected::Map => "a table".to_string(),
        de::Unexpected::Seq => "a list".to_string(),
        other => other.to_string(),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.data {
            Data::String(text) => visitor.visit_str(text),
            Data::Integer(value) => visitor.visit_i64(*value),
            Data::Float(value) => visitor.visit_f64(*value),
            Data::Boolean(value) => visitor.visit_bool(*value),
            Data::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            Data::Table(table) => visitor.visit_map(Entries { entries: &table.entries, next: 0 }),
        };
        result.map_err(|error: ReadError| error.at(&self.origin, ""))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.data {
            Data::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(ReadError::new(self.shown(), variants.join(", "))),
        }
        .map_err(|error: ReadError| error.at(&self.origin, ""))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next.to_string();
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.at(&item.origin, &index))
    }
}

struct Entries<'de> {
    entries: &'de [(String, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.get(self.next) else { return Ok(None) };
        let deserializer = key.as_str().into_deserializer();
        seed.deserialize(deserializer).map(Some).map_err(|error: ReadError| error.at(&node.origin, key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, node) = &self.entries[self.next];
        self.next += 1;
        seed.deserialize(node).map_err(|error| error.at(&node.origin, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Watts;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its reading is tested")]
        power: Watts,
        #[serde(default)]
        #[expect(dead_code, reason = "only its reading is tested")]
        kind: Option<Choice>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        LowRank,
        Dense,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its reading is tested")]
        inner: Inner,
        #[serde(default)]
        #[expect(dead_code, reason = "only its reading is tested")]
        list: Vec<u32>,
    }

    fn message(text: &str) -> String {
        Node::parse("f.toml", text).unwrap().read::<Outer>().unwrap_err().to_string()
    }

    #[test]
    fn every_error_names_file_line_key_found_and_allowed() {
        assert_eq!(message("[inner]\npower = \"-1 W\""), "f.toml:2: inner.power: found \"-1 W\", allowed: a finite power of zero or more");
        assert_eq!(message("[inner]\npower = nan"), "f.toml:2: inner.power: found NaN, allowed: a finite power of zero or more");
        assert_eq!(message("[inner]\npower = true"), "f.toml:2: inner.power: found true, allowed: a power such as \"1 W\"");
        assert_eq!(message("[inner]\npover = 1"), "f.toml:2: inner.pover: found an unknown key, allowed: power, kind; nearest: \"power\"");
        assert_eq!(message("[inner]\n"), "f.toml:1: inner.power: found nothing, allowed: this key is needed");
        assert_eq!(
            message("[inner]\npower = 1\nkind = \"lowrank\""),
            "f.toml:3: inner.kind: found \"lowrank\", allowed: low_rank, dense; nearest: \"low_rank\""
        );
        assert_eq!(message("list = [1, -2]\n[inner]\npower = 1"), "f.toml:1: list.1: found -2, allowed: a whole number of zero or more");
    }

    #[test]
    fn a_right_document_is_read() {
        assert!(Node::parse("f", "[inner]\npower = \"1 kW\"\nkind = \"dense\"").unwrap().read::<Outer>().is_ok());
        assert!(matches!(Node::parse("f", "x = \"low_rank\"").unwrap().find("x").unwrap().read(), Ok(Choice::LowRank)));
    }
}
