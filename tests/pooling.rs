//! Groups of layers that shorten the sequence and bring it back: with every mechanism that can, and messages where one cannot.

mod common;

use common::{Workplace, ledger, model};
use lowcarb::arch::{AttentionKind, Model};
use lowcarb::ledger::{Component, Ledger};

/// A model of groups with a mechanism.
fn text(attention: &str, groups: &str, layers: u64, rest: &str) -> String {
    let text = format!(
        "schema = 1\nname = \"here\"\nsource = \"here\"\nsources.here = {{ citation = \"none\", year = 2000 }}\nwidth = 32\n\
         embedding.vocabulary = 50\nembedding.positions = {{ kind = \"sinusoidal\", length = 512 }}\nattention.heads = 4\n\
         {attention}\nfeed_forward.width = 64\nfeed_forward.activation = \"gelu\"\nnorm.kind = \"layer\"\n\
         norm.placement = \"post\"\nhead.kind = \"none\"\nencoder.layers = {layers}\nencoder.groups = [{groups}]\n{rest}"
    );
    text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn of(attention: &str, groups: &str, layers: u64) -> Model {
    let text = text(attention, groups, layers, "");
    model(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Products of attention and feed-forward network, forward.
fn products(ledger: &Ledger) -> f64 {
    let inside = |component| matches!(component, Component::Attention | Component::FeedForward);
    ledger.ops().iter().filter(|op| inside(op.component)).map(|op| op.forward.matmul_flops * op.times).sum()
}

fn settings(kind: AttentionKind) -> String {
    let own = if kind == AttentionKind::Linformer { "attention.linformer.projected_length = 16" } else { "" };
    format!("attention.kind = \"{}\"\n{own}", kind.word())
}

/// Each kind of pooling and each stride: the length is rounded up; a mean keeps what it is of.
#[test]
fn strides_and_kinds_leave_their_share_of_positions() {
    let softmax = settings(AttentionKind::Softmax);
    let whole = of(&softmax, "{ layers = 1 }", 1);
    for (kind, stride, left) in [("mean", 2, 51), ("max", 3, 34), ("drop", 4, 26), ("mean", 200, 1)] {
        let pooled = of(&softmax, &format!("{{ layers = 1, pooling = {{ kind = \"{kind}\", stride = {stride} }} }}"), 1);
        assert_eq!(products(&ledger(&pooled, 1, 101)), products(&ledger(&whole, 1, left)), "{kind} {stride}");
    }
    // One position is not pooled, nor are two of which the first stands apart.
    for (pooling, length) in [("{}", 1), ("{ first_apart = true }", 2)] {
        let pooled = of(&softmax, &format!("{{ layers = 1, pooling = {pooling} }}"), 1);
        assert_eq!(products(&ledger(&pooled, 1, length)), products(&ledger(&whole, 1, length)), "{pooling}");
    }
}

/// Keys and values of the whole sequence: their projections and the scores are wider, and nothing else is.
#[test]
fn pooled_queries_look_at_all_keys() {
    let softmax = settings(AttentionKind::Softmax);
    let of = |queries_only| of(&softmax, &format!("{{ layers = 1, pooling = {{ queries_only = {queries_only} }} }}"), 1);
    let [alone, together] = [true, false].map(|queries_only| products(&ledger(&of(queries_only), 1, 64)));
    // 32 keys more: 4 d^2 each for their projections, 4 m d each for scores and values.
    assert_eq!(alone - together, 32.0 * (4.0 * 32.0 * 32.0 + 4.0 * 32.0 * 32.0));
}

/// Layers at the whole length behind an upsampling cost what they cost before the pooling, and a layer that runs again
/// costs its work once more and no parameters.
#[test]
fn upsampling_and_repeats() {
    for kind in [AttentionKind::Softmax, AttentionKind::Funnel] {
        let attention = settings(kind);
        let whole = of(&attention, "{ layers = 2 }", 2);
        let around = of(&attention, "{ layers = 1 }, { layers = 1, pooling = {} }, { layers = 1, upsampling = true }", 3);
        let inner = of(&attention, "{ layers = 1 }", 1);
        let [outside, half, all] = [(&whole, 64), (&inner, 32), (&around, 64)].map(|(model, n)| products(&ledger(model, 3, n)));
        assert_eq!(all, outside + half, "{}", kind.word());
        let again = of(&attention, "{ layers = 1, repeats = 2 }", 1);
        let [once, twice, two] = [&inner, &again, &whole].map(|model| ledger(model, 3, 64));
        assert_eq!((products(&twice), twice.parameters()), (products(&two), once.parameters()), "{}", kind.word());
        assert_eq!(again.layers(), 2);
        assert_eq!(twice.kept_bytes(), two.kept_bytes());
    }
}

/// What is dropped comes back as it was: the products are those of any pooling, and nothing is kept of what is not looked at.
#[test]
fn dropped_positions_come_back_as_they_were() {
    let softmax = settings(AttentionKind::Softmax);
    let of = |kind| {
        let groups = format!("{{ layers = 1 }}, {{ layers = 1, pooling = {{ kind = \"{kind}\" }} }}, {{ layers = 1, upsampling = true }}");
        ledger(&of(&softmax, &groups, 3), 2, 64)
    };
    let [dropped, pooled] = ["drop", "mean"].map(of);
    assert_eq!(products(&dropped), products(&pooled));
    let named = |ledger: &Ledger, name| ledger.ops().iter().any(|op| op.name == name);
    assert!(named(&dropped, "put positions back") && !named(&pooled, "put positions back"));
    assert!(dropped.kept_bytes() < pooled.kept_bytes());
}

/// Work and memory of a model whose lengths change grow by the same for every sequence, and with the length.
#[test]
fn pooled_models_grow_with_batch_and_length() {
    for (attention, pooling) in [
        (settings(AttentionKind::Softmax), "{ kind = \"max\", queries_only = true }"),
        (settings(AttentionKind::Funnel), "{ queries_only = true, first_apart = true, truncated = true }"),
        (settings(AttentionKind::Funnel) + "\nattention.funnel.distances = \"factorised\"", "{ first_apart = true }"),
    ] {
        let groups = format!("{{ layers = 1 }}, {{ layers = 2, pooling = {pooling} }}, {{ layers = 1, upsampling = true }}");
        let model = of(&attention, &groups, 4);
        let sums = |sequences, length| {
            let ledger = ledger(&model, sequences, length);
            let both = ledger.forward() + ledger.backward();
            [both.matmul_flops, both.elementwise_flops, both.bytes(), ledger.kept_bytes(), ledger.kept_bytes_checkpointed()]
        };
        let [two, three, four, longer] = [(2, 40), (3, 40), (4, 40), (2, 44)].map(|(sequences, length)| sums(sequences, length));
        for part in 0..5 {
            let (first, second) = (three[part] - two[part], four[part] - three[part]);
            assert!(first > 0.0 && (first - second).abs() <= 1e-9 * first, "{attention} {pooling}: {part}: {first} then {second}");
            assert!(longer[part] > two[part], "{attention} {pooling}: {part}");
        }
    }
}

/// Dai et al. 2020, as `src/arch/attention/funnel.rs` sums it up: m queries of n keys, b sequences, h heads of
/// d / h columns.
#[test]
fn funnel_attention_takes_the_products_of_its_formulas() {
    let (b, d, h) = (3.0, 32.0, 4.0);
    for (pooling, m) in [("", 40.0), ("pooling = { queries_only = true }", 20.0)] {
        let n = 40.0;
        let linear = 4.0 * b * m * d * d + 4.0 * b * n * d * d;
        let contents_values_segments = 4.0 * b * m * n * d + 4.0 * b * m * d;
        let t = if m == n { 2.0 * n } else { 2.0 * m + n };
        let shifted = 2.0 * t * d * d + 2.0 * b * m * t * d;
        let factorised = 2.0 * b * m * d * d + 4.0 * b * m * n * h * d;
        for (distances, scores) in [("relative_shift", shifted), ("factorised", factorised)] {
            let attention = format!("{}\nattention.funnel = {{ distances = \"{distances}\" }}", settings(AttentionKind::Funnel));
            let model = of(&attention, &format!("{{ layers = 1, {pooling} }}").replace(", }", " }"), 1);
            let ledger = ledger(&model, 3, 40);
            let ops = ledger.ops().iter().filter(|op| op.component == Component::Attention);
            let found: f64 = ops.map(|op| op.forward.matmul_flops * op.times).sum();
            assert_eq!(found, linear + contents_values_segments + scores, "{distances} {m}");
        }
    }
}

/// A published size: with B4-4-4 and no decoder, the model that classifies takes under 0.6 of the products of 12 layers
/// (Dai et al. 2020: each half as long block takes at most half as much).
#[test]
fn blocks_of_halved_length_take_at_most_half() {
    let funnel = settings(AttentionKind::Funnel) + "\nattention.funnel = { first_apart = true }";
    let pooling = "pooling = { queries_only = true, first_apart = true, truncated = true }";
    let blocks = |count: usize| {
        let groups = ["{ layers = 4 }".to_string()].into_iter().chain((1..count).map(|_| format!("{{ layers = 4, {pooling} }}")));
        products(&ledger(&of(&funnel, &groups.collect::<Vec<_>>().join(", "), 4 * count as u64), 8, 512))
    };
    let [one, two, three] = [1, 2, 3].map(blocks);
    let [second, third] = [two - one, three - two];
    assert!(second < 0.6 * one && third < 0.6 * second && 3.0 * one > 1.6 * three, "{one} {second} {third}");
}

#[test]
fn what_cannot_be_pooled_says_so() {
    let pooled = "{ layers = 1, pooling = {} }";
    let alone = "{ layers = 1, pooling = { queries_only = true } }";
    let cases = [
        (AttentionKind::Softmax, pooled, "encoder.reversible = true", "pooling", "reversible"),
        (AttentionKind::Softmax, pooled, "embedding.positions.kind = \"rotary\"", "pooling", "positions inside the attention"),
        (AttentionKind::Softmax, pooled, "head.kind = \"token_classification\"\nhead.classes = 3", "head.kind", "needs every position"),
        (AttentionKind::Softmax, alone, "norm.placement = \"pre\"", "pooling.queries_only", "norms before"),
        (AttentionKind::Linformer, alone, "", "pooling.queries_only", "true with linformer"),
        (AttentionKind::Longformer, pooled, "attention.longformer.window = 16", "attention.kind", "whole blocks"),
        (AttentionKind::Softmax, "{ layers = 1, pooling = { stride = 1 } }", "", "pooling.stride", "2 or more"),
        (AttentionKind::Softmax, "{ layers = 1, pooling = { truncated = true } }", "", "pooling.truncated", "first_apart"),
        (AttentionKind::Softmax, "{ layers = 1, pooling = {}, upsampling = true }", "", "upsampling", "one of the two"),
        (AttentionKind::Softmax, "{ layers = 1, repeats = 0 }", "", "repeats", "0"),
    ];
    let place = Workplace::new();
    for (kind, groups, rest, key, part) in cases {
        place.write("base.toml", text(&settings(kind), groups, 1, ""));
        place.write("mine.toml", format!("use = \"base.toml\"\n{rest}\n"));
        let output = place.run(&["inspect", "mine.toml"]);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{talk}");
        assert!(talk.contains(key) && talk.contains(part), "{key}, {part}: {talk}");
    }
    place.write("mine.toml", text(&settings(AttentionKind::Softmax), pooled, 1, "").replace("encoder.", "decoder."));
    let output = place.run(&["inspect", "mine.toml"]);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && talk.contains("decoder.groups.0.pooling") && talk.contains("in a decoder"), "{talk}");
}
