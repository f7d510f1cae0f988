//! Files that cannot be read.

use super::*;

#[test]
fn bases_that_use_each_other_are_refused() {
    let place = Workplace::new();
    place.write("models/one.toml", "use = \"two\"\n").write("models/two.toml", "# circular\nuse = \"one\"\n");
    says(
        &refused(&place, &["inspect", "one"]),
        "./models/two.toml:2: use: found a circle: ",
        &["one.toml", "two.toml", "one.toml", "allowed: "],
    );
    place.write("a.toml", "use = \"b.toml\"\n").write("b.toml", "use = \"a.toml\"\n");
    says(&refused(&place, &["run", "a.toml"]), "b.toml:1: use: found a circle: ", &["a.toml uses b.toml uses a.toml", "allowed: "]);
    place.write("self.toml", "use = \"self.toml\"\n");
    says(&refused(&place, &["run", "self.toml"]), "self.toml:1: use: found a circle: ", &["allowed: "]);
}

/// Every way to name a file, as a scenario and as a model.
fn refused_file(content: &[u8], start: &str, rest: &[&str]) {
    let place = Workplace::new();
    place.write("mine.toml", content);
    says(&refused(&place, &["run", "mine.toml"]), start, rest);
    says(&refused(&place, &["inspect", "mine.toml"]), start, rest);
}

#[test]
fn an_empty_file_is_refused() {
    refused_file(b"", "mine.toml: found an empty file, allowed: a TOML document", &[]);
    refused_file(b" \n\t\n", "mine.toml: found an empty file, allowed: a TOML document", &[]);
}

#[test]
fn a_binary_file_is_refused() {
    // Not UTF-8 from the first byte on: the signature of a PNG, then every byte value.
    let bytes: Vec<u8> = b"\x89PNG\r\n\x1a\n".iter().copied().chain(0..=255).collect();
    refused_file(&bytes, "mine.toml: found binary data, allowed: a text file in UTF-8", &[]);
    refused_file(b"use = \"bert-base\"\n# \0\n", "mine.toml: found binary data, allowed: a text file in UTF-8", &[]);
    refused_file(
        &"use = \"bert-base\"\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        "mine.toml: found binary data",
        &[],
    );
}

#[test]
fn a_file_of_fifty_megabytes_is_refused() {
    refused_file(&vec![b'#'; 50_000_000], "mine.toml: found more than 1 MB, allowed: at most 1 MB", &[]);
}

#[test]
fn a_folder_and_a_missing_file_are_refused() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("mine.toml")).unwrap();
    for command in ["run", "inspect"] {
        says(&refused(&place, &[command, "mine.toml"]), "mine.toml: found a folder, allowed: a text file", &[]);
        says(&refused(&place, &[command, "none.toml"]), "command line: found no file \"none.toml\", allowed: ", &["that exists"]);
        says(&refused(&place, &[command, "no/such"]), "command line: found no file \"no/such\", allowed: ", &["that exists"]);
    }
}

#[test]
fn text_that_is_not_toml_is_refused_at_its_line() {
    refused_file(b"schema = 1\ntitle = = 2\n", "mine.toml:2: found ", &["allowed: TOML"]);
    refused_file(b"schema = 1\n\n\xef\xbb\xbfdraws = 2\n", "mine.toml:3: found ", &["allowed: TOML"]);
    refused_file(b"<html></html>\n", "mine.toml:1: found ", &["allowed: TOML"]);
}

#[test]
fn nesting_beyond_any_need_is_refused() {
    let brackets = format!("x = {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let over_lines = format!("x = {}1{}\n", "[\n".repeat(5000), "]\n".repeat(5000));
    let tables = format!("x = {}1{}\n", "{ a = ".repeat(5000), " }".repeat(5000));
    let dots = format!("{} = 1\n", ["a"; 5000].join("."));
    let header = format!("[{}]\nx = 1\n", ["a"; 5000].join("."));
    for text in [brackets, tables, dots, header] {
        says(&refused_scenario(&text), "mine.toml:2: found ", &["nested too deep, allowed: at most 32 levels"]);
    }
    says(&refused_scenario(&over_lines), "mine.toml:", &["nested too deep, allowed: at most 32 levels"]);
}

#[test]
fn a_table_where_a_value_belongs_and_a_value_where_a_table_belongs_are_refused() {
    says(&refused_scenario("model = 3\n"), "mine.toml:2: model: found ", &["allowed: "]);
    says(&refused_scenario("[model]\nuse = 3\n"), "mine.toml:3: model: found 3, allowed: the name of a model", &[]);
    says(&refused_scenario("training = 3\n"), "mine.toml:2: training: found 3, allowed: ", &[]);
    says(&refused_scenario("[title]\nx = 1\n"), "mine.toml:2: title: found a table, allowed: ", &[]);
    says(&refused_scenario("[variant]\nname = \"x\"\n"), "mine.toml:2: variant: found ", &["allowed: [[variant]]"]);
}

#[test]
fn control_characters_of_a_file_reach_no_terminal() {
    // `refused` looks for them: a line break would make two lines, an escape could repaint the screen.
    says(&refused_scenario("\"ti\\ntle\" = 3\n"), "mine.toml:2: ", &["found an unknown key"]);
    says(&refused_scenario("model = \"a\\nb\"\n"), "mine.toml:2: model: ", &["found unknown model"]);
    says(&refused_scenario("[training]\nprecision = \"\\u001b[31mred\"\n"), "mine.toml:3: training.precision: ", &["found "]);
    let place = Workplace::new();
    place.write("mine.toml", "use = \"bert_base_lrt\"\ntitle = \"\\u001b[31mred\"\n");
    assert!(!place.printed(&["run", "mine.toml"]).contains('\u{1b}'));
}
