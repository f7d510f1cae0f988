//! Laws that hold for every attention mechanism, tried on every one that the program knows: a mechanism without a line
//! in the table fails the first test.

mod common;

use common::{ledger, model};
use lowcarb::arch::{AttentionKind, Model};
use lowcarb::ledger::{Component, Cost, Ledger, Work};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// How the products that mix positions grow with a long sequence (Tay et al. 2022, Efficient Transformers: A Survey, table 1).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Growth {
    /// There are none.
    Nothing,
    /// O(n).
    Linear,
    /// O(n^1.5).
    Root,
    /// O(n^2).
    Quadratic,
}

/// A mechanism in the form that the laws are tried on.
struct Subject {
    /// The word in a model file.
    kind: &'static str,
    /// Lines of a model file beyond the kind, in the form of overlays.
    settings: &'static str,
    /// Whether it stands in a decoder, where it does not stand in an encoder.
    decoder: bool,
    /// Lengths go in steps of this many positions.
    step: u64,
    growth: Growth,
}

impl Subject {
    const fn new(kind: &'static str, settings: &'static str, step: u64, growth: Growth) -> Self {
        Self { kind, settings, decoder: false, step, growth }
    }
}

/// Longest sequence of every model here: parameters that have a length have this one.
const LONGEST: u64 = 8192;

const SUBJECTS: &[Subject] = &[
    Subject::new("softmax", "", 1, Growth::Quadratic),
    Subject::new("softmax", "attention.implementation = \"fused\"", 1, Growth::Quadratic),
    Subject::new("softmax", "attention.key_value_heads = 2", 1, Growth::Quadratic),
    Subject::new("softmax", "embedding.positions.kind = \"relative_key\"", 1, Growth::Quadratic),
    Subject::new("softmax", "embedding.positions.kind = \"relative_key_query\"", 1, Growth::Quadratic),
    Subject::new("linformer", "attention.linformer.projected_length = 16", 1, Growth::Linear),
    Subject::new("linformer", "attention.linformer = { projected_length = 16, sharing = \"layerwise\" }", 1, Growth::Linear),
    Subject::new("reformer", "attention.reformer = { chunk_length = 16, buckets = [32] }", 16, Growth::Linear),
    Subject::new("reformer", "attention.reformer = { chunks = 8 }", 8, Growth::Quadratic),
    Subject::new("reformer", "attention.reformer = { kind = \"local\", chunk_length = 16 }", 16, Growth::Linear),
    Subject::new("local", "attention.local = { window = 16 }", 16, Growth::Linear),
    Subject::new(
        "local",
        "attention.local = { window = 16, look_backward = 0, look_forward = 0, padding = \"always\" }",
        16,
        Growth::Linear,
    ),
    // Between steps of less than a row, the grid that sequences are filled up to may stay the same.
    Subject::new("axial", "", 128, Growth::Root),
    Subject::new("axial", "attention.axial = { row = 16 }", 16, Growth::Linear),
    Subject::new("axial", "attention.axial = { row = 16, axis = \"columns\" }", 16, Growth::Quadratic),
    Subject::new("sparse", "", 1, Growth::Root),
    Subject::new("sparse", "attention.sparse = { pattern = \"strided\", parts = \"split\" }", 1, Growth::Root),
    Subject::new("sparse", "attention.sparse = { block = 16, summary = 4 }", 1, Growth::Quadratic),
    Subject::new("sparse", "attention.sparse = { block = 16, computes = \"square\" }", 1, Growth::Quadratic),
    Subject::new("bigbird", "attention.bigbird = { block = 2 }", 24, Growth::Linear),
    Subject::new("bigbird", "attention.bigbird = { block = 2, random_blocks = 1, padding = \"always\" }", 16, Growth::Linear),
    Subject::new("longformer", "attention.longformer = { window = 16 }", 16, Growth::Linear),
    Subject::new("linear", "", 1, Growth::Linear),
    Subject::new("linear", "attention.linear = { features = \"softmax\" }", 1, Growth::Linear),
    Subject { decoder: true, ..Subject::new("linear", "", 1, Growth::Linear) },
    Subject {
        decoder: true,
        ..Subject::new("linear", "attention.linear = { features = \"softmax\", running = \"states\" }", 1, Growth::Linear)
    },
    Subject::new("performer", "", 1, Growth::Linear),
    Subject::new("performer", "attention.performer = { features = 12 }", 1, Growth::Linear),
    Subject::new("performer", "attention.performer = { kernel = \"relu\" }", 1, Growth::Linear),
    Subject { decoder: true, ..Subject::new("performer", "attention.performer = { features = 12 }", 1, Growth::Linear) },
    Subject::new("luna", "attention.luna = { packed_length = 16 }", 1, Growth::Linear),
    Subject::new("luna", "attention.luna = { packed_length = 8, tied_values = false }", 1, Growth::Linear),
    Subject::new("induced_set", "attention.induced_set = { points = 8 }", 1, Growth::Linear),
    Subject::new("nystrom", "attention.nystrom = { landmarks = 16 }", 16, Growth::Linear),
    Subject::new("nystrom", "attention.nystrom = { landmarks = 8, start = \"column_norm\", convolution = 9 }", 8, Growth::Linear),
    Subject::new("nystrom", "attention.nystrom = { landmarks = 8, full = true }", 1, Growth::Quadratic),
    Subject::new("yoso", "", 1, Growth::Quadratic),
    Subject::new("yoso", "attention.yoso = { estimate = \"sampling\", fast_hash = false, convolution = 9 }", 1, Growth::Linear),
    Subject::new("longformer", "attention.longformer = { window = 16, global_tokens = 2 }", 16, Growth::Linear),
    Subject::new("longformer", "attention.longformer = { window = 16, global_tokens = 2, computes = \"pattern\" }", 1, Growth::Linear),
    Subject::new("longformer", "attention.longformer = { window = 16, computes = \"square\" }", 1, Growth::Quadratic),
    Subject::new("sliding_window", "attention.sliding_window = { window = 16 }", 1, Growth::Linear),
    Subject::new("sliding_window", "attention.implementation = \"fused\"\nattention.sliding_window = { window = 16 }", 1, Growth::Linear),
    Subject::new("transformer_xl", "attention.transformer_xl = { memory = 16 }", 1, Growth::Quadratic),
    Subject::new("funnel", "", 1, Growth::Quadratic),
    Subject::new("funnel", "attention.funnel = { segments = false, first_apart = true }", 1, Growth::Quadratic),
    Subject::new("funnel", "attention.funnel = { distances = \"factorised\" }", 1, Growth::Quadratic),
    Subject::new("fnet", "", 1, Growth::Nothing),
    Subject::new("mamba", "attention.heads = 1\nattention.mamba = { states = 4 }", 1, Growth::Linear),
    Subject::new("xlnet", "", 1, Growth::Quadratic),
    Subject { decoder: true, ..Subject::new("routing", "attention.routing = { window = 16, local_heads = 2 }", 16, Growth::Linear) },
    Subject { decoder: true, ..Subject::new("memory_compressed", "", 1, Growth::Quadratic) },
    Subject { decoder: true, ..Subject::new("synthesizer", "", 1, Growth::Quadratic) },
    Subject { decoder: true, ..Subject::new("sinkhorn", "attention.sinkhorn = { block = 8, sort_net = \"means\" }", 8, Growth::Quadratic) },
    Subject::new("routing", "attention.routing = { window = 16 }", 16, Growth::Linear),
    Subject::new("routing", "attention.routing = { window = 16, clusters = 32, local_heads = 2, shared = true }", 16, Growth::Linear),
    Subject::new("memory_compressed", "", 1, Growth::Quadratic),
    Subject::new(
        "memory_compressed",
        "attention.memory_compressed = { compression = 4, per_head = true, shared = true, null = true }",
        8,
        Growth::Quadratic,
    ),
    Subject::new("synthesizer", "", 1, Growth::Quadratic),
    Subject::new("synthesizer", "attention.synthesizer = { factors = [64, 128], dot_product = true }", 1, Growth::Quadratic),
    Subject::new("synthesizer", "attention.synthesizer = { kind = \"random\" }", 1, Growth::Quadratic),
    Subject::new("synthesizer", "attention.synthesizer = { kind = \"random\", rank = 8 }", 1, Growth::Quadratic),
    Subject::new("sinkhorn", "attention.sinkhorn = { block = 8 }", 8, Growth::Quadratic),
    Subject::new(
        "sinkhorn",
        "attention.sinkhorn = { block = 16, iterations = 0, sort_net = \"keys\", sorting = \"row_sums\", separate = true }",
        16,
        Growth::Linear,
    ),
];

impl Subject {
    fn text(&self, layers: u64, head_width: u64) -> String {
        let stack = if self.decoder { "decoder" } else { "encoder" };
        let width = 4 * head_width;
        format!(
            "schema = 1\nname = \"subject\"\nsource = \"here\"\nsources.here = {{ citation = \"none\", year = 2000 }}\n\
             width = {width}\ndropout = 0.1\nembedding.vocabulary = 50\nembedding.positions = {{ kind = \"sinusoidal\", length = {LONGEST} }}\n\
             attention.kind = \"{}\"\n{}feed_forward.width = {width}\nfeed_forward.activation = \"gelu\"\n\
             norm.kind = \"layer\"\nnorm.placement = \"post\"\nhead.kind = \"none\"\n{stack}.layers = {layers}\n{}{}",
            self.kind,
            if self.settings.contains("attention.heads") { "" } else { "attention.heads = 4\n" },
            self.settings,
            if self.settings.is_empty() { "" } else { "\n" }
        )
    }

    fn model(&self, layers: u64, head_width: u64) -> Model {
        model(&self.text(layers, head_width)).unwrap_or_else(|error| panic!("{error}\n{}", self.text(layers, head_width)))
    }

    fn name(&self) -> String {
        format!("{} {}", self.kind, self.settings)
    }
}

/// The quantities that the laws are about: products, element-wise work, traffic and bytes kept.
fn sums(ledger: &Ledger) -> [f64; 4] {
    let (forward, backward) = (ledger.forward(), ledger.backward());
    let both = forward + backward;
    [both.matmul_flops + both.recomputed_flops, both.elementwise_flops, both.bytes(), ledger.kept_bytes()]
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

#[test]
fn every_mechanism_is_tried() {
    for kind in AttentionKind::ALL {
        assert!(SUBJECTS.iter().any(|subject| subject.kind == kind.word()), "{} is in no line of the table", kind.word());
    }
}

/// Products of activations with each other, and of mixing alone, at a length.
fn mixing(model: &Model, length: u64) -> f64 {
    let ledger = ledger(model, 1, length);
    let mixing = ledger.ops().iter().filter(|op| op.component == Component::Attention && op.work() == Work::Mixing);
    mixing.map(|op| op.forward.matmul_flops * op.times).sum()
}

#[test]
fn the_products_that_mix_positions_grow_as_published() {
    for subject in SUBJECTS {
        let model = subject.model(2, 16);
        let (short, long) = (mixing(&model, LONGEST / 2), mixing(&model, LONGEST));
        let ratio = long / short;
        let holds = match subject.growth {
            Growth::Nothing => (short, long) == (0.0, 0.0),
            Growth::Linear => (1.9..2.1).contains(&ratio),
            Growth::Root => (2.7..2.95).contains(&ratio),
            Growth::Quadratic => (3.8..4.1).contains(&ratio),
        };
        assert!(holds, "{}: {ratio} for {:?}", subject.name(), subject.growth);
    }
}

#[test]
fn attention_to_a_part_says_where_it_saves_nothing() {
    let said = |settings: &str, length| model(settings).unwrap().notes_at(length).join("\n");
    let longformer = said("use = \"longformer-base\"", 512);
    assert!(longformer.contains("takes 1.02 times the products") && longformer.contains("keeps 1.17 times the bytes"), "{longformer}");
    assert_eq!(said("use = \"longformer-base\"", 4096), "");
    assert!(said("use = \"longformer-base\"", 4000).contains("fills up 4000 positions to 4096"));
    assert!(said("use = \"bigbird-base\"", 704).contains("full attention up to 704 positions"));
    assert!(said("use = \"bert-base-local\"", 128).contains("local attention this model takes"));
    assert_eq!(said("use = \"bert-base-local\"", 4096), "");
}

/// Products of attention and feed-forward network, forward.
fn inside(model: &Model, length: u64) -> f64 {
    let ledger = ledger(model, 2, length);
    let ops = ledger.ops().iter().filter(|op| matches!(op.component, Component::Attention | Component::FeedForward));
    ops.map(|op| op.forward.matmul_flops * op.times).sum()
}

/// Layers behind a pooling take the products that they take of half as many positions; what fills sequences up to whole
/// blocks or has its positions in the scores says that it cannot.
#[test]
fn a_pooled_layer_takes_what_a_layer_takes_at_the_shorter_length() {
    for subject in SUBJECTS.iter().filter(|subject| !subject.decoder) {
        let groups = "encoder.groups = [{ layers = 1 }, { layers = 2, pooling = {} }]\n";
        let pooled = match model(&format!("{}{groups}", subject.text(3, 8))) {
            Ok(pooled) => pooled,
            Err(error) => {
                let said = error.to_string();
                assert!(["whole blocks", "positions inside"].iter().any(|why| said.contains(why)), "{}: {said}", subject.name());
                continue;
            }
        };
        let (whole, length) = (subject.model(1, 8), 4 * subject.step);
        let parts = inside(&whole, 2 * length) + 2.0 * inside(&whole, length);
        assert!(close(inside(&pooled, 2 * length), parts), "{}: {parts}", subject.name());
    }
}

/// Lee-Thorp et al. 2022, section 3.2, by the count of a fast transform: 5 n d log2 d over columns and 5 n d log2 n over
/// positions, and one pass for the real part.
#[test]
fn fourier_transforms_take_the_work_of_their_formula() {
    for (head_width, length) in [(4, 64), (16, 100), (24, 513)] {
        let subject = Subject::new("fnet", "", 1, Growth::Nothing);
        let (d, n) = ((4 * head_width) as f64, length as f64);
        let ledger = ledger(&subject.model(3, head_width), 2, length);
        let transforms = ledger.ops().iter().filter(|op| op.name.starts_with("transform"));
        let work: f64 = transforms.map(|op| op.forward.elementwise_flops * op.times).sum();
        let formula = 3.0 * 2.0 * 5.0 * n * d * (d.log2() + n.log2());
        assert!(close(work, formula), "{d} columns, {n} positions: {work} for {formula}");
    }
}

/// The same trials in every run: a failure is a failure for everybody.
fn configuration() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(20_200_608), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(configuration())]

    /// From batch 2 on: with one sequence, PyTorch copies fewer operands of some products.
    #[test]
    fn work_and_memory_grow_by_the_same_for_every_sequence(index in 0..SUBJECTS.len(), steps in 1_u64..=6) {
        let subject = &SUBJECTS[index];
        let model = subject.model(2, 8);
        let length = subject.step * (steps + 4);
        let [two, three, four] = [2, 3, 4].map(|sequences| sums(&ledger(&model, sequences, length)));
        for part in 0..4 {
            let (first, second) = (three[part] - two[part], four[part] - three[part]);
            prop_assert!(first > 0.0 && close(first, second), "{}: {part}: {first} then {second}", subject.name());
        }
    }

    #[test]
    fn a_longer_sequence_takes_more_and_has_the_same_parameters(index in 0..SUBJECTS.len(), steps in 1_u64..=40, more in 1_u64..=40) {
        let subject = &SUBJECTS[index];
        let model = subject.model(2, 8);
        let (short, long) = (ledger(&model, 2, subject.step * steps), ledger(&model, 2, subject.step * (steps + more)));
        for (short, long) in sums(&short).into_iter().zip(sums(&long)) {
            prop_assert!(short < long, "{}: {short} then {long}", subject.name());
        }
        prop_assert_eq!(short.parameters(), long.parameters());
    }

    #[test]
    fn every_further_layer_adds_the_same(index in 0..SUBJECTS.len(), steps in 1_u64..=20) {
        let subject = &SUBJECTS[index];
        let of = |layers| {
            let ledger = ledger(&subject.model(layers, 8), 2, subject.step * steps);
            let [products, elementwise, traffic, kept] = sums(&ledger);
            [products, elementwise, traffic, kept, ledger.parameters(), ledger.kept_bytes_checkpointed()]
        };
        let [one, two, three] = [1, 2, 3].map(of);
        for part in 0..6 {
            prop_assert!(two[part] > one[part], "{}: {part}: a layer adds nothing", subject.name());
            prop_assert!(close(two[part] - one[part], three[part] - two[part]), "{}: {part}", subject.name());
        }
    }

    #[test]
    fn a_wider_model_takes_more(index in 0..SUBJECTS.len(), steps in 1_u64..=20, head_width in 2_u64..=8, more in 1_u64..=4) {
        let subject = &SUBJECTS[index];
        let of = |head_width| {
            let ledger = ledger(&subject.model(2, 2 * head_width), 2, subject.step * steps);
            let [products, elementwise, traffic, kept] = sums(&ledger);
            [products, elementwise, traffic, kept, ledger.parameters()]
        };
        for (narrow, wide) in of(head_width).into_iter().zip(of(head_width + more)) {
            prop_assert!(narrow < wide, "{}: {narrow} then {wide}", subject.name());
        }
    }

    #[test]
    fn components_sum_to_the_total_and_nothing_is_negative(index in 0..SUBJECTS.len(), steps in 1_u64..=20) {
        let subject = &SUBJECTS[index];
        let ledger = ledger(&subject.model(2, 8), 3, subject.step * steps);
        for backward in [false, true] {
            let of = |component: Component| -> Cost {
                let ops = ledger.ops().iter().filter(|op| op.component == component);
                ops.map(|op| if backward { op.backward() } else { op.forward } * op.times).sum()
            };
            let sum: Cost = Component::ALL.into_iter().map(of).sum();
            let total = if backward { ledger.backward() } else { ledger.forward() };
            prop_assert!(close(sum.matmul_flops, total.matmul_flops) && close(sum.bytes(), total.bytes()), "{}", subject.name());
        }
        for op in ledger.ops() {
            for cost in [op.forward, op.backward()] {
                for number in [cost.matmul_flops, cost.recomputed_flops, cost.elementwise_flops, cost.bytes_read, cost.bytes_written, cost.launches] {
                    prop_assert!(number.is_finite() && number >= 0.0, "{}: {}: {number}", subject.name(), op.name);
                }
            }
        }
    }

    /// Low-rank projections compose with every mechanism: fewer parameters and products below break-even, and never
    /// more at any rank.
    #[test]
    fn low_rank_projections_never_take_more_products(index in 0..SUBJECTS.len(), rank in 1_u64..=32, steps in 1_u64..=10) {
        let subject = &SUBJECTS[index];
        let of = |linear: &str| {
            let ledger = ledger(&model(&format!("{}{linear}", subject.text(2, 8))).unwrap(), 2, subject.step * steps);
            [ledger.parameters(), sums(&ledger)[0]]
        };
        let (dense, low) = (of(""), of(&format!("linear.rank = {rank}")));
        let limit = subject.model(2, 8).break_even_rank();
        for part in 0..2 {
            let holds = if rank < limit { low[part] < dense[part] } else { low[part] == dense[part] };
            prop_assert!(holds, "{}: rank {rank} of {limit}: {} for {}", subject.name(), low[part], dense[part]);
        }
    }
}
