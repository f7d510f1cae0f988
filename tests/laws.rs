//! Laws that the ledger of every model obeys, tried on random models: stacks, attention mechanisms, linear-layer kinds,
//! feed-forward kinds, norms, positions and heads in all the ways that go together.

mod common;

use common::{ledger, model};
use lowcarb::arch::Model;
use lowcarb::ledger::{Component, Cost, Ledger, Rerun};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// A model to be written as TOML. Sizes are small: no law depends on size.
#[derive(Debug, Clone)]
struct Variation {
    /// Layers of encoder and decoder; 0 for none.
    stacks: (u64, u64),
    head_width: u64,
    heads: u64,
    /// Query heads to a key and value head.
    queries_to_a_key: u64,
    fused_projection: bool,
    /// Feed-forward width over width.
    factor: u64,
    gated: bool,
    activation: &'static str,
    pre_norm: bool,
    norm: &'static str,
    positions: &'static str,
    dropout: bool,
    attention: Attention,
    head: &'static str,
    tied: bool,
    shared: bool,
    linear: Linear,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Attention {
    Eager,
    Fused,
    Linformer { sharing: &'static str, order: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Linear {
    Dense,
    /// In hundredths of the model's width.
    Rank(u64),
    /// In hundredths.
    Ratio(u64),
}

/// The longest sequence of every model here.
const LONGEST: u64 = 64;
/// Length that a Linformer shortens to.
const PROJECTED: u64 = 4;

impl Variation {
    fn width(&self) -> u64 {
        self.head_width * self.heads
    }

    fn text(&self) -> String {
        let (encoder, decoder) = self.stacks;
        let width = self.width();
        let mut out = format!(
            "schema = 1\nname = \"variation\"\nsource = \"here\"\nsources.here = {{ citation = \"none\", year = 2000 }}\n\
             width = {width}\nembedding.vocabulary = 50\nembedding.segments = 2\nembedding.norm = {}\n\
             attention.heads = {}\nattention.key_value_heads = {}\nattention.fused_projection = {}\n\
             feed_forward.width = {}\nfeed_forward.kind = \"{}\"\nfeed_forward.activation = \"{}\"\n\
             norm.kind = \"{}\"\nnorm.placement = \"{}\"\nhead.kind = \"{}\"\nhead.tied = {}\nhead.classes = 3\n",
            self.pre_norm,
            self.heads,
            self.heads / self.queries_to_a_key,
            self.fused_projection,
            self.factor * width,
            if self.gated { "gated" } else { "plain" },
            self.activation,
            self.norm,
            if self.pre_norm { "pre" } else { "post" },
            self.head,
            self.tied,
        );
        for (name, layers) in [("encoder", encoder), ("decoder", decoder)] {
            if layers > 0 {
                out += &format!("{name}.layers = {layers}\n{name}.shared = {}\n", self.shared);
            }
        }
        out += &format!("embedding.positions = {{ kind = \"{}\", length = {LONGEST}, buckets = 8 }}\n", self.positions);
        if self.dropout {
            out += "dropout = 0.1\nfeed_forward.dropout = 0.1\n";
        }
        match self.attention {
            Attention::Eager => out += "attention.kind = \"softmax\"\n",
            Attention::Fused => out += "attention.kind = \"softmax\"\nattention.implementation = \"fused\"\n",
            Attention::Linformer { sharing, order } => {
                out += &format!(
                    "attention.kind = \"linformer\"\nattention.linformer.projected_length = {PROJECTED}\n\
                     attention.linformer.sharing = \"{sharing}\"\nattention.linformer.order = \"{order}\"\n"
                );
            }
        }
        match self.linear {
            Linear::Dense => {}
            Linear::Rank(hundredths) => out += &format!("linear.rank = {}\n", (hundredths * width / 100).max(1)),
            Linear::Ratio(hundredths) => out += &format!("linear.ratio = {}\n", hundredths as f64 / 100.0),
        }
        out
    }

    fn model(&self) -> Model {
        model(&self.text()).unwrap_or_else(|error| panic!("{error}\n{}", self.text()))
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// Elements of one layer's input, for sequences of a length.
    fn stream(&self, sequences: u64, length: u64) -> f64 {
        (sequences * length * self.width()) as f64
    }
}

fn linears() -> impl Strategy<Value = Linear> {
    prop_oneof![Just(Linear::Dense), (1_u64..=100).prop_map(Linear::Rank), (30_u64..=100).prop_map(Linear::Ratio)]
}

fn softmax() -> BoxedStrategy<Attention> {
    prop_oneof![Just(Attention::Eager), Just(Attention::Fused)].boxed()
}

fn linformer() -> BoxedStrategy<Attention> {
    let shared = (select(vec!["headwise", "key_value", "layerwise"]), select(vec!["project_then_compress", "compress_then_project"]));
    let shared = shared.prop_map(|(sharing, order)| Attention::Linformer { sharing, order });
    prop_oneof![3 => shared, 1 => Just(Attention::Linformer { sharing: "none", order: "project_then_compress" })].boxed()
}

/// Encoder, decoder or both, with the attention, heads and positions that go with them.
fn skeletons() -> BoxedStrategy<((u64, u64), Attention, &'static str, &'static str)> {
    let any_position = vec!["learned", "sinusoidal", "rotary", "relative_bias", "none"];
    let fixed_position = vec!["learned", "sinusoidal", "none"];
    let encoder_heads = vec!["masked_lm", "pooler", "classification", "none"];
    prop_oneof![
        ((1_u64..4).prop_map(|layers| (layers, 0)), softmax(), select(encoder_heads.clone()), select(any_position.clone())),
        ((1_u64..4).prop_map(|layers| (layers, 0)), linformer(), select(encoder_heads), select(fixed_position)),
        ((1_u64..4).prop_map(|layers| (0, layers)), softmax(), select(vec!["causal_lm", "none"]), select(any_position.clone())),
        ((1_u64..4, 1_u64..4), softmax(), select(vec!["sequence_to_sequence", "none"]), select(any_position)),
    ]
    .boxed()
}

fn variations() -> impl Strategy<Value = Variation> {
    let sizes = (select(vec![4_u64, 8, 16]), select(vec![2_u64, 4]), select(vec![1_u64, 2]), 1_u64..5);
    let kinds = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let words = (select(vec!["relu", "gelu", "gelu_new", "silu"]), select(vec!["layer", "rms"]));
    (skeletons(), sizes, kinds, words, linears()).prop_map(|(skeleton, sizes, kinds, words, linear)| {
        let (stacks, attention, head, positions) = skeleton;
        let (head_width, heads, queries_to_a_key, factor) = sizes;
        let (fused_projection, gated, pre_norm, dropout, tied, shared) = kinds;
        let linformer = matches!(attention, Attention::Linformer { .. });
        Variation {
            stacks,
            head_width,
            heads,
            queries_to_a_key: if linformer { 1 } else { queries_to_a_key },
            fused_projection: fused_projection && !linformer && positions != "rotary",
            factor,
            gated,
            activation: words.0,
            pre_norm,
            norm: words.1,
            positions,
            dropout,
            attention,
            head,
            tied,
            shared,
            linear,
        }
    })
}

/// The quantities that the laws are about: products, element-wise work and bytes kept.
fn sums(ledger: &Ledger) -> [f64; 3] {
    let forward = ledger.forward();
    [forward.matmul_flops, forward.elementwise_flops, ledger.kept_bytes()]
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

/// FLOPs of the angles of rotary positions: the one product without a gradient, and the same for any batch.
fn angles(variation: &Variation, length: u64) -> f64 {
    if variation.positions == "rotary" { (length * variation.head_width) as f64 } else { 0.0 }
}

/// The same models in every run: a failure is a failure for everybody.
fn configuration() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(20_190_730), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(configuration())]

    /// From batch 2 on: with one sequence, PyTorch copies fewer operands of a Linformer's projection.
    #[test]
    fn work_and_memory_grow_by_the_same_for_every_sequence(variation in variations(), length in 2_u64..=32) {
        let model = variation.model();
        let [two, three, four] = [2, 3, 4].map(|sequences| sums(&ledger(&model, sequences, length)));
        for index in 0..3 {
            let (first, second) = (three[index] - two[index], four[index] - three[index]);
            prop_assert!(first > 0.0 && close(first, second), "{index}: {first} then {second}");
            prop_assert!(four[index] <= 2.0 * two[index], "{index}: batch 4 takes more than twice batch 2");
        }
        let alone = angles(&variation, length);
        prop_assert!(close(four[0] - alone, 2.0 * (two[0] - alone)), "products are proportional to the batch");
    }

    #[test]
    fn a_longer_sequence_takes_more_and_has_the_same_parameters(variation in variations(), length in 2_u64..=32, more in 1_u64..=32) {
        let model = variation.model();
        let (short, long) = (ledger(&model, 2, length), ledger(&model, 2, length + more));
        for (short, long) in sums(&short).into_iter().zip(sums(&long)) {
            prop_assert!(short < long, "{short} then {long}");
        }
        prop_assert_eq!(short.parameters(), long.parameters());
        prop_assert_eq!(short.parameters(), ledger(&model, 5, length).parameters());
    }

    #[test]
    fn every_further_layer_adds_the_same(variation in variations(), decoder in any::<bool>(), length in 2_u64..=32) {
        let layers = |count: u64| {
            let change = |other: &mut Variation| match other.stacks {
                (encoder, 0) => other.stacks = (encoder + count, 0),
                (0, layers) => other.stacks = (0, layers + count),
                (encoder, layers) if decoder => other.stacks = (encoder, layers + count),
                (encoder, layers) => other.stacks = (encoder + count, layers),
            };
            let ledger = ledger(&variation.with(change).model(), 2, length);
            let [products, elementwise, kept] = sums(&ledger);
            [products, elementwise, kept, ledger.parameters(), ledger.kept_bytes_checkpointed()]
        };
        let [none, one, two] = [0, 1, 2].map(layers);
        for index in 0..5 {
            prop_assert!(close(one[index] - none[index], two[index] - one[index]), "{index}: not the same for every layer");
        }
        for index in 0..3 {
            prop_assert!(one[index] > none[index], "{index}: a layer adds nothing");
        }
        prop_assert_eq!(one[3] == none[3], variation.shared, "shared layers have one set of parameters");
        // In half precision; a checkpointed layer keeps its input and nothing else.
        prop_assert!(close(one[4] - none[4], 2.0 * variation.stream(2, length)), "{} for a checkpointed layer", one[4] - none[4]);
    }

    #[test]
    fn a_wider_model_takes_more(variation in variations(), length in 2_u64..=32, more in 1_u64..=4) {
        // Even, for rotary positions turn pairs.
        let wider = variation.with(|other| other.head_width += 2 * more);
        let (narrow, wide) = (ledger(&variation.model(), 2, length), ledger(&wider.model(), 2, length));
        for (narrow, wide) in sums(&narrow).into_iter().zip(sums(&wide)) {
            prop_assert!(narrow < wide, "{narrow} then {wide}");
        }
        prop_assert!(narrow.parameters() < wide.parameters());
    }

    #[test]
    fn components_sum_to_the_total(variation in variations(), length in 2_u64..=32) {
        let ledger = ledger(&variation.model(), 3, length);
        let of = |component: Component, backward: bool| -> Cost {
            let ops = ledger.ops().iter().filter(|op| op.component == component);
            ops.map(|op| if backward { op.backward() } else { op.forward } * op.times).sum()
        };
        for (backward, total) in [(false, ledger.forward()), (true, ledger.backward())] {
            let sum: Cost = Component::ALL.into_iter().map(|component| of(component, backward)).sum();
            let pairs = [
                (sum.matmul_flops, total.matmul_flops),
                (sum.recomputed_flops, total.recomputed_flops),
                (sum.elementwise_flops, total.elementwise_flops),
                (sum.bytes(), total.bytes()),
                (sum.launches, total.launches),
            ];
            for (sum, total) in pairs {
                prop_assert!(close(sum, total), "{sum} for {total}");
            }
        }
        // A tensor that two components keep counts for both and once in the total.
        let kept: Vec<f64> = Component::ALL.iter().map(|component| ledger.kept_bytes_where(|op| op.component == *component)).collect();
        prop_assert!(kept.iter().sum::<f64>() >= ledger.kept_bytes() * (1.0 - 1e-9));
        prop_assert!(kept.iter().all(|kept| *kept <= ledger.kept_bytes()));
        prop_assert!(Component::ALL.iter().all(|component| ledger.parameters_of(*component) >= 0.0));
    }

    #[test]
    fn kernels_do_the_work_of_the_ledger_and_recomputation_runs_the_layers_again(variation in variations(), length in 2_u64..=32) {
        let ledger = ledger(&variation.model(), 2, length);
        let executed = |recompute: bool| {
            ledger.kernels(if recompute { Rerun::Layers } else { Rerun::Nothing }).fold([0.0; 4], |sum, kernel| {
                let each = [kernel.matmul_flops, kernel.elementwise_flops, kernel.bytes, 1.0];
                std::array::from_fn(|index| sum[index] + kernel.times * each[index])
            })
        };
        let of = |cost: Cost| [cost.matmul_flops + cost.recomputed_flops, cost.elementwise_flops, cost.bytes(), cost.launches];
        let layers: Cost = ledger.ops().iter().filter(|op| op.layer).map(|op| op.forward * op.times).sum();
        let (forward, backward, layers) = (of(ledger.forward()), of(ledger.backward()), of(layers));
        let (once, again) = (executed(false), executed(true));
        for index in 0..4 {
            prop_assert!(close(once[index], forward[index] + backward[index]), "{index}: {} executed", once[index]);
            prop_assert!(close(again[index], once[index] + layers[index]), "{index}: {} executed with recomputation", again[index]);
            prop_assert!(layers[index] > 0.0);
        }
    }

    #[test]
    fn backward_products_are_twice_the_forward_ones(variation in variations(), length in 2_u64..=32) {
        let ledger = ledger(&variation.model(), 2, length);
        let (forward, backward) = (ledger.forward(), ledger.backward());
        // A pooler without a loss has no backward pass.
        let unused: f64 = ledger.ops().iter().filter(|op| op.unused).map(|op| op.forward.matmul_flops * op.times).sum();
        let differentiable = forward.matmul_flops - angles(&variation, length) - unused;
        prop_assert!(close(backward.matmul_flops, 2.0 * differentiable), "{} for {}", backward.matmul_flops, differentiable);
        prop_assert_eq!(forward.recomputed_flops, 0.0);
        prop_assert_eq!(backward.recomputed_flops > 0.0, variation.attention == Attention::Fused);
    }

    #[test]
    fn a_rank_from_break_even_on_is_the_dense_model(variation in variations(), above in 0_u64..=100) {
        let dense = variation.with(|other| other.linear = Linear::Dense);
        let even = dense.model().break_even_rank();
        prop_assert!(even <= variation.width());
        let rank = even + above * (variation.width() - even) / 100;
        let at = model(&format!("{}linear.rank = {rank}\n", dense.text())).unwrap();
        prop_assert_eq!(ledger(&at, 2, 8), ledger(&dense.model(), 2, 8), "rank {}", rank);
    }

    #[test]
    fn the_rank_just_below_break_even_saves_parameters_and_work(variation in variations()) {
        let dense = variation.with(|other| other.linear = Linear::Dense);
        let below = dense.model().break_even_rank() - 1;
        prop_assume!(below > 0);
        let low = ledger(&model(&format!("{}linear.rank = {below}\n", dense.text())).unwrap(), 2, 8);
        let dense = ledger(&dense.model(), 2, 8);
        prop_assert!(low.parameters() < dense.parameters(), "rank {below}");
        prop_assert!(low.forward().matmul_flops < dense.forward().matmul_flops, "rank {below}");
    }

    #[test]
    fn a_lower_rank_never_takes_more(variation in variations(), one in 1_u64..=100, other in 1_u64..=100, ratio in any::<bool>()) {
        let (low, high) = if ratio { (one.min(other).max(30), one.max(other).max(30)) } else { (one.min(other), one.max(other)) };
        let kind = |hundredths| if ratio { Linear::Ratio(hundredths) } else { Linear::Rank(hundredths) };
        let [low, high, dense] = [kind(low), kind(high), Linear::Dense].map(|linear| {
            let ledger = ledger(&variation.with(|other| other.linear = linear).model(), 2, 8);
            [ledger.parameters(), ledger.forward().matmul_flops, ledger.backward().matmul_flops]
        });
        for index in 0..3 {
            prop_assert!(low[index] <= high[index] && high[index] <= dense[index], "{index}: {low:?}, {high:?}, {dense:?}");
        }
    }

    /// Beside x, a factorised layer keeps x A: the saving is never one of activations.
    #[test]
    fn a_low_rank_model_keeps_no_fewer_bytes_than_the_dense_one(variation in variations(), linear in linears(), length in 2_u64..=32) {
        let low = ledger(&variation.with(|other| other.linear = linear).model(), 2, length);
        let dense = ledger(&variation.with(|other| other.linear = Linear::Dense).model(), 2, length);
        prop_assert!(low.kept_bytes() >= dense.kept_bytes());
        prop_assert_eq!(low.kept_bytes() > dense.kept_bytes(), low.parameters() < dense.parameters());
    }

    /// At its peak a step holds what it keeps and something beside; checkpointing of layers in groups lies between the modes.
    #[test]
    fn the_peak_is_no_less_than_what_is_kept(variation in variations(), length in 2_u64..=32, group in 1_u64..4) {
        let ledger = ledger(&variation.model(), 2, length);
        for rerun in [Rerun::Nothing, Rerun::Layers, Rerun::LayersOf(group), Rerun::AttentionCore] {
            prop_assert!(ledger.peak_bytes(rerun) >= ledger.held_bytes(rerun), "{rerun:?}");
        }
        prop_assert_eq!(ledger.held_bytes(Rerun::Nothing), ledger.kept_bytes());
        prop_assert_eq!(ledger.held_bytes(Rerun::LayersOf(1)), ledger.held_bytes(Rerun::Layers));
        prop_assert!(ledger.held_bytes(Rerun::LayersOf(group)) <= ledger.held_bytes(Rerun::Layers));
        prop_assert!(ledger.held_bytes(Rerun::Layers) <= ledger.held_bytes(Rerun::AttentionCore));
    }

    #[test]
    fn checkpointing_keeps_at_most_the_layer_inputs_more(variation in variations(), length in 2_u64..=32) {
        let ledger = ledger(&variation.model(), 2, length);
        let layers = (variation.stacks.0 + variation.stacks.1) as f64;
        let inputs = 2.0 * layers * variation.stream(2, length);
        // A bias that layers add is kept by none, but read again.
        let stacks = [variation.stacks.0, variation.stacks.1].into_iter().filter(|layers| *layers > 0).count() as f64;
        let bias = if variation.positions == "relative_bias" { 2.0 * stacks * (variation.heads * length * length) as f64 } else { 0.0 };
        prop_assert!(ledger.kept_bytes_checkpointed() <= ledger.kept_bytes() + inputs + bias);
        prop_assert!(ledger.kept_bytes_checkpointed() >= inputs);
    }

    #[test]
    fn one_kernel_for_attention_does_the_same_products_and_keeps_no_more(variation in variations(), length in 2_u64..=32) {
        prop_assume!(matches!(variation.attention, Attention::Eager | Attention::Fused));
        let of = |attention| ledger(&variation.with(|other| other.attention = attention).model(), 2, length);
        let (eager, fused) = (of(Attention::Eager), of(Attention::Fused));
        prop_assert_eq!(eager.parameters(), fused.parameters());
        prop_assert!(close(eager.forward().matmul_flops, fused.forward().matmul_flops));
        prop_assert!(close(eager.backward().matmul_flops, fused.backward().matmul_flops));
        prop_assert!(fused.kept_bytes() <= eager.kept_bytes());
    }

    /// Over lengths n, 2n and 3n, softmax attention has products that grow by 8 n^2 more than a straight line: each of
    /// its two has 2 n^2 times the width of all heads. A Linformer's grow on a straight line.
    #[test]
    fn softmax_products_are_quadratic_in_length_and_linformer_products_linear(variation in variations(), length in 4_u64..=20) {
        let model = variation.model();
        let [one, two, three] = [1, 2, 3].map(|times| ledger(&model, 1, times * length).forward().matmul_flops);
        let (encoder, decoder) = variation.stacks;
        let mixing_layers = if encoder > 0 { encoder + 2 * decoder } else { decoder };
        let bend = match variation.attention {
            Attention::Linformer { .. } => 0,
            _ => 8 * length * length * variation.width() * mixing_layers,
        };
        prop_assert!((three - 2.0 * two + one - bend as f64).abs() <= 1e-9 * three, "{} for {bend}", three - 2.0 * two + one);
    }

    #[test]
    fn no_entry_is_negative_or_no_number(variation in variations(), sequences in 1_u64..=4, length in 1_u64..=64) {
        let ledger = ledger(&variation.model(), sequences, length);
        let fields = |cost: Cost| {
            [cost.matmul_flops, cost.recomputed_flops, cost.elementwise_flops, cost.bytes_read, cost.bytes_written, cost.launches]
        };
        for op in ledger.ops() {
            for number in fields(op.forward).into_iter().chain(fields(op.backward())).chain([op.times]) {
                prop_assert!(number.is_finite() && number >= 0.0, "{}: {number}", op.name);
            }
        }
        for kernel in ledger.kernels(Rerun::Layers) {
            for number in [kernel.times, kernel.matmul_flops, kernel.elementwise_flops, kernel.bytes] {
                prop_assert!(number.is_finite() && number >= 0.0, "{kernel:?}");
            }
        }
        let whole = [ledger.parameters(), ledger.kept_bytes(), ledger.kept_bytes_checkpointed(), ledger.factored_parameters()];
        prop_assert!(whole.iter().all(|number| number.is_finite() && *number >= 0.0), "{whole:?}");
        prop_assert!(ledger.parameters().fract() == 0.0 && ledger.factored_parameters() <= ledger.parameters());
    }
}

/// The laws are worth what their models are: each kind must come up often enough.
#[test]
fn the_random_models_are_of_every_kind() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::new(configuration());
    let drawn: Vec<Variation> = (0..300).map(|_| variations().new_tree(&mut runner).unwrap().current()).collect();
    let share = |is: &dyn Fn(&Variation) -> bool| drawn.iter().filter(|variation| is(variation)).count();
    for word in ["masked_lm", "pooler", "classification", "causal_lm", "sequence_to_sequence", "none"] {
        assert!(share(&|variation| variation.head == word) >= 5, "{word}");
    }
    for word in ["learned", "sinusoidal", "rotary", "relative_bias", "none"] {
        assert!(share(&|variation| variation.positions == word) >= 5, "{word}");
    }
    for word in ["none", "headwise", "key_value", "layerwise"] {
        assert!(share(&|v| matches!(v.attention, Attention::Linformer { sharing, .. } if sharing == word)) >= 5, "{word}");
    }
    assert!(share(&|v| matches!(v.attention, Attention::Linformer { order: "compress_then_project", .. })) >= 5);
    assert!(share(&|variation| variation.attention == Attention::Fused) >= 5);
    assert!(share(&|variation| variation.stacks.0 > 0 && variation.stacks.1 > 0) >= 5);
    assert!(share(&|variation| variation.queries_to_a_key > 1) >= 5);
    assert!(share(&|variation| variation.fused_projection && variation.queries_to_a_key > 1) >= 5);
    assert!(share(&|variation| matches!(variation.linear, Linear::Rank(_))) >= 5);
    assert!(share(&|variation| matches!(variation.linear, Linear::Ratio(_))) >= 5);
}
