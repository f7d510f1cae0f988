//! GPT, GPT-2, GPT-BigCode, GPT-J, CodeGen, GPT-Neo and GPT-NeoX (`modeling_openai.py`, `modeling_gpt2.py`,
//! `modeling_gpt_bigcode.py`, `modeling_gptj.py`, `modeling_codegen.py`, `modeling_gpt_neo.py`, `modeling_gpt_neox.py`).

use super::config::Import;
use super::decoder::{Heads, head, named, refuse, token_dropout};
use crate::document::Diagnostic;

/// The keys that GPT-2 and GPT-J share.
struct Defaults {
    vocabulary: u64,
    positions: u64,
    width: u64,
    layers: u64,
    heads: u64,
    dropout: f64,
}

fn body(import: &mut Import<'_>, defaults: &Defaults) -> Result<(), Diagnostic> {
    let keys = [["n_embd", "hidden_size"], ["n_layer", "num_hidden_layers"], ["n_head", "num_attention_heads"]];
    let [width, layers, heads] = keys.map(|keys| named(import, &keys));
    let positions = named(import, &["n_positions", "max_position_embeddings", "n_ctx"]);
    let inner = 4 * import.size(width, defaults.width)?;
    import.set("width", import.size(width, defaults.width)?, width);
    import.set("dropout", import.rate("resid_pdrop", defaults.dropout)?, "resid_pdrop");
    import.set("embedding.vocabulary", import.size("vocab_size", defaults.vocabulary)?, "vocab_size");
    import.set("embedding.dropout", import.rate("embd_pdrop", defaults.dropout)?, "embd_pdrop");
    import.set("embedding.positions.length", import.size(positions, defaults.positions)?, positions);
    import.set("decoder.layers", import.size(layers, defaults.layers)?, layers);
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size(heads, defaults.heads)?, heads);
    import.put("attention.scale", "scores_by_tensor");
    import.set("attention.dropout", import.rate("attn_pdrop", defaults.dropout)?, "attn_pdrop");
    import.implementation()?;
    import.set("feed_forward.width", import.size("n_inner", inner)?, "n_inner");
    import.set("feed_forward.activation", import.activation("activation_function", "gelu_new")?, "activation_function");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "pre");
    Ok(())
}

/// GPT (Radford et al. 2018): norms behind the sub-layers. Its "gelu" is what others call `gelu_new`.
pub(super) fn openai_gpt(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    body(import, &Defaults { vocabulary: 40_478, positions: 512, width: 768, layers: 12, heads: 12, dropout: 0.1 })?;
    let activation = match import.text("afn", "gelu")?.as_str() {
        "gelu" => "gelu_new",
        "relu" => "relu",
        "silu" | "swish" => "silu",
        _ => return Err(import.wrong("afn", "gelu, relu, silu, swish")),
    };
    import.put("embedding.positions.kind", "learned");
    import.put("attention.fused_projection", true);
    import.put("attention.scale", "scores");
    import.set("feed_forward.activation", activation, "afn");
    import.put("norm.placement", "post");
    head(import, &Heads { token_dropout: 0.1, bias: false, tied: true })
}

/// GPT-BigCode (Ben Allal et al. 2023): one key and value head, which all query heads meet in one product.
pub(super) fn gpt_bigcode(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "add_cross_attention", false, false)?;
    body(import, &Defaults { vocabulary: 50_257, positions: 1024, width: 768, layers: 12, heads: 12, dropout: 0.1 })?;
    import.put("embedding.positions.kind", "learned");
    import.put("embedding.positions.ids", "shared");
    import.put("attention.fused_projection", true);
    // One head is as many key and value heads, which it meets as any other.
    if import.flag("multi_query", true)? && import.size(named(import, &["n_head", "num_attention_heads"]), 12)? > 1 {
        import.put("attention.key_value_heads", 1_u64);
        import.put("attention.repeated_heads", false);
    }
    import.put("attention.scale", "scores");
    import.set("attention.scaled", import.flag("scale_attn_weights", true)?, "scale_attn_weights");
    import.set("feed_forward.activation", import.activation("activation_function", "gelu_pytorch_tanh")?, "activation_function");
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: false, tied: true })
}

/// CodeGen (Nijkamp et al. 2022): GPT-J whose queries, keys and values come from one matrix in four parts. Where a part
/// has several heads all three are copied, and sizes are those of three matrices.
pub(super) fn codegen(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    gptj(import)?;
    let heads = import.size(named(import, &["n_head", "num_attention_heads"]), 16)?;
    import.put("attention.fused_projection", heads == 4);
    Ok(())
}

/// GPT-2 (Radford et al. 2019).
pub(super) fn gpt2(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "add_cross_attention", false, false)?;
    refuse(import, "reorder_and_upcast_attn", false, false)?;
    body(import, &Defaults { vocabulary: 50_257, positions: 1024, width: 768, layers: 12, heads: 12, dropout: 0.1 })?;
    import.put("embedding.positions.kind", "learned");
    import.put("embedding.positions.ids", "shared");
    import.put("attention.fused_projection", true);
    import.set("attention.scaled", import.flag("scale_attn_weights", true)?, "scale_attn_weights");
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: false, tied: true })
}

/// GPT-J (Wang and Komatsuzaki 2021): sub-layers side by side behind one norm, rotary positions on some columns.
pub(super) fn gptj(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    body(import, &Defaults { vocabulary: 50_400, positions: 2048, width: 4096, layers: 28, heads: 16, dropout: 0.0 })?;
    import.put("embedding.positions.kind", "rotary");
    import.put("embedding.positions.tables", "layer");
    import.put("embedding.positions.interleaved", true);
    import.set("embedding.positions.width", import.size("rotary_dim", 64)?, "rotary_dim");
    import.put("attention.bias", false);
    import.put("norm.placement", "parallel_shared");
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: true, tied: false })
}

/// GPT-Neo (Black et al. 2021). Every other layer hides positions outside a window; its scores are computed all the same.
pub(super) fn gpt_neo(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (layers, heads) = (named(import, &["num_layers", "num_hidden_layers"]), named(import, &["num_heads", "num_attention_heads"]));
    let width = import.size("hidden_size", 2048)?;
    import.set("width", width, "hidden_size");
    import.set("dropout", import.rate("resid_dropout", 0.0)?, "resid_dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 50_257)?, "vocab_size");
    import.set("embedding.dropout", import.rate("embed_dropout", 0.0)?, "embed_dropout");
    import.put("embedding.positions.kind", "learned");
    import.put("embedding.positions.ids", "shared");
    import.set("embedding.positions.length", import.size("max_position_embeddings", 2048)?, "max_position_embeddings");
    import.set("decoder.layers", import.size(layers, 24)?, layers);
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size(heads, 16)?, heads);
    import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    import.put("attention.bias", false);
    import.put("attention.output_bias", true);
    import.put("attention.scaled", false);
    import.implementation()?;
    import.set("feed_forward.width", import.size("intermediate_size", 4 * width)?, "intermediate_size");
    import.set("feed_forward.activation", import.activation("activation_function", "gelu_new")?, "activation_function");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "pre");
    head(import, &Heads { token_dropout: import.rate("classifier_dropout", 0.1)?, bias: false, tied: true })
}

/// GPT-NeoX (Black et al. 2022): sub-layers side by side, each behind a norm of its own.
pub(super) fn gpt_neox(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (width, heads) = (import.size("hidden_size", 6144)?, import.size("num_attention_heads", 64)?);
    let share = import.number("rotary_pct", 0.25)?;
    import.set("width", width, "hidden_size");
    import.set("dropout", import.rate("hidden_dropout", 0.0)?, "hidden_dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 50_432)?, "vocab_size");
    import.put("embedding.positions.kind", "rotary");
    import.put("embedding.positions.tables", "layer");
    import.set("embedding.positions.width", ((width / heads) as f64 * share) as u64, "rotary_pct");
    import.set("embedding.positions.length", import.size("max_position_embeddings", 2048)?, "max_position_embeddings");
    import.set("decoder.layers", import.size("num_hidden_layers", 44)?, "num_hidden_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", heads, "num_attention_heads");
    import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    import.set("attention.bias", import.flag("attention_bias", true)?, "attention_bias");
    import.put("attention.fused_projection", true);
    import.implementation()?;
    import.set("feed_forward.width", import.size("intermediate_size", 24_576)?, "intermediate_size");
    import.set("feed_forward.activation", import.activation("hidden_act", "gelu")?, "hidden_act");
    import.put("norm.kind", "layer");
    let parallel = import.flag("use_parallel_residual", true)?;
    import.set("norm.placement", if parallel { "parallel" } else { "pre" }, "use_parallel_residual");
    head(import, &Heads { token_dropout: import.rate("classifier_dropout", 0.1)?, bias: false, tied: false })
}
