//! Products and parameters of mechanisms by the formulas of their papers: what the attention of one layer multiplies, per
//! sequence, with projections.

mod common;

use common::{ledger, model};
use lowcarb::arch::Model;
use lowcarb::ledger::Component;

const WIDTH: f64 = 256.0;
const HEADS: f64 = 4.0;
const HEAD_WIDTH: f64 = 64.0;
const LAYERS: f64 = 4.0;

fn subject(settings: &str) -> Model {
    model(&format!("use = \"lra-text-transformer\"\nembedding.class_token = false\nhead.kind = \"none\"\n{settings}")).unwrap()
}

fn products(model: &Model, length: u64) -> f64 {
    let ledger = ledger(model, 1, length);
    let attention = ledger.ops().iter().filter(|op| op.component == Component::Attention);
    attention.map(|op| op.forward.matmul_flops * op.times).sum::<f64>() / LAYERS
}

/// Parameters more than those of softmax attention.
fn more_parameters(model: &Model) -> f64 {
    ledger(model, 1, 1024).parameters() - ledger(&subject("name = \"softmax\""), 1, 1024).parameters()
}

#[test]
fn nystrom_has_landmarks_and_six_iterations_of_four_products() {
    let model = subject("attention.kind = \"nystrom\"\nattention.nystrom = { landmarks = 64, convolution = 33 }");
    for length in [512, 4096] {
        let (n, m) = (length as f64, 64.0);
        let scores = 4.0 * n * m * WIDTH + 2.0 * m * m * WIDTH;
        let inverse = 6.0 * 4.0 * 2.0 * m * m * m * HEADS;
        let values = 2.0 * n * m * m * HEADS + 4.0 * n * m * WIDTH;
        let convolution = 2.0 * n * WIDTH * 33.0;
        assert_eq!(products(&model, length), 8.0 * n * WIDTH * WIDTH + scores + inverse + values + convolution);
    }
    assert_eq!(more_parameters(&model), LAYERS * HEADS * 33.0);
}

#[test]
fn yoso_has_the_products_of_softmax_attention_or_none_but_those_of_its_hashes() {
    let softmax = subject("name = \"softmax\"");
    let computed = subject("attention.kind = \"yoso\"");
    assert_eq!(products(&computed, 1024), products(&softmax, 1024));
    let n = 1024.0;
    let sampled = subject("attention.kind = \"yoso\"\nattention.yoso = { estimate = \"sampling\" }");
    assert_eq!(products(&sampled, 1024), 8.0 * n * WIDTH * WIDTH);
    let slow =
        subject("attention.kind = \"yoso\"\nattention.yoso = { estimate = \"sampling\", fast_hash = false, hashes = 8, planes = 5 }");
    assert_eq!(products(&slow, 1024), 8.0 * n * WIDTH * WIDTH + 2.0 * 2.0 * n * HEADS * HEAD_WIDTH * 8.0 * 5.0);
}

#[test]
fn luna_packs_and_unpacks() {
    let (l, tied) = (16.0, "attention.kind = \"luna\"\nattention.luna = { packed_length = 16 }");
    for length in [512, 4096] {
        let n = length as f64;
        let mixing = 2.0 * 4.0 * n * l * WIDTH;
        let projections = (2.0 * n + n + 2.0 * l) * 2.0 * WIDTH * WIDTH;
        assert_eq!(products(&subject(tied), length), projections + mixing);
        let untied = subject("attention.kind = \"luna\"\nattention.luna = { packed_length = 16, tied_values = false }");
        assert_eq!(products(&untied, length), projections + (n + l) * 2.0 * WIDTH * WIDTH + mixing);
    }
    // One projection more than softmax attention has, a norm and the first packed sequence.
    assert_eq!(more_parameters(&subject(tied)), LAYERS * (WIDTH * WIDTH + 2.0 * WIDTH) + l * WIDTH);
}

#[test]
fn inducing_points_attend_and_are_attended_to() {
    let model = subject("attention.kind = \"induced_set\"\nattention.induced_set = { points = 16 }");
    for length in [512, 4096] {
        let (n, m) = (length as f64, 16.0);
        let projections = (4.0 * n + 4.0 * m) * 2.0 * WIDTH * WIDTH;
        assert_eq!(products(&model, length), projections + 2.0 * 4.0 * n * m * WIDTH);
    }
    let network = 2.0 * WIDTH * 1024.0 + 1024.0 + WIDTH;
    assert_eq!(more_parameters(&model), LAYERS * (4.0 * WIDTH * WIDTH + 16.0 * WIDTH + 4.0 * WIDTH + network));
}

#[test]
fn latents_attend_once_and_layers_do_not_see_the_length() {
    let of = |length| {
        let model = subject("encoder.latents.count = 32");
        let ledger = ledger(&model, 1, length);
        let attention = ledger.ops().iter().filter(|op| op.component == Component::Attention);
        attention.map(|op| op.forward.matmul_flops * op.times).sum::<f64>()
    };
    let m = 32.0;
    let layers = LAYERS * (8.0 * m * WIDTH * WIDTH + 4.0 * m * m * WIDTH);
    for length in [512, 4096] {
        let n = length as f64;
        assert_eq!(of(length), 4.0 * n * WIDTH * WIDTH + 4.0 * m * WIDTH * WIDTH + 4.0 * n * m * WIDTH + layers);
    }
}

#[test]
fn latents_have_no_position_to_predict() {
    let error = model("use = \"bert-base\"\nencoder.latents.count = 32").unwrap_err().to_string();
    assert!(error.contains("head.kind") && error.contains("classification, pooler or none"), "{error}");
}
