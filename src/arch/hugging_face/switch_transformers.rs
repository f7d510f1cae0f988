//! Switch Transformers (`modeling_switch_transformers.py`).

use super::config::Import;
use super::head::{Task, task};
use super::t5;
use crate::document::{Data, Diagnostic, Node};

/// Switch Transformers (Fedus et al. 2022): T5 with a mixture of experts in some layers, one expert a position.
pub(super) fn switch_transformers(import: &mut Import<'_>) -> Result<(), Diagnostic> {
    t5::common(import)?;
    import.set("embedding.vocabulary", import.size("vocab_size", 32_128)?, "vocab_size");
    import.set("attention.heads", import.size("num_heads", 12)?, "num_heads");
    import.set("feed_forward.width", import.size("d_ff", 2048)?, "d_ff");
    import.set("feed_forward.activation", import.activation("dense_act_fn", "relu")?, "dense_act_fn");
    import.note("Positions are taken to spread evenly over experts, each of which takes expert_capacity of a sequence at most.");
    let found = task(import, &[Task::Generation, Task::Model, Task::Encoder])?;
    let trained = found == Task::Generation;
    stack(import, "encoder", ["num_layers", "num_sparse_encoder_layers"], trained)?;
    if found != Task::Encoder {
        stack(import, "decoder", ["num_decoder_layers", "num_sparse_decoder_layers"], trained)?;
    }
    if trained {
        return t5::generation(import, true);
    }
    import.put("head.kind", "none");
    Ok(())
}

/// A stack whose second layer and every n-th from there on are mixtures, for n the layers over the sparse layers that are
/// asked for. Their losses are added where not all layers are mixtures, as the library does.
fn stack(import: &mut Import<'_>, name: &str, [layers_key, sparse_key]: [&str; 2], trained: bool) -> Result<(), Diagnostic> {
    let layers = import.size(layers_key, 12)?;
    // A configuration that was saved says the step too.
    let step = import.count(&format!("{name}_sparse_step"), layers / import.count(sparse_key, 3)?.clamp(1, layers))?;
    let sparse = match step {
        0 => 0,
        1 => layers,
        _ => (layers - 1).div_ceil(step),
    };
    import.set(&format!("{name}.layers"), layers, layers_key);
    let mixture = mixture(import, sparse, trained && step > 1)?;
    let dense = import.table(vec![("layers", Data::Integer((layers - sparse) as i64))]);
    let groups: Vec<Node> =
        [(layers - sparse, dense), (sparse, mixture)].into_iter().filter(|(layers, _)| *layers > 0).map(|(_, group)| group).collect();
    import.set(&format!("{name}.groups"), groups, sparse_key);
    Ok(())
}

/// The layers that are mixtures.
fn mixture(import: &Import<'_>, layers: u64, losses: bool) -> Result<Node, Diagnostic> {
    let integer = |value: u64| Data::Integer(value as i64);
    Ok(import.table(vec![
        ("layers", integer(layers)),
        ("feed_forward.kind", Data::String("mixture".to_string())),
        ("feed_forward.mixture.experts", integer(import.size("num_experts", 8)?)),
        ("feed_forward.mixture.top_k", integer(1)),
        ("feed_forward.mixture.combine", Data::String("place".to_string())),
        ("feed_forward.mixture.capacity", integer(import.size("expert_capacity", 64)?)),
        ("feed_forward.mixture.router_bias", Data::Boolean(import.flag("router_bias", false)?)),
        ("feed_forward.mixture.jitter", Data::Float(import.rate("router_jitter_noise", 0.01)?)),
        ("feed_forward.mixture.auxiliary_loss", Data::Boolean(losses)),
        ("feed_forward.mixture.z_loss", Data::Boolean(losses)),
    ]))
}
