//! OPT, BLOOM, MPT and Falcon (`modeling_opt.py`, `modeling_bloom.py`, `modeling_mpt.py`, `modeling_falcon.py`).

use super::config::Import;
use super::decoder::{Heads, head, named, refuse, token_dropout};
use crate::document::Diagnostic;

/// OPT (Zhang et al. 2022): two reserved rows of positions; tables that may be narrower than the model.
pub(super) fn opt(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if import.number("layerdrop", 0.0)? != 0.0 {
        return Err(import.wrong("layerdrop", "0: layers that are left out at random are not modelled"));
    }
    let width = import.size("hidden_size", 768)?;
    let narrow = import.size("word_embed_proj_dim", width)?;
    import.set("width", width, "hidden_size");
    import.set("dropout", import.rate("dropout", 0.1)?, "dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 50_272)?, "vocab_size");
    import.put("embedding.dropout", 0.0);
    import.put("embedding.positions.kind", "learned");
    import.put("embedding.positions.reserved", 2_u64);
    import.set("embedding.positions.length", import.size("max_position_embeddings", 2048)? + 2, "max_position_embeddings");
    if narrow != width {
        import.set("embedding.width", narrow, "word_embed_proj_dim");
        import.put("embedding.projection_bias", false);
        import.put("embedding.positions.wide", true);
        import.put("head.projection", true);
    }
    import.set("decoder.layers", import.size("num_hidden_layers", 12)?, "num_hidden_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size("num_attention_heads", 12)?, "num_attention_heads");
    import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    import.set("attention.bias", import.flag("enable_bias", true)?, "enable_bias");
    import.put("attention.scale", "queries");
    import.put("attention.mask", "floored");
    import.implementation()?;
    import.set("feed_forward.width", import.size("ffn_dim", 3072)?, "ffn_dim");
    import.set("feed_forward.activation", import.activation("activation_function", "relu")?, "activation_function");
    import.set("feed_forward.bias", import.flag("enable_bias", true)?, "enable_bias");
    let before = import.flag("do_layer_norm_before", true)?;
    let affine = import.flag("layer_norm_elementwise_affine", true)?;
    import.put("norm.kind", "layer");
    import.set("norm.placement", if before { "pre" } else { "post" }, "do_layer_norm_before");
    import.put("norm.final", before && !import.flag("_remove_final_layer_norm", false)?);
    import.set("norm.weight", affine, "layer_norm_elementwise_affine");
    import.set("norm.bias", affine, "layer_norm_elementwise_affine");
    head(import, &Heads { token_dropout: 0.1, bias: false, tied: true })
}

/// BLOOM (BigScience 2022): distances as a linear bias, a norm behind the token table.
pub(super) fn bloom(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "apply_residual_connection_post_layernorm", false, false)?;
    refuse(import, "slow_but_exact", false, false)?;
    let (width_key, layers) = (named(import, &["n_embed", "hidden_size"]), named(import, &["n_layer", "num_hidden_layers"]));
    let heads = named(import, &["n_head", "num_attention_heads"]);
    let width = import.size(width_key, 64)?;
    import.set("width", width, width_key);
    import.set("dropout", import.rate("hidden_dropout", 0.0)?, "hidden_dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 250_880)?, "vocab_size");
    import.put("embedding.dropout", 0.0);
    import.put("embedding.norm", true);
    import.put("embedding.positions.kind", "alibi");
    import.set("decoder.layers", import.size(layers, 2)?, layers);
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size(heads, 8)?, heads);
    import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    import.put("attention.fused_projection", true);
    import.implementation()?;
    import.set("feed_forward.width", 4 * width, width_key);
    import.put("feed_forward.activation", "gelu");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "pre");
    head(import, &Heads { token_dropout: token_dropout(import, Some(0.0))?, bias: false, tied: true })
}

/// MPT (MosaicML 2023): distances as a linear bias, no bias elsewhere, one rate of dropout.
pub(super) fn mpt(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let width = import.size("d_model", 2048)?;
    import.set("width", width, "d_model");
    import.set("dropout", import.rate("attn_config.attn_pdrop", 0.0)?, "attn_config.attn_pdrop");
    import.set("embedding.vocabulary", import.size("vocab_size", 50_368)?, "vocab_size");
    import.put("embedding.dropout", 0.0);
    import.put("embedding.positions.kind", "alibi");
    import.set("embedding.positions.length", import.size("max_seq_len", 2048)?, "max_seq_len");
    import.set("decoder.layers", import.size("n_layers", 24)?, "n_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size("n_heads", 16)?, "n_heads");
    import.put("attention.bias", false);
    import.put("attention.fused_projection", true);
    import.put("attention.mask", "square");
    import.set("attention.clip", import.says("attn_config.clip_qkv"), "attn_config.clip_qkv");
    import.implementation()?;
    import.set("feed_forward.width", 4 * width, "d_model");
    import.put("feed_forward.activation", "gelu");
    import.put("feed_forward.bias", false);
    import.put("norm.kind", "layer");
    import.put("norm.bias", false);
    import.put("norm.placement", "pre");
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: false, tied: true })
}

/// Falcon (Almazrouei et al. 2023): one key and value head, or a few; sub-layers side by side behind one norm, or two.
pub(super) fn falcon(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (width_key, heads) = (named(import, &["n_embed", "hidden_size"]), import.size("num_attention_heads", 71)?);
    let width = import.size(width_key, 4544)?;
    let new = import.flag("new_decoder_architecture", false)?;
    let groups = match (new, import.flag("multi_query", true)?) {
        (true, _) => import.size("num_kv_heads", heads)?,
        (false, true) => 1,
        (false, false) => heads,
    };
    let placement = match (new, import.flag("parallel_attn", true)?) {
        (true, _) if import.size("num_ln_in_parallel_attn", 2)? == 2 => "parallel",
        (true, _) | (false, true) => "parallel_shared",
        (false, false) => "pre",
    };
    import.set("width", width, width_key);
    // Of sub-layers side by side the sum is dropped; of those in a row, what attention adds at the rate of its weights.
    let attention = if placement == "pre" { import.rate("attention_dropout", 0.0)? } else { 0.0 };
    import.set("dropout", attention, "attention_dropout");
    import.set("feed_forward.output_dropout", import.rate("hidden_dropout", 0.0)?, "hidden_dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 65_024)?, "vocab_size");
    import.put("embedding.dropout", 0.0);
    if import.flag("alibi", false)? {
        import.set("embedding.positions.kind", "alibi", "alibi");
        import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    } else {
        // There it drops no attention weights.
        import.put("attention.dropout", 0.0);
        import.put("embedding.positions.kind", "rotary");
        import.put("embedding.positions.tables", "layer");
    }
    import.set("embedding.positions.length", import.size("max_position_embeddings", 2048)?, "max_position_embeddings");
    import.set("decoder.layers", import.size("num_hidden_layers", 32)?, "num_hidden_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", heads, "num_attention_heads");
    import.put("attention.key_value_heads", groups);
    import.set("attention.bias", import.flag("bias", false)?, "bias");
    import.put("attention.fused_projection", true);
    import.put("attention.picked_heads", new || groups < heads);
    import.implementation()?;
    import.set("feed_forward.width", import.size("ffn_hidden_size", 4 * width)?, "ffn_hidden_size");
    import.set("feed_forward.activation", import.activation("activation", "gelu")?, "activation");
    import.set("feed_forward.bias", import.flag("bias", false)?, "bias");
    import.put("norm.kind", "layer");
    import.put("norm.placement", placement);
    head(import, &Heads { token_dropout: token_dropout(import, Some(0.0))?, bias: false, tied: true })
}
