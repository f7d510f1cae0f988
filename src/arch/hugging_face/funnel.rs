//! Funnel-Transformer (`modeling_funnel.py`).

use super::bert::{answer, choice, classification};
use super::config::{Import, Value};
use super::head::{Task, task};
use crate::document::{Diagnostic, Node};

/// Funnel-Transformer (Dai et al. 2020): blocks between which the sequence is pooled, and for heads that need every position
/// layers of its whole length behind them.
pub(super) fn funnel(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let activation = import.activation("hidden_act", "gelu_new")?;
    let dropout = import.rate("hidden_dropout", 0.1)?;
    let key = if import.says("hidden_size") { "hidden_size" } else { "d_model" };
    let width = import.size(key, 768)?;
    import.set("width", width, key);
    import.set("dropout", dropout, "hidden_dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 30_522)?, "vocab_size");
    import.put("embedding.norm", true);
    import.put("embedding.positions.kind", "none");
    import.put("attention.kind", "funnel");
    let key = if import.says("num_attention_heads") { "num_attention_heads" } else { "n_head" };
    import.set("attention.heads", import.size(key, 12)?, key);
    import.set("attention.head_width", import.size("d_head", 64)?, "d_head");
    import.set("attention.dropout", import.rate("attention_dropout", 0.1)?, "attention_dropout");
    import.implementation()?;
    let distances = match import.text("attention_type", "relative_shift")?.as_str() {
        "relative_shift" => "relative_shift",
        "factorized" => "factorised",
        _ => return Err(import.wrong("attention_type", "relative_shift, factorized")),
    };
    import.set("attention.funnel.distances", distances, "attention_type");
    import.set("attention.funnel.first_apart", import.flag("separate_cls", true)?, "separate_cls");
    import.set("feed_forward.width", import.size("d_inner", 3072)?, "d_inner");
    import.set("feed_forward.activation", activation, "hidden_act");
    import.set("feed_forward.dropout", import.rate("activation_dropout", 0.0)?, "activation_dropout");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "post");
    let all = [Task::MaskedLm, Task::PreTraining, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Base, Task::Model];
    let task = task(import, &all)?;
    blocks(import, !matches!(task, Task::Sequence | Task::Choice | Task::Base))?;
    match task {
        Task::MaskedLm => {
            import.put("head.kind", "masked_lm");
            import.put("head.transform", false);
            import.put("head.bias", true);
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
            Ok(())
        }
        Task::PreTraining => {
            import.put("head.kind", "discriminator");
            import.put("head.activation", activation);
            Ok(())
        }
        Task::Sequence => classification(import, "classification", dropout),
        Task::Choice => choice(import, dropout),
        Task::Tokens => classification(import, "token_classification", dropout),
        Task::Answer => answer(import, 0.0),
        _ => {
            import.put("head.kind", "none");
            Ok(())
        }
    }
}

/// The blocks as groups of layers, all but the first of which pool; with `decoder`, layers of the whole length follow.
fn blocks(import: &mut Import<'_>, decoder: bool) -> Result<(), Diagnostic> {
    let sizes = import.sizes("block_sizes", &[4, 4, 4])?;
    let repeats = import.sizes("block_repeats", &vec![1; sizes.len()])?;
    let whole = |size: &u64| (1..=0xffff).contains(size);
    if sizes.is_empty() || !sizes.iter().all(whole) {
        return Err(import.wrong("block_sizes", "the layers of each block, 1 to 65535"));
    }
    if repeats.len() != sizes.len() || !repeats.iter().all(whole) {
        return Err(import.wrong("block_repeats", format!("how often a layer runs in each of the {} blocks", sizes.len())));
    }
    let pooling = match import.text("pooling_type", "mean")?.as_str() {
        "mean" => "mean",
        "max" => "max",
        _ => return Err(import.wrong("pooling_type", "mean, max")),
    };
    let apart = import.flag("separate_cls", true)?;
    let truncated = import.flag("truncate_seq", true)? && apart;
    let queries_only = import.flag("pool_q_only", true)?;
    let mut groups: Vec<Node> = Vec::new();
    for (index, (size, repeats)) in sizes.iter().zip(&repeats).enumerate() {
        let mut group = vec![("layers", size.data()), ("repeats", repeats.data())];
        if index > 0 {
            group.extend([
                ("pooling.kind", pooling.data()),
                ("pooling.queries_only", queries_only.data()),
                ("pooling.first_apart", apart.data()),
                ("pooling.truncated", truncated.data()),
            ]);
        }
        groups.push(import.table(group));
    }
    let mut layers: u64 = sizes.iter().sum();
    if decoder {
        let behind = import.count("num_decoder_layers", 2)?;
        layers += behind;
        groups.push(import.table(vec![("layers", behind.data()), ("upsampling", true.data())]));
    }
    import.set("encoder.layers", layers, "block_sizes");
    import.set("encoder.groups", groups, "block_sizes");
    Ok(())
}
