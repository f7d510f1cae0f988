//! BERT and the encoders that are built like it (`modeling_bert.py`, `modeling_roberta.py`, `modeling_distilbert.py`,
//! `modeling_albert.py`, `modeling_electra.py`).

use super::config::Import;
use super::head::{Task, labels, task};
use crate::document::{Data, Diagnostic, Node};

/// The keys that BERT, RoBERTa, ALBERT and ELECTRA share, with their defaults.
pub(super) struct Defaults {
    pub vocabulary: u64,
    pub width: u64,
    pub layers: u64,
    pub heads: u64,
    pub inner: u64,
    pub activation: &'static str,
    pub dropout: f64,
    pub attention_dropout: f64,
}

pub(super) const BERT: Defaults = Defaults {
    vocabulary: 30_522,
    width: 768,
    layers: 12,
    heads: 12,
    inner: 3072,
    activation: "gelu",
    dropout: 0.1,
    attention_dropout: 0.1,
};

/// Embeddings, attention, feed-forward network and norms as all of them have.
pub(super) fn encoder(import: &mut Import<'_>, defaults: &Defaults) -> Result<(), Diagnostic> {
    // null is no positions at all.
    let default = if import.is_null("position_embedding_type") { "null" } else { "absolute" };
    let positions = match import.text("position_embedding_type", default)?.as_str() {
        "absolute" => "learned",
        "null" => "none",
        "relative_key" => "relative_key",
        "relative_key_query" => "relative_key_query",
        _ => return Err(import.wrong("position_embedding_type", "absolute, relative_key, relative_key_query")),
    };
    let activation = import.activation("hidden_act", defaults.activation)?;
    import.set("width", import.size("hidden_size", defaults.width)?, "hidden_size");
    import.set("dropout", import.rate("hidden_dropout_prob", defaults.dropout)?, "hidden_dropout_prob");
    import.set("embedding.vocabulary", import.size("vocab_size", defaults.vocabulary)?, "vocab_size");
    import.set("embedding.segments", import.count("type_vocab_size", 2)?, "type_vocab_size");
    import.put("embedding.norm", true);
    import.set("embedding.positions.kind", positions, "position_embedding_type");
    import.set("embedding.positions.length", import.size("max_position_embeddings", 512)?, "max_position_embeddings");
    import.put("attention.kind", "softmax");
    import.set("attention.heads", import.size("num_attention_heads", defaults.heads)?, "num_attention_heads");
    let key = "attention_probs_dropout_prob";
    import.set("attention.dropout", import.rate(key, defaults.attention_dropout)?, key);
    import.implementation()?;
    if positions != "learned" {
        // The table of absolute positions is there all the same, and fused attention gives way to eager attention.
        import.put("embedding.positions.idle_table", true);
        import.put("attention.implementation", "eager");
    }
    import.set("feed_forward.width", import.size("intermediate_size", defaults.inner)?, "intermediate_size");
    import.set("feed_forward.activation", activation, "hidden_act");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "post");
    let decoder = import.flag("is_decoder", false)?;
    let stack = if decoder { "decoder.layers" } else { "encoder.layers" };
    import.set(stack, import.size("num_hidden_layers", defaults.layers)?, "num_hidden_layers");
    if import.flag("add_cross_attention", false)? {
        if !decoder {
            return Err(import.wrong("add_cross_attention", "false, or true with is_decoder"));
        }
        import.set("decoder.idle_cross_attention", true, "add_cross_attention");
    }
    Ok(())
}

/// A language-model head with a transform, its projection tied and with a bias.
pub(super) fn language_model(import: &mut Import<'_>, kind: &str, activation: &str) -> Result<(), Diagnostic> {
    import.put("head.kind", kind);
    import.put("head.transform", true);
    import.put("head.activation", activation);
    import.put("head.bias", true);
    import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
    Ok(())
}

/// A classification of some kind.
pub(super) fn classification(import: &mut Import<'_>, kind: &str, dropout: f64) -> Result<(), Diagnostic> {
    import.put("head.kind", kind);
    import.put("head.classes", labels(import)?);
    import.put("head.dropout", dropout);
    Ok(())
}

/// BERT (Devlin et al. 2019).
pub(super) fn bert(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    encoder(import, &BERT)?;
    let hidden = import.rate("hidden_dropout_prob", 0.1)?;
    let dropout = import.rate("classifier_dropout", hidden)?;
    let activation = import.activation("hidden_act", "gelu")?;
    let all = [
        Task::MaskedLm,
        Task::PreTraining,
        Task::CausalLm,
        Task::NextSentence,
        Task::Sequence,
        Task::Tokens,
        Task::Answer,
        Task::Choice,
        Task::Model,
    ];
    match task(import, &all)? {
        Task::MaskedLm => language_model(import, "masked_lm", activation),
        Task::PreTraining => {
            import.put("head.sentence_classes", 2_u64);
            language_model(import, "masked_lm", activation)
        }
        Task::CausalLm => causal(import, activation),
        Task::NextSentence => {
            import.put("head.kind", "classification");
            import.put("head.classes", 2_u64);
            import.put("head.dropout", 0.0);
            Ok(())
        }
        Task::Sequence => classification(import, "classification", dropout),
        Task::Choice => choice(import, dropout),
        Task::Tokens => classification(import, "token_classification", dropout),
        Task::Answer => answer(import, 0.0),
        _ => pooler(import),
    }
}

pub(super) fn pooler(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    import.put("head.kind", "pooler");
    Ok(())
}

pub(super) fn answer(import: &mut Import<'_>, dropout: f64) -> Result<(), Diagnostic> {
    import.put("head.kind", "question_answering");
    import.put("head.dropout", dropout);
    Ok(())
}

/// One logit for each choice: every choice is a sequence of the batch.
pub(super) fn choice(import: &mut Import<'_>, dropout: f64) -> Result<(), Diagnostic> {
    import.note("Multiple choice: each choice of each question is one sequence of the batch.");
    import.put("head.kind", "classification");
    import.put("head.classes", 1_u64);
    import.put("head.dropout", dropout);
    Ok(())
}

/// A causal language model of a stack that `is_decoder` makes a decoder.
pub(super) fn causal(import: &mut Import<'_>, activation: &str) -> Result<(), Diagnostic> {
    if !import.flag("is_decoder", false)? {
        return Err(import.wrong("is_decoder", "true for a causal language model"));
    }
    language_model(import, "causal_lm", activation)
}

/// RoBERTa (Liu et al. 2019), XLM-RoBERTa and CamemBERT: positions begin after the padding index.
pub(super) fn roberta(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    encoder(import, &Defaults { vocabulary: if import.family() == "roberta" { 50_265 } else { 30_522 }, ..BERT })?;
    let padding = import.count("pad_token_id", 1)?;
    import.set("embedding.positions.reserved", padding + 1, "pad_token_id");
    let hidden = import.rate("hidden_dropout_prob", 0.1)?;
    let dropout = import.rate("classifier_dropout", hidden)?;
    let all = [Task::MaskedLm, Task::CausalLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model];
    match task(import, &all)? {
        Task::MaskedLm => language_model(import, "masked_lm", "gelu"),
        Task::CausalLm => causal(import, "gelu"),
        Task::Sequence => {
            import.put("head.input_dropout", true);
            classification(import, "classification", dropout)
        }
        Task::Choice => choice(import, dropout),
        Task::Tokens => classification(import, "token_classification", dropout),
        Task::Answer => answer(import, 0.0),
        _ => pooler(import),
    }
}

/// DistilBERT (Sanh et al. 2019): no segments, no pooler; queries are scaled, and the mask is laid over the scores.
pub(super) fn distilbert(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let activation = import.activation("activation", "gelu")?;
    import.set("width", import.size("dim", 768)?, "dim");
    import.set("dropout", import.rate("dropout", 0.1)?, "dropout");
    import.set("embedding.vocabulary", import.size("vocab_size", 30_522)?, "vocab_size");
    import.put("embedding.norm", true);
    let positions = if import.flag("sinusoidal_pos_embds", false)? { "sinusoidal" } else { "learned" };
    import.set("embedding.positions.kind", positions, "sinusoidal_pos_embds");
    import.set("embedding.positions.length", import.size("max_position_embeddings", 512)?, "max_position_embeddings");
    import.put("attention.kind", "softmax");
    import.put("attention.scale", "queries");
    import.put("attention.mask", "kept");
    import.put("attention.output_dropout", 0.0);
    import.set("attention.heads", import.size("n_heads", 12)?, "n_heads");
    import.set("attention.dropout", import.rate("attention_dropout", 0.1)?, "attention_dropout");
    import.implementation()?;
    import.set("feed_forward.width", import.size("hidden_dim", 3072)?, "hidden_dim");
    import.set("feed_forward.activation", activation, "activation");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "post");
    import.set("encoder.layers", import.size("n_layers", 6)?, "n_layers");
    let hidden = import.rate("dropout", 0.1)?;
    let sequence = import.rate("seq_classif_dropout", 0.2)?;
    match task(import, &[Task::MaskedLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model])? {
        Task::MaskedLm => language_model(import, "masked_lm", activation),
        Task::Sequence => {
            import.put("head.activation", "relu");
            classification(import, "classification", sequence)
        }
        Task::Choice => {
            import.put("head.activation", "relu");
            choice(import, sequence)
        }
        Task::Tokens => classification(import, "token_classification", hidden),
        Task::Answer => answer(import, import.rate("qa_dropout", 0.1)?),
        _ => {
            import.put("head.kind", "none");
            Ok(())
        }
    }
}

/// ALBERT (Lan et al. 2020): narrow embeddings, and one set of parameters for the layers of a group.
pub(super) fn albert(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let defaults = Defaults {
        vocabulary: 30_000,
        width: 4096,
        layers: 12,
        heads: 64,
        inner: 16_384,
        activation: "gelu_new",
        dropout: 0.0,
        attention_dropout: 0.0,
    };
    encoder(import, &defaults)?;
    import.set("embedding.width", import.size("embedding_size", 128)?, "embedding_size");
    import.put("embedding.projected", true);
    // As released, what leaves the feed-forward network is not dropped out.
    import.put("feed_forward.output_dropout", 0.0);
    let (layers, groups) = (import.size("num_hidden_layers", 12)?, import.size("num_hidden_groups", 1)?);
    let inner = import.size("inner_group_num", 1)?;
    if !layers.is_multiple_of(groups) {
        return Err(import.wrong("num_hidden_groups", format!("a divisor of the {layers} layers")));
    }
    import.put("encoder.shared", true);
    import.set("encoder.layers", layers * inner, "num_hidden_layers");
    if groups * inner > 1 {
        let group = || import.table(vec![("layers", Data::Integer((layers / groups) as i64))]);
        let all: Vec<Node> = (0..groups * inner).map(|_| group()).collect();
        import.set("encoder.groups", all, "num_hidden_groups");
    }
    let activation = import.activation("hidden_act", "gelu_new")?;
    let dropout = import.rate("classifier_dropout_prob", 0.1)?;
    match task(import, &[Task::MaskedLm, Task::PreTraining, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model])? {
        Task::MaskedLm => language_model(import, "masked_lm", activation),
        Task::PreTraining => {
            import.put("head.sentence_classes", 2_u64);
            import.put("head.dropout", dropout);
            language_model(import, "masked_lm", activation)
        }
        Task::Sequence => classification(import, "classification", dropout),
        Task::Choice => choice(import, dropout),
        Task::Tokens => classification(import, "token_classification", dropout),
        Task::Answer => answer(import, 0.0),
        _ => pooler(import),
    }
}

/// ELECTRA (Clark et al. 2020): a discriminator, or the generator's language model.
pub(super) fn electra(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    encoder(import, &Defaults { width: 256, heads: 4, inner: 1024, ..BERT })?;
    import.set("embedding.width", import.size("embedding_size", 128)?, "embedding_size");
    let activation = import.activation("hidden_act", "gelu")?;
    let hidden = import.rate("hidden_dropout_prob", 0.1)?;
    let dropout = import.rate("classifier_dropout", hidden)?;
    let all = [Task::PreTraining, Task::MaskedLm, Task::CausalLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model];
    match task(import, &all)? {
        Task::CausalLm => causal(import, "gelu"),
        Task::PreTraining => {
            import.put("head.kind", "discriminator");
            import.put("head.activation", activation);
            Ok(())
        }
        Task::MaskedLm => language_model(import, "masked_lm", "gelu"),
        Task::Sequence => {
            import.put("head.input_dropout", true);
            import.put("head.activation", "gelu");
            classification(import, "classification", dropout)
        }
        Task::Choice => summary(import),
        Task::Tokens => classification(import, "token_classification", dropout),
        Task::Answer => answer(import, 0.0),
        _ => {
            import.put("head.kind", "none");
            Ok(())
        }
    }
}

/// Multiple choice of ELECTRA: `SequenceSummary` of `modeling_utils.py` on the first position.
fn summary(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    import.require("summary_type", "first")?;
    if !import.flag("summary_use_proj", true)? {
        return Err(import.wrong("summary_use_proj", "true: a summary without a dense layer is not modelled"));
    }
    if import.rate("summary_first_dropout", 0.0)? > 0.0 {
        return Err(import.wrong("summary_first_dropout", "0: dropout before the dense layer is not modelled"));
    }
    let default = if import.is_null("summary_activation") { "linear" } else { "gelu" };
    let activation = import.activation("summary_activation", default)?;
    import.set("head.activation", activation, "summary_activation");
    choice(import, import.rate("summary_last_dropout", 0.1)?)
}
