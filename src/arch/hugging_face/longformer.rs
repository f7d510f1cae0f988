//! Longformer (Beltagy et al. 2020; `modeling_longformer.py`): RoBERTa with a band of positions and global tokens.

use super::bert::{self, BERT};
use super::config::Import;
use super::head::{Task, task};
use crate::document::{Data, Diagnostic};

/// Longformer.
pub(super) fn longformer(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    bert::encoder(import, &BERT)?;
    if import.flag("onnx_export", false)? {
        return Err(import.wrong("onnx_export", "false: the form for export is not modelled"));
    }
    import.put("attention.kind", "longformer");
    let padding = import.count("pad_token_id", 1)?;
    import.set("embedding.positions.reserved", padding + 1, "pad_token_id");
    import.put("embedding.segment_ids", "own");
    windows(import)?;
    let dropout = import.rate("hidden_dropout_prob", 0.1)?;
    match task(import, &[Task::MaskedLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model])? {
        Task::MaskedLm => bert::language_model(import, "masked_lm", "gelu"),
        Task::Sequence => {
            import.put("attention.longformer.global_tokens", 1_u64);
            import.put("head.input_dropout", true);
            bert::classification(import, "classification", dropout)
        }
        Task::Tokens => bert::classification(import, "token_classification", dropout),
        Task::Answer => {
            import.note(QUESTION);
            bert::answer(import, 0.0)
        }
        Task::Choice => {
            import.note(QUESTION);
            bert::choice(import, dropout)
        }
        _ => bert::pooler(import),
    }
}

const QUESTION: &str = "The tokens of a question or a choice attend globally; how many depends on the data, and none are counted: set attention.longformer.global_tokens.";

/// One window for all layers, or one for each.
fn windows(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    const KEY: &str = "attention_window";
    if import.single(KEY) || !import.says(KEY) {
        import.set("attention.longformer.window", import.size(KEY, 512)?, KEY);
        return Ok(());
    }
    let (layers, windows) = (import.size("num_hidden_layers", BERT.layers)?, import.sizes(KEY, &[])?);
    if windows.len() as u64 != layers {
        return Err(import.wrong(KEY, format!("an even number, or one for each of the {layers} layers")));
    }
    let first = windows.first().copied().unwrap_or_default();
    import.set("attention.longformer.window", first, KEY);
    if windows.iter().all(|window| *window == first) {
        return Ok(());
    }
    let group = |run: &[u64]| {
        let window = run.first().copied().unwrap_or_default();
        import.table(vec![
            ("layers", Data::Integer(run.len() as i64)),
            ("attention.longformer.window", Data::Integer(i64::try_from(window).unwrap_or(i64::MAX))),
        ])
    };
    let groups: Vec<_> = windows.chunk_by(PartialEq::eq).map(group).collect();
    import.set("encoder.groups", groups, KEY);
    Ok(())
}
