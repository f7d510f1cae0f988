//! Arguments that are wrong.

use super::*;

#[test]
fn a_wrong_assignment_is_refused_with_its_key() {
    let place = Workplace::new();
    let set = |text: &str| refused(&place, &["run", "bert_base_lrt", "--set", text]);
    says(&set("model.linear.rank"), "--set: ", &["found \"model.linear.rank\", allowed: KEY=VALUE"]);
    says(&set("=3"), "--set: found key \"\", allowed: names joined by dots", &[]);
    says(&set("model..rank=3"), "--set: found key \"model..rank\", allowed: names joined by dots", &[]);
    says(&set("model.linear.rank=["), "--set: model.linear.rank: found ", &["allowed: TOML"]);
    says(&set("model.linear.rank=abc"), "--set: model.linear.rank: found \"abc\", allowed: ", &[]);
    says(&set("model.linear.rank=0"), "--set: model.linear.rank: found 0, allowed: 1 to the full rank 768", &[]);
    says(&set("model.linear.rnak=3"), "--set: model.linear.rnak: found an unknown key", &["nearest: \"rank\""]);
    says(&set("modle.linear.rank=3"), "--set: modle: found an unknown key", &["nearest: \"model\""]);
    says(&set("model=gpt-2"), "--set: model: found unknown model \"gpt-2\"", &["nearest: \"gpt2\""]);
    says(&set(&format!("{}=1", ["a"; 5000].join("."))), "--set: found key ", &["allowed: "]);
    says(&set(&format!("a={}", "[".repeat(5000))), "--set: a: found ", &["nested too deep"]);
    says(
        &refused(&place, &["inspect", "bert-base", "--set", "linear.rnak=3"]),
        "--set: linear.rnak: found an unknown key",
        &["nearest: \"rank\""],
    );
}

/// The usage that follows takes more lines than one.
#[test]
fn wrong_usage_exits_with_two_and_says_error_first() {
    let place = Workplace::new();
    for arguments in [
        &["rnu"][..],
        &["run"],
        &["run", "bert_base_lrt", "extra"],
        &["run", "bert_base_lrt", "--format", "yaml"],
        &["run", "bert_base_lrt", "--out"],
        &["run", "bert_base_lrt", "--no-such-flag"],
        &["inspect", "bert-base", "--batch", "0"],
        &["inspect", "bert-base", "--batch", "-1"],
        &["inspect", "bert-base", "--batch", "1e3"],
        &["inspect", "bert-base", "--seq-len", "0"],
        &["inspect", "bert-base", "--precision", "fp15"],
        &["profiles", "list", "cars"],
    ] {
        let output = place.run(arguments);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {talk}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(talk.starts_with("error: ") && !talk.contains("panicked"), "{arguments:?}: {talk}");
    }
}

#[test]
fn a_folder_for_the_outcome_that_is_a_file_is_refused_and_kept() {
    let place = Workplace::new();
    place.write("taken", "kept");
    for out in ["taken", "taken/below"] {
        let message = refused(&place, &["run", "bert_base_lrt", "--out", out]);
        assert!(message.contains(out), "{message}");
    }
    assert_eq!(std::fs::read_to_string(place.path("taken")).unwrap(), "kept");
}

#[test]
fn a_failed_run_does_not_make_the_folder_for_its_outcome() {
    let place = Workplace::new();
    place.write("mine.toml", "use = \"bert_base_lrt\"\n[model]\nlinear.rank = 0\n");
    refused(&place, &["run", "mine.toml", "--out", "new"]);
    assert!(!place.path("new").exists());
}

#[test]
fn a_failed_run_leaves_an_earlier_outcome_as_it_was() {
    let place = Workplace::new();
    place.printed(&["run", "bert_base_lrt", "--out", "earlier", "--set", "draws=10"]);
    let before = std::fs::read(place.path("earlier/result.json")).unwrap();
    refused(&place, &["run", "bert_base_lrt", "--out", "earlier", "--set", "model.linear.rank=0"]);
    assert_eq!(std::fs::read(place.path("earlier/result.json")).unwrap(), before);
}

#[test]
fn sizes_whose_product_would_overflow_are_refused_alone() {
    let message = refused_model("linear.rank = 1\nattention.heads = 4294967296\nattention.head_width = 4294967296\n");
    says(&message, "mine.toml:3: attention.heads: found 4294967296, allowed: 1 to 16777216", &[]);
    let image = "embedding.kind = \"patches\"\nembedding.vocabulary = 0\n\
                 embedding.patches = { image = [16777216, 16777216], size = [4096, 4096], channels = 16777216 }\n";
    says(&refused_model(image), "mine.toml:4: embedding.patches.size: found", &["1 to 16777216"]);
    let rows = "embedding.positions = { kind = \"rotary\", length = 512, reserved = 512 }\n";
    says(&refused_model(rows), "mine.toml:2: embedding.positions.reserved: found 512", &["fewer than the rows"]);
    let alone = "feed_forward.kind = \"none\"\nnorm.placement = \"parallel\"\n";
    says(&refused_model(alone), "mine.toml:3: norm.placement: found sub-layers side by side", &["pre, post or sandwich"]);
    // Heads that every group says for itself.
    let groups = "attention.heads = 0\n[[encoder.groups]]\nlayers = 12\nattention.heads = 12\n";
    says(&refused_model(groups), "mine.toml:2: attention.heads: found 0", &["1 to 16777216"]);
}

/// Learned patterns, sorting, routing and compression: what their settings cannot be, one by one.
#[test]
fn settings_of_learned_patterns_that_contradict_each_other_are_refused() {
    let cases = [
        ("synthesizer = { kind = \"random\", factors = [16, 32] }", "synthesizer.factors", "kind dense"),
        ("synthesizer = { rank = 8 }", "synthesizer.rank", "factors, or kind random"),
        ("synthesizer = { factors = [16, 16] }", "synthesizer.factors", "at least the longest sequence, 512"),
        ("synthesizer = { factors = [16, 32], shared_heads = true }", "synthesizer.shared_heads", "one of the two"),
        ("sinkhorn = { block = 0 }", "sinkhorn.block", "1 to"),
        ("sinkhorn = { block = 64, sorting = \"shuffle\" }", "sinkhorn.sorting", "permutation"),
        ("routing = { window = 64, local_heads = 12 }", "routing.local_heads", "fewer than the 12 heads"),
        ("routing = { window = 64, clusters = 0 }", "routing.clusters", "1 to"),
        ("memory_compressed = { compression = 0 }", "memory_compressed.compression", "1 to"),
        ("linformer = { projected_length = 64, values_are_keys = true }", "linformer.values_are_keys", "key_value or layerwise"),
    ];
    for (settings, key, allowed) in cases {
        let kind = settings.split_once(' ').unwrap().0;
        let message = refused_model(&format!("attention.kind = \"{kind}\"\nattention.{settings}\n"));
        says(&message, "mine.toml:3: attention.", &[key, "found ", "allowed: ", allowed]);
    }
}

/// Kernels, landmarks, hashes and latents: the same.
#[test]
fn settings_of_kernels_and_latents_that_cannot_be_are_refused() {
    let cases = [
        ("performer = { features = 0 }", "performer.features", "1 to"),
        ("performer = { kernel = \"elu\" }", "performer.kernel", "softmax, relu"),
        ("linear = { features = \"relu\" }", "linear.features", "elu, softmax"),
        ("nystrom = { landmarks = 0 }", "nystrom.landmarks", "1 to"),
        ("nystrom = { landmarks = 64, iterations = 65 }", "nystrom.iterations", "1 to 64"),
        ("nystrom = { landmarks = 64, convolution = 64 }", "nystrom.convolution", "an odd number"),
        ("yoso = { planes = 31 }", "yoso.planes", "1 to 30"),
        ("yoso = { hashes = 0 }", "yoso.hashes", "1 to"),
        ("luna = { packed_length = 0 }", "luna.packed_length", "1 to"),
        ("induced_set = { points = 0 }", "induced_set.points", "1 to"),
    ];
    for (settings, key, allowed) in cases {
        let kind = settings.split_once(' ').unwrap().0;
        let message = refused_model(&format!("attention.kind = \"{kind}\"\nattention.{settings}\n"));
        says(&message, "mine.toml:3: attention.", &[key, "found ", "allowed: ", allowed]);
    }
    let message = refused_model("attention.kind = \"performer\"\nembedding.positions = { kind = \"relative_bias\", buckets = 32 }\n");
    says(&message, "mine.toml:2: attention.kind", &["performer", "positions"]);
    let message = refused_model("attention.kind = \"linear\"\nattention.implementation = \"fused\"\n");
    says(&message, "mine.toml:3: attention.implementation", &["eager"]);
}

#[test]
fn a_sequence_beyond_a_learned_pattern_is_refused() {
    let place = Workplace::new();
    for (kind, settings) in [("synthesizer", "length = 256"), ("sinkhorn", "block = 64, blocks = 4")] {
        place.write("mine.toml", format!("use = \"bert-base\"\nattention.kind = \"{kind}\"\nattention.{kind} = {{ {settings} }}\n"));
        let message = refused(&place, &["inspect", "mine.toml", "--seq-len", "512"]);
        says(&message, "mine.toml:3: attention.", &[kind, "a sequence of 512", "at most 256"]);
    }
}
