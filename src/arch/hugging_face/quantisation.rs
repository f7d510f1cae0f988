//! Weights that a configuration quantises: bitsandbytes, as `BitsAndBytesConfig` of transformers says it. Its linear layers are
//! frozen; the head, which holds the last module, is left as it is.

use super::config::Import;
use crate::document::Diagnostic;

/// Reads `quantization_config`, where there is one.
pub(super) fn quantisation(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if !import.says("quantization_config") {
        return Ok(());
    }
    let key = |name: &str| format!("quantization_config.{name}");
    let method = import.word(&key("quant_method"), "bitsandbytes")?;
    if method != "bitsandbytes" {
        return Err(import.wrong(&key("quant_method"), "bitsandbytes; or a configuration without it, and linear.quantised in an overlay"));
    }
    let skipped = import.words(&key("llm_int8_skip_modules"), &[]).unwrap_or_default();
    if skipped.iter().any(|module| module != "lm_head") {
        return Err(import.wrong(&key("llm_int8_skip_modules"), "lm_head alone; name others in linear.quantised.components of an overlay"));
    }
    let (eight, four) = (import.flag(&key("load_in_8bit"), false)?, import.flag(&key("load_in_4bit"), false)?);
    let format = match (eight, four) {
        (true, false) => "int8".to_string(),
        (false, true) => import.word(&key("bnb_4bit_quant_type"), "fp4")?,
        _ => return Err(import.wrong("quantization_config", "one of load_in_8bit and load_in_4bit")),
    };
    if !["int8", "fp4", "nf4"].contains(&format.as_str()) {
        return Err(import.wrong(&key("bnb_4bit_quant_type"), "fp4, nf4"));
    }
    import.set("linear.quantised.format", format.as_str(), "quantization_config");
    if four {
        let double = import.flag(&key("bnb_4bit_use_double_quant"), false)?;
        import.set("linear.quantised.double_quantisation", double, "quantization_config");
    }
    Ok(())
}
