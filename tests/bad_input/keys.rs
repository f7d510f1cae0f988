//! Keys that nobody knows, or that are said twice.

use super::*;

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    says(&refused_scenario("titel = \"x\"\n"), "mine.toml:2: titel: found an unknown key, allowed: ", &["title", "nearest: \"title\""]);
    says(
        &refused_scenario("[training]\nmicro_bach = 3\n"),
        "mine.toml:3: training.micro_bach: found an unknown key, allowed: ",
        &["steps", "nearest: \"micro_batch\""],
    );
    says(
        &refused_scenario("[hardware]\nacelerators = 3\n"),
        "mine.toml:3: hardware.acelerators: found an unknown key",
        &["nearest: \"accelerators\""],
    );
    says(&refused_scenario("[model]\nlinear.rnak = 3\n"), "mine.toml:3: model.linear.rnak: found an unknown key", &["nearest: \"rank\""]);
    says(&refused_model("widht = 3\n"), "mine.toml:2: widht: found an unknown key, allowed: ", &["encoder", "nearest: \"width\""]);
}

#[test]
fn an_unknown_key_in_a_variant_is_refused_at_its_line() {
    says(
        &refused_scenario("[[variant]]\nname = \"x\"\nmodle.linear.rank = 3\n"),
        "mine.toml:4: variant.0.modle: found an unknown key",
        &["nearest: \"model\""],
    );
    says(
        &refused_scenario("[[variant]]\nname = \"x\"\nmodel.liner.rank = 3\n"),
        "mine.toml:4: model.liner: found an unknown key",
        &["nearest: \"linear\""],
    );
    says(&refused_scenario("[[variant]]\nmodel.linear.rank = 3\n"), "mine.toml:2: variant.0.name: found nothing, allowed: ", &[]);
}

#[test]
fn a_key_with_windows_line_ends_keeps_its_line() {
    says(&refused_model("dropout = 0.1\r\nwidht = 3\r\n"), "mine.toml:3: widht: ", &["nearest: \"width\""]);
}

#[test]
fn a_key_said_twice_is_refused_at_its_second_line() {
    says(&refused_scenario("draws = 1\ndraws = 2\n"), "mine.toml:3: ", &["found duplicate key, allowed: "]);
}
