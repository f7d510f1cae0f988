//! The head that `architectures` names.

use super::config::Import;
use crate::document::Diagnostic;

/// The heads that several families share, by the end of the class's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    MaskedLm,
    CausalLm,
    PreTraining,
    NextSentence,
    Sequence,
    Tokens,
    Answer,
    Choice,
    Image,
    Generation,
    Encoder,
    Base,
    Model,
}

const ENDS: &[(&str, Task)] = &[
    ("ForMaskedLM", Task::MaskedLm),
    ("ForCausalLM", Task::CausalLm),
    ("LMHeadModel", Task::CausalLm),
    ("ModelWithLMHead", Task::CausalLm),
    ("ForPreTraining", Task::PreTraining),
    ("ForNextSentencePrediction", Task::NextSentence),
    ("ForSequenceClassification", Task::Sequence),
    ("ForTokenClassification", Task::Tokens),
    ("ForQuestionAnswering", Task::Answer),
    ("ForQuestionAnsweringSimple", Task::Answer),
    ("ForMultipleChoice", Task::Choice),
    ("ForImageClassification", Task::Image),
    ("ForConditionalGeneration", Task::Generation),
    ("MTModel", Task::Generation),
    ("EncoderModel", Task::Encoder),
    ("BaseModel", Task::Base),
    ("Model", Task::Model),
];

/// The task that the class asks for, one of `allowed`; the first of them where no class is named.
pub(super) fn task(import: &mut Import<'_>, allowed: &[Task]) -> Result<Task, Diagnostic> {
    let words = || {
        let word = |task: &Task| ENDS.iter().find(|(_, known)| known == task).map(|(end, _)| *end);
        allowed.iter().filter_map(word).collect::<Vec<_>>().join(", ")
    };
    let Some(class) = import.architecture() else {
        import.note(format!("config.json names no class in architectures: read as {}.", words().split(", ").next().unwrap_or_default()));
        return allowed.first().copied().ok_or_else(|| import.wrong("architectures", "a class"));
    };
    let found = ENDS.iter().find(|(end, task)| class.ends_with(end) && allowed.contains(task)).map(|(_, task)| *task);
    found.ok_or_else(|| import.wrong("architectures.0", format!("a class that ends in {}", words())))
}

/// A classification of what a decoder makes of the end of a sequence.
pub(super) fn end_classification(import: &mut Import<'_>, classes: u64, dropout: &str) -> Result<(), Diagnostic> {
    import.put("head.kind", "classification");
    import.put("head.pooling", "end");
    import.put("head.input_dropout", true);
    import.put("head.classes", classes);
    import.set("head.dropout", import.rate(dropout, 0.0)?, dropout);
    Ok(())
}

/// Number of labels of a classification: `num_labels`, or as many as `id2label` names, or 2.
pub(super) fn labels(import: &Import<'_>) -> Result<u64, Diagnostic> {
    if import.says("num_labels") {
        return import.size("num_labels", 2);
    }
    Ok(import.entries("id2label").unwrap_or(2))
}
