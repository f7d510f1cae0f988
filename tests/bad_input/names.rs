//! Names that nobody knows.

use super::*;

#[test]
fn an_unknown_model_is_refused_with_the_nearest_name() {
    let rest = ["found unknown model \"bert-bas\", allowed: ", "bert-large", "nearest: \"bert-base\""];
    says(&refused_scenario("model = \"bert-bas\"\n"), "mine.toml:2: model: ", &rest);
    says(&refused_scenario("[model]\nuse = \"bert-bas\"\n"), "mine.toml:3: model: ", &rest);
    says(&refused(&Workplace::new(), &["inspect", "bert-bas"]), "command line: ", &rest);
}

#[test]
fn an_unknown_gpu_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[hardware]\naccelerator = \"H10\"\n");
    says(&message, "mine.toml:3: hardware.accelerator: found unknown accelerator \"H10\", allowed: ", &["A100", "nearest: \"h100\""]);
}

#[test]
fn an_unknown_node_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[hardware]\nnode = \"dgx-a10\"\n");
    says(&message, "mine.toml:3: hardware.node: found unknown node \"dgx-a10\", allowed: ", &["dgx-h100", "nearest: \"dgx-a100\""]);
}

#[test]
fn an_unknown_grid_is_refused_with_the_nearest_name() {
    let message = refused_own_scenario("[site]\ngrid = \"Polland\"\n");
    says(&message, "mine.toml:17: site.grid: found unknown grid \"Polland\", allowed: ", &["nearest: \"Poland\""]);
}

#[test]
fn an_unknown_grid_is_refused_though_the_intensity_is_stated_beside_it() {
    let message = refused_scenario("[site]\ngrid = \"Polland\"\n");
    says(&message, "mine.toml:3: site.grid: found unknown grid \"Polland\", allowed: ", &["nearest: \"Poland\""]);
}

#[test]
fn an_unknown_year_of_a_grid_is_refused_with_the_known_years() {
    let message = refused_own_scenario("[site]\ngrid = \"Poland\"\nyear = 1950\n");
    says(&message, "mine.toml:18: site.year: found no figure for Poland in 1950, allowed: ", &["2024"]);
}

#[test]
fn an_unknown_cloud_region_is_refused_with_the_nearest_name() {
    let message = refused_scenario("[site]\ncloud_region = \"gcp/europ-west1\"\n");
    says(
        &message,
        "mine.toml:3: site.cloud_region: found unknown cloud region \"gcp/europ-west1\", allowed: ",
        &["nearest: \"gcp/europe-west1\""],
    );
}

#[test]
fn an_unknown_word_is_refused_with_the_nearest_one() {
    says(
        &refused_scenario("[training]\nprecision = \"fp15\"\n"),
        "mine.toml:3: training.precision: found \"fp15\", allowed: fp32, ",
        &["nearest: \"fp16\""],
    );
    says(
        &refused_model("attention.kind = \"linfromer\"\n"),
        "mine.toml:2: attention.kind: found \"linfromer\", allowed: softmax, ",
        &["nearest: \"linformer\""],
    );
}

#[test]
fn an_unknown_source_is_refused_with_the_known_ones() {
    says(
        &refused_scenario("[anchor]\nsource = \"strubel-2019\"\n"),
        "mine.toml:3: anchor.source: found \"strubel-2019\", allowed: ",
        &["strubell-2019"],
    );
}

#[test]
fn an_unknown_scenario_and_profile_are_refused() {
    let place = Workplace::new();
    says(
        &refused(&place, &["run", "bert_base_lr"]),
        "command line: found unknown scenario \"bert_base_lr\", allowed: ",
        &["nearest: \"bert_base_lrt\""],
    );
    says(
        &refused(&place, &["profiles", "show", "h101"]),
        "command line: found unknown profile \"h101\", allowed: ",
        &["nearest: \"h100\""],
    );
}
