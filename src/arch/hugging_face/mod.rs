//! Models that users already have: the `config.json` of Hugging Face transformers, read as transformers 4.44.2 reads it,
//! turned into a model document.
//!
//! What a configuration leaves out has the default of its family's configuration class. `model_type` names the family,
//! `architectures` the head. Everything ends in the settings that a TOML file has too: no mechanism is written here.

mod bart;
mod bert;
mod config;
mod decoder;
mod fnet;
mod funnel;
mod gpt;
mod head;
mod llama;
mod longformer;
mod mamba;
mod mixture;
mod mobilebert;
mod nystromformer;
mod opt;
mod quantisation;
mod reformer;
mod switch_transformers;
mod t5;
mod transformer_xl;
mod vit;

use config::Import;

use crate::document::{Diagnostic, Node};

/// How a family is imported.
type Family = fn(&mut Import<'_>) -> Result<(), Diagnostic>;

/// The families by `model_type`.
const FAMILIES: &[(&str, Family)] = &[
    ("albert", bert::albert),
    ("bart", bart::bart),
    ("bert", bert::bert),
    ("big_bird", longformer::big_bird),
    ("blenderbot", bart::blenderbot),
    ("blenderbot-small", bart::blenderbot_small),
    ("bloom", opt::bloom),
    ("camembert", bert::roberta),
    ("codegen", gpt::codegen),
    ("cohere", llama::cohere),
    ("dbrx", mixture::dbrx),
    ("distilbert", bert::distilbert),
    ("electra", bert::electra),
    ("falcon", opt::falcon),
    ("fnet", fnet::fnet),
    ("funnel", funnel::funnel),
    ("gemma", llama::gemma),
    ("gemma2", llama::gemma2),
    ("gpt2", gpt::gpt2),
    ("gpt_bigcode", gpt::gpt_bigcode),
    ("gpt_neo", gpt::gpt_neo),
    ("gpt_neox", gpt::gpt_neox),
    ("gptj", gpt::gptj),
    ("llama", llama::llama),
    ("longformer", longformer::longformer),
    ("m2m_100", bart::m2m_100),
    ("mamba", mamba::mamba),
    ("marian", bart::marian),
    ("mbart", bart::mbart),
    ("mistral", llama::mistral),
    ("mixtral", mixture::mixtral),
    ("mobilebert", mobilebert::mobilebert),
    ("mpt", opt::mpt),
    ("mt5", t5::mt5),
    ("nystromformer", nystromformer::nystromformer),
    ("olmo", llama::olmo),
    ("openai-gpt", gpt::openai_gpt),
    ("opt", opt::opt),
    ("pegasus", bart::pegasus),
    ("phi", llama::phi),
    ("phi3", llama::phi3),
    ("plbart", bart::plbart),
    ("qwen2", llama::qwen2),
    ("qwen2_moe", mixture::qwen2_moe),
    ("reformer", reformer::reformer),
    ("roberta", bert::roberta),
    ("stablelm", llama::stablelm),
    ("starcoder2", llama::starcoder2),
    ("switch_transformers", switch_transformers::switch_transformers),
    ("t5", t5::t5),
    ("transfo-xl", transformer_xl::transfo_xl),
    ("umt5", t5::umt5),
    ("vit", vit::vit),
    ("xlm-roberta", bert::roberta),
    ("xlnet", transformer_xl::xlnet),
    ("yoso", nystromformer::yoso),
];

/// Turns a `config.json` into a model document.
///
/// # Errors
/// `model_type` is missing or not known, `architectures` names a head that its family has not, or a value is of the wrong
/// type or asks for what is not modelled.
pub fn import(config: &Node) -> Result<Node, Diagnostic> {
    let known: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let Some(model_type) = config.find("model_type") else {
        return Err(Diagnostic::new(&config.origin, "model_type", "nothing", format!("one of {}", known.join(", "))));
    };
    let name = model_type.as_str().unwrap_or_default();
    let Some((_, family)) = FAMILIES.iter().find(|(known, _)| *known == name) else {
        let found = if name.is_empty() { model_type.shown() } else { format!("unknown model_type \"{name}\"") };
        let mut error = Diagnostic::new(&model_type.origin, "model_type", found, known.join(", "));
        error.nearest = crate::document::nearest(name, known);
        return Err(error);
    };
    let mut import = Import::new(config, name);
    import.refuse_unmodelled()?;
    family(&mut import)?;
    quantisation::quantisation(&mut import)?;
    if import.flag("gradient_checkpointing", false)? {
        import.note("gradient_checkpointing is no part of the model: everything is kept here, as without it.");
    }
    Ok(import.finish())
}
