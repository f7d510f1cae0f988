//! The look of tables.

use tabled::settings::formatting::AlignmentStrategy;
use tabled::settings::{Alignment, Style, object::Columns};
use tabled::{Table, builder::Builder};

/// A table with a line under its head, numbers to the right.
#[must_use]
pub fn table(head: Vec<String>, rows: Vec<Vec<String>>, text_columns: usize) -> String {
    let mut builder = Builder::default();
    builder.push_record(head);
    rows.into_iter().for_each(|row| builder.push_record(row));
    let mut table: Table = builder.build();
    table.with(Style::psql()).with(AlignmentStrategy::PerLine).modify(Columns::new(text_columns..), Alignment::right());
    let text = table.to_string();
    // Trailing blanks only make diffs.
    text.lines().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n") + "\n"
}

/// Text wrapped at `width` columns.
#[must_use]
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() + 1 > width - indent.len() {
            out += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if !line.is_empty() {
        out += &format!("{indent}{line}\n");
    }
    out
}
