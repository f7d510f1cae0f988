//! Mamba (`modeling_mamba.py`), in the form that runs without its own kernels.

use super::config::Import;
use super::head::{Task, task};
use crate::document::Diagnostic;

/// Mamba (Gu and Dao 2023): state-space layers alone.
pub(super) fn mamba(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    if import.flag("use_mambapy", false)? {
        return Err(import.wrong("use_mambapy", "false: the parallel scan of mambapy is not modelled"));
    }
    let width = import.size("hidden_size", 768)?;
    let channels = (import.number("expand", 2.0)? * width as f64).floor();
    if !(1.0..=16_777_216.0).contains(&channels) {
        return Err(import.wrong("expand", "a number above 0"));
    }
    import.set("width", width, "hidden_size");
    import.set("embedding.vocabulary", import.size("vocab_size", 50_280)?, "vocab_size");
    import.put("embedding.positions.kind", "none");
    import.put("attention.kind", "mamba");
    import.put("attention.heads", 1_u64);
    import.set("attention.bias", import.flag("use_bias", false)?, "use_bias");
    // A configuration that was saved says the product once more.
    let said = import.says("intermediate_size");
    let channels = import.size("intermediate_size", channels as u64)?;
    import.set("attention.mamba.channels", channels, if said { "intermediate_size" } else { "expand" });
    import.set("attention.mamba.states", import.size("state_size", 16)?, "state_size");
    import.set("attention.mamba.convolution", import.size("conv_kernel", 4)?, "conv_kernel");
    import.set("attention.mamba.convolution_bias", import.flag("use_conv_bias", true)?, "use_conv_bias");
    if import.single("time_step_rank") {
        import.set("attention.mamba.step_rank", import.size("time_step_rank", 1)?, "time_step_rank");
    } else {
        import.require("time_step_rank", "auto")?;
    }
    import.put("feed_forward.kind", "none");
    import.set("feed_forward.activation", import.activation("hidden_act", "silu")?, "hidden_act");
    import.put("norm.kind", "rms");
    import.put("norm.placement", "pre");
    import.set("decoder.layers", import.size("num_hidden_layers", 32)?, "num_hidden_layers");
    match task(import, &[Task::CausalLm, Task::Model])? {
        Task::CausalLm => {
            import.put("head.kind", "causal_lm");
            import.set("head.tied", import.flag("tie_word_embeddings", true)?, "tie_word_embeddings");
        }
        _ => import.put("head.kind", "none"),
    }
    Ok(())
}
