//! MobileBERT (Sun et al. 2020; `modeling_mobilebert.py`): narrow layers between bottlenecks, several feed-forward networks
//! a layer, tokens seen with their neighbours, norms that only scale and shift.

use super::bert::{self, BERT, Defaults};
use super::config::Import;
use super::head::{Task, task};
use crate::document::Diagnostic;

/// MobileBERT.
pub(super) fn mobilebert(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    import.require("position_embedding_type", "absolute")?;
    bert::encoder(import, &Defaults { width: 512, layers: 24, heads: 4, inner: 512, activation: "relu", dropout: 0.0, ..BERT })?;
    embedding(import)?;
    let norm = match import.text("normalization_type", "no_norm")?.as_str() {
        "no_norm" => "affine",
        "layer_norm" => "layer",
        _ => return Err(import.wrong("normalization_type", "no_norm, layer_norm")),
    };
    import.set("norm.kind", norm, "normalization_type");
    import.set("feed_forward.count", import.size("num_feedforward_networks", 4)?, "num_feedforward_networks");
    if import.flag("use_bottleneck", true)? {
        bottleneck(import)?;
    }
    if !import.flag("classifier_activation", true)? {
        // The pooler is the first position as it is.
        import.set("head.pooling", "first_as_is", "classifier_activation");
    }
    let hidden = import.rate("hidden_dropout_prob", 0.0)?;
    let dropout = import.rate("classifier_dropout", hidden)?;
    let activation = import.activation("hidden_act", "relu")?;
    let all =
        [Task::MaskedLm, Task::PreTraining, Task::NextSentence, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model];
    match task(import, &all)? {
        Task::MaskedLm => language_model(import, activation),
        Task::PreTraining => {
            import.put("head.sentence_classes", 2_u64);
            language_model(import, activation)
        }
        Task::NextSentence => {
            import.put("head.kind", "classification");
            import.put("head.classes", 2_u64);
            import.put("head.dropout", 0.0);
            Ok(())
        }
        Task::Sequence => bert::classification(import, "classification", dropout),
        Task::Choice => bert::choice(import, dropout),
        Task::Tokens => bert::classification(import, "token_classification", dropout),
        Task::Answer => bert::answer(import, 0.0),
        _ => bert::pooler(import),
    }
}

/// The table is narrow, and a linear layer leads from each token, or each with its neighbours, to the width of the rest.
fn embedding(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (width, hidden) = (import.size("embedding_size", 128)?, import.size("hidden_size", 512)?);
    let trigrams = import.flag("trigram_input", true)?;
    if !trigrams && width == hidden {
        return Err(import.wrong("trigram_input", "true, or an embedding_size other than hidden_size: an unused layer is not modelled"));
    }
    import.set("embedding.width", width, "embedding_size");
    import.set("embedding.trigrams", trigrams, "trigram_input");
    import.put("embedding.projection", "tokens");
    import.put("embedding.segment_ids", "own");
    Ok(())
}

fn bottleneck(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let (narrow, shared) = (import.flag("use_bottleneck_attention", false)?, import.flag("key_query_shared_bottleneck", true)?);
    if narrow == shared {
        let allowed = format!("{}: queries and keys come from one bottleneck, their own or that of the layer", !narrow);
        return Err(import.wrong("key_query_shared_bottleneck", allowed));
    }
    import.set("bottleneck.width", import.size("intra_bottleneck_size", 128)?, "intra_bottleneck_size");
    import.set("bottleneck.attention", if shared { "shared" } else { "narrow" }, "key_query_shared_bottleneck");
    import.put("attention.output_dropout", 0.0);
    import.put("feed_forward.output_dropout", 0.0);
    Ok(())
}

/// The vocabulary projection is the narrow table beside a matrix of the head's own.
fn language_model(import: &mut Import<'_>, activation: &str) -> Result<(), Diagnostic> {
    import.put("head.widened", true);
    bert::language_model(import, "masked_lm", activation)
}
