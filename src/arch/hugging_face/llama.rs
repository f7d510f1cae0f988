//! Llama and the decoders that are built like it (`modeling_llama.py`, `modeling_mistral.py`, `modeling_qwen2.py`,
//! `modeling_gemma.py`, `modeling_gemma2.py`, `modeling_phi.py`, `modeling_phi3.py`, `modeling_starcoder2.py`,
//! `modeling_olmo.py`, `modeling_stablelm.py`, `modeling_cohere.py`). A sliding window of these is a mask: eager attention computes all scores.
//! Scaled rotary positions turn by other angles and compute the same.

use super::config::Import;
use super::decoder::{Heads, head, refuse, token_dropout};
use crate::document::Diagnostic;

/// The keys that they share, with their defaults.
pub(super) struct Defaults {
    pub vocabulary: u64,
    pub width: u64,
    pub inner: u64,
    pub layers: u64,
    pub heads: u64,
    /// Key and value heads; as many as heads for none.
    pub key_value_heads: Option<u64>,
    pub activation: &'static str,
    pub positions: u64,
    /// Where sines and cosines come from.
    pub tables: &'static str,
}

const LLAMA: Defaults = Defaults {
    vocabulary: 32_000,
    width: 4096,
    inner: 11_008,
    layers: 32,
    heads: 32,
    key_value_heads: None,
    activation: "silu",
    positions: 2048,
    tables: "step",
};

/// Embeddings, attention, gated feed-forward network and norms as all of them have.
pub(super) fn body(import: &mut Import<'_>, defaults: &Defaults) -> Result<(), Diagnostic> {
    let heads = import.size("num_attention_heads", defaults.heads)?;
    // null is as many as heads, whatever the family's default.
    let groups = defaults.key_value_heads.filter(|_| !import.is_null("num_key_value_heads"));
    let groups = import.size("num_key_value_heads", groups.unwrap_or(heads))?;
    import.set("width", import.size("hidden_size", defaults.width)?, "hidden_size");
    import.set("embedding.vocabulary", import.size("vocab_size", defaults.vocabulary)?, "vocab_size");
    import.put("embedding.positions.kind", "rotary");
    import.put("embedding.positions.tables", defaults.tables);
    import.set("embedding.positions.length", import.size("max_position_embeddings", defaults.positions)?, "max_position_embeddings");
    import.set("decoder.layers", import.size("num_hidden_layers", defaults.layers)?, "num_hidden_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", heads, "num_attention_heads");
    import.set("attention.key_value_heads", groups, "num_key_value_heads");
    if import.says("head_dim") {
        import.set("attention.head_width", import.size("head_dim", 1)?, "head_dim");
    }
    import.set("attention.dropout", import.rate("attention_dropout", 0.0)?, "attention_dropout");
    import.set("attention.bias", import.flag("attention_bias", false)?, "attention_bias");
    import.implementation()?;
    import.put("feed_forward.kind", "gated");
    import.set("feed_forward.width", import.size("intermediate_size", defaults.inner)?, "intermediate_size");
    import.set("feed_forward.activation", import.activation("hidden_act", defaults.activation)?, "hidden_act");
    import.put("feed_forward.bias", false);
    import.put("norm.kind", "rms");
    import.put("norm.placement", "pre");
    Ok(())
}

/// The heads of a family without a bias in its vocabulary projection.
pub(super) fn heads(import: &mut Import<'_>, tied: bool) -> Result<(), Diagnostic> {
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: false, tied })
}

/// Rotary positions on a share of each head's columns.
fn partial_rotary(import: &mut Import<'_>, defaults: &Defaults, default: f64) -> Result<(), Diagnostic> {
    let (width, heads) = (import.size("hidden_size", defaults.width)?, import.size("num_attention_heads", defaults.heads)?);
    let share = import.number("partial_rotary_factor", default)?;
    import.set("embedding.positions.width", ((width / heads) as f64 * share) as u64, "partial_rotary_factor");
    Ok(())
}

/// Llama, Llama 2 and 3 (Touvron et al. 2023; Dubey et al. 2024).
pub(super) fn llama(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if import.size("pretraining_tp", 1)? != 1 {
        import.note("pretraining_tp slices products without changing what they compute: read as 1.");
    }
    body(import, &LLAMA)?;
    import.set("feed_forward.bias", import.flag("mlp_bias", false)?, "mlp_bias");
    heads(import, false)
}

/// Mistral (Jiang et al. 2023).
pub(super) fn mistral(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    body(import, &Defaults { inner: 14_336, key_value_heads: Some(8), positions: 131_072, tables: "computed", ..LLAMA })?;
    import.put("attention.bias", false);
    heads(import, false)
}

/// Qwen2 (Yang et al. 2024): a bias in queries, keys and values alone.
pub(super) fn qwen2(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults { vocabulary: 151_936, inner: 22_016, key_value_heads: Some(32), positions: 32_768, tables: "layer", ..LLAMA };
    body(import, &defaults)?;
    import.put("attention.bias", true);
    import.put("attention.output_bias", false);
    heads(import, false)
}

/// What both Gemmas have: scaled tokens, weights of norms counted from one, wide heads.
fn gemmas(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults {
        vocabulary: 256_000,
        width: 3072,
        inner: 24_576,
        layers: 28,
        heads: 16,
        key_value_heads: Some(16),
        positions: 8192,
        tables: "computed",
        ..LLAMA
    };
    body(import, &defaults)?;
    import.put("embedding.scaled", true);
    import.set("attention.head_width", import.size("head_dim", 256)?, "head_dim");
    // `hidden_act` is ignored, as there.
    import.set("feed_forward.activation", import.activation("hidden_activation", "gelu_pytorch_tanh")?, "hidden_activation");
    import.put("norm.kind", "rms_offset");
    Ok(())
}

/// Gemma (Gemma Team 2024).
pub(super) fn gemma(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    gemmas(import)?;
    heads(import, true)
}

/// Gemma 2 (Gemma Team 2024): norms around each sub-layer, scores and logits below a limit.
pub(super) fn gemma2(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    gemmas(import)?;
    import.put("norm.placement", "sandwich");
    for (path, key, default) in [("attention.soft_cap", "attn_logit_softcapping", 50.0), ("head.soft_cap", "final_logit_softcapping", 30.0)]
    {
        import.set(path, import.number(key, default)? != 0.0 && !import.is_null(key), key);
    }
    heads(import, true)
}

/// Phi (Li et al. 2023): sub-layers side by side behind one norm, biases everywhere.
pub(super) fn phi(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "qk_layernorm", false, false)?;
    let defaults = Defaults { vocabulary: 51_200, width: 2048, inner: 8192, layers: 24, activation: "gelu_new", tables: "layer", ..LLAMA };
    body(import, &defaults)?;
    partial_rotary(import, &defaults, 0.5)?;
    import.set("dropout", import.rate("resid_pdrop", 0.0)?, "resid_pdrop");
    import.set("embedding.dropout", import.rate("embd_pdrop", 0.0)?, "embd_pdrop");
    import.put("attention.bias", true);
    import.put("feed_forward.kind", "plain");
    import.put("feed_forward.bias", true);
    import.put("norm.kind", "layer");
    import.put("norm.placement", "parallel_shared");
    head(import, &Heads { token_dropout: token_dropout(import, None)?, bias: true, tied: false })
}

/// Phi-3 (Abdin et al. 2024): queries, keys and values from one matrix, and so both halves of the gated network.
pub(super) fn phi3(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults { vocabulary: 32_064, width: 3072, inner: 8192, positions: 4096, tables: "computed", ..LLAMA };
    body(import, &defaults)?;
    import.set("dropout", import.rate("resid_pdrop", 0.0)?, "resid_pdrop");
    // `embd_pdrop` makes a layer there that is never called.
    import.put("embedding.dropout", 0.0);
    import.put("attention.bias", false);
    import.put("attention.fused_projection", true);
    import.put("feed_forward.fused_projection", true);
    heads(import, false)
}

/// StarCoder2 (Lozhkov et al. 2024).
pub(super) fn starcoder2(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults {
        vocabulary: 49_152,
        width: 3072,
        inner: 12_288,
        layers: 30,
        heads: 24,
        key_value_heads: Some(2),
        activation: "gelu_pytorch_tanh",
        positions: 4096,
        tables: "layer",
    };
    body(import, &defaults)?;
    import.set("dropout", import.rate("residual_dropout", 0.0)?, "residual_dropout");
    import.set("embedding.dropout", import.rate("embedding_dropout", 0.0)?, "embedding_dropout");
    import.set("attention.bias", import.flag("use_bias", true)?, "use_bias");
    import.put("feed_forward.kind", "plain");
    import.set("feed_forward.bias", import.flag("use_bias", true)?, "use_bias");
    import.put("norm.kind", "layer");
    heads(import, true)
}

/// Cohere's Command R (2024): sub-layers side by side behind one norm, logits times a number.
pub(super) fn cohere(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "use_qk_norm", false, false)?;
    let defaults =
        Defaults { vocabulary: 256_000, width: 8192, inner: 22_528, layers: 40, heads: 64, positions: 8192, tables: "computed", ..LLAMA };
    body(import, &defaults)?;
    import.put("norm.kind", "layer_separate");
    import.put("norm.placement", "parallel_shared");
    import.put("head.scaled", true);
    heads(import, true)
}

/// OLMo (Groeneveld et al. 2024): norms without parameters.
pub(super) fn olmo(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    body(import, &Defaults { vocabulary: 50_304, tables: "computed", ..LLAMA })?;
    import.set("attention.clip", import.says("clip_qkv"), "clip_qkv");
    import.put("norm.kind", "layer");
    import.put("norm.weight", false);
    import.put("norm.bias", false);
    heads(import, false)
}

/// StableLM (Bellagente et al. 2024).
pub(super) fn stablelm(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    refuse(import, "qk_layernorm", false, false)?;
    let defaults = Defaults { vocabulary: 50_304, width: 2560, inner: 6912, positions: 4096, tables: "layer", ..LLAMA };
    body(import, &defaults)?;
    partial_rotary(import, &defaults, 0.25)?;
    // Only what the feed-forward network adds is dropped.
    import.set("feed_forward.output_dropout", import.rate("hidden_dropout", 0.0)?, "hidden_dropout");
    import.set("attention.bias", import.flag("use_qkv_bias", false)?, "use_qkv_bias");
    import.put("attention.output_bias", false);
    import.put("norm.kind", "layer");
    let parallel = import.flag("use_parallel_residual", false)?;
    import.set("norm.placement", if parallel { "parallel_shared" } else { "pre" }, "use_parallel_residual");
    head(import, &Heads { token_dropout: token_dropout(import, Some(0.0))?, bias: false, tied: false })
}
