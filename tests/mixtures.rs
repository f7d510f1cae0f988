//! Mixtures of experts: the formulas of their papers, laws, and the published sizes of Switch Transformers.

mod common;

use common::{ledger, model};
use lowcarb::arch::{Batch, Model};
use lowcarb::ledger::{Component, Ledger};

const WIDTH: f64 = 32.0;
const INNER: f64 = 48.0;
const LENGTH: u64 = 24;

/// A decoder of 4 layers whose feed-forward network has these lines.
fn decoder(lines: &str) -> Model {
    let text = format!(
        "use = \"gpt2\"\nwidth = 32\ndropout = 0.0\nattention.heads = 4\ndecoder.layers = 4\nembedding.vocabulary = 50\n\
         feed_forward.width = 48\nfeed_forward.bias = false\nhead.kind = \"none\"\n{lines}"
    );
    model(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn mixture(lines: &str) -> Model {
    decoder(&format!("feed_forward.kind = \"mixture\"\nfeed_forward.mixture = {{ experts = 8, top_k = 2 }}\n{lines}"))
}

fn products(ledger: &Ledger) -> f64 {
    let network = ledger.ops().iter().filter(|op| op.component == Component::FeedForward);
    network.map(|op| op.forward.matmul_flops * op.times).sum()
}

/// Shazeer et al. 2017: the router is a product of d x e, and k experts of e compute.
#[test]
fn a_mixture_computes_k_experts_and_a_router_and_holds_all() {
    let rows = 2.0 * LENGTH as f64;
    let one = 4.0 * WIDTH * INNER;
    let sums = |model: &Model| {
        let ledger = ledger(model, 2, LENGTH);
        (products(&ledger), ledger.parameters_of(Component::FeedForward), ledger.parameters() - ledger.active_parameters())
    };
    let router = WIDTH * 8.0;
    assert_eq!(sums(&mixture("")), (4.0 * rows * (2.0 * one + 2.0 * router), 4.0 * (8.0 * one / 2.0 + router), 4.0 * 6.0 * one / 2.0));
    let gated = mixture("feed_forward.mixture.gated = true");
    assert_eq!(sums(&gated).0, 4.0 * rows * (2.0 * 1.5 * one + 2.0 * router));
    let single = mixture("feed_forward.mixture.experts = 1\nfeed_forward.mixture.top_k = 1");
    assert_eq!(sums(&single), (4.0 * rows * (one + 2.0 * WIDTH), 4.0 * (one / 2.0 + WIDTH), 0.0));
    assert_eq!(sums(&decoder("")), (4.0 * rows * one, 4.0 * one / 2.0, 0.0));
}

/// Fedus et al. 2022, equation 3: an expert's buffer holds positions / experts times the capacity factor.
#[test]
fn buffers_of_a_capacity_factor_are_full_or_not_computed_in_whole() {
    let one = 4.0 * WIDTH * INNER;
    let rows = |lines: &str, sequences: u64| {
        let router = 2.0 * sequences as f64 * LENGTH as f64 * WIDTH * 8.0;
        (products(&ledger(&mixture(lines), sequences, LENGTH)) / 4.0 - router) / one
    };
    assert_eq!(rows("feed_forward.mixture.top_k = 1\nfeed_forward.mixture.capacity_factor = 1.0", 1), 24.0);
    assert_eq!(rows("feed_forward.mixture.top_k = 1\nfeed_forward.mixture.capacity_factor = 1.25", 1), 8.0 * 4.0);
    assert_eq!(rows("feed_forward.mixture.capacity_factor = 2.0", 3), 3.0 * 48.0);
    assert_eq!(rows("feed_forward.mixture.capacity = 2", 3), 3.0 * 16.0);
    assert_eq!(rows("feed_forward.mixture.capacity = 64", 3), 3.0 * 48.0);
}

#[test]
fn every_nth_layer_is_a_mixture_and_the_others_are_like_one_expert() {
    let counts = |lines: &str| ledger(&mixture(lines), 1, LENGTH).parameters_of(Component::FeedForward);
    let (sparse, dense) = (WIDTH * 8.0 + 8.0 * 2.0 * WIDTH * INNER, 2.0 * WIDTH * INNER);
    assert_eq!(counts("feed_forward.mixture.every = 2"), 2.0 * sparse + 2.0 * dense);
    assert_eq!(counts("feed_forward.mixture.every = 3"), sparse + 3.0 * dense);
    assert_eq!(counts("feed_forward.mixture.every = 4\nfeed_forward.mixture.dense_width = 96"), sparse + 3.0 * 2.0 * dense);
    assert_eq!(counts("feed_forward.mixture.every = 5"), 4.0 * dense);
}

#[test]
fn a_batch_of_more_sequences_costs_as_many_times_more() {
    for lines in [
        "",
        "feed_forward.mixture.capacity_factor = 1.3",
        "feed_forward.mixture.shared_width = 16\nfeed_forward.mixture.shared_gate = true",
    ] {
        let sums = |sequences| {
            let ledger = ledger(&mixture(lines), sequences, 17);
            let both = ledger.forward() + ledger.backward();
            [both.matmul_flops, both.elementwise_flops]
        };
        let (one, three) = (sums(1), sums(3));
        assert_eq!(one.map(|sum| 3.0 * sum), three, "{lines}");
    }
}

/// A step of one token reads the experts that it passes through, not the others.
#[test]
fn generating_a_token_reads_the_weights_of_k_experts() {
    let bytes = |lines: &str| {
        let batch = Batch { sequences: 1.0, length: 1.0, element_bytes: 2.0 };
        mixture(lines).inference_ledger(batch, 16.0).unwrap().forward().bytes_read
    };
    let more = bytes("feed_forward.mixture.top_k = 3") - bytes("");
    let weights = 4.0 * 2.0 * 2.0 * WIDTH * INNER;
    assert!(more > weights && more < 1.5 * weights, "{more} for {weights}");
    let experts = bytes("feed_forward.mixture.experts = 16") - bytes("");
    assert!(experts < 0.2 * weights, "{experts} for the router alone");
}

#[test]
fn what_a_mixture_cannot_be_is_refused() {
    for (lines, key) in [
        ("feed_forward.mixture.top_k = 9", "top_k"),
        ("feed_forward.mixture.combine = \"place\"", "combine"),
        ("feed_forward.mixture.capacity_factor = 0.0", "capacity_factor"),
        ("feed_forward.mixture.shared_gate = true", "shared_gate"),
        ("feed_forward.mixture.every = 0", "every"),
    ] {
        let text = format!("use = \"gpt2\"\nfeed_forward.kind = \"mixture\"\nfeed_forward.mixture = {{ experts = 8, top_k = 2 }}\n{lines}");
        let error = model(&text).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// Fedus et al. 2022, table 9: FLOPs of a sequence and parameters, T5 beside Switch; in billions of parameters, as printed.
/// Its FLOPs leave out the vocabulary projection: with it the ratio of Large to Base would be 3.24, printed is 425 / 124.
#[test]
fn switch_has_the_flops_of_t5_and_the_published_parameters() {
    let switch = |base: &str, lines: &str| {
        let text = format!(
            "use = \"{base}\"\nfeed_forward.kind = \"mixture\"\nfeed_forward.mixture = \
             {{ experts = 128, top_k = 1, combine = \"place\", capacity_factor = 1.0, every = 2 }}\n{lines}"
        );
        ledger(&model(&text).unwrap(), 1, 512)
    };
    let dense = |base: &str| ledger(&model(&format!("use = \"{base}\"")).unwrap(), 1, 512);
    let layers = |ledger: &Ledger| {
        let ops = ledger.ops().iter().filter(|op| op.component != Component::Head);
        ops.map(|op| op.forward.matmul_flops * op.times).sum::<f64>()
    };
    for (base, digits, t5, sparse) in [("t5-base", 10.0, 0.2, 7.0), ("t5-large", 10.0, 0.7, 26.0)] {
        let (plain, mixed) = (dense(base), switch(base, ""));
        assert_eq!((plain.parameters() / 1e9 * digits).round() / digits, t5, "{base}");
        assert_eq!((mixed.parameters() / 1e9).round(), sparse, "switch of {base}");
        let share = layers(&mixed) / layers(&plain) - 1.0;
        assert!((0.0..0.006).contains(&share), "{base}: the router adds {share}");
    }
    let ratio = layers(&dense("t5-large")) / layers(&dense("t5-base"));
    assert!((ratio / (425.0 / 124.0) - 1.0).abs() < 0.006, "{ratio}");
    let c = switch(
        "t5-large",
        "width = 2080\nencoder.layers = 15\ndecoder.layers = 15\nattention.heads = 32\nattention.head_width = 64\n\
         feed_forward.width = 6144\nfeed_forward.mixture.experts = 2048\nfeed_forward.mixture.every = 1",
    );
    assert_eq!((c.parameters() / 1e9).round(), 1571.0);
}
