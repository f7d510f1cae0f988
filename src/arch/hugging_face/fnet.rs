//! FNet (`modeling_fnet.py`).

use super::bert::{answer, choice, classification, language_model, pooler};
use super::config::Import;
use super::head::{Task, task};
use crate::document::Diagnostic;

/// FNet (Lee-Thorp et al. 2022): Fourier transforms in the place of attention, and a linear layer behind the tables.
pub(super) fn fnet(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    let activation = import.activation("hidden_act", "gelu_new")?;
    let positions = import.size("max_position_embeddings", 512)?;
    if import.flag("use_tpu_fourier_optimizations", false)? && positions <= 4096 {
        let allowed = "false: transforms by products with their matrices are not modelled";
        return Err(import.wrong("use_tpu_fourier_optimizations", allowed));
    }
    import.set("width", import.size("hidden_size", 768)?, "hidden_size");
    let dropout = import.rate("hidden_dropout_prob", 0.1)?;
    import.set("dropout", dropout, "hidden_dropout_prob");
    import.set("embedding.vocabulary", import.size("vocab_size", 32_000)?, "vocab_size");
    import.set("embedding.segments", import.size("type_vocab_size", 4)?, "type_vocab_size");
    import.put("embedding.norm", true);
    import.put("embedding.projected", true);
    import.put("embedding.projection", "normalised");
    import.put("embedding.positions.kind", "learned");
    import.set("embedding.positions.length", positions, "max_position_embeddings");
    import.put("attention.kind", "fnet");
    import.put("attention.heads", 1_u64);
    import.put("attention.output_dropout", 0.0);
    import.set("feed_forward.width", import.size("intermediate_size", 3072)?, "intermediate_size");
    import.set("feed_forward.activation", activation, "hidden_act");
    import.put("norm.kind", "layer");
    import.put("norm.placement", "post");
    import.set("encoder.layers", import.size("num_hidden_layers", 12)?, "num_hidden_layers");
    let all =
        [Task::MaskedLm, Task::PreTraining, Task::NextSentence, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model];
    let task = task(import, &all)?;
    // Its first position is pooled whatever the head makes of it.
    if matches!(task, Task::MaskedLm | Task::Tokens | Task::Answer) {
        import.put("head.unused_pooler", true);
    }
    match task {
        Task::MaskedLm => language_model(import, "masked_lm", activation),
        Task::PreTraining => {
            import.put("head.sentence_classes", 2_u64);
            language_model(import, "masked_lm", activation)
        }
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
