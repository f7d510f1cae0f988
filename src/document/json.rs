//! JSON documents, such as the `config.json` of a Hugging Face model, as nodes that know their lines.

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::diagnostic::Diagnostic;
use super::node::{Data, Lines, Node, Origin, Table, check_depth};

/// JSON as RFC 8259 has it.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl Node {
    /// Parses a whole JSON document. A value that is null is not there.
    ///
    /// # Errors
    /// The text is empty, is not JSON, is no object, or nests too deep.
    pub fn parse_json(file: &str, text: &str) -> Result<Self, Diagnostic> {
        let whole = Origin::whole(file);
        check_depth(file, text)?;
        let lines = Lines::new(file, text);
        let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT)
            .map_err(|error| Diagnostic::new(&lines.at(error.range().start), "", error.kind().to_string(), "JSON"))?;
        match parsed.value {
            Some(Value::Object(object)) => {
                Ok(node(&lines, Value::Object(object))?.unwrap_or(Node { data: Data::Table(Table::default()), origin: whole }))
            }
            Some(_) => Err(Diagnostic::new(&whole, "", "no object", "a JSON object")),
            None => Err(Diagnostic::new(&whole, "", "an empty file", "a JSON object")),
        }
    }
}

fn node(lines: &Lines, value: Value<'_>) -> Result<Option<Node>, Diagnostic> {
    let origin = lines.at(value.range().start);
    let data = match value {
        Value::NullKeyword(_) => return Ok(None),
        Value::StringLit(text) => Data::String(text.value.into_owned()),
        Value::BooleanLit(flag) => Data::Boolean(flag.value),
        Value::NumberLit(number) => match (number.value.parse::<i64>(), number.value.parse::<f64>()) {
            (Ok(whole), _) => Data::Integer(whole),
            (_, Ok(value)) if value.is_finite() => Data::Float(value),
            _ => return Err(Diagnostic::new(&origin, "", number.value, "a number of 64 bits")),
        },
        Value::Array(array) => {
            let items = array.elements.into_iter().map(|item| node(lines, item));
            Data::Array(items.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => {
            let mut table = Table::default();
            for property in object.properties {
                let place = lines.at(property.range.start);
                let ObjectPropName::String(key) = property.name else {
                    return Err(Diagnostic::new(&place, "", "a key without quotes", "JSON"));
                };
                let key = key.value.into_owned();
                if table.contains(&key) {
                    return Err(Diagnostic::new(&place, &key, "the key again", "each key once"));
                }
                match node(lines, property.value).map_err(|error| error.under(&key))? {
                    Some(value) => table.insert(&key, Node { origin: place, ..value }),
                    None => table.nulls.push(key),
                }
            }
            Data::Table(table)
        }
    };
    Ok(Some(Node { data, origin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines_and_null_is_not_there() {
        let node = Node::parse_json("c.json", "{\n \"a\": 1,\n \"b\": {\"c\": [1.5, true, null]},\n \"d\": null\n}").unwrap();
        assert_eq!(node.place("a").to_string(), "c.json:2");
        assert_eq!(node.find("b.c.0").unwrap().data, Data::Float(1.5));
        assert!(node.find("b.c.2").is_none() && node.find("d").is_none());
    }

    #[test]
    fn bad_documents_are_refused_with_their_line() {
        let message = |text: &str| Node::parse_json("c.json", text).unwrap_err().to_string();
        assert!(message("").contains("an empty file"));
        assert!(message("{\n\"a\": 1,\n}").starts_with("c.json:"));
        assert!(message("{\n\"a\" 1}").starts_with("c.json:2"));
        assert!(message("[1]").contains("no object"));
        assert!(message("{\"a\": 1, \"a\": 2}").contains("the key again"));
        assert!(message("{\"a\": 1e999}").contains("64 bits"));
        assert!(message(&"[".repeat(5000)).contains("too deep"));
    }
}
