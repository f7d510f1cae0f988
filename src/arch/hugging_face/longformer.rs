//! Encoders that see a part of the positions: Longformer (Beltagy et al. 2020; `modeling_longformer.py`), which is RoBERTa
//! with a band and global tokens, and BigBird (Zaheer et al. 2020; `modeling_big_bird.py`), BERT with blocks.

use super::bert::{self, BERT, Defaults};
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

/// BigBird. Its full attention at short lengths is decided anew for each length here; a module of Hugging Face stays with it.
pub(super) fn big_bird(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    bert::encoder(import, &Defaults { vocabulary: 50_358, activation: "gelu_new", ..BERT })?;
    if !import.says("max_position_embeddings") {
        import.put("embedding.positions.length", 4096_u64);
    }
    import.set("attention.bias", import.flag("use_bias", true)?, "use_bias");
    import.put("attention.output_bias", true);
    import.flag("rescale_embeddings", false)?;
    match import.text("attention_type", "block_sparse")?.as_str() {
        "original_full" => {}
        "block_sparse" => {
            import.set("attention.kind", "bigbird", "attention_type");
            import.set("attention.bigbird.block", import.size("block_size", 64)?, "block_size");
            import.set("attention.bigbird.random_blocks", import.size("num_random_blocks", 3)?, "num_random_blocks");
        }
        _ => return Err(import.wrong("attention_type", "block_sparse, original_full")),
    }
    let activation = import.activation("hidden_act", "gelu_new")?;
    let hidden = import.rate("hidden_dropout_prob", 0.1)?;
    let dropout = import.rate("classifier_dropout", hidden)?;
    let all = [Task::MaskedLm, Task::PreTraining, Task::CausalLm, Task::Sequence, Task::Tokens, Task::Answer, Task::Choice, Task::Model];
    let task = task(import, &all)?;
    if matches!(task, Task::MaskedLm | Task::CausalLm | Task::Sequence | Task::Tokens) {
        import.put("head.unused_pooler", true);
    }
    match task {
        Task::MaskedLm => bert::language_model(import, "masked_lm", activation),
        Task::PreTraining => {
            import.put("head.sentence_classes", 2_u64);
            bert::language_model(import, "masked_lm", activation)
        }
        Task::CausalLm => bert::causal(import, activation),
        Task::Sequence => {
            import.put("head.activation", activation);
            import.put("head.input_dropout", true);
            bert::classification(import, "classification", dropout)
        }
        Task::Tokens => bert::classification(import, "token_classification", dropout),
        Task::Answer => {
            import.put("embedding.segment_ids", "own");
            import.put("head.activation", activation);
            import.set("head.block_width", import.size("intermediate_size", 3072)?, "intermediate_size");
            bert::answer(import, hidden)
        }
        Task::Choice => bert::choice(import, hidden),
        _ => bert::pooler(import),
    }
}
