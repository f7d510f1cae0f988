//! Bad input: one message that names file, line, key, what was found, what is allowed and the nearest known name; exit
//! code 2, nothing on stdout, nothing left behind, never a panic.

#[path = "../common/mod.rs"]
mod common;

mod command_line;
mod contradictions;
mod files;
mod keys;
mod names;
mod numbers;

use common::Workplace;

/// Runs the program on input that it must refuse, with `--out outcome` for a scenario, and returns the message.
fn refused(place: &Workplace, arguments: &[&str]) -> String {
    let mut arguments = arguments.to_vec();
    if arguments[0] == "run" && !arguments.contains(&"--out") {
        arguments.extend(["--out", "outcome"]);
    }
    let output = place.run(&arguments);
    let (data, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(!talk.contains("panicked"), "{arguments:?}: {talk}");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
    assert_eq!(data, "", "{arguments:?}");
    assert!(talk.starts_with("error: ") && talk.ends_with('\n'), "{arguments:?}: {talk}");
    assert_eq!(talk.lines().count(), 1, "{arguments:?}: {talk}");
    let unprintable = talk.trim_end().chars().find(|character| character.is_control());
    assert_eq!(unprintable, None, "{arguments:?}: {talk:?}");
    if let Ok(left) = std::fs::read_dir(place.path("outcome")) {
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{arguments:?} left {left:?}");
    }
    talk
}

/// The message for a scenario that starts from bert_base_lrt: line 1 of mine.toml is `use`, `text` follows.
fn refused_scenario(text: &str) -> String {
    let place = Workplace::new();
    place.write("mine.toml", format!("use = \"bert_base_lrt\"\n{text}"));
    refused(&place, &["run", "mine.toml"])
}

/// The message for a scenario with no base of its own, so that every value is the modelled kind; `text` follows line 15.
fn refused_own_scenario(text: &str) -> String {
    const OWN: &str = "schema = 1\ntitle = \"own\"\nbaseline = \"dense\"\ndraws = 10\n[model]\nuse = \"bert-base\"\n[hardware]\n\
                       accelerator = \"h100\"\naccelerators = 8\n[training]\nprecision = \"bf16\"\noptimizer = \"adam\"\nsteps = 10\n\
                       sequence_length = 128\nglobal_batch = 8\n";
    let place = Workplace::new();
    place.write("mine.toml", OWN);
    assert_eq!(place.run(&["run", "mine.toml"]).status.code(), Some(0), "without the fault the scenario is right");
    place.write("mine.toml", format!("{OWN}{text}"));
    refused(&place, &["run", "mine.toml"])
}

/// The message for a model that starts from bert-base: line 1 of mine.toml is `use`, `text` follows.
fn refused_model(text: &str) -> String {
    let place = Workplace::new();
    place.write("mine.toml", format!("use = \"bert-base\"\n{text}"));
    refused(&place, &["inspect", "mine.toml"])
}

/// The message starts with `error: place: ` and says the rest in this order.
#[track_caller]
fn says(message: &str, start: &str, rest: &[&str]) {
    assert!(message.starts_with(&format!("error: {start}")), "{message}should start with: error: {start}");
    let mut unread = message;
    for part in rest {
        let Some((_, after)) = unread.split_once(part) else { panic!("{message}should say, in this place: {part}") };
        unread = after;
    }
}
