//! Nystromformer (Xiong et al. 2021; `modeling_nystromformer.py`) and YOSO (Zeng et al. 2021; `modeling_yoso.py`): BERT
//! with another attention, no pooler, and two reserved rows of positions.

use super::bert::{self, BERT, Defaults};
use super::config::Import;
use super::head::{Task, task};
use crate::document::Diagnostic;

/// What the two families share, with their longest sequence, number of segments and activation.
fn encoder(import: &mut Import<'_>, defaults: &Defaults, longest: u64, segments: u64) -> Result<(), Diagnostic> {
    bert::encoder(import, defaults)?;
    if import.flag("is_decoder", false)? {
        return Err(import.wrong("is_decoder", "false: the family has encoders alone"));
    }
    import.set("embedding.segments", import.count("type_vocab_size", segments)?, "type_vocab_size");
    let key = "max_position_embeddings";
    import.set("embedding.positions.length", import.size(key, longest)? + 2, key);
    import.put("embedding.positions.reserved", 2_u64);
    import.put("embedding.positions.ids", "fixed");
    let activation = import.activation("hidden_act", defaults.activation)?;
    let dropout = import.rate("hidden_dropout_prob", defaults.dropout)?;
    match task(import, &[Task::MaskedLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model])? {
        Task::MaskedLm => bert::language_model(import, "masked_lm", activation),
        Task::Sequence => {
            import.put("head.input_dropout", true);
            import.put("head.activation", activation);
            bert::classification(import, "classification", dropout)
        }
        Task::Tokens => bert::classification(import, "token_classification", dropout),
        Task::Answer => bert::answer(import, 0.0),
        Task::Choice => {
            import.put("head.activation", "relu");
            bert::choice(import, 0.0)
        }
        _ => {
            import.put("head.kind", "none");
            Ok(())
        }
    }
}

/// Sets a depthwise convolution of the values, if the configuration has one.
fn convolution(import: &mut Import<'_>, path: &str, key: &str, default: u64) -> Result<(), Diagnostic> {
    let positions = if import.is_null(key) { 0 } else { import.count(key, default)? };
    if positions > 0 {
        import.set(path, positions, key);
    }
    Ok(())
}

/// Nystromformer. Where segment length and landmarks are equal, as they are by default, it runs full attention.
pub(super) fn nystromformer(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    encoder(import, &Defaults { vocabulary: 30_000, activation: "gelu_new", ..BERT }, 510, 2)?;
    if import.flag("inv_coeff_init_option", false)? {
        return Err(import.wrong("inv_coeff_init_option", "false: transformers 4.44.2 fails with it"));
    }
    let (landmarks, length) = (import.size("num_landmarks", 64)?, import.size("segment_means_seq_len", 64)?);
    import.put("attention.kind", "nystrom");
    import.set("attention.nystrom.landmarks", landmarks, "num_landmarks");
    import.put("attention.nystrom.start", "column_norm");
    convolution(import, "attention.nystrom.convolution", "conv_kernel_size", 65)?;
    if landmarks == length {
        import.put("attention.nystrom.full", true);
        return Ok(());
    }
    if !length.is_multiple_of(landmarks) {
        return Err(import.wrong("segment_means_seq_len", format!("a multiple of the {landmarks} landmarks")));
    }
    import.note(format!("Hugging Face runs this configuration at {length} positions alone, the length of its segments."));
    Ok(())
}

/// YOSO.
pub(super) fn yoso(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    encoder(import, &Defaults { vocabulary: 50_265, ..BERT }, 4096, 1)?;
    let expectation = import.flag("use_expectation", true)?;
    if !expectation && !import.flag("lsh_backward", true)? {
        return Err(import.wrong("lsh_backward", "true, or use_expectation: a backward pass over all pairs after hashes is not modelled"));
    }
    import.put("attention.kind", "yoso");
    import.set("attention.yoso.estimate", if expectation { "expectation" } else { "sampling" }, "use_expectation");
    import.set("attention.yoso.planes", import.size("hash_code_len", 9)?, "hash_code_len");
    import.set("attention.yoso.hashes", import.size("num_hash", 64)?, "num_hash");
    import.set("attention.yoso.fast_hash", import.flag("use_fast_hash", true)?, "use_fast_hash");
    convolution(import, "attention.yoso.convolution", "conv_window", 0)
}
