//! Transformer-XL and XLNet (`modeling_transfo_xl.py`, `modeling_xlnet.py`).

use super::config::Import;
use super::head::{Task, labels, task};
use crate::document::Diagnostic;

/// Transformer-XL (Dai et al. 2019) with one softmax over the vocabulary. Its memory is there from the first segment on.
pub(super) fn transfo_xl(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let cutoffs = import.sizes("cutoffs", &[20_000, 40_000, 200_000])?;
    if !cutoffs.is_empty() {
        return Err(import.wrong("cutoffs", "[]: the cost of an adaptive softmax depends on the text and is not modelled"));
    }
    let width = import.size("d_model", 1024)?;
    if import.size("d_embed", 1024)? != width {
        return Err(import.wrong("d_embed", format!("d_model, which is {width}")));
    }
    if import.size("div_val", 4)? != 1 {
        return Err(import.wrong("div_val", "1: with one cluster nothing is divided"));
    }
    if import.count("attn_type", 0)? != 0 {
        return Err(import.wrong("attn_type", "0, the only one that the library computes"));
    }
    import.set("width", width, "d_model");
    import.set("dropout", import.rate("dropout", 0.1)?, "dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 267_735)?, "vocab_size");
    import.put("embedding.positions.kind", "none");
    import.put("attention.kind", "transformer_xl");
    import.set("attention.heads", import.size("n_head", 16)?, "n_head");
    import.set("attention.head_width", import.size("d_head", 64)?, "d_head");
    import.put("attention.bias", false);
    import.put("attention.fused_projection", true);
    import.set("attention.dropout", import.rate("dropatt", 0.0)?, "dropatt");
    import.set("attention.transformer_xl.memory", import.count("mem_len", 1600)?, "mem_len");
    import.set("attention.transformer_xl.shared_biases", !import.flag("untie_r", true)?, "untie_r");
    import.set("feed_forward.width", import.size("d_inner", 4096)?, "d_inner");
    import.put("feed_forward.activation", "relu");
    import.set("feed_forward.dropout", import.rate("dropout", 0.1)?, "dropout");
    import.put("norm.kind", "layer");
    import.put("norm.placement", if import.flag("pre_lnorm", false)? { "pre" } else { "post" });
    import.put("norm.final", false);
    import.set("decoder.layers", import.size("n_layer", 18)?, "n_layer");
    import.set("decoder.output_dropout", import.rate("dropout", 0.1)?, "dropout");
    match task(import, &[Task::CausalLm, Task::Sequence, Task::Model])? {
        Task::CausalLm => {
            import.put("head.kind", "causal_lm");
            import.put("head.bias", true);
            import.put("head.positions", "predicted");
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
        }
        Task::Sequence => {
            import.put("head.kind", "classification");
            import.put("head.pooling", "last");
            import.put("head.classes", labels(import)?);
        }
        _ => import.put("head.kind", "none"),
    }
    Ok(())
}

/// XLNet (Yang et al. 2019), content stream.
pub(super) fn xlnet(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let stack = match import.text("attn_type", "bi")?.as_str() {
        "bi" => "encoder",
        "uni" => "decoder",
        _ => return Err(import.wrong("attn_type", "bi, uni")),
    };
    if import.flag("use_mems_train", false)? {
        import.note("use_mems_train: read as the first segment of a text, which has no memory.");
    }
    let width = import.size("d_model", 1024)?;
    let dropout = import.rate("dropout", 0.1)?;
    import.set("width", width, "d_model");
    import.set("dropout", dropout, "dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 32_000)?, "vocab_size");
    import.put("embedding.positions.kind", "none");
    import.put("attention.kind", "xlnet");
    import.set("attention.heads", import.size("n_head", 16)?, "n_head");
    import.put("attention.bias", false);
    import.set("feed_forward.width", import.size("d_inner", 4096)?, "d_inner");
    import.set("feed_forward.activation", import.activation("ff_activation", "gelu")?, "ff_activation");
    import.put("feed_forward.dropout", dropout);
    import.put("norm.kind", "layer");
    import.put("norm.placement", "post");
    import.set(&format!("{stack}.layers"), import.size("n_layer", 24)?, "n_layer");
    import.put(&format!("{stack}.output_dropout"), dropout);
    match task(import, &[Task::CausalLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model])? {
        Task::CausalLm => {
            // Labels of all positions, none shifted.
            import.put("head.kind", if stack == "decoder" { "causal_lm" } else { "masked_lm" });
            import.put("head.shifted", false);
            import.put("head.transform", false);
            import.put("head.bias", true);
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
        }
        Task::Sequence => summary(import, labels(import)?)?,
        Task::Choice => {
            import.note("Multiple choice: each choice of each question is one sequence of the batch.");
            summary(import, 1)?;
        }
        Task::Tokens => {
            import.put("head.kind", "token_classification");
            import.put("head.classes", labels(import)?);
            import.put("head.dropout", 0.0);
        }
        Task::Answer => {
            import.put("head.kind", "question_answering");
            import.put("head.end_after_start", import.architecture().is_some_and(|class| !class.ends_with("Simple")));
        }
        _ => import.put("head.kind", "none"),
    }
    Ok(())
}

/// A classification of one position's summary.
fn summary(import: &mut Import<'_>, classes: u64) -> Result<(), Diagnostic> {
    let kind = import.text("summary_type", "last")?;
    if !matches!(kind.as_str(), "first" | "last") {
        return Err(import.wrong("summary_type", "last or first: one position"));
    }
    if !import.flag("summary_use_proj", true)? {
        return Err(import.wrong("summary_use_proj", "true"));
    }
    if import.is_null("summary_activation") {
        import.put("head.activation", "linear");
    } else {
        import.require("summary_activation", "tanh")?;
    }
    import.put("head.kind", "classification");
    import.put("head.classes", classes);
    import.set("head.dropout", import.rate("summary_last_dropout", 0.1)?, "summary_last_dropout");
    Ok(())
}
