//! The levels of the modules, as DESIGN.md draws them: an arrow never points up, the lower levels touch nothing
//! outside the program, and nothing is unsafe but where a library in C is called.

use std::fs;
use std::path::{Path, PathBuf};

/// Level of every module of src/, as in the table of DESIGN.md, drawn finer where one module of a row uses another of
/// the same row: perf stands below training, which writes the work of a step in perf's terms; calibrate below
/// scenario below estimate. The three of level 2 use nothing of each other. A module uses itself and lower levels only.
const LEVELS: &[(&str, u32)] = &[
    ("units", 0),
    ("source", 0),
    // May use units; in fact uses nothing.
    ("document", 1),
    ("ledger", 2),
    ("numeric", 2),
    ("arch", 3),
    ("hardware", 3),
    ("site", 3),
    ("quality", 3),
    ("perf", 4),
    ("session", 4),
    ("impact", 4),
    ("training", 5),
    ("inference", 6),
    ("calibrate", 6),
    ("scenario", 7),
    ("estimate", 8),
    ("validate", 9),
    ("workload", 9),
    ("store", 9),
    ("measure", 10),
    ("report", 10),
    ("cli", 11),
    // The program itself: it calls cli.
    ("main", 12),
];

/// The modules that may read files, the environment and the clock, and print. Every other one may not, whatever its level.
const WITH_INPUT_AND_OUTPUT: &[&str] = &["store", "measure", "workload", "report", "cli", "main"];

/// Where Rust meets a library in C: the only files that may be unsafe.
const EDGES: &[&str] = &["workload/cuda/edge.rs"];

/// Parts of the standard library that reach outside the program.
const OUTSIDE: &[&str] = &["fs", "env", "time", "net", "io", "process"];
/// Macros that print.
const PRINTING: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!"];

struct SourceFile {
    path: PathBuf,
    /// The part of src/ that it belongs to: `arch` for src/arch/config.rs.
    module: String,
    /// How many modules lie between it and the crate's root.
    depth: usize,
    /// Its text without comments and without what only tests compile.
    code: String,
}

fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inner = path.strip_prefix(&root).unwrap().with_extension("");
                let mut names: Vec<String> = inner.iter().map(|name| name.to_string_lossy().into_owned()).collect();
                names.pop_if(|name| name == "mod");
                let code = without_tests(&without_comments(&fs::read_to_string(&path).unwrap()));
                files.push(SourceFile { path, module: names[0].clone(), depth: names.len(), code });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Every line up to its `//`; a `//` inside a string would cost only the rest of that line.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default().to_string() + "\n").collect()
}

/// Leaves out the item after each `#[cfg(test)]`: to its closing brace, or to its semicolon if that comes first.
fn without_tests(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        out += before;
        let mut open = 0_i32;
        let end = after.char_indices().find_map(|(index, character)| {
            open += i32::from(character == '{') - i32::from(character == '}');
            let ends = open == 0 && (character == '}' || character == ';');
            ends.then_some(index + 1)
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    out + rest
}

/// The names that stand after `prefix`, such as `arch` for `crate::arch::Model` and each name of `crate::{a, b::c}`.
fn names_after(code: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let starts = code.match_indices(prefix).filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let mut names = Vec::new();
    for (at, _) in starts {
        let rest = code[at + prefix.len()..].trim_start();
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(list) => {
                let mut open = 1;
                let mut item = String::new();
                for character in list.chars() {
                    open += i32::from(character == '{') - i32::from(character == '}');
                    if open == 0 || (open == 1 && character == ',') {
                        names.push(word(&item));
                        item.clear();
                    } else {
                        item.push(character);
                    }
                    if open == 0 {
                        break;
                    }
                }
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn level(module: &str) -> Option<u32> {
    LEVELS.iter().find(|(name, _)| *name == module).map(|(_, level)| *level)
}

/// Modules that `code`, a part of `module`, uses though they are not below it.
fn upward(module: &str, code: &str) -> Vec<String> {
    let own = level(module).unwrap_or_else(|| panic!("src/{module} is in no level: add it to DESIGN.md and to LEVELS in tests/levels.rs"));
    let used = names_after(code, "crate::").into_iter().filter(|name| name != module);
    used.filter(|name| level(name).is_none_or(|level| level >= own)).collect()
}

#[test]
fn no_module_uses_one_of_its_own_level_or_above() {
    let mut failures = Vec::new();
    for file in source_files().iter().filter(|file| file.module != "lib") {
        for name in upward(&file.module, &file.code) {
            failures.push(match (level(&file.module), level(&name)) {
                (Some(own), Some(other)) => format!(
                    "{}: {} (level {own}) uses crate::{name} (level {other}); a module may use only lower levels",
                    file.path.display(),
                    file.module
                ),
                _ => format!("{}: crate::{name} is in no level", file.path.display()),
            });
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn no_module_reaches_another_through_super_where_this_test_would_not_see_it() {
    for file in source_files() {
        let beyond = "super::".repeat(file.depth);
        assert!(!file.code.contains(&beyond), "{}: {beyond} reaches the crate's root; write crate:: instead", file.path.display());
    }
}

#[test]
fn every_level_is_of_a_module_that_exists() {
    let modules: Vec<String> = source_files().into_iter().map(|file| file.module).collect();
    for name in LEVELS.iter().map(|(name, _)| name).chain(WITH_INPUT_AND_OUTPUT) {
        assert!(modules.iter().any(|module| module == name), "tests/levels.rs names {name}, which is not in src/");
    }
}

#[test]
fn only_the_modules_that_may_touch_files_clock_environment_or_terminal() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for file in source_files() {
        if WITH_INPUT_AND_OUTPUT.contains(&file.module.as_str()) {
            continue;
        }
        seen += 1;
        failures.extend(reaches_outside(&file.code).into_iter().map(|what| format!("{}: {what}", file.path.display())));
    }
    assert!(seen > 20, "only {seen} files of the pure modules were found");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn reaches_outside(code: &str) -> Vec<String> {
    let modules = names_after(code, "std::").into_iter().filter(|name| OUTSIDE.contains(&name.as_str())).map(|name| format!("std::{name}"));
    modules.chain(PRINTING.iter().filter(|name| code.contains(**name)).map(|name| (*name).to_string())).collect()
}

#[test]
fn main_is_under_sixty_lines() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(text.lines().count() < 60, "src/main.rs has {} lines", text.lines().count());
}

#[test]
fn nothing_is_unsafe_but_the_edges_to_libraries_in_c() {
    let is_unsafe = |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    assert!(is_unsafe("unsafe { }") && !is_unsafe("#![deny(unsafe_code)]"));
    let mut edges = Vec::new();
    for file in source_files() {
        let text = fs::read_to_string(&file.path).unwrap();
        if !is_unsafe(&without_comments(&text)) {
            continue;
        }
        let edge = EDGES.iter().find(|edge| file.path.ends_with(edge));
        let edge = edge.unwrap_or_else(|| panic!("{}: unsafe, and no edge to a library in C (EDGES)", file.path.display()));
        assert!(text.contains("#![expect(unsafe_code, reason ="), "{edge} does not say why it is unsafe");
        edges.push(*edge);
    }
    assert_eq!(edges, EDGES, "every edge is unsafe");
}

#[test]
fn an_upward_arrow_would_be_seen() {
    assert_eq!(upward("ledger", "use crate::arch::Model;"), ["arch"]);
    assert_eq!(upward("arch", "fn f() { crate::site::g() }"), ["site"]);
    assert_eq!(upward("arch", "use crate::{\n    ledger::{Tape, Op},\n    report,\n};"), ["report"]);
    assert_eq!(upward("perf", "use crate::training::Training;"), ["training"]);
    assert_eq!(upward("training", "use crate::perf::StepWork; use crate::training::Memory; use crate::units::Bytes;"), [""; 0]);
    assert_eq!(upward("arch", "use crate::nowhere::X;"), ["nowhere"]);
    assert_eq!(reaches_outside("use std::{fmt, fs};\nfn f() { eprintln!(); }"), ["std::fs", "println!", "eprintln!"]);
    assert_eq!(reaches_outside("use std::fmt;"), [""; 0]);
}

#[test]
fn what_only_tests_compile_is_left_out() {
    let text = "use crate::a; // crate::b\n#[cfg(test)]\nmod tests { use crate::c; fn f() { {} } }\nuse crate::d;\n#[cfg(test)]\nuse crate::e;\nuse crate::f;";
    let code = without_tests(&without_comments(text));
    assert_eq!(names_after(&code, "crate::"), ["a", "d", "f"]);
}
