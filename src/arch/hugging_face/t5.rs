//! T5 and the models that are built like it (`modeling_t5.py`, `modeling_mt5.py`, `modeling_umt5.py`).

use super::config::Import;
use super::head::{Task, end_classification, labels, task};
use crate::document::Diagnostic;

/// What the configuration classes differ in.
struct Defaults {
    vocabulary: u64,
    inner: u64,
    layers: u64,
    heads: u64,
    network: &'static str,
    tied: bool,
}

/// T5 (Raffel et al. 2020), FLAN-T5 and T5 1.1, whose networks are gated and whose head is not tied (Shazeer 2020).
pub(super) fn t5(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults { vocabulary: 32_128, inner: 2048, layers: 6, heads: 8, network: "relu", tied: true };
    stacks(import, &defaults)
}

/// mT5 (Xue et al. 2021).
pub(super) fn mt5(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    stacks(import, &Defaults { tied: false, ..MT5 })
}

/// UMT5 (Chung et al. 2023): a relative bias in every layer.
pub(super) fn umt5(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    import.put("embedding.positions.each_layer", true);
    stacks(import, &MT5)
}

const MT5: Defaults = Defaults { vocabulary: 250_112, inner: 1024, layers: 8, heads: 6, network: "gated-gelu", tied: true };

fn stacks(import: &mut Import<'_>, defaults: &Defaults) -> Result<(), Diagnostic> {
    network(import, defaults)?;
    common(import)?;
    import.set("embedding.vocabulary", import.size("vocab_size", defaults.vocabulary)?, "vocab_size");
    import.set("attention.heads", import.size("num_heads", defaults.heads)?, "num_heads");
    import.set("feed_forward.width", import.size("d_ff", defaults.inner)?, "d_ff");
    let layers = import.size("num_layers", defaults.layers)?;
    import.set("encoder.layers", layers, "num_layers");
    let all = [Task::Generation, Task::Model, Task::Encoder, Task::Tokens, Task::Answer, Task::Sequence];
    let found = task(import, &all)?;
    if !matches!(found, Task::Encoder | Task::Tokens) {
        import.set("decoder.layers", import.size("num_decoder_layers", layers)?, "num_decoder_layers");
    }
    match found {
        Task::Generation => generation(import, defaults.tied),
        Task::Tokens => {
            import.put("head.kind", "token_classification");
            import.put("head.classes", labels(import)?);
            import.set("head.dropout", import.rate("classifier_dropout", 0.0)?, "classifier_dropout");
            Ok(())
        }
        Task::Sequence => end_classification(import, labels(import)?, "classifier_dropout"),
        Task::Answer => {
            import.put("head.kind", "question_answering");
            Ok(())
        }
        _ => {
            import.put("head.kind", "none");
            Ok(())
        }
    }
}

/// What Switch Transformers have too: widths, dropout, relative bias, norms.
pub(super) fn common(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if import.flag("tie_encoder_decoder", false)? {
        return Err(import.wrong("tie_encoder_decoder", "false: one set of parameters for both stacks is not modelled"));
    }
    import.set("width", import.size("d_model", if import.family() == "switch_transformers" { 768 } else { 512 })?, "d_model");
    import.set("dropout", import.rate("dropout_rate", 0.1)?, "dropout_rate");
    import.put("embedding.positions.kind", "relative_bias");
    let key = "relative_attention_num_buckets";
    import.set("embedding.positions.buckets", import.size(key, 32)?, key);
    import.put("attention.kind", "softmax");
    import.set("attention.head_width", import.size("d_kv", 64)?, "d_kv");
    import.put("attention.bias", false);
    import.put("attention.scaled", false);
    import.put("feed_forward.bias", false);
    import.set("feed_forward.dropout", import.rate("dropout_rate", 0.1)?, "dropout_rate");
    import.put("norm.kind", "rms");
    import.put("norm.placement", "pre");
    Ok(())
}

/// The vocabulary projection, whose input is scaled where it is tied.
pub(super) fn generation(import: &mut Import<'_>, tied: bool) -> Result<(), Diagnostic> {
    let tied = import.flag("tie_word_embeddings", tied)?;
    import.put("head.kind", "sequence_to_sequence");
    import.set("head.tied", tied, "tie_word_embeddings");
    import.put("head.scaled", tied);
    Ok(())
}

/// `feed_forward_proj` names the activation, with `gated-` before it for a gated network; a configuration that was saved
/// says both once more.
fn network(import: &mut Import<'_>, defaults: &Defaults) -> Result<(), Diagnostic> {
    let key = "feed_forward_proj";
    let word = import.text(key, defaults.network)?;
    let (gated, activation) = match word.strip_prefix("gated-") {
        Some("gelu") => (true, "gelu_new"),
        Some(activation) => (true, activation),
        None => (false, word.as_str()),
    };
    let ours = if import.says("dense_act_fn") {
        import.activation("dense_act_fn", activation)?
    } else {
        import.known_activation(key, activation)?
    };
    import.set("feed_forward.activation", ours, key);
    if import.flag("is_gated_act", gated)? {
        import.set("feed_forward.kind", "gated", key);
    }
    Ok(())
}
