//! Memory and work of a training step: published formulas, laws over every technique, and what does not go together.

mod common;

use common::{Workplace, ledger, model};
use lowcarb::arch::{Batch, Model};
use lowcarb::hardware::Precision;
use lowcarb::ledger::{Component, Ledger, Rerun};
use lowcarb::training::{Memory, Offload, Optimizer, Parallel, Procedure};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// A GPT as in Korthikanti et al. 2022: pre-norm, GELU, dropout everywhere, a feed-forward network of four times the width.
fn gpt(layers: u64, width: u64, heads: u64, more: &str) -> Model {
    let text = format!(
        "use = \"gpt2\"\nwidth = {width}\ndecoder.layers = {layers}\nattention.heads = {heads}\nfeed_forward.width = {}\n\
         feed_forward.activation = \"gelu\"\nembedding.positions.length = 4096\nembedding.vocabulary = 51200\n{more}",
        4 * width
    );
    model(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes that one layer holds on a device: what a third layer adds to two, less the statistics of its norms.
fn layer_bytes(parallel: Parallel, rerun: Rerun, (b, s, h, a): (u64, u64, u64, u64)) -> f64 {
    let held = |layers: u64| ledger(&gpt(layers, h, a, ""), b, s).on_device(&parallel.division(0)).held_bytes(rerun);
    let statistics = if rerun == Rerun::Layers { 0.0 } else { 16.0 * (b * s) as f64 };
    let split = if parallel.sequence { parallel.tensor as f64 } else { 1.0 };
    held(3) - held(2) - statistics / split
}

#[test]
fn korthikanti_2022_table_2_falls_out() {
    for sizes in [(1, 1024, 768, 12), (4, 2048, 1536, 16), (2, 512, 1024, 16)] {
        let (b, s, h, a) = sizes;
        let (sbh, core) = ((s * b * h) as f64, 5.0 * (a * s) as f64 / h as f64);
        let same = |parallel, rerun, published: f64| {
            let found = layer_bytes(parallel, rerun, sizes);
            assert!((found / published - 1.0).abs() < 1e-12, "{parallel:?}, {rerun:?}: {found} for {published}");
        };
        let none = Parallel::default();
        same(none, Rerun::Nothing, sbh * (34.0 + core));
        same(none, Rerun::AttentionCore, sbh * 34.0);
        same(none, Rerun::Layers, sbh * 2.0);
        for tensor in [2, 4] {
            let t = tensor as f64;
            let split = Parallel { tensor, ..none };
            let both = Parallel { sequence: true, ..split };
            same(split, Rerun::Nothing, sbh * (10.0 + 24.0 / t + core / t));
            same(both, Rerun::Nothing, sbh / t * (34.0 + core));
            same(both, Rerun::AttentionCore, sbh / t * 34.0);
        }
    }
}

/// Figure 1 of Korthikanti et al. 2022, GiB of activations of the first stage, which are computed there too.
#[test]
fn korthikanti_2022_figure_1_falls_out() {
    // Layers, width, heads, micro-batch, stages, parts, GiB.
    let rows = [
        (48, 6144, 64, 4, 1, 1, 59.25),
        (96, 12_288, 96, 1, 8, 3, 66.84),
        (105, 20_480, 128, 1, 35, 3, 114.02),
        (128, 25_600, 160, 1, 64, 1, 131.25),
    ];
    for (layers, width, heads, batch, pipeline, interleaving, published) in rows {
        let parallel = Parallel { tensor: 8, pipeline, interleaving, ..Parallel::default() };
        let one = layer_bytes(Parallel { tensor: 8, ..Parallel::default() }, Rerun::Nothing, (batch, 2048, width, heads));
        let found = one * (layers / pipeline) as f64 * parallel.in_flight(0, 1e6) / f64::from(1 << 30);
        assert!((found - published).abs() < 0.011, "{layers} layers: {found} for {published}");
    }
    let both = Parallel { tensor: 8, sequence: true, ..Parallel::default() };
    let found = 48.0 * layer_bytes(both, Rerun::AttentionCore, (4, 2048, 6144, 64)) / f64::from(1 << 30);
    assert!((found - 9.56).abs() < 0.01, "{found}");
}

/// Narayanan et al. 2021, equation 3: with everything run again a step takes 4/3 of its products.
#[test]
fn full_checkpointing_runs_the_layers_once_more() {
    let ledger = ledger(&gpt(12, 768, 12, ""), 2, 512);
    let layers: f64 = ledger.ops().iter().filter(|op| op.layer).map(|op| op.forward.matmul_flops * op.times).sum();
    assert_eq!(ledger.recomputed(Rerun::Layers).matmul_flops, layers);
    let scores = ledger.recomputed(Rerun::AttentionCore).matmul_flops;
    assert_eq!(scores, 12.0 * 4.0 * 2.0 * 512.0 * 512.0 * 768.0);
    let kernels: f64 = ledger.kernels(Rerun::Layers).map(|kernel| kernel.times * kernel.matmul_flops).sum();
    assert_eq!(kernels, ledger.forward().matmul_flops + ledger.backward().matmul_flops + layers);
}

/// Rajbhandari et al. 2020, figure 1: 7.5B parameters on 64 devices with Adam in 16 bits: 120, 31.4, 16.6 and 1.9 GB.
#[test]
fn rajbhandari_2020_figure_1_falls_out() {
    let model = gpt(36, 4096, 32, "");
    let ledger = ledger(&model, 1, 128);
    let states = |zero: u64| {
        let parallel = Parallel { zero, data: Some(64), ..Parallel::default() };
        let memory = Memory::of(&ledger, &Procedure { parallel, ..Procedure::plain(Precision::Fp16) }, 1.0, 64.0);
        (memory.parameters + memory.gradients + memory.optimizer).value() / ledger.parameters()
    };
    assert_eq!([0, 1, 2, 3].map(states), [16.0, 4.0 + 12.0 / 64.0, 2.0 + 14.0 / 64.0, 16.0 / 64.0]);
}

#[test]
fn optimizers_hold_what_their_papers_say() {
    let ledger = ledger(&gpt(2, 768, 12, ""), 1, 128);
    let bytes = |optimizer: Optimizer| optimizer.state_bytes(&ledger) / ledger.parameters();
    assert_eq!(bytes(Optimizer::Adamw), 8.0);
    assert_eq!(bytes(Optimizer::Lion), 4.0);
    assert_eq!(bytes(Optimizer::Sgd), 0.0);
    assert!((2.0..2.01).contains(&bytes(Optimizer::Adam8bit)));
    assert!(bytes(Optimizer::Adafactor) < 0.05);
    for optimizer in Optimizer::ALL {
        assert!(optimizer.flops_per_parameter() > 0.0);
    }
}

fn fullest(whole: &Ledger, procedure: Procedure, replicas: u64, micro_batches: f64) -> Memory {
    let parallel = Parallel { data: Some(replicas), ..procedure.parallel };
    Procedure { parallel, ..procedure }.fullest(whole, parallel.accelerators(), micro_batches)
}

fn configuration() -> ProptestConfig {
    ProptestConfig { cases: 60, failure_persistence: None, rng_seed: RngSeed::Fixed(20_220_510), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn dividing_more_never_takes_more(
        tensor in select(vec![1_u64, 2, 4]),
        sequence in any::<bool>(),
        pipeline in select(vec![1_u64, 2, 4]),
        context in select(vec![1_u64, 2]),
        replicas in select(vec![2_u64, 4]),
        micro_batches in 1_u64..=8,
        rerun in select(vec![Rerun::Nothing, Rerun::Layers, Rerun::LayersOf(2), Rerun::AttentionCore]),
        fused in any::<bool>(),
    ) {
        let implementation = if fused { "fused" } else { "eager" };
        let model = gpt(8, 256, 8, &format!("attention.implementation = \"{implementation}\""));
        let whole = ledger(&model, 2, 64);
        let parallel = Parallel { tensor, sequence: sequence && tensor > 1, pipeline, context, ..Parallel::default() };
        let procedure = Procedure { rerun, parallel, ..Procedure::plain(Precision::Bf16) };
        let batches = micro_batches as f64;
        let of = |change: &dyn Fn(&mut Parallel)| {
            let mut other = parallel;
            change(&mut other);
            fullest(&whole, Procedure { parallel: other, ..procedure }, replicas, batches)
        };
        let base = of(&|_| ());
        let less = |other: Memory, what: &str| -> Result<(), TestCaseError> {
            prop_assert!(other.peak() <= base.peak(), "{what}: {} after {}", other.peak(), base.peak());
            Ok(())
        };
        less(of(&|p| p.tensor = 8), "tensor")?;
        less(of(&|p| p.context *= 2), "context")?;
        less(of(&|p| p.pipeline *= 2), "pipeline")?;
        let stages: Vec<Memory> = (0..=3).map(|zero| of(&|p| p.zero = zero)).collect();
        for pair in stages.windows(2) {
            prop_assert!(pair[1].parameters + pair[1].gradients + pair[1].optimizer < pair[0].parameters + pair[0].gradients + pair[0].optimizer);
        }
        let full = fullest(&whole, Procedure { rerun: Rerun::Layers, ..procedure }, replicas, batches);
        let none = fullest(&whole, Procedure { rerun: Rerun::Nothing, ..procedure }, replicas, batches);
        prop_assert!(full.activations <= none.activations && full.peak() <= none.peak());
        let host = of(&|p| p.offload = Offload::Optimizer);
        prop_assert!(host.optimizer.value() == 0.0 && host.host.value() > 0.0 && host.peak() < base.peak());
    }

    /// Nothing is lost in a division: the shares of all devices are at least the whole.
    #[test]
    fn the_devices_together_do_at_least_the_whole(
        tensor in select(vec![1_u64, 2, 4]),
        sequence in any::<bool>(),
        pipeline in select(vec![1_u64, 2, 4]),
        context in select(vec![1_u64, 2]),
    ) {
        let whole = ledger(&gpt(8, 256, 8, ""), 2, 64);
        let parallel = Parallel { tensor, sequence: sequence && tensor > 1, pipeline, context, ..Parallel::default() };
        let devices: Vec<Ledger> = (0..pipeline).map(|stage| whole.on_device(&parallel.division(stage))).collect();
        let (each, copies) = ((tensor * context) as f64, context as f64);
        let sum = |of: &dyn Fn(&Ledger) -> f64| devices.iter().map(of).sum::<f64>() * each;
        let close = |left: f64, right: f64| (left - right).abs() <= 1e-9 * right;
        prop_assert!(close(sum(&|l| l.forward().matmul_flops), whole.forward().matmul_flops));
        prop_assert!(close(sum(&|l| l.backward().matmul_flops), whole.backward().matmul_flops));
        prop_assert!(sum(&|l| l.forward().elementwise_flops) >= whole.forward().elementwise_flops * (1.0 - 1e-12));
        prop_assert!(sum(&|l| l.held_bytes(Rerun::Nothing)) >= whole.kept_bytes() * (1.0 - 1e-12));
        prop_assert!(sum(&|l| l.parameters()) / copies >= whole.parameters() * (1.0 - 1e-12));
        // Only norms, biases of partial sums, tables of positions and a tied table at both ends are held more than once.
        let table = if pipeline > 1 { whole.parameters_of(Component::Embedding) } else { 0.0 };
        let repeated = tensor as f64 * (whole.parameters_of(Component::Norm) + 8.0 * 2.0 * 256.0 + 4096.0 * 256.0);
        prop_assert!(sum(&|l| l.parameters()) / copies <= whole.parameters() + table + repeated);
    }
}

#[test]
fn what_does_not_go_together_has_a_message_with_its_key() {
    let model = gpt(6, 96, 6, "");
    let none = Parallel::default();
    let linformer =
        common::model("use = \"bert-base\"\nattention.kind = \"linformer\"\nattention.linformer.projected_length = 64").unwrap();
    let cases = [
        (Parallel { tensor: 4, ..none }, &model, None, "tensor_parallel"),
        (Parallel { pipeline: 4, ..none }, &model, None, "pipeline_parallel"),
        (Parallel { pipeline: 2, interleaving: 2, ..none }, &model, None, "interleaving"),
        (Parallel { interleaving: 2, ..none }, &model, None, "interleaving"),
        (Parallel { sequence: true, ..none }, &model, None, "sequence_parallel"),
        (Parallel { expert: 2, ..none }, &model, None, "expert_parallel"),
        (Parallel { context: 2, ..none }, &linformer, None, "context_parallel"),
        (Parallel { zero: 4, ..none }, &model, None, "zero"),
        (Parallel { zero: 2, pipeline: 2, ..none }, &model, None, "zero"),
        (Parallel { tensor: 0, ..none }, &model, None, "tensor_parallel"),
        (Parallel { tensor: 2, pipeline: 3, ..none }, &model, Some(8), "tensor_parallel"),
        (Parallel { tensor: 2, data: Some(3), ..none }, &model, Some(8), "data_parallel"),
    ];
    for (parallel, model, accelerators, key) in cases {
        let problem = parallel.check(model, accelerators).expect_err(key);
        assert_eq!(problem.key, key, "{problem}");
    }
    assert!(Parallel { tensor: 2, pipeline: 3, sequence: true, ..none }.check(&model, Some(12)).is_ok());
}

#[test]
fn experts_are_shared_and_tokens_sent_to_them() {
    let more = "feed_forward.kind = \"mixture\"\nfeed_forward.mixture.experts = 8\nfeed_forward.mixture.top_k = 2";
    let model = gpt(4, 256, 8, more);
    let batch = Batch { sequences: 1.0, length: 128.0, element_bytes: 2.0 };
    let whole = model.ledger(batch).unwrap_or_else(|problem| panic!("{problem}"));
    let parallel = Parallel { expert: 8, ..Parallel::default() };
    assert!(parallel.check(&model, Some(8)).is_ok());
    let device = whole.on_device(&parallel.division(0));
    let experts = whole.expert_parameters();
    assert_eq!(experts, 4.0 * 8.0 * (2.0 * 4.0 * 256.0 * 256.0 + 5.0 * 256.0));
    assert_eq!(device.parameters(), whole.parameters() - experts * 7.0 / 8.0);
    let step = Procedure { parallel, ..Procedure::plain(Precision::Bf16) }.step(&model, &whole, batch, 8, 1.0);
    let sent = step.collectives.iter().find(|collective| collective.name == "expert parallelism");
    // Two experts a position and layer, to them and back, forward and backward.
    assert_eq!(sent.map(|collective| collective.message), Some(4.0 * 2.0 * 4.0 * 128.0 * 256.0 * 2.0));
}

/// A scenario that divides its step says so in its results; a wrong degree is named where it is written.
#[test]
fn a_scenario_takes_every_key() {
    let place = Workplace::new();
    let head = "schema = 1\ntitle = \"t\"\nbaseline = \"b\"\ndraws = 10\nmodel = \"gpt2\"\n\
                hardware = { accelerator = \"A100-SXM4-80GB\", node = \"dgx-a100\", accelerators = 16 }\n\
                training = { precision = \"bf16\", optimizer = \"lion\", steps = 10, global_batch = 64, micro_batch = 4, sequence_length = 512";
    let keys = "tensor_parallel = 2, sequence_parallel = true, pipeline_parallel = 2, interleaving = 3, context_parallel = 2, data_parallel = 2, \
                zero = 1, offload = \"optimizer\", checkpointing = \"every_n\", checkpoint_every = 2, gradient_precision = \"fp32\", \
                master_weights = false";
    place.write("s.toml", format!("{head}, {keys} }}\n"));
    let case = &place.json(&["run", "s.toml", "--format", "json"])["variants"][0];
    let phase = &case["phases"][0];
    assert!(phase["bubble_s"].as_f64().unwrap() > 0.0);
    let names: Vec<&str> = phase["collectives"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["tensor parallelism: gather", "context parallelism", "pipeline", "ZeRO: gradients", "ZeRO: weights"] {
        assert!(names.contains(&name), "{name} not among {names:?}");
    }
    let memory = &case["memory_bytes"];
    assert!(memory["host"].as_f64().unwrap() > 0.0 && memory["optimizer"] == 0.0);
    assert_eq!(memory["context"]["class"], "assumed");
    assert!(case["missing"].to_string().contains("training.offload"));
    place.write("w.toml", format!("{head}, tensor_parallel = 5 }}\n"));
    let output = place.run(&["run", "w.toml"]);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(talk.contains("w.toml") && talk.contains("training.tensor_parallel") && talk.contains('5'), "{talk}");
}

#[test]
fn a_wrong_option_is_wrong_on_the_command_line() {
    let place = common::Workplace::new();
    let output = place.run(&["inspect", "gpt2", "--tensor-parallel", "5"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(message, "error: command line: --tensor-parallel: found 5, allowed: a divisor of the 12 of attention.heads\n");
}
