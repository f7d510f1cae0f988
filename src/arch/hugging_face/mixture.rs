//! Decoders with mixtures of experts (`modeling_mixtral.py`, `modeling_qwen2_moe.py`, `modeling_dbrx.py`).

use super::config::Import;
use super::llama::{Defaults, body, heads};
use crate::document::{Data, Diagnostic, Node};

const MIXTRAL: Defaults = Defaults {
    vocabulary: 32_000,
    width: 4096,
    inner: 14_336,
    layers: 32,
    heads: 32,
    key_value_heads: Some(8),
    activation: "silu",
    positions: 131_072,
    tables: "layer",
};

fn mixture(import: &mut Import<'_>, key: &str, experts: u64, top_k: u64) -> Result<(), Diagnostic> {
    import.put("feed_forward.kind", "mixture");
    import.put("feed_forward.mixture.gated", true);
    import.set("feed_forward.mixture.experts", import.size(key, experts)?, key);
    import.set("feed_forward.mixture.top_k", import.size("num_experts_per_tok", top_k)?, "num_experts_per_tok");
    // Only the language model computes the loss that balances the load.
    let language_model = import.architecture().is_none_or(|class| class.ends_with("ForCausalLM"));
    let balanced = import.flag("output_router_logits", false)? && language_model;
    import.set("feed_forward.mixture.auxiliary_loss", balanced, "output_router_logits");
    Ok(())
}

/// Mixtral (Jiang et al. 2024).
pub(super) fn mixtral(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    body(import, &MIXTRAL)?;
    import.put("attention.bias", false);
    mixture(import, "num_local_experts", 8, 2)?;
    import.put("feed_forward.mixture.normalised", true);
    import.set("feed_forward.mixture.jitter", import.rate("router_jitter_noise", 0.0)?, "router_jitter_noise");
    heads(import, false)
}

/// DBRX (Mosaic Research 2024): queries, keys and values from one matrix, cut at a limit; norms without a bias.
pub(super) fn dbrx(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (width, number) = (import.size("d_model", 2048)?, import.size("n_heads", 16)?);
    import.set("width", width, "d_model");
    import.set("dropout", import.rate("resid_pdrop", 0.0)?, "resid_pdrop");
    import.set("embedding.dropout", import.rate("emb_pdrop", 0.0)?, "emb_pdrop");
    import.set("embedding.vocabulary", import.size("vocab_size", 32_000)?, "vocab_size");
    import.put("embedding.positions.kind", "rotary");
    import.put("embedding.positions.tables", "computed");
    import.set("embedding.positions.length", import.size("max_seq_len", 2048)?, "max_seq_len");
    import.set("decoder.layers", import.size("n_layers", 24)?, "n_layers");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", number, "n_heads");
    import.set("attention.key_value_heads", import.size("attn_config.kv_n_heads", 1)?, "attn_config.kv_n_heads");
    import.set("attention.dropout", import.rate("attn_config.attn_pdrop", 0.0)?, "attn_config.attn_pdrop");
    import.put("attention.bias", false);
    import.put("attention.fused_projection", true);
    import.set("attention.clip", import.says("attn_config.clip_qkv"), "attn_config.clip_qkv");
    import.implementation()?;
    let key = "ffn_config.ffn_hidden_size";
    import.set("feed_forward.width", import.size(key, 3584)?, key);
    import.set("feed_forward.activation", import.activation("ffn_config.ffn_act_fn.name", "silu")?, "ffn_config.ffn_act_fn.name");
    import.put("feed_forward.bias", false);
    import.put("feed_forward.kind", "mixture");
    let key = "ffn_config.moe_num_experts";
    import.set("feed_forward.mixture.experts", import.size(key, 4)?, key);
    let key = "ffn_config.moe_top_k";
    import.set("feed_forward.mixture.top_k", import.size(key, 1)?, key);
    import.put("feed_forward.mixture.gated", true);
    let key = "ffn_config.moe_normalize_expert_weights";
    import.number(key, 1.0)?;
    import.set("feed_forward.mixture.normalised", !import.is_null(key), key);
    import.set("feed_forward.mixture.jitter", import.rate("ffn_config.moe_jitter_eps", 0.0)?, "ffn_config.moe_jitter_eps");
    import.set("feed_forward.mixture.auxiliary_loss", import.flag("output_router_logits", false)?, "output_router_logits");
    import.put("norm.kind", "layer");
    import.put("norm.bias", false);
    import.put("norm.placement", "pre");
    heads(import, false)
}

/// Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024): a shared expert beside the chosen ones, and dense layers between.
pub(super) fn qwen2_moe(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults {
        vocabulary: 151_936,
        width: 2048,
        inner: 5632,
        layers: 24,
        heads: 16,
        key_value_heads: Some(16),
        positions: 32_768,
        ..MIXTRAL
    };
    body(import, &defaults)?;
    import.put("attention.bias", true);
    import.put("attention.output_bias", false);
    mixture(import, "num_experts", 60, 4)?;
    import.set("feed_forward.width", import.size("moe_intermediate_size", 1408)?, "moe_intermediate_size");
    import.set("feed_forward.mixture.normalised", import.flag("norm_topk_prob", false)?, "norm_topk_prob");
    let key = "shared_expert_intermediate_size";
    import.set("feed_forward.mixture.shared_width", import.size(key, 5632)?, key);
    import.put("feed_forward.mixture.shared_gate", true);
    let (layers, step) = (import.size("num_hidden_layers", 24)?, import.size("decoder_sparse_step", 1)?);
    let dense = import.sizes("mlp_only_layers", &[])?;
    let is_dense = |layer: &u64| dense.contains(layer) || !(layer + 1).is_multiple_of(step);
    let count = (0..layers).filter(is_dense).count() as u64;
    if count > 0 {
        let inner = import.size("intermediate_size", 5632)?;
        let number = |value: u64| Data::Integer(value as i64);
        let dense =
            vec![("layers", number(count)), ("feed_forward.kind", Data::String("gated".into())), ("feed_forward.width", number(inner))];
        let sparse = vec![("layers", number(layers - count))];
        let groups = [(count, dense), (layers - count, sparse)].into_iter().filter(|(layers, _)| *layers > 0);
        let groups: Vec<Node> = groups.map(|(_, entries)| import.table(entries)).collect();
        import.note("Layers with and without a mixture are listed as two groups; in the model they take turns.");
        import.set("decoder.groups", groups, if dense_listed(import) { "mlp_only_layers" } else { "decoder_sparse_step" });
    }
    heads(import, false)
}

fn dense_listed(import: &Import<'_>) -> bool {
    import.says("mlp_only_layers")
}
