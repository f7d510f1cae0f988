//! Models as Hugging Face saves them, through the program: what is read, and what is refused with which message.

mod common;

use common::Workplace;
use serde_json::json;

const TINY: &str = r#"{"model_type": "bert", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3,
 "intermediate_size": 96, "vocab_size": 200, "max_position_embeddings": 64, "architectures": ["BertModel"]}"#;

fn refused(config: &str) -> String {
    let place = Workplace::new();
    place.write("config.json", config);
    let output = place.run(&["inspect", "config.json"]);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{config}: {talk}");
    assert!(output.stdout.is_empty() && talk.lines().count() == 1 && talk.starts_with("error: config.json:"), "{config}: {talk}");
    talk
}

fn says(config: &str, parts: &[&str]) {
    let talk = refused(config);
    for part in parts {
        assert!(talk.contains(part), "{talk}should say: {part}");
    }
}

#[test]
fn what_nystromformer_and_yoso_cannot_run_is_refused() {
    says("{\"model_type\": \"nystromformer\", \"inv_coeff_init_option\": true}", &["inv_coeff_init_option: found true", "false"]);
    says("{\"model_type\": \"nystromformer\", \"segment_means_seq_len\": 100}", &["segment_means_seq_len: found 100", "64 landmarks"]);
    says("{\"model_type\": \"nystromformer\", \"is_decoder\": true}", &["is_decoder: found true"]);
    says(
        "{\"model_type\": \"yoso\", \"use_expectation\": false, \"lsh_backward\": false}",
        &["lsh_backward: found false", "use_expectation"],
    );
    says("{\"model_type\": \"yoso\", \"architectures\": [\"YosoForCausalLM\"]}", &["YosoForCausalLM", "ForMaskedLM"]);
}

#[test]
fn a_convolution_that_is_null_is_none_though_the_default_has_one() {
    let place = Workplace::new();
    let parameters = |more: &str| {
        place.write("config.json", format!("{{\"model_type\": \"nystromformer\"{more}}}"));
        place.json(&["inspect", "config.json", "--format", "json"])["parameters"]["total"].as_i64().unwrap()
    };
    assert_eq!(parameters("") - parameters(", \"conv_kernel_size\": null"), 12 * 12 * 65);
}

#[test]
fn a_file_and_its_folder_are_the_same_model() {
    let place = Workplace::new();
    place.write("saved/config.json", TINY);
    let file = place.json(&["inspect", "saved/config.json", "--seq-len", "64", "--format", "json"]);
    assert_eq!(file["parameters"]["total"], 53_136);
    assert_eq!(place.json(&["inspect", "saved", "--seq-len", "64", "--format", "json"]), file);
    assert_eq!(place.json(&["inspect", "./saved", "--seq-len", "64", "--format", "json"]), file);
    let narrow = place.json(&["inspect", "saved", "--seq-len", "64", "--set", "linear.rank=4", "--format", "json"]);
    assert!(narrow["parameters"]["total"].as_i64() < file["parameters"]["total"].as_i64());
}

/// Configurations as models carry them, with all their keys, in `tests/configs/`; parameters as transformers 4.44.2 counts them.
#[test]
fn configurations_as_they_are_published_have_the_published_parameters() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let published: &[(&str, i64)] = &[
        ("bert-base-uncased", 109_514_298),
        ("roberta-base", 124_697_433),
        ("distilbert-base-uncased-finetuned-sst-2", 66_955_010),
        ("albert-base-v2", 11_221_680),
        ("electra-small-discriminator", 13_549_057),
        ("mobilebert-uncased", 36_597_564),
        ("gpt2", 124_439_808),
        ("gpt-neo-1.3b", 1_315_575_808),
        ("gpt-neox-20b", 20_554_567_680),
        ("opt-350m", 331_196_416),
        ("opt-1.3b", 1_315_758_080),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.2-1b", 1_235_814_400),
        ("mistral-7b-v0.1", 7_241_732_096),
        ("mistral-7b-v0.3", 7_248_023_552),
        ("mistral-nemo-12b", 12_247_782_400),
        ("qwen2-0.5b", 494_032_768),
        ("gemma-2b", 2_506_172_416),
        ("gemma-2-2b", 2_614_341_888),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen1.5-moe-a2.7b", 14_315_784_192),
        ("t5-base", 222_903_552),
        ("flan-t5-base", 247_577_856),
        ("bart-large", 406_291_456),
        ("longformer-base-4096", 148_711_257),
        ("bigbird-roberta-base", 128_112_824),
        ("reformer-enwik8", 149_182_722),
        ("nystromformer-512", 109_122_240),
        ("fnet-base", 83_486_722),
        ("funnel-small", 131_564_545),
        ("yoso-4096", 127_454_697),
        ("switch-base-8", 619_339_008),
        ("mamba-130m", 129_135_360),
        ("falcon-7b", 6_921_720_704),
        ("bloom-560m", 559_214_592),
        ("phi-2", 2_779_683_840),
        ("xlnet-base-cased", 116_750_336),
        ("opus-mt-en-de", 73_886_208),
    ];
    let place = Workplace::new();
    for (name, parameters) in published {
        let file = folder.join(format!("{name}.json"));
        let inspected = place.json(&["inspect", file.to_str().unwrap(), "--format", "json"]);
        assert_eq!(inspected["parameters"]["total"], *parameters, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), published.len());
}

#[test]
fn null_of_a_number_with_a_default_of_its_own_is_a_choice() {
    let place = Workplace::new();
    let parameters = |family: &str, more: &str| {
        place.write("config.json", format!("{{\"model_type\": \"{family}\"{more}}}"));
        place.json(&["inspect", "config.json", "--format", "json"])["parameters"]["total"].as_i64().unwrap()
    };
    // Keys and values of 32 heads in place of 8, for 32 layers.
    let widened = 32 * 2 * 4096 * (4096 - 1024);
    for family in ["mistral", "mixtral"] {
        assert_eq!(parameters(family, ", \"num_key_value_heads\": null") - parameters(family, ""), widened, "{family}");
    }
    // What is true by default is not where it is null.
    assert_eq!(parameters("gpt2", ", \"tie_word_embeddings\": null") - parameters("gpt2", ""), 50_257 * 768);
}

#[test]
fn null_is_absent() {
    let place = Workplace::new();
    place.write(
        "a.json",
        json!({ "model_type": "bert", "hidden_size": null, "classifier_dropout": null, "architectures": ["BertModel"] }).to_string(),
    );
    assert_eq!(place.json(&["inspect", "a.json", "--format", "json"])["parameters"]["total"], 109_482_240);
}

#[test]
fn what_is_no_configuration_is_refused() {
    says("", &["an empty file", "a JSON object"]);
    says("[1]", &["no object"]);
    says("{\"model_type\": \"bert\",", &["JSON"]);
    says("{\"hidden_size\": 768}", &["model_type: found nothing", "bert", "xlm-roberta"]);
    says("{\"model_type\": \"berd\"}", &["unknown model_type \"berd\"", "albert", "nearest: \"bert\""]);
    says("{\"model_type\": [\"bert\"]}", &["model_type: found a list"]);
}

#[test]
fn what_contradicts_is_named_as_the_configuration_names_it() {
    let place = Workplace::new();
    for (config, length, parts) in [
        ("\"gpt2\",\n\"n_positions\": 128", "129", ["config.json:2: n_positions (embedding.positions.length)", "at most 128 positions"]),
        ("\"gpt2\"", "1025", ["config.json:1: n_positions (embedding.positions.length)", "at most 1024 positions"]),
        ("\"roberta\",\n\"max_position_embeddings\": 130", "129", ["config.json:2: max_position_embeddings", "at most 128 positions"]),
        ("\"llama\",\n\"num_key_value_heads\": 7", "64", ["config.json:2: num_key_value_heads", "a divisor of the 32 heads"]),
    ] {
        place.write("config.json", format!("{{\"model_type\": {config}}}"));
        let output = place.run(&["inspect", "config.json", "--seq-len", length]);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && parts.iter().all(|part| talk.contains(part)), "{talk}");
    }
}

#[test]
fn wrong_values_are_refused_at_their_key() {
    let with = |more: &str| format!("{{\"model_type\": \"bert\",\n{more}}}");
    for (more, parts) in [
        ("\"hidden_size\": \"768\"", &["config.json:2: hidden_size", "a whole number"][..]),
        ("\"hidden_size\": -1", &["hidden_size: found -1"]),
        ("\"hidden_size\": 0", &["hidden_size: found 0", "1 to"]),
        ("\"hidden_size\": 1e99", &["hidden_size", "a whole number"]),
        ("\"hidden_size\": 99999999999999999999999", &["hidden_size", "a whole number"]),
        ("\"num_hidden_layers\": 1e400", &["64 bits"]),
        ("\"hidden_act\": \"gelo\"", &["hidden_act: found \"gelo\"", "gelu_new", "nearest: \"gelu\""]),
        ("\"hidden_dropout_prob\": 1.5", &["hidden_dropout_prob: found 1.5", "below 1"]),
        ("\"num_attention_heads\": 7", &["a divisor of the width 768"]),
        ("\"architectures\": \"BertModel\"", &["architectures", "a list of class names"]),
        ("\"architectures\": [\"BertForNothing\"]", &["found \"BertForNothing\"", "ForMaskedLM", "Model"]),
        ("\"position_embedding_type\": \"rotary\"", &["position_embedding_type", "relative_key_query"]),
        ("\"quantization_config\": {}", &["quantization_config"]),
    ] {
        says(&with(more), parts);
    }
}
