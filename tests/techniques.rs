//! Kinds of linear layers and training techniques as what-ifs, through the program and the library.

mod common;

use common::{Workplace, ledger, model};
use lowcarb::ledger::Ledger;
use serde_json::Value;

/// BERT-base on one accelerator, with what a variant lays over it.
fn run(accelerator: &str, precision: &str, base: &str, variant: &str) -> Value {
    let place = Workplace::new();
    let text = format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"base\"\ndraws = 0\nmodel.use = \"bert-base\"\nhardware.accelerator = \"{accelerator}\"\n\
         site = {{ pue = 1.0, carbon_intensity = \"400 g/kWh\" }}\n\
         training = {{ precision = \"{precision}\", optimizer = \"adam\", framework = \"graph\", steps = 5000, global_batch = 32, sequence_length = 128 }}\n\
         {base}\n[[variant]]\nname = \"other\"\n{variant}\n[sources.here]\ncitation = \"A source\"\nyear = 2020\nclass = \"published\"\n"
    );
    place.write("s.toml", text);
    serde_json::from_str(&place.printed(&["run", "./s.toml", "--format", "json"])).unwrap()
}

fn refused(base: &str) -> String {
    let place = Workplace::new();
    let text = format!(
        "schema = 1\ntitle = \"t\"\nbaseline = \"base\"\ndraws = 0\nmodel.use = \"bert-base\"\nhardware.accelerator = \"A100-SXM4-80GB\"\n\
         training = {{ precision = \"bf16\", optimizer = \"adam\", steps = 10, global_batch = 32, sequence_length = 128 }}\n{base}\n"
    );
    place.write("s.toml", text);
    let output = place.run(&["run", "./s.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn case(result: &Value, index: usize) -> Value {
    result["variants"][index].clone()
}

fn saving(result: &Value, what: &str) -> f64 {
    case(result, 1)["savings_percent"][what]["value"].as_f64().unwrap()
}

fn notes(case: &Value) -> String {
    case["notes"].to_string()
}

fn forward_and_backward(ledger: &Ledger) -> (f64, f64) {
    (ledger.forward().matmul_flops, ledger.backward().matmul_flops)
}

#[test]
fn two_of_four_saves_where_the_profile_states_a_rate_and_nowhere_else() {
    let variant = "model.linear.n_of_m = { keep = 2, of = 4 }";
    let able = run("A100-SXM4-80GB", "bf16", "", variant);
    assert!(saving(&able, "duration_s") > 1.0, "{able}");
    assert!(notes(&case(&able, 1)).contains("2.000 times the dense bf16 rate"));
    let both = run("A100-SXM4-80GB", "bf16", "", "model.linear.n_of_m = { transposable = true }");
    assert!(saving(&both, "duration_s") > saving(&able, "duration_s") + 1.0);
    let unable = run("V100-SXM2-32GB", "fp16", "", variant);
    assert!(saving(&unable, "duration_s") <= 0.0, "compressing costs a pass");
    assert!(notes(&case(&unable, 1)).contains("save nothing"));
    // The pattern is another one than the device's.
    let other = run("A100-SXM4-80GB", "bf16", "", "model.linear.n_of_m = { keep = 1, of = 4 }");
    assert!(notes(&case(&other, 1)).contains("1:4 pruned products save nothing"));
}

#[test]
fn an_output_projection_that_lays_its_matrix_out_anew_takes_every_kind_of_linear_layer() {
    let of = |text: &str| ledger(&model(&format!("use = \"xlnet-base\"\n{text}")).unwrap(), 2, 64);
    let dense = of("");
    let factors = of("linear = { rank = 64, components = [\"output\"] }");
    assert_eq!(dense.parameters() - factors.parameters(), 12.0 * (768.0 * 768.0 - 64.0 * 2.0 * 768.0));
    let pruned = of("linear.n_of_m = { keep = 2, of = 4, components = [\"output\"] }");
    assert_eq!(dense.parameters() - pruned.parameters(), 12.0 * 768.0 * 768.0 / 2.0);
    let adapted = of("linear.adapter = { rank = 8, components = [\"output\"] }");
    assert_eq!(adapted.parameters() - dense.parameters(), 12.0 * 8.0 * 2.0 * 768.0);
}

#[test]
fn pruned_layers_count_what_is_left_and_the_flops_that_hardware_runs() {
    let of = |text: &str| ledger(&model(&format!("use = \"bert-base\"\n{text}")).unwrap(), 2, 128);
    let dense = of("");
    // 12 x (4 x 768 x 768 + 2 x 768 x 3072) weights lie in the layers.
    let inside = 84_934_656.0;
    let pattern = of("linear.n_of_m = { keep = 2, of = 4 }");
    assert_eq!(dense.parameters() - pattern.parameters(), inside / 2.0);
    assert_eq!(forward_and_backward(&pattern), forward_and_backward(&dense));
    assert_eq!(pattern.trained_parameters(), dense.trained_parameters(), "training holds the matrices whole");
    assert_eq!(pattern.index_bits(), inside / 2.0 * 2.0);
    let unstructured = of("linear.unstructured = { density = 0.1 }");
    assert!((dense.parameters() - unstructured.parameters() - 0.9 * inside).abs() < 100.0);
    assert_eq!(forward_and_backward(&unstructured), forward_and_backward(&dense));
    // As recorded of torch.nn.utils.prune on BERT: on top of the dense model it keeps every masked copy, and no mask, which is
    // a buffer beside the parameters.
    assert_eq!(unstructured.kept_bytes() - dense.kept_bytes(), 2.0 * inside);
    assert_eq!(unstructured.parameter_bytes() - dense.parameter_bytes(), 2.0 * inside);
    let blocks = of("linear.blocks = { density = 0.25, size = 64 }");
    assert_eq!(dense.parameters() - blocks.parameters(), 0.75 * inside);
    let products = 2.0 * 2.0 * 128.0 * 0.75 * inside;
    assert_eq!(dense.forward().matmul_flops - blocks.forward().matmul_flops, products);
    assert_eq!(dense.backward().matmul_flops - blocks.backward().matmul_flops, 2.0 * products);
    assert_eq!(blocks.trained_parameters(), blocks.parameters());
}

#[test]
fn adapters_alone_have_gradients_and_frozen_products_no_weight_gradient() {
    let of = |text: &str| ledger(&model(&format!("use = \"bert-base\"\n{text}")).unwrap(), 1, 128);
    let (dense, adapted) = (of(""), of("linear.adapter = { rank = 8 }"));
    // 12 layers x 2 adapters x 8 (768 + 768).
    assert_eq!(adapted.changed_parameters(), 294_912.0);
    assert_eq!(adapted.parameters() - dense.parameters(), 294_912.0);
    let (forward, backward) = forward_and_backward(&adapted);
    assert!(backward < 1.02 * forward, "the gradient of the input alone");
    assert!(adapted.kept_bytes() < dense.kept_bytes());
    let quantised = of("linear = { adapter = { rank = 8 }, quantised = { format = \"nf4\" } }");
    assert_eq!(forward_and_backward(&quantised), forward_and_backward(&adapted));
    assert_eq!(quantised.kept_bytes(), adapted.kept_bytes(), "the copy in the step's precision is made again, not kept");
    // The layers, 2 bytes to 4.127 bits.
    let frozen = 84_934_656.0;
    let saved = adapted.parameter_bytes() - quantised.parameter_bytes();
    assert!((saved - frozen * (2.0 - 4.127 / 8.0)).abs() < 1e4, "{saved}");
}

#[test]
fn a_configuration_with_quantised_weights_is_read() {
    let place = Workplace::new();
    let inspect = |quantisation: &str| {
        let config = format!("{{\"model_type\": \"bert\", \"architectures\": [\"BertForMaskedLM\"]{quantisation}}}");
        place.write("config.json", config);
        place.run(&["inspect", "./config.json", "--precision", "fp16", "--format", "json"])
    };
    let parameters = |quantisation: &str| {
        let value: Value = serde_json::from_slice(&inspect(quantisation).stdout).unwrap();
        value["inference"]["held_bytes"].as_f64().unwrap()
    };
    let whole = parameters("");
    for (quantisation, bits) in [
        ("{\"load_in_8bit\": true}", 8.0 + 32.0 / 768.0),
        ("{\"load_in_4bit\": true}", 4.5),
        ("{\"load_in_4bit\": true, \"bnb_4bit_quant_type\": \"nf4\", \"bnb_4bit_use_double_quant\": true}", 4.127),
    ] {
        let held = parameters(&format!(", \"quantization_config\": {quantisation}"));
        let expected = whole - 84_934_656.0 * (2.0 - bits / 8.0);
        assert!((held - expected).abs() < 2e-3 * expected, "{quantisation}: {held} for {expected}");
    }
    let refused = inspect(", \"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("quantization_config.quant_method"));
}

#[test]
fn lora_fine_tuning_saves_memory_through_the_program() {
    let place = Workplace::new();
    let inspect = |set: &[&str]| {
        let mut arguments = vec!["inspect", "bert-base", "--precision", "bf16", "--format", "json"];
        set.iter().for_each(|value| arguments.extend(["--set", *value]));
        place.json(&arguments)
    };
    let (whole, adapted) = (inspect(&[]), inspect(&["linear.adapter={ rank = 8 }", "linear.quantised={ format = \"nf4\" }"]));
    assert_eq!(whole["trained_parameters"], whole["parameters"]["total"]);
    assert_eq!(adapted["trained_parameters"], 294_912);
    assert_eq!(adapted["inference"]["stored_trained_bytes"]["fp16"], 2 * 294_912);
    let peak = |value: &Value| value["memory_bytes"]["gradients"].as_f64().unwrap() + value["memory_bytes"]["optimizer"].as_f64().unwrap();
    assert!(peak(&adapted) < 0.01 * peak(&whole));
    assert!(adapted["memory_bytes"]["parameters"].as_f64() < whole["memory_bytes"]["parameters"].as_f64());
    let table = place.printed(&["inspect", "bert-base", "--set", "linear.adapter={ rank = 8 }"]);
    assert!(table.contains("Training changes 294,912 of 109,809,210 parameters."), "{table}");
}

#[test]
fn int8_products_save_where_int8_is_faster() {
    let result = run("A100-SXM4-80GB", "bf16", "", "model.linear.products = \"int8\"");
    assert!(notes(&case(&result, 1)).contains("int8 products run at 2.000 times"));
    let (base, other) = (case(&result, 0), case(&result, 1));
    let compute = |case: &Value| case["phases"][0]["compute_s"].as_f64().unwrap();
    assert!(compute(&other) < compute(&base), "{other}");
}

#[test]
fn pruning_of_heads_neurons_and_layers_is_a_smaller_model() {
    let small = model("use = \"bert-base\"\nprune = { heads = 0.25, feed_forward = 0.5, layers = 0.25 }").unwrap();
    let written = "use = \"bert-base\"\nattention = { heads = 9, head_width = 64 }\nfeed_forward.width = 1536\nencoder.layers = 9";
    assert_eq!(ledger(&small, 2, 64), ledger(&model(written).unwrap(), 2, 64));
    let said = small.notes_at(64).join("\n");
    assert!(said.contains("12 to 9 heads") && said.contains("3072 to 1536") && said.contains("12 to 9 encoder layers"), "{said}");
    assert!(model("use = \"bert-base\"\nprune.heads = 1.0").is_err());
    // A head's width is that inside a bottleneck.
    let narrow = model("use = \"mobilebert\"\nprune.heads = 0.5").unwrap();
    let written = "use = \"mobilebert\"\nattention = { heads = 2, head_width = 32 }";
    assert_eq!(ledger(&narrow, 2, 64), ledger(&model(written).unwrap(), 2, 64));
}

#[test]
fn a_teacher_runs_forward_in_every_step() {
    let student = "model.encoder.layers = 6";
    let plain = run("A100-SXM4-80GB", "bf16", "", student);
    let taught = run("A100-SXM4-80GB", "bf16", "", &format!("{student}\ntechniques.distillation = {{ teacher = \"bert-base\" }}"));
    let flops = |result: &Value| case(result, 1)["phases"][0]["executed_matmul_flops"].as_f64().unwrap();
    let teacher = ledger(&model("use = \"bert-base\"").unwrap(), 32, 128).forward().matmul_flops;
    assert!((flops(&taught) - flops(&plain) - teacher).abs() < 1e-6 * teacher);
    let memory = |result: &Value| case(result, 1)["memory_bytes"]["model"].as_f64().unwrap();
    assert!(memory(&taught) > memory(&plain) + 2.0 * 109_514_298.0, "its weights are in memory");
    assert!(notes(&case(&taught, 1)).contains("not priced: the teacher's own training"));
    assert!(saving(&taught, "duration_s") < saving(&plain, "duration_s"));
    // Recorded of PyTorch's kl_div beside the loss of a BERT of 2 x 64 positions: log-probabilities and targets, fp32.
    let of = |text: &str| ledger(&model(&format!("use = \"bert-base\"\n{text}")).unwrap(), 2, 64).kept_bytes();
    assert_eq!(of("head.soft_targets = true") - of(""), 31_254_528.0);
}

#[test]
fn what_would_fit_is_not_searched_without_the_teacher() {
    let told = |techniques: &str| {
        let result = run("A100-SXM4-40GB", "fp32", "", &format!("training.global_batch = 4096\n{techniques}"));
        notes(&case(&result, 1))
    };
    assert!(told("").contains("micro_batch = "));
    let taught = told("techniques.distillation = { teacher = \"bert-base\" }");
    assert!(taught.contains("not searched beside a teacher") && !taught.contains("micro_batch = "), "{taught}");
}

/// FLOPs as `flops_computation.py` of ELECTRA counts them: backward as much as forward, and lookups as products with one-hot
/// vectors; of tokens and of positions and segments.
fn electra_convention(ledger: &Ledger, sequences: f64, length: f64, width: f64) -> f64 {
    let forward = ledger.forward();
    let lookups = 2.0 * width * (30_522.0 + length + 2.0);
    2.0 * (forward.matmul_flops + forward.elementwise_flops + sequences * length * lookups)
}

#[test]
fn electra_takes_the_flops_that_its_authors_compute() {
    let bert = "use = \"bert-base\"\nhead.positions = \"masked\"\nhead.masked_share = 0.15625";
    let small = "width = 256\nattention.heads = 4\nfeed_forward.width = 1024\nembedding.width = 128";
    let discriminator = "use = \"bert-base\"\nhead = { kind = \"discriminator\" }";
    let generator = |width: u64, embedding: u64| {
        format!(
            "{bert}\nwidth = {width}\nattention.heads = {}\nfeed_forward.width = {}\nembedding.width = {embedding}\nembedding.borrowed = true",
            width / 64,
            4 * width
        )
    };
    let of = |text: &str, length: u64, width: f64| electra_convention(&ledger(&model(text).unwrap(), 1, length), 1.0, length as f64, width);
    let runs = [
        ("BERT-base", of(bert, 512, 768.0) * 256.0 * 1e6, 6.43e19),
        ("ELECTRA-base", (of(discriminator, 512, 768.0) + of(&generator(256, 768), 512, 768.0)) * 256.0 * 766_000.0, 6.42e19),
        (
            "ELECTRA-small",
            (of(&format!("{discriminator}\n{small}"), 128, 128.0) + of(&generator(64, 128), 128, 128.0)) * 128.0 * 1e6,
            1.29e18,
        ),
    ];
    for (name, ours, published) in runs {
        let ratio = ours / published;
        assert!((0.985..1.015).contains(&ratio), "{name}: {ours:.4e} for {published:e}");
    }
}

#[test]
fn replaced_tokens_train_generator_and_discriminator_and_share_their_tables() {
    let head = "model.head = { kind = \"discriminator\", positions = \"all\" }";
    let alone = run("A100-SXM4-80GB", "bf16", "", head);
    let both = run("A100-SXM4-80GB", "bf16", "", &format!("{head}\ntechniques.replaced_tokens = {{ generator_size = 0.25 }}"));
    let flops = |result: &Value| case(result, 1)["phases"][0]["executed_matmul_flops"].as_f64().unwrap();
    let generator = "use = \"bert-base\"\nwidth = 192\nattention = { heads = 3, head_width = 64 }\nfeed_forward.width = 768\n\
                     embedding = { width = 768, borrowed = true }\nhead = { positions = \"masked\", masked_share = 0.15 }";
    let generator = ledger(&model(generator).unwrap(), 32, 128);
    let (forward, backward) = forward_and_backward(&generator);
    assert!((flops(&both) - flops(&alone) - forward - backward).abs() < 1e-9 * flops(&both));
    // The tables are the model's own; its 12 layers of width 192, the map from 768 and the head's transform are not.
    assert!(generator.parameters() < 6e6, "{}", generator.parameters());
    assert!(notes(&case(&both, 1)).contains("not priced: drawing the tokens"));
    assert!(refused("techniques.replaced_tokens = { generator_size = 0.25 }").contains("discriminator"));
}

#[test]
fn long_range_arena_hides_its_evaluation() {
    // Steps, steps between evaluations, batches of one, and what the passes add to the products of training, percent.
    for (name, steps, every, batches, percent) in
        [("ListOps", 5_000, 50, 63, 41.6), ("Text", 20_000, 100, 782, 259.4), ("Retrieval", 5_000, 100, 565, 184.6)]
    {
        let variant = format!("training.steps = {steps}\ntechniques.evaluation = {{ every = {every}, batches = {batches} }}");
        let result = run("A100-SXM4-80GB", "bf16", "model.head = { kind = \"classification\", classes = 2 }", &variant);
        let phases = case(&result, 1)["phases"].clone();
        let work = |index: usize| phases[index]["steps"].as_f64().unwrap() * phases[index]["executed_matmul_flops"].as_f64().unwrap();
        let added = 100.0 * work(1) / work(0);
        assert_eq!(phases[1]["purpose"], "evaluation");
        assert!((added - percent).abs() < 0.1, "{name}: {added} %");
    }
}

/// Settings of linear layers, alone and together.
const KINDS: &[&str] = &[
    "linear.n_of_m = {}",
    "linear.n_of_m = { keep = 1, of = 8, transposable = true }",
    "linear.blocks = { density = 0.25, size = 32 }",
    "linear.unstructured = { density = 0.1 }",
    "linear.quantised = { format = \"int8\" }",
    "linear.quantised = { format = \"int4\", components = [\"feed_forward\", \"vocabulary\"] }",
    "linear.products = \"int8\"",
    "linear.adapter = { rank = 4, dropout = 0.1 }",
    "linear.adapter = { rank = 4, components = [\"attention\", \"feed_forward\", \"vocabulary\"] }",
    "linear = { rank = 32, n_of_m = {} }",
    "linear = { rank = 32, blocks = { density = 0.5, size = 16 } }",
    "linear = { ratio = 0.4, unstructured = { density = 0.3 }, adapter = { rank = 2 } }",
    "linear = { n_of_m = {}, quantised = { format = \"nf4\" }, adapter = { rank = 8, dropout = 0.1 } }",
    "linear = { blocks = { density = 0.5 }, quantised = { format = \"nf4\" }, adapter = { rank = 8 } }",
    "linear = { products = \"int8\", adapter = { rank = 8 } }",
];

#[test]
fn laws_hold_for_every_kind_of_linear_layer_and_for_kinds_together() {
    let sums = |ledger: &Ledger| {
        let both = ledger.forward() + ledger.backward();
        [both.matmul_flops, both.elementwise_flops, both.bytes(), ledger.kept_bytes()]
    };
    let close = |left: f64, right: f64| (left - right).abs() <= 1e-9 * left.abs().max(right.abs());
    let small = "width = 128\nattention.heads = 4\nfeed_forward.width = 512\nembedding.vocabulary = 1000";
    for base in ["use = \"bert-base\"", "use = \"t5-small\"\nattention.head_width = 32\ndecoder.layers = 3"] {
        for kind in KINDS {
            let of = |layers: u64, sequences: u64, length: u64| {
                let text = format!("{base}\n{small}\nencoder.layers = {layers}\n{kind}");
                ledger(&model(&text).unwrap_or_else(|error| panic!("{kind}: {error}")), sequences, length)
            };
            let [two, three, four] = [2, 3, 4].map(|sequences| sums(&of(2, sequences, 16)));
            for part in 0..4 {
                assert!(close(three[part] - two[part], four[part] - three[part]), "{kind}: {part}: not linear in the batch");
            }
            let (short, long) = (of(2, 2, 16), of(2, 2, 24));
            assert!(sums(&short).iter().zip(sums(&long)).all(|(short, long)| *short < long), "{kind}: a longer sequence takes no more");
            assert_eq!(short.parameters(), long.parameters(), "{kind}");
            assert!(short.changed_parameters() <= short.parameters() && short.parameters() <= of(3, 2, 16).parameters(), "{kind}");
            assert!(short.parameter_bytes() > 0.0 && short.changed_parameters() > 0.0, "{kind}");
            let [second, third, fourth] = [2, 3, 4].map(|layers| sums(&of(layers, 2, 16)));
            for part in 0..4 {
                assert!(close(third[part] - second[part], fourth[part] - third[part]), "{kind}: {part}: layers differ");
            }
            for op in short.ops() {
                let cost = op.forward + op.backward();
                let all = [cost.matmul_flops, cost.elementwise_flops, cost.bytes_read, cost.bytes_written, cost.launches];
                assert!(all.iter().all(|number| number.is_finite() && *number >= 0.0), "{kind}: {}", op.name);
            }
            let kernels = short.kernels(lowcarb::ledger::Rerun::Nothing).fold(0.0, |sum, kernel| sum + kernel.times * kernel.matmul_flops);
            assert!(close(kernels, sums(&short)[0]), "{kind}: {kernels} FLOPs of kernels");
        }
    }
}

#[test]
fn early_stopping_and_other_runs_scale_the_work_and_say_from_where() {
    let stopped = run("A100-SXM4-80GB", "bf16", "", "techniques.early_stopping = { share = 0.6 }");
    assert!((saving(&stopped, "energy_kwh") - 40.0).abs() < 1e-9);
    assert_eq!(case(&stopped, 1)["duration_s"]["class"], "assumed", "a share without a source");
    let all = run("A100-SXM4-80GB", "bf16", "", "techniques.other_runs = { factor = 2.5, source = \"here\" }");
    assert!((saving(&all, "energy_kwh") + 150.0).abs() < 1e-9);
    assert!(notes(&case(&all, 1)).contains("A source (2020)"));
    assert_eq!(case(&all, 1)["duration_s"]["class"], case(&all, 0)["duration_s"]["class"]);
}

#[test]
fn goodput_and_input_wait_are_time_beside_the_steps_which_draws_as_they_do_or_idle_power() {
    let number = |case: &Value, what: &str| case[what]["value"].as_f64().unwrap();
    let lossy = run("A100-SXM4-80GB", "bf16", "", "techniques.goodput = { value = 0.8, source = \"here\" }");
    for what in ["duration_s", "energy_kwh"] {
        assert!((saving(&lossy, what) + 25.0).abs() < 1e-9, "{what}");
    }
    let (plain, other) = (case(&lossy, 0), case(&lossy, 1));
    assert!(notes(&other).contains("a goodput of 80.0 %") && notes(&other).contains("A source (2020)"), "{}", notes(&other));
    assert_eq!(other["duration_s"]["class"], plain["duration_s"]["class"]);
    let of = |key: &str| other["phases"][0][key].as_f64().unwrap();
    assert!((of("lost_s") / of("step_s") - 0.25).abs() < 1e-12);
    assert!(other["phases"][0].get("input_wait_s").is_none() && plain["phases"][0].get("lost_s").is_none());

    let waiting = run("A100-SXM4-80GB", "bf16", "", "techniques.input_wait = 0.2");
    let (plain, other) = (case(&waiting, 0), case(&waiting, 1));
    assert!((saving(&waiting, "duration_s") + 25.0).abs() < 1e-9);
    let added = 3.6e6 * (number(&other, "energy_kwh") - number(&plain, "energy_kwh"));
    let inputs = waiting["inputs"].as_array().unwrap();
    let idle = &inputs.iter().find(|input| input["name"] == "device: idle power").unwrap()["distribution"];
    let idle = 0.5 * (idle["low"].as_f64().unwrap() + idle["high"].as_f64().unwrap());
    let watts = added / (number(&other, "duration_s") - number(&plain, "duration_s"));
    assert!((watts / idle - 1.0).abs() < 1e-9, "{watts} for {idle} W");
    assert_eq!(other["duration_s"]["class"], "assumed", "a share without a source");

    // Both at once: what waits is lost too.
    let both = run("A100-SXM4-80GB", "bf16", "", "techniques.input_wait = 0.2\ntechniques.goodput = 0.8");
    assert!((saving(&both, "duration_s") - 100.0 * (1.0 - 1.25 * 1.25)).abs() < 1e-9);
    assert!(
        (saving(&both, "energy_kwh") - 100.0 * (1.0 - 1.25 * number(&other, "energy_kwh") / number(&plain, "energy_kwh"))).abs() < 1e-9
    );
}

#[test]
fn a_goodput_may_be_a_range_and_leaves_an_anchor_as_it_is() {
    let ranged = "draws = 2000\ntechniques.goodput = { low = 0.8, high = 1.0, source = \"here\" }";
    let place = Workplace::new();
    let scenario = |text: &str| {
        place.write(
            "s.toml",
            format!(
                "schema = 1\ntitle = \"t\"\nbaseline = \"base\"\nmodel.use = \"bert-base\"\nhardware.accelerator = \"A100-SXM4-80GB\"\n\
                 training = {{ precision = \"bf16\", optimizer = \"adam\", steps = 5000, global_batch = 32, \
                 sequence_length = 128 }}\n{text}\n[sources.here]\ncitation = \"A source\"\nyear = 2020\nclass = \"published\"\n"
            ),
        );
        place.json(&["run", "./s.toml", "--format", "json"])
    };
    let result = scenario(ranged);
    assert!(result["inputs"].as_array().unwrap().iter().any(|input| input["name"] == "run: goodput" && input["class"] == "published"));
    let table = place.printed(&["run", "./s.toml"]);
    assert!(table.contains("lost"), "{table}");
    let anchor = "draws = 0\nanchor = { duration = \"10 h\", boundary = \"accelerator\", source = \"here\" }";
    let [alone, beside] = [anchor.to_string(), format!("{anchor}\ntechniques = {{ goodput = 0.5, input_wait = 0.5 }}")].map(|text| {
        let case = scenario(&text)["variants"][0].clone();
        ["duration_s", "energy_kwh"].map(|what| case[what]["value"].as_f64().unwrap())
    });
    assert_eq!((alone[0], beside[0]), (36_000.0, 36_000.0));
    // The lost half of the hours draws as much as the other, so that the steps take less of them and draw more.
    assert!((1.0..1.2).contains(&(beside[1] / alone[1])), "{alone:?} {beside:?}");
}

#[test]
fn what_does_not_go_together_is_refused_where_it_is_written() {
    for (text, part) in [
        ("techniques.distillation = {}", "techniques.distillation.teacher"),
        ("techniques.distillation = { teacher = \"gpt2\" }", "the same 30522 tokens"),
        ("techniques.evaluation = { every = 0, batches = 1 }", "techniques.evaluation.every"),
        ("techniques.other_runs = { factor = 0.5 }", "techniques.other_runs.factor"),
        ("techniques.other_runs = { factor = 2, source = \"nowhere\" }", "techniques.other_runs.source"),
        ("techniques.goodput = 0", "techniques.goodput: found 0"),
        ("techniques.goodput = { low = 0.9, high = 1.1 }", "techniques.goodput: found"),
        ("techniques.goodput = { value = 0.9, source = \"nowhere\" }", "techniques.goodput.source"),
        ("techniques.input_wait = 1.0", "techniques.input_wait: found 1"),
        ("model.linear.blocks = { density = 0.5 }\nmodel.linear.n_of_m = {}", "one of n_of_m, blocks and unstructured"),
        ("model.linear.n_of_m = { keep = 4, of = 4 }", "model.linear.n_of_m.keep"),
        ("model.linear.unstructured = { density = 1.5 }", "model.linear.unstructured.density"),
        ("model.linear.adapter = { rank = 0 }", "model.linear.adapter.rank"),
        ("model.linear.adapter = { rank = 8, components = [\"query_key_value\"] }", "model.linear.adapter.components"),
        ("model.linear.products = \"int8\"\nmodel.linear.quantised = { format = \"int8\" }", "model.linear.products"),
    ] {
        let message = refused(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}
