//! Models against figures that others count or print: parameters of released models, of their low-rank variants, and
//! sizes, TFLOP/s and MFU of published GPT trainings, which must fall out of the ledger.

mod common;

use std::collections::BTreeSet;

use common::{Workplace, ledger, model};
use lowcarb::ledger::Ledger;
use serde_json::Value;

fn parameters(arguments: &[&str]) -> i64 {
    let place = Workplace::new();
    let inspection = place.json(&[&["inspect"], arguments, &["--format", "json"]].concat());
    inspection["parameters"]["total"].as_i64().expect("a whole number of parameters")
}

#[test]
fn released_models_have_the_parameters_that_their_libraries_count() {
    assert_eq!(parameters(&["bert-base-model"]), 109_482_240);
    assert_eq!(parameters(&["bert-base"]), 109_514_298);
    assert_eq!(parameters(&["roberta-base"]), 124_697_433);
    assert_eq!(parameters(&["roberta-large"]), 355_412_057);
    assert_eq!(parameters(&["xlm-roberta-base"]), 278_295_186);
    assert_eq!(parameters(&["distilbert-base"]), 66_985_530);
    assert_eq!(parameters(&["albert-base"]), 11_221_680);
    assert_eq!(parameters(&["albert-large"]), 16_795_824);
    assert_eq!(parameters(&["albert-xlarge"]), 54_821_040);
    assert_eq!(parameters(&["albert-xxlarge"]), 206_368_944);
    assert_eq!(parameters(&["electra-small"]), 13_549_057);
    assert_eq!(parameters(&["electra-base"]), 109_483_009);
    assert_eq!(parameters(&["electra-large"]), 335_142_913);
    assert_eq!(parameters(&["mobilebert"]), 36_596_538);
    assert_eq!(parameters(&["gpt2"]), 124_439_808);
    assert_eq!(parameters(&["t5-small"]), 60_506_624);
    assert_eq!(parameters(&["longformer-base"]), 148_711_257);
    assert_eq!(parameters(&["longformer-large"]), 434_653_273);
    assert_eq!(parameters(&["bigbird-base"]), 128_111_286);
    assert_eq!(parameters(&["funnel-small"]), 131_003_706);
    assert_eq!(parameters(&["funnel-base"]), 177_088_314);
    assert_eq!(parameters(&["fnet-base"]), 83_485_184);
    assert_eq!(parameters(&["bigbird-large"]), 360_225_974);
    assert_eq!(parameters(&["t5-base"]), 222_903_552);
    assert_eq!(parameters(&["t5-large"]), 737_668_096);
    assert_eq!(parameters(&["t5-3b"]), 2_851_598_336);
    assert_eq!(parameters(&["t5-11b"]), 11_307_321_344);
    assert_eq!(parameters(&["t5-v1.1-base"]), 247_577_856);
    assert_eq!(parameters(&["bart-base"]), 139_420_416);
    assert_eq!(parameters(&["bart-large"]), 406_291_456);
    assert_eq!(parameters(&["switch-base-8"]), 619_339_008);
    assert_eq!(parameters(&["switch-base-128"]), 7_415_217_408);
    assert_eq!(parameters(&["mamba-130m"]), 129_135_360);
    assert_eq!(parameters(&["nystromformer-512"]), 109_122_240);
    assert_eq!(parameters(&["yoso-4096"]), 127_449_945);
    assert_eq!(parameters(&["vit-base-16"]), 86_567_656);
    assert_eq!(parameters(&["vit-large-16"]), 304_326_632);
}

#[test]
fn released_decoders_have_the_parameters_that_their_libraries_count() {
    let table = [
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("gpt3-175b", 174_604_259_328),
        ("gpt-neox-20b", 20_554_567_680),
        ("gpt-j-6b", 6_050_882_784),
        ("opt-125m", 125_239_296),
        ("opt-350m", 331_196_416),
        ("opt-1.3b", 1_315_758_080),
        ("opt-6.7b", 6_658_473_984),
        ("opt-30b", 29_974_540_288),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3-70b", 70_553_706_496),
        ("tinyllama-1.1b", 1_100_048_384),
        ("mistral-7b", 7_241_732_096),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen2-0.5b", 494_032_768),
        ("qwen2-7b", 7_615_616_512),
        ("qwen1.5-moe-a2.7b", 14_315_784_192),
        ("gemma-2b", 2_506_172_416),
        ("gemma-7b", 8_537_680_896),
        ("gemma-2-9b", 9_241_705_984),
        ("falcon-7b", 6_921_720_704),
        ("bloom-176b", 176_247_271_424),
        ("phi-2", 2_779_683_840),
        ("phi-3-mini", 3_821_079_552),
    ];
    for (name, expected) in table {
        assert_eq!(parameters(&[name]), expected, "{name}");
    }
}

/// Jiang et al. 2024: 47 billion parameters, of which a token uses 13 billion; Qwen1.5-MoE: 2.7 of 14.3.
#[test]
fn a_token_passes_through_the_published_share_of_a_mixture() {
    let place = Workplace::new();
    for (name, total, active) in [("mixtral-8x7b", 46.7, 12.9), ("qwen1.5-moe-a2.7b", 14.3, 2.7), ("llama-2-7b", 6.7, 6.7)] {
        let inspection = place.json(&["inspect", name, "--format", "json"]);
        let billions = |count: &Value| rounded(count.as_f64().unwrap() / 1e9, 1);
        assert_eq!((billions(&inspection["parameters"]["total"]), billions(&inspection["active_parameters"])), (total, active), "{name}");
    }
    let says = |name: &str| place.printed(&["inspect", name]).contains("Active parameters");
    assert!(says("mixtral-8x7b") && !says("llama-2-7b"));
}

/// A shipped decoder and the `config.json` it is from are the same model: parameters, products and bytes kept.
#[test]
fn shipped_decoders_are_what_was_recorded_of_their_configurations() {
    let place = Workplace::new();
    let text = include_str!("../measurements/pytorch/decoders.json");
    let recording: Value = serde_json::from_str(text).unwrap();
    let shipped = |name: &str| std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models")).join(format!("{name}.toml")).exists();
    let mut compared = 0;
    for case in recording["cases"].as_array().unwrap() {
        let name = case["model"].as_str().unwrap();
        if !shipped(name) || name == "gpt2" {
            continue;
        }
        let (batch, length) = (case["batch"].to_string(), case["sequence_length"].to_string());
        let inspection = place.json(&["inspect", name, "--batch", &batch, "--seq-len", &length, "--format", "json"]);
        assert_eq!(inspection["parameters"]["total"], case["parameters"], "{name}");
        assert_eq!(inspection["flops"]["matmul_forward"], case["matmul_forward"], "{name}");
        let kept = inspection["memory_bytes"]["activations"].as_f64().unwrap() / case["activation_bytes"].as_f64().unwrap();
        assert!((kept - 1.0).abs() < 0.001, "{name}: {kept}");
        compared += 1;
    }
    assert!(compared >= 12, "only {compared}");
}

#[test]
fn low_rank_models_have_the_parameters_that_greenformers_counts() {
    assert_eq!(parameters(&["bert-base-model", "--set", "linear.rank=256"]), 66_818_304);
    assert_eq!(parameters(&["bert-base-model", "--set", "linear.ratio=0.4"]), 58_052_352);
    assert_eq!(parameters(&["gpt2", "--set", "linear.rank=256"]), 77_253_888);
    assert_eq!(parameters(&["gpt2-lrt"]), 77_253_888);
}

/// By the authors' formula, r (m + n) + n for each linear layer of BERT's encoder and pooler (Cahyawijaya 2021); the
/// figures of rank 256 and ratio 0.4 are printed in their notebook too.
#[test]
fn every_rank_and_ratio_of_bert_base_follows_the_published_formula() {
    let of_ranks = [(64, 34_672_896), (100, 40_700_160), (128, 45_388_032), (192, 56_103_168), (256, 66_818_304), (320, 77_533_440)];
    for (rank, expected) in of_ranks {
        assert_eq!(parameters(&["bert-base-model", "--set", &format!("linear.rank={rank}")]), expected, "rank {rank}");
    }
    for (ratio, expected) in [("0.25", 45_283_584), ("0.4", 58_052_352), ("0.5", 66_701_568)] {
        assert_eq!(parameters(&["bert-base-model", "--set", &format!("linear.ratio={ratio}")]), expected, "ratio {ratio}");
    }
}

#[test]
fn at_rank_384_only_the_feed_forward_layers_of_bert_base_are_factorised() {
    let place = Workplace::new();
    let parts = |rank: &str| place.json(&["inspect", "bert-base-model", "--format", "json", "--set", rank])["parameters"].clone();
    let (below, at) = (parts("linear.rank=383"), parts("linear.rank=384"));
    let dense = place.json(&["inspect", "bert-base-model", "--format", "json"])["parameters"].clone();
    assert!(below["attention"].as_i64() < dense["attention"].as_i64());
    assert_eq!(at["attention"], dense["attention"]);
    assert_eq!(at["feed_forward"], 12 * (2 * 384 * (768 + 3072) + 768 + 3072));
}

/// A model file, its name and `--set` are three ways to say the same.
#[test]
fn a_file_a_shipped_name_and_an_assignment_agree() {
    let place = Workplace::new();
    place.write("mine.toml", "use = \"bert-base\"\n[linear]\nrank = 256\n");
    let inspect = |arguments: &[&str]| {
        let mut inspection = place.json(&[&["inspect"], arguments, &["--format", "json"]].concat());
        inspection["model"] = Value::Null;
        inspection
    };
    let shipped = inspect(&["bert-base-lrt"]);
    assert_eq!(inspect(&["mine.toml"]), shipped);
    assert_eq!(inspect(&["bert-base", "--set", "linear.rank=256"]), shipped);
    assert_ne!(inspect(&["bert-base"]), shipped);
}

#[test]
fn inspect_gives_the_stable_keys_as_whole_numbers() {
    let place = Workplace::new();
    let arguments = ["inspect", "bert-base", "--batch", "3", "--seq-len", "100", "--precision", "bf16", "--format", "json"];
    let inspection = place.json(&arguments);
    assert_eq!(inspection["schema"], 1);
    assert_eq!(inspection["model"], "bert-base");
    assert_eq!(inspection["batch"], 3);
    assert_eq!(inspection["seq_len"], 100);
    assert_eq!(inspection["precision"], "bf16");
    let keys = [
        ("parameters", &["total", "embedding", "attention", "feed_forward", "norm", "head"][..]),
        ("flops", &["matmul_forward", "matmul_backward", "elementwise_forward"]),
        ("memory_bytes", &["parameters", "gradients", "optimizer", "activations", "peak"]),
    ];
    for (section, keys) in keys {
        for key in keys {
            assert!(inspection[section][key].as_i64().is_some_and(|number| number > 0), "{section}.{key} is {}", inspection[section][key]);
        }
    }
}

#[test]
fn the_default_inspection_is_one_sequence_of_512_in_fp32() {
    let place = Workplace::new();
    for name in ["bert-base", "gpt2", "t5-small"] {
        let inspection = place.json(&["inspect", name, "--format", "json"]);
        assert_eq!((&inspection["batch"], &inspection["seq_len"]), (&1.into(), &512.into()), "{name}");
        assert_eq!(inspection["precision"], "fp32", "{name}");
    }
}

#[test]
fn components_of_every_shipped_model_sum_to_its_total() {
    let place = Workplace::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert!(names.len() >= 12, "only {names:?}");
    for name in names {
        let inspection = place.json(&["inspect", &name, "--format", "json"]);
        let counts = inspection["parameters"].as_object().unwrap();
        let parts: i64 = counts.iter().filter(|(key, _)| *key != "total").map(|(_, count)| count.as_i64().unwrap()).sum();
        assert_eq!(Some(parts), counts["total"].as_i64(), "{name}");
        let memory = inspection["memory_bytes"].as_object().unwrap();
        let parts: i64 = memory.iter().filter(|(key, _)| *key != "peak").map(|(_, bytes)| bytes.as_i64().unwrap()).sum();
        assert_eq!(Some(parts), memory["peak"].as_i64(), "{name}");
    }
}

/// In fp32 Adam keeps 4 + 4 bytes a parameter beside 4 + 4 for weight and gradient; in 16 bits 12 beside 2 + 2
/// (Rajbhandari et al. 2020, ZeRO, section 3.1).
#[test]
fn states_take_sixteen_bytes_a_parameter_with_adam() {
    let place = Workplace::new();
    for (precision, [weights, gradients, optimizer]) in
        [("fp32", [4, 4, 8]), ("tf32", [4, 4, 8]), ("fp16", [2, 2, 12]), ("bf16", [2, 2, 12])]
    {
        let inspection = place.json(&["inspect", "gpt2", "--precision", precision, "--format", "json"]);
        let memory = &inspection["memory_bytes"];
        for (key, each) in [("parameters", weights), ("gradients", gradients), ("optimizer", optimizer)] {
            assert_eq!(memory[key], each * 124_439_808_i64, "{precision} {key}");
        }
    }
}

/// A GPT as Megatron-LM trains it: shape, and tokens of a sequence.
struct Gpt {
    width: u64,
    layers: u64,
    heads: u64,
    length: u64,
}

/// The vocabulary of all Megatron-LM tables, padded.
const VOCABULARY: u64 = 51_200;
/// Dense fp16 peak of an A100, FLOP/s.
const A100_PEAK: f64 = 312e12;

impl Gpt {
    /// Its ledger for one sequence.
    fn ledger(&self) -> Ledger {
        let Self { width, layers, heads, length } = self;
        let text = format!(
            "use = \"gpt2\"\nwidth = {width}\ndecoder.layers = {layers}\nattention.heads = {heads}\nfeed_forward.width = {}\n\
             embedding.vocabulary = {VOCABULARY}\nembedding.positions.length = {length}\n",
            4 * width
        );
        ledger(&model(&text).unwrap(), 1, *length)
    }

    /// FLOPs of matrix products in one step of one sequence: forward, twice that backward, and with `recompute` the
    /// forward pass of the layers once more.
    fn flops(&self, recompute: bool) -> f64 {
        let ledger = self.ledger();
        let layers: f64 = ledger.ops().iter().filter(|op| op.layer).map(|op| op.forward.matmul_flops * op.times).sum();
        let again = if recompute { layers } else { 0.0 };
        ledger.forward().matmul_flops + ledger.backward().matmul_flops + again
    }
}

fn gpt(width: u64, layers: u64, heads: u64, length: u64) -> Gpt {
    Gpt { width, layers, heads, length }
}

fn rounded(value: f64, digits: i32) -> f64 {
    (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits)
}

/// Narayanan et al. 2021 (arXiv 2104.04473), table 1, billions of parameters.
#[test]
fn model_sizes_of_narayanan_2021_come_out_to_the_printed_digit() {
    let table = [
        (gpt(4096, 36, 32, 2048), 7.5),
        (gpt(6144, 40, 48, 2048), 18.4),
        (gpt(8192, 48, 64, 2048), 39.1),
        (gpt(10_240, 60, 80, 2048), 76.1),
        (gpt(12_288, 80, 96, 2048), 145.6),
        (gpt(16_384, 96, 128, 2048), 310.1),
        (gpt(20_480, 105, 128, 2048), 529.6),
        (gpt(25_600, 128, 160, 2048), 1008.0),
    ];
    for (gpt, printed) in table {
        assert_eq!(rounded(gpt.ledger().parameters() / 1e9, 1), printed, "width {}", gpt.width);
    }
}

/// Narayanan et al. 2021, equation 2: 12 L h^2 (1 + 13 / (12 h) + (V + s) / (12 L h)), which leaves out the last norm.
#[test]
fn parameters_of_a_gpt_are_the_published_formula_and_the_last_norm() {
    for (h, layers, heads, s) in [(1920, 24, 15, 1024), (4096, 36, 32, 2048), (12_288, 96, 96, 2048)] {
        let formula = 12 * layers * h * h + 13 * layers * h + (VOCABULARY + s) * h;
        assert_eq!(gpt(h, layers, heads, s).ledger().parameters(), (formula + 2 * h) as f64, "width {h}");
    }
}

/// Narayanan et al. 2021, equation 3: 96 B s L h^2 (1 + s / (6 h) + V / (16 L h)) with full recomputation; without it,
/// 72 B s L h^2 (1 + s / (6 h) + V / (12 L h)).
#[test]
fn flops_of_a_gpt_step_are_the_published_formula() {
    for (h, layers, heads, s) in [(1920_u64, 24_u64, 15, 1024_u64), (4096, 36, 32, 2048), (25_600, 128, 160, 2048)] {
        let gpt = gpt(h, layers, heads, s);
        let (h, layers, s, vocabulary) = (h as f64, layers as f64, s as f64, VOCABULARY as f64);
        let formula = |factor: f64| factor * s * layers * h * h * (1.0 + s / (6.0 * h) + 6.0 * vocabulary / (factor * layers * h));
        for (recompute, factor) in [(true, 96.0), (false, 72.0)] {
            let flops = gpt.flops(recompute);
            assert!((flops / formula(factor) - 1.0).abs() < 1e-12, "width {h}: {flops} for {}", formula(factor));
        }
    }
}

/// Whether `work` done in `seconds` is a rate that prints as `printed`: both are rounded, to their half last digits.
fn prints_as(work: f64, (seconds, half_seconds): (f64, f64), (printed, half_printed): (f64, f64)) -> bool {
    let (slowest, fastest) = (work / (seconds + half_seconds), work / (seconds - half_seconds));
    slowest <= printed + half_printed && fastest >= printed - half_printed
}

#[test]
fn a_rate_that_is_off_by_a_digit_would_be_seen() {
    assert!(prints_as(100.0, (1.0, 0.0005), (100.0, 0.05)));
    assert!(!prints_as(100.0, (1.0, 0.0005), (99.8, 0.05)));
    assert!(!prints_as(100.0, (1.0, 0.0005), (100.2, 0.05)));
}

/// Megatron-LM, images/tables.tex, 2020 (NVIDIA/Megatron-LM on GitHub): seconds of a step and TFLOP/s a GPU, with
/// full recomputation and sequences of 1,024.
#[test]
fn tflops_of_megatron_2020_come_out_to_the_printed_digit() {
    let table = [
        (gpt(1920, 24, 15, 1024), 1.0, 8.0, 1.121, 71.9),
        (gpt(4096, 42, 32, 1024), 8.0, 8.0, 1.407, 52.2),
        (gpt(1920, 24, 15, 1024), 1.0, 16.0, 1.076, 149.8),
        (gpt(2304, 30, 18, 1024), 2.0, 16.0, 1.026, 136.8),
        (gpt(1920, 24, 15, 1024), 128.0, 2048.0, 1.153, 139.8),
        (gpt(3072, 36, 24, 1024), 512.0, 2048.0, 1.242, 116.7),
        (gpt(4096, 42, 32, 1024), 1024.0, 2048.0, 1.380, 106.5),
    ];
    for (gpt, gpus, batch, seconds, printed) in table {
        let work = gpt.flops(true) * batch / gpus / 1e12;
        let found = work / seconds;
        assert!(prints_as(work, (seconds, 0.0005), (printed, 0.05)), "width {} on {gpus} GPUs: {found} for {printed}", gpt.width);
    }
}

/// Smith et al. 2022 (arXiv 2201.11990), Megatron-Turing NLG 530B, section 2.3: steps of 1,920 sequences on 280, 350
/// and 420 nodes of 8 A100, with full recomputation.
#[test]
fn tflops_of_megatron_turing_nlg_come_out_to_the_printed_digit() {
    let gpt = gpt(20_480, 105, 128, 2048);
    for (nodes, seconds, printed) in [(280.0, 60.1, 126.0), (350.0, 50.2, 121.0), (420.0, 44.4, 113.0)] {
        let work = gpt.flops(true) * 1920.0 / (8.0 * nodes) / 1e12;
        let found = work / seconds;
        assert!(prints_as(work, (seconds, 0.05), (printed, 0.5)), "{nodes} nodes: {found} for {printed}");
    }
}

/// Korthikanti et al. 2022 (arXiv 2205.05198), table 5: seconds of a step with selective recomputation and sequence
/// parallelism, and model FLOPs as a share of the A100's peak.
#[test]
fn mfu_of_korthikanti_2022_comes_out_to_the_printed_digit() {
    let table = [
        (gpt(6144, 48, 64, 2048), 8.0, 4.0, 1.10, 41.5),
        (gpt(12_288, 96, 96, 2048), 64.0, 64.0, 13.75, 51.4),
        (gpt(20_480, 105, 128, 2048), 280.0, 280.0, 37.83, 56.0),
        (gpt(25_600, 128, 160, 2048), 512.0, 512.0, 71.49, 56.3),
    ];
    for (gpt, gpus, batch, seconds, printed) in table {
        let work = 100.0 * gpt.flops(false) * batch / (gpus * A100_PEAK);
        let found = work / seconds;
        assert!(prints_as(work, (seconds, 0.005), (printed, 0.05)), "width {}: {found} for {printed}", gpt.width);
    }
}

/// What PyTorch 2.6 keeps of BERT-base at one sequence of 128 positions: with masks of one byte, as on a GPU, and with
/// the numbers that it multiplies by on a CPU.
#[test]
fn masks_of_dropout_take_a_byte_or_a_number() {
    let place = Workplace::new();
    let kept = |mask: &str| {
        let inspection = place.json(&["inspect", "bert-base", "--seq-len", "128", "--set", mask, "--format", "json"]);
        inspection["memory_bytes"]["activations"].as_i64()
    };
    assert_eq!(kept("dropout_mask=\"byte\""), Some(116_810_756));
    assert_eq!(kept("dropout_mask=\"fp32\""), Some(131_261_444));
}
