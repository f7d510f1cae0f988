//! The training step of a model on one device, as tables and JSON: memory by kind, work of the optimizer, exchanges.

use serde_json::{Map, Value, json};

use super::ledger::whole;
use super::style::table;
use crate::hardware::Performance;
use crate::ledger::Kept;
use crate::training::Step;
use crate::units::{Bytes, Flops, grouped};

/// Memory that a framework takes beside a step, with where the figure is from.
pub(super) fn overhead_value(parameters: &Performance) -> Value {
    let overhead = &parameters.memory_overhead;
    let from = |key: &Option<String>| key.as_deref().and_then(|key| parameters.sources.get(key)).map(|source| source.citation.clone());
    json!({
        "context_bytes": whole(overhead.context.centre().value()),
        "context_class": parameters.class_of(&overhead.context).word(),
        "context_source": from(&overhead.context.source),
        "fragmentation": overhead.fragmentation.centre().value(),
        "fragmentation_class": parameters.class_of(&overhead.fragmentation).word(),
        "fragmentation_source": from(&overhead.fragmentation.source),
    })
}

fn words(kind: Kept) -> &'static str {
    match kind {
        Kept::LinearInputs => "inputs of linear layers",
        Kept::ProductOperands => "operands of other products",
        Kept::FusedAttention => "fused attention",
        Kept::SoftmaxOutputs => "outputs of softmax",
        Kept::NormInputs => "inputs and statistics of norms",
        Kept::Masks => "masks",
        Kept::Indices => "indices",
        Kept::Loss => "probabilities of the loss",
        Kept::Elementwise => "other element-wise operations",
    }
}

/// Memory of the step: parts that sum to the peak.
pub(super) fn memory_value(step: &Step) -> Value {
    let memory = &step.memory;
    json!({
        "parameters": whole(memory.parameters.value()),
        "gradients": whole(memory.gradients.value()),
        "optimizer": whole(memory.optimizer.value()),
        "activations": whole(memory.activations.value()),
        "transient": whole(memory.transient.value()),
        "peak": whole(memory.peak().value()),
    })
}

/// What stands beside those parts: activations by kind, what the host holds, what a framework takes.
pub(super) fn beside_value(step: &Step, parameters: Option<&Performance>) -> Value {
    let kept: Map<String, Value> = step.kept.iter().map(|(kind, bytes)| (kind.key().to_string(), whole(*bytes))).collect();
    let mut value = json!({ "activations_by_kind_bytes": kept, "host_bytes": whole(step.memory.host.value()) });
    if let Some(parameters) = parameters {
        let overhead = &parameters.memory_overhead;
        let needed = step.memory.with_overhead(overhead.context.centre(), overhead.fragmentation.centre().value());
        value["overhead"] = overhead_value(parameters);
        value["needed_bytes"] = json!(needed.value());
    }
    value
}

/// What devices exchange in a step.
pub(super) fn collectives_value(step: &Step) -> Value {
    let one = |c: &crate::perf::Collective| {
        json!({
            "name": c.name, "kind": c.kind.word(), "message_bytes": whole(c.message), "count": whole(c.times), "devices": whole(c.devices),
        })
    };
    Value::Array(step.collectives.iter().map(one).collect())
}

/// Memory of the step as a table.
pub(super) fn memory_table(step: &Step, parameters: Option<&Performance>) -> String {
    let memory = &step.memory;
    let procedure = &step.procedure;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |name: String, bytes: Bytes| rows.push(vec![name, bytes.to_string()]);
    add("parameters".into(), memory.parameters);
    add("gradients".into(), memory.gradients);
    add(format!("optimizer ({})", procedure.optimizer.word()), memory.optimizer);
    add("activations".into(), memory.activations);
    for (kind, bytes) in &step.kept {
        add(format!("  {}", words(*kind)), Bytes::new(*bytes));
    }
    add("transient, at the peak of backward".into(), memory.transient);
    add("peak".into(), memory.peak());
    if memory.host.value() > 0.0 {
        add("held by the host".into(), memory.host);
    }
    let mut note = String::new();
    if let Some(parameters) = parameters {
        let overhead = &parameters.memory_overhead;
        let (context, fragmentation) = (overhead.context.centre(), overhead.fragmentation.centre().value());
        add("needed, with the framework's own".into(), memory.with_overhead(context, fragmentation));
        note = format!(
            "The framework's own: a context of {context} ({}) and {:.0} % of fragmentation ({}); performance.memory_overhead in a scenario.\n",
            parameters.class_of(&overhead.context).word(),
            100.0 * fragmentation,
            parameters.class_of(&overhead.fragmentation).word(),
        );
    }
    let head = if step.accelerators > 1 { "memory of a training step, fullest device" } else { "memory of a training step" };
    table(vec![head.into(), "".into()], rows, 1) + &note
}

/// The optimizer's work and the exchanges of a step.
pub(super) fn work_table(step: &Step) -> String {
    let mut out = format!(
        "Optimizer step ({}): {} element-wise, {} moved.\n",
        step.procedure.optimizer.word(),
        Flops::new(step.optimizer_flops),
        Bytes::new(step.optimizer_bytes)
    );
    let (forward, backward) = (step.device.forward(), step.device.backward());
    let again = step.device.recomputed(step.procedure.rerun);
    let products = forward.matmul_flops + backward.executed_matmul_flops() + again.matmul_flops;
    let moved = forward.bytes() + backward.bytes() + again.bytes();
    let executed = Flops::new(products * step.micro_batches);
    if step.accelerators > 1 {
        out += &format!("One of {} devices (stage {}): {executed} of products in a step.\n", step.accelerators, step.stage);
    }
    if again.matmul_flops > 0.0 || again.bytes() > 0.0 {
        let again = (Flops::new(again.matmul_flops), Bytes::new(again.bytes()));
        out += &format!("Runs again in backward: {} of products, {} moved, a micro-batch.\n", again.0, again.1);
    }
    out += &format!("Arithmetic intensity of both passes: {:.1} FLOP a byte.\n", products / moved);
    if !step.collectives.is_empty() {
        let rows = step.collectives.iter().map(|c| {
            vec![
                c.name.to_string(),
                c.kind.word().replace('_', "-"),
                grouped(c.devices),
                grouped(c.times),
                Bytes::new(c.message).to_string(),
            ]
        });
        let head = ["exchange in a step", "kind", "devices", "times", "message"].map(String::from).to_vec();
        out += &("\n".to_string() + &table(head, rows.collect(), 2));
    }
    out
}
