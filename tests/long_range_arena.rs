//! The products of Long Range Arena's released code (Tay et al. 2021, arXiv 2011.04006), by mechanism: what a layer
//! multiplies besides its projections and its position-wise network, per sequence.

mod common;

use common::{ledger, model};
use lowcarb::arch::Model;
use lowcarb::ledger::Component;

/// Width, inner width of the attention, heads, layers and longest sequence with its class token.
const WIDTH: f64 = 256.0;
const HEADS: f64 = 4.0;
const LAYERS: f64 = 4.0;
const LONGEST: f64 = 4001.0;

fn arena(settings: &str) -> Model {
    model(&format!("use = \"lra-text-transformer\"\n{settings}")).unwrap()
}

/// Products of the attention of one layer, forward, in a sequence of `length` positions with its class token.
fn products(model: &Model, sequences: u64, length: u64) -> f64 {
    let ledger = ledger(model, sequences, length - 1);
    let attention = ledger.ops().iter().filter(|op| op.component == Component::Attention);
    attention.map(|op| op.forward.matmul_flops * op.times).sum::<f64>() / LAYERS
}

/// Parameters of one layer more than those of softmax attention.
fn more_parameters(model: &Model) -> f64 {
    (ledger(model, 1, 1000).parameters() - ledger(&arena("name = \"softmax\""), 1, 1000).parameters()) / LAYERS
}

#[test]
fn synthesizer_as_it_runs_adds_a_random_pattern_to_dot_products() {
    let model = arena("attention.kind = \"synthesizer\"\nattention.synthesizer = { kind = \"random\", dot_product = true }");
    for length in [1000, 4000] {
        let n = length as f64;
        assert_eq!(products(&model, 1, length), 8.0 * n * WIDTH * WIDTH + 4.0 * n * n * WIDTH);
    }
    assert_eq!(more_parameters(&model), HEADS * LONGEST * LONGEST);
}

#[test]
fn synthesizer_as_declared_makes_a_factorised_pattern_once_a_step() {
    let model = arena("attention.kind = \"synthesizer\"\nattention.synthesizer = { kind = \"random\", rank = 32 }");
    for (sequences, length) in [(1, 1000), (2, 4000)] {
        let (b, n) = (sequences as f64, length as f64);
        let once = 2.0 * HEADS * n * n * 32.0;
        assert_eq!(products(&model, sequences, length), b * (4.0 * n * WIDTH * WIDTH + 2.0 * n * n * WIDTH) + once);
    }
    assert_eq!(more_parameters(&model), 2.0 * HEADS * LONGEST * 32.0 - 2.0 * WIDTH * WIDTH);
}

#[test]
fn a_dense_synthesizer_has_one_second_layer_for_all_heads() {
    let model = arena("attention.kind = \"synthesizer\"\nattention.synthesizer = { shared_heads = true }");
    for length in [1000, 4001] {
        let n = length as f64;
        let pattern = 2.0 * n * WIDTH * WIDTH + 2.0 * n * WIDTH * LONGEST;
        assert_eq!(products(&model, 1, length), 4.0 * n * WIDTH * WIDTH + pattern + 2.0 * n * n * WIDTH);
    }
    assert_eq!(more_parameters(&model), WIDTH / HEADS * LONGEST - WIDTH * WIDTH);
}

#[test]
fn sinkhorn_sums_blocks_and_has_two_softmaxes() {
    let model = arena(
        "embedding.class_token = false\nattention.kind = \"sinkhorn\"\n\
         attention.sinkhorn = { block = 50, iterations = 0, sort_net = \"keys\", sorting = \"row_sums\", separate = true, blocks = 25 }",
    );
    for length in [1000, 4000] {
        let n = length as f64;
        let sort_net = 2.0 * (n / 50.0) * 25.0 * WIDTH;
        assert_eq!(products(&model, 1, length + 1), 8.0 * n * WIDTH * WIDTH + 8.0 * n * 50.0 * WIDTH + sort_net);
    }
    assert_eq!(more_parameters(&model), 25.0 * WIDTH / HEADS - WIDTH / LAYERS);
}

#[test]
fn linformer_has_one_projection_of_keys_and_values_a_layer() {
    let model = arena("attention.kind = \"linformer\"\nattention.linformer = { projected_length = 16, sharing = \"key_value\" }");
    for length in [1000, 4000] {
        let n = length as f64;
        assert_eq!(products(&model, 1, length), 8.0 * n * WIDTH * WIDTH + 8.0 * n * 16.0 * WIDTH);
    }
    assert_eq!(more_parameters(&model), LONGEST * 16.0);
}

/// Ten chunks whatever the length; queries are keys, no output projection; two buckets' rotations a hash and position.
#[test]
fn reformer_has_ten_chunks_and_stays_quadratic() {
    let model = arena("attention.kind = \"reformer\"\nattention.reformer = { chunks = 10, buckets = [10], output_projection = false }");
    for length in [1000, 4000] {
        let n = length as f64;
        let hash = 2.0 * n * WIDTH * 5.0;
        assert_eq!(products(&model, 1, length), 4.0 * n * WIDTH * WIDTH + 8.0 * n * n * WIDTH / 10.0 + hash);
    }
    assert_eq!(more_parameters(&model), -2.0 * WIDTH * WIDTH);
}

#[test]
fn linear_transformer_multiplies_keys_by_values_first() {
    let model = arena("attention.kind = \"linear\"");
    for length in [1000, 4000] {
        let n = length as f64;
        let head_width = WIDTH / HEADS;
        let normaliser = 2.0 * n * WIDTH;
        assert_eq!(products(&model, 1, length), 8.0 * n * WIDTH * WIDTH + 4.0 * n * WIDTH * head_width + normaliser);
    }
    assert_eq!(more_parameters(&model), 0.0);
}

#[test]
fn performer_as_it_runs_needs_no_random_features() {
    let model = arena("attention.kind = \"performer\"\nattention.performer = { kernel = \"relu\" }");
    let linear = arena("attention.kind = \"linear\"");
    for length in [1000, 4000] {
        assert_eq!(products(&model, 1, length), products(&linear, 1, length));
    }
    assert_eq!(more_parameters(&model), 0.0);
}

#[test]
fn performer_with_random_features_maps_queries_and_keys() {
    for features in [2.0, 256.0] {
        let model = arena(&format!("attention.kind = \"performer\"\nattention.performer = {{ features = {features} }}"));
        for length in [1000, 4000] {
            let n = length as f64;
            let normaliser = 2.0 * n * features * HEADS;
            assert_eq!(products(&model, 1, length), 8.0 * n * WIDTH * WIDTH + 8.0 * n * features * WIDTH + normaliser);
        }
        assert_eq!(more_parameters(&model), 0.0);
    }
}

/// Blocks of 50 without neighbours; a multiple gets a block more, which all projections run on.
#[test]
fn local_attention_pads_a_multiple_by_a_whole_block() {
    let local = model("use = \"lra-text-local\"").unwrap();
    for (length, padded) in [(1000, 1050), (1001, 1050), (4000, 4050)] {
        let n = padded as f64;
        assert_eq!(products(&local, 1, length), 8.0 * n * WIDTH * WIDTH + 4.0 * n * 50.0 * WIDTH);
    }
    assert_eq!(more_parameters(&local), 0.0);
}

/// The square and its mask; a kernel would compute about n ((b + 1) / 2 + (c + 1) n / (2 b)) pairs of it, a little less
/// because only earlier blocks have summaries.
#[test]
fn sparse_transformer_computes_a_square_that_a_kernel_would_not() {
    let masked = model("use = \"lra-text-sparse\"").unwrap();
    let kernel = model("use = \"lra-text-sparse\"\nattention.sparse.computes = \"pattern\"").unwrap();
    for length in [1000, 4000] {
        let n = length as f64;
        assert_eq!(products(&masked, 1, length), 8.0 * n * WIDTH * WIDTH + 4.0 * n * n * WIDTH);
        let pairs = n * (51.0 / 2.0 + 11.0 * (n - 50.0) / 100.0);
        let found = products(&kernel, 1, length) - 8.0 * n * WIDTH * WIDTH;
        assert!((found / (4.0 * pairs * WIDTH) - 1.0).abs() < 1e-12, "{found}");
    }
    assert_eq!(more_parameters(&masked), 0.0);
}

#[test]
fn longformer_computes_two_squares_and_six_projections() {
    let longformer = model("use = \"lra-text-longformer\"").unwrap();
    for length in [1000, 4000] {
        let n = length as f64;
        assert_eq!(products(&longformer, 1, length), 14.0 * n * WIDTH * WIDTH + 8.0 * n * n * WIDTH);
    }
    assert_eq!(more_parameters(&longformer), 3.0 * WIDTH * WIDTH);
}

/// Five parts: 4 D b (10 n - 18 b), with the gathered and the banded copies of keys and values in the ledger.
#[test]
fn bigbird_copies_random_and_neighbouring_blocks() {
    let bigbird = model("use = \"lra-text-bigbird\"").unwrap();
    for (length, padded) in [(1000, 1024), (1024, 1088), (4000, 4032)] {
        let (n, b, r) = (padded as f64, 64.0, 3.0);
        assert_eq!(products(&bigbird, 1, length), 8.0 * n * WIDTH * WIDTH + 4.0 * WIDTH * b * (10.0 * n - 18.0 * b));
        let ledger = ledger(&bigbird, 1, length - 1);
        let written = |name: &str| ledger.ops().iter().filter(|op| op.name == name).map(|op| op.forward.bytes_written).sum::<f64>();
        let blocks = n / b;
        // Half precision.
        assert_eq!(written("gather random blocks"), 2.0 * 2.0 * (blocks - 2.0) * r * b * WIDTH);
        assert_eq!(written("blocks of the band"), 2.0 * 2.0 * (blocks - 4.0) * 3.0 * b * WIDTH);
        let weights: f64 = ledger.ops().iter().filter(|op| op.name == "softmax: quotient").map(|op| op.forward.bytes_written).sum();
        assert_eq!(weights, 2.0 * HEADS * b * (10.0 * n - 18.0 * b));
    }
    assert_eq!(more_parameters(&bigbird), 0.0);
}
