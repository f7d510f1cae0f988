//! Reformer (`modeling_reformer.py`).

use super::config::Import;
use super::head::{Task, labels, task};
use crate::document::{Data, Diagnostic, Node};

/// Reformer (Kitaev et al. 2020): layers of local and of hashed attention, reversible.
pub(super) fn reformer(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let dropout = import.rate("hidden_dropout_prob", 0.05)?;
    import.set("width", import.size("hidden_size", 256)?, "hidden_size");
    import.set("dropout", dropout, "hidden_dropout_prob");
    import.set("embedding.vocabulary", import.size("vocab_size", 320)?, "vocab_size");
    positions(import)?;
    import.put("embedding.positions.dropout", dropout);
    import.put("attention.kind", "reformer");
    import.set("attention.heads", import.size("num_attention_heads", 12)?, "num_attention_heads");
    import.set("attention.head_width", import.size("attention_head_size", 64)?, "attention_head_size");
    import.put("attention.bias", false);
    import.set("feed_forward.width", import.size("feed_forward_size", 512)?, "feed_forward_size");
    import.set("feed_forward.activation", import.activation("hidden_act", "relu")?, "hidden_act");
    import.put("feed_forward.dropout", dropout);
    import.put("norm.kind", "layer");
    import.put("norm.placement", "pre");
    let stack = if import.flag("is_decoder", false)? { "decoder" } else { "encoder" };
    layers(import, stack)?;
    head(import, stack == "decoder", dropout)
}

fn head(import: &mut Import<'_>, decodes: bool, dropout: f64) -> Result<(), Diagnostic> {
    let usual = if decodes { Task::CausalLm } else { Task::MaskedLm };
    match task(import, &[usual, Task::Sequence, Task::Answer, Task::Model])? {
        Task::Sequence => {
            import.put("head.kind", "classification");
            import.put("head.classes", labels(import)?);
            import.put("head.input_dropout", true);
            import.put("head.dropout", import.rate("classifier_dropout", dropout)?);
        }
        Task::Answer => import.put("head.kind", "question_answering"),
        Task::Model => import.put("head.kind", "none"),
        _ => {
            import.put("head.kind", if decodes { "causal_lm" } else { "masked_lm" });
            import.put("head.transform", false);
            import.put("head.bias", true);
            import.set("head.tied", import.flag("tie_word_embeddings", false)?, "tie_word_embeddings");
        }
    }
    Ok(())
}

fn positions(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if !import.flag("axial_pos_embds", true)? {
        import.put("embedding.positions.kind", "learned");
        import.put("embedding.positions.ids", "shared");
        import.set("embedding.positions.length", import.size("max_position_embeddings", 4096)?, "max_position_embeddings");
        return Ok(());
    }
    import.put("embedding.positions.kind", "axial");
    for (ours, key, default) in [("shape", "axial_pos_shape", [64, 64]), ("widths", "axial_pos_embds_dim", [64, 192])] {
        let sizes = import.sizes(key, &default)?;
        import.set(&format!("embedding.positions.{ours}"), import.whole(&sizes), key);
    }
    Ok(())
}

/// The layers by `attn_layers`, neighbours of one kind as one group.
fn layers(import: &mut Import<'_>, stack: &str) -> Result<(), Diagnostic> {
    let kinds = import.words("attn_layers", &["local", "lsh", "local", "lsh", "local", "lsh"])?;
    let mut groups: Vec<Node> = Vec::new();
    for same in kinds.chunk_by(|left, right| left == right) {
        let hashed = match same.first().map(String::as_str) {
            Some("lsh") => true,
            Some("local") => false,
            _ => return Err(import.wrong("attn_layers", "a list of local and lsh")),
        };
        let entries = group(import, hashed, same.len())?;
        groups.push(import.table(entries));
    }
    if groups.is_empty() {
        return Err(import.wrong("attn_layers", "a list of local and lsh"));
    }
    import.set(&format!("{stack}.layers"), kinds.len() as u64, "attn_layers");
    import.put(&format!("{stack}.reversible"), true);
    import.put(&format!("{stack}.output_dropout"), import.rate("hidden_dropout_prob", 0.05)?);
    import.set(&format!("{stack}.groups"), groups, "attn_layers");
    Ok(())
}

/// The settings of a group of layers, hashed or local.
fn group(import: &Import<'_>, hashed: bool, layers: usize) -> Result<Vec<(&'static str, Data)>, Diagnostic> {
    let integer = |value: u64| Data::Integer(value as i64);
    let keys = if hashed {
        ["lsh_attn_chunk_length", "lsh_num_chunks_before", "lsh_num_chunks_after", "lsh_attention_probs_dropout_prob"]
    } else {
        ["local_attn_chunk_length", "local_num_chunks_before", "local_num_chunks_after", "local_attention_probs_dropout_prob"]
    };
    let [chunk, before, after, dropout] = keys;
    let mut entries = vec![
        ("layers", integer(layers as u64)),
        ("attention.dropout", Data::Float(import.rate(dropout, if hashed { 0.0 } else { 0.05 })?)),
        ("attention.reformer.kind", Data::String(if hashed { "lsh" } else { "local" }.to_string())),
        ("attention.reformer.chunk_length", integer(import.size(chunk, 64)?)),
        ("attention.reformer.chunks_before", integer(import.count(before, 1)?)),
        ("attention.reformer.chunks_after", integer(import.count(after, 0)?)),
    ];
    if hashed {
        entries.push(("attention.reformer.hashes", integer(import.size("num_hashes", 1)?)));
        let buckets = match import.single("num_buckets") {
            true => vec![import.size("num_buckets", 1)?],
            false => import.sizes("num_buckets", &[])?,
        };
        entries.push(("attention.reformer.buckets", Data::Array(import.whole(&buckets))));
    }
    Ok(entries)
}
