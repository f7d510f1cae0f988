//! BART and the encoder-decoders that are built like it (`modeling_bart.py`, `modeling_mbart.py`, `modeling_plbart.py`,
//! `modeling_pegasus.py`, `modeling_marian.py`, `modeling_m2m_100.py`, `modeling_blenderbot.py`,
//! `modeling_blenderbot_small.py`).

use super::config::Import;
use super::head::{Task, end_classification, labels, task};
use crate::document::{Data, Diagnostic};

/// What the families differ in.
struct Family {
    vocabulary: u64,
    width: u64,
    layers: [u64; 2],
    heads: u64,
    inner: u64,
    activation: &'static str,
    attention_dropout: f64,
    layer_drop: f64,
    positions: Positions,
    length: u64,
    /// Whether a norm follows the sum of token and position.
    embedding_norm: bool,
    /// Whether norms stand before the sub-layers, and after the last one.
    pre_norm: bool,
}

/// How positions are told apart.
#[derive(PartialEq)]
enum Positions {
    /// A table whose first rows are reserved.
    Reserved(u64),
    /// A table, looked up by one row of numbers for all sequences.
    Shared,
    /// Fixed.
    Sinusoidal,
}

const BART: Family = Family {
    vocabulary: 50_265,
    width: 1024,
    layers: [12, 12],
    heads: 16,
    inner: 4096,
    activation: "gelu",
    attention_dropout: 0.0,
    layer_drop: 0.0,
    positions: Positions::Reserved(2),
    length: 1024,
    embedding_norm: true,
    pre_norm: false,
};

/// BART (Lewis et al. 2020).
pub(super) fn bart(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    stacks(import, &BART)
}

/// mBART (Liu et al. 2020): BART with norms before the sub-layers too.
pub(super) fn mbart(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    stacks(import, &Family { pre_norm: true, ..BART })
}

/// PLBART (Ahmad et al. 2021).
pub(super) fn plbart(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let base = Family { vocabulary: 50_005, width: 768, layers: [6, 6], heads: 12, inner: 3072, attention_dropout: 0.1, ..BART };
    stacks(import, &base)
}

/// Pegasus (Zhang et al. 2020).
pub(super) fn pegasus(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    stacks(import, &Family { positions: Positions::Sinusoidal, embedding_norm: false, pre_norm: true, ..BART })
}

/// Marian (Junczys-Dowmunt et al. 2018): the transformer of Vaswani et al. 2017.
pub(super) fn marian(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if !import.flag("share_encoder_decoder_embeddings", true)? {
        return Err(import.wrong("share_encoder_decoder_embeddings", "true: a table for each stack is not modelled"));
    }
    stacks(import, &Family { vocabulary: 58_101, positions: Positions::Sinusoidal, embedding_norm: false, ..BART })
}

/// M2M-100 (Fan et al. 2021) and NLLB.
pub(super) fn m2m_100(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let family = Family {
        vocabulary: 128_112,
        activation: "relu",
        attention_dropout: 0.1,
        layer_drop: 0.05,
        positions: Positions::Sinusoidal,
        embedding_norm: false,
        pre_norm: true,
        ..BART
    };
    stacks(import, &family)
}

/// Blenderbot (Roller et al. 2021).
pub(super) fn blenderbot(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let family = Family {
        vocabulary: 8008,
        width: 2560,
        layers: [2, 24],
        heads: 32,
        inner: 10_240,
        positions: Positions::Shared,
        length: 128,
        embedding_norm: false,
        pre_norm: true,
        ..BART
    };
    stacks(import, &family)
}

/// Blenderbot with 90 million parameters.
pub(super) fn blenderbot_small(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let family = Family { width: 512, layers: [8, 8], inner: 2048, positions: Positions::Shared, length: 512, ..BART };
    stacks(import, &family)
}

fn stacks(import: &mut Import<'_>, family: &Family) -> Result<(), Diagnostic> {
    if import.flag("tie_encoder_decoder", false)? {
        return Err(import.wrong("tie_encoder_decoder", "false: one set of parameters for both stacks is not modelled"));
    }
    for key in ["encoder_layerdrop", "decoder_layerdrop"] {
        if import.rate(key, family.layer_drop)? > 0.0 {
            import.note(format!("{key} is above 0: every layer is counted, as in a step that drops none."));
        }
    }
    let found = task(import, &[Task::Generation, Task::CausalLm, Task::Answer, Task::Sequence, Task::Model])?;
    // The sizes of the encoder are those of the model, unless it has a decoder alone.
    let alone = found == Task::CausalLm;
    let [heads, inner] =
        if alone { ["decoder_attention_heads", "decoder_ffn_dim"] } else { ["encoder_attention_heads", "encoder_ffn_dim"] };
    let width = import.size("d_model", family.width)?;
    import.set("width", width, "d_model");
    import.set("dropout", import.rate("dropout", 0.1)?, "dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", family.vocabulary)?, "vocab_size");
    import.put("embedding.norm", family.embedding_norm);
    import.flag("scale_embedding", false)?;
    positions(import, family)?;
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size(heads, family.heads)?, heads);
    import.set("attention.dropout", import.rate("attention_dropout", family.attention_dropout)?, "attention_dropout");
    import.implementation()?;
    import.set("feed_forward.width", import.size(inner, family.inner)?, inner);
    import.set("feed_forward.activation", import.activation("activation_function", family.activation)?, "activation_function");
    import.set("feed_forward.dropout", import.rate("activation_dropout", 0.0)?, "activation_dropout");
    import.put("norm.kind", "layer");
    import.put("norm.placement", if family.pre_norm { "pre" } else { "post" });
    if alone {
        import.set("decoder.layers", import.size("decoder_layers", family.layers[1])?, "decoder_layers");
        import.put("decoder.idle_cross_attention", true);
    } else {
        import.set("encoder.layers", import.size("encoder_layers", family.layers[0])?, "encoder_layers");
        decoder(import, family)?;
    }
    match found {
        Task::CausalLm => {
            import.put("head.kind", "causal_lm");
            import.put("head.shifted", false);
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
        }
        Task::Generation => {
            import.put("head.kind", "sequence_to_sequence");
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
        }
        Task::Sequence => {
            // BART's configuration class has three classes where none are named, for inference between sentences.
            let named = import.says("num_labels") || import.says("id2label");
            let classes = if named || import.family() != "bart" { labels(import)? } else { 3 };
            end_classification(import, classes, "classifier_dropout")?;
        }
        Task::Answer => import.put("head.kind", "question_answering"),
        _ => import.put("head.kind", "none"),
    }
    Ok(())
}

/// The decoder, whose heads and inner width may differ from the encoder's.
fn decoder(import: &mut Import<'_>, family: &Family) -> Result<(), Diagnostic> {
    let layers = import.size("decoder_layers", family.layers[1])?;
    import.set("decoder.layers", layers, "decoder_layers");
    let heads = import.size("decoder_attention_heads", family.heads)?;
    let inner = import.size("decoder_ffn_dim", family.inner)?;
    if heads != import.size("encoder_attention_heads", family.heads)? || inner != import.size("encoder_ffn_dim", family.inner)? {
        let group = import.table(vec![
            ("layers", Data::Integer(layers as i64)),
            ("attention.heads", Data::Integer(heads as i64)),
            ("feed_forward.width", Data::Integer(inner as i64)),
        ]);
        import.set("decoder.groups", vec![group], "decoder_layers");
    }
    Ok(())
}

fn positions(import: &mut Import<'_>, family: &Family) -> Result<(), Diagnostic> {
    let key = "max_position_embeddings";
    let length = import.size(key, family.length)?;
    match family.positions {
        Positions::Sinusoidal => import.put("embedding.positions.kind", "sinusoidal"),
        Positions::Reserved(reserved) => {
            import.put("embedding.positions.kind", "learned");
            import.put("embedding.positions.reserved", reserved);
            import.set("embedding.positions.length", length + reserved, key);
        }
        Positions::Shared => {
            import.put("embedding.positions.kind", "learned");
            import.put("embedding.positions.ids", "shared");
            import.set("embedding.positions.length", length, key);
        }
    }
    Ok(())
}
