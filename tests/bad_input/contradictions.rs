//! Values that contradict each other.

use super::*;

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    says(
        &refused_scenario("[model]\nattention.heads = 7\n"),
        "mine.toml:3: model.attention.heads: found 7, allowed: a divisor of the width 768",
        &[],
    );
}

#[test]
fn a_sequence_beyond_the_learned_positions_is_refused_where_it_is_said() {
    let message = refused_scenario("[training]\nphases = [{ sequence_length = 1024, share = 1.0, micro_batch = 1 }]\n");
    says(&message, "mine.toml:3: ", &["sequence_length", "found ", "1024", "allowed: ", "at most 512"]);
    let message = refused(&Workplace::new(), &["inspect", "bert-base", "--seq-len", "513"]);
    says(&message, "", &["found ", "513", "allowed: ", "at most 512"]);
}

#[test]
fn a_precision_that_the_gpu_lacks_is_refused_with_those_it_has() {
    says(
        &refused_scenario("[training]\nprecision = \"bf16\"\n"),
        "mine.toml:3: training.precision: found bf16",
        &["V100-SXM2-32GB", "allowed: fp32, fp16"],
    );
}

#[test]
fn shares_of_phases_that_do_not_sum_to_one_are_refused() {
    says(
        &refused_scenario(
            "[training]\nphases = [{ sequence_length = 128, share = 0.9, micro_batch = 64 }, { sequence_length = 512, share = 0.2, micro_batch = 8 }]\n",
        ),
        "mine.toml:3: training.phases: found shares that sum to 1.1, allowed: shares that sum to 1",
        &[],
    );
}

#[test]
fn a_batch_that_the_accelerators_cannot_share_is_refused() {
    says(
        &refused_scenario("[training]\nphases = []\nsequence_length = 128\nglobal_batch = 100\n"),
        "mine.toml:5: training.global_batch: found 100, allowed: a multiple of the 64 accelerators",
        &[],
    );
}

#[test]
fn two_cases_of_one_name_are_refused_at_the_second_name() {
    says(
        &refused_scenario("[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"\n"),
        "mine.toml:5: variant.1.name: found \"a\" again, allowed: a name of its own",
        &[],
    );
    says(&refused_scenario("[[variant]]\nname = \"BERT-base\"\n"), "mine.toml:3: variant.0.name: found \"BERT-base\"", &["allowed: "]);
}

#[test]
fn another_version_of_the_format_is_refused() {
    says(&refused_scenario("schema = 2\n"), "mine.toml:2: schema: found 2, allowed: 1", &[]);
    says(&refused_model("schema = 2\n"), "mine.toml:2: schema: found 2, allowed: 1", &[]);
}

#[test]
fn a_key_that_a_sweep_or_a_threshold_cannot_set_is_refused_at_its_line() {
    says(&refused_scenario("[sweep]\nkey = \"model.linear.rnak\"\nvalues = [1, 2]\n"), "mine.toml:3: ", &["rnak", "nearest: \"rank\""]);
    says(
        &refused_scenario("[threshold]\nkey = \"model.linear.rnak\"\nsaving_percent = 30\nlow = 1\nhigh = 768\n"),
        "mine.toml:3: ",
        &["rnak", "nearest: \"rank\""],
    );
}
