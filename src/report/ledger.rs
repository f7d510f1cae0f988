//! A model's ledger as tables and JSON.

use serde_json::{Map, Value, json};

use super::step;
use super::style::table;
use crate::arch::{Batch, Model};
use crate::document::Problem;
use crate::hardware::{Performance, Precision};
use crate::inference::{STORAGE, Storage};
use crate::ledger::{Component, Cost, Ledger};
use crate::training::{Procedure, Step, in_precision};
use crate::units::{Bytes, Flops, grouped};

/// A model at one batch, length and precision.
pub struct Inspection<'a> {
    model: &'a Model,
    batch: u64,
    /// The length that was asked for, and the one that the model has.
    asked: u64,
    length: u64,
    precision: Precision,
    ledger: Ledger,
    pub(super) step: Step,
    /// The ledger of the trained model that is only run.
    inference: Ledger,
}

impl<'a> Inspection<'a> {
    /// Builds the ledger, and the step of `micro_batches` batches as `procedure` do it on as many devices as their degrees
    /// ask for.
    ///
    /// # Errors
    /// The sequence is too long for the model, or the procedure does not fit it.
    pub fn new(model: &'a Model, batch: u64, length: u64, procedure: &Procedure, micro_batches: u64) -> Result<Self, Problem> {
        let (asked, length) = (length, model.length_of(length));
        let precision = procedure.precision;
        let computed = in_precision(model, precision)?;
        let sizes = Batch { sequences: batch as f64, length: length as f64, element_bytes: precision.element_bytes() };
        let ledger = computed.ledger(sizes)?;
        let accelerators = procedure.parallel.accelerators();
        procedure.parallel.check(model, Some(accelerators))?;
        if procedure.parallel.zero > 0 && procedure.parallel.data.is_none() && procedure.parallel.replicas(accelerators) == 1.0 {
            let found = format!("{} without data_parallel: there is one device to divide among", procedure.parallel.zero);
            return Err(Problem::new("zero", found, "0, or data_parallel beside it"));
        }
        let step = procedure.step(model, &ledger, sizes, accelerators, micro_batches as f64);
        let inference = computed.inference_ledger(sizes, 0.0)?;
        Ok(Self { model, batch, asked, length, precision, ledger, step, inference })
    }

    /// What a reader should know.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.model.notes_at(self.length);
        if self.asked != self.length {
            notes.push(format!("the image has {} patches, which are the sequence: not {}", self.length, self.asked));
        }
        notes
    }

    /// Versioned JSON.
    #[must_use]
    pub fn json(&self, parameters: Option<&Performance>) -> String {
        serde_json::to_string_pretty(&self.value(parameters)).unwrap_or_default() + "\n"
    }

    fn value(&self, parameters_of_device: Option<&Performance>) -> Value {
        let mut parameters = Map::new();
        parameters.insert("total".into(), whole(self.ledger.parameters()));
        for component in Component::ALL {
            parameters.insert(component.key().into(), whole(self.ledger.parameters_of(component)));
        }
        let (forward, backward) = (self.ledger.forward(), self.ledger.backward());
        json!({
            "schema": 1,
            "model": self.model.name,
            "batch": self.batch,
            "seq_len": self.length,
            "precision": self.precision.word(),
            "convention": "a multiply-add is 2 FLOP; causal attention computes the full square; matmul_backward holds matmul_recomputed, what a reversible layer or a fused kernel runs again; memory_bytes and step are of one device",
            "parameters": parameters,
            "trained_parameters": whole(self.ledger.changed_parameters()),
            "active_parameters": whole(self.ledger.active_parameters()),
            "flops": {
                "matmul_forward": whole(forward.matmul_flops),
                "matmul_backward": whole(backward.executed_matmul_flops()),
                "matmul_recomputed": whole(backward.recomputed_flops),
                "elementwise_forward": whole(forward.elementwise_flops),
                "elementwise_backward": whole(backward.elementwise_flops),
                "optimizer": whole(self.step.optimizer_flops),
            },
            "bytes_moved": {
                "forward": whole(forward.bytes()),
                "backward": whole(backward.bytes()),
                "optimizer": whole(self.step.optimizer_bytes),
            },
            "arithmetic_intensity": {
                "forward": forward.matmul_flops / forward.bytes(),
                "backward": backward.executed_matmul_flops() / backward.bytes(),
            },
            "launches": { "forward": whole(forward.launches), "backward": whole(backward.launches) },
            "memory_bytes": step::memory_value(&self.step),
            "memory": step::beside_value(&self.step, parameters_of_device),
            "step": self.step_value(),
            "per_layer": self.layer_value(),
            "inference": self.inference_value(),
            "configuration": self.model.resolved(),
        })
    }

    /// Two models side by side, and the second over the first.
    #[must_use]
    pub fn compared(&self, other: &Self) -> String {
        let (ours, theirs) = (self.figures(), other.figures());
        let rows = ours.into_iter().zip(theirs).map(|(ours, theirs)| {
            let ratio = if ours.value == theirs.value { "same".into() } else { format!("{:.3}", theirs.value / ours.value) };
            vec![ours.group.to_string(), ours.name.to_string(), ours.shown, theirs.shown, ratio]
        });
        let mut last = String::new();
        let rows = rows.map(|mut row| {
            if row[0] == last {
                row[0].clear();
            } else {
                last.clone_from(&row[0]);
            }
            row
        });
        let head = vec!["".into(), "".into(), self.model.name.clone(), other.model.name.clone(), "second\nover first".into()];
        let title = |inspection: &Self| inspection.model.title.clone().unwrap_or_else(|| inspection.model.name.clone());
        format!("{}\nbeside {}\n", title(self), title(other))
            + &format!("batch {}, {} positions, {}\n\n", self.batch, self.length, self.precision.word())
            + &table(head, rows.collect(), 2)
            + "A multiply-add is 2 FLOP; causal attention computes the full square.\n"
    }

    /// Versioned JSON of both models, each as it is alone, and the second over the first.
    #[must_use]
    pub fn compared_json(&self, other: &Self) -> String {
        let mut ratios: Map<String, Value> = Map::new();
        for (ours, theirs) in self.figures().into_iter().zip(other.figures()) {
            let ratio = if ours.value == theirs.value { 1.0 } else { theirs.value / ours.value };
            let group = ratios.entry(ours.group.replace([' ', '-'], "_")).or_insert_with(|| json!({}));
            group[ours.name.replace([' ', '-'], "_")] = if ratio.is_finite() { json!(ratio) } else { Value::Null };
        }
        let value = json!({ "schema": 1, "models": [self.value(None), other.value(None)], "second_over_first": ratios });
        serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
    }

    /// The figures that a comparison shows.
    fn figures(&self) -> Vec<Figure> {
        let mut out = Vec::new();
        let mut add = |group, name: &'static str, value: f64, shown: String| out.push(Figure { group, name, value, shown });
        for component in Component::ALL {
            let count = self.ledger.parameters_of(component);
            add("parameters", component.key(), count, grouped(count));
        }
        add("parameters", "total", self.ledger.parameters(), grouped(self.ledger.parameters()));
        add("parameters", "active", self.ledger.active_parameters(), grouped(self.ledger.active_parameters()));
        for (group, backward) in [("matmul forward", false), ("matmul backward", true)] {
            for component in Component::ALL {
                let flops = self.cost(component, backward).executed_matmul_flops();
                add(group, component.key(), flops, Flops::new(flops).to_string());
            }
            let total = if backward { self.ledger.backward() } else { self.ledger.forward() }.executed_matmul_flops();
            add(group, "total", total, Flops::new(total).to_string());
        }
        let (forward, backward) = (self.ledger.forward(), self.ledger.backward());
        let elementwise = forward.elementwise_flops + backward.elementwise_flops;
        add("both passes", "element-wise", elementwise, Flops::new(elementwise).to_string());
        let moved = forward.bytes() + backward.bytes();
        add("both passes", "bytes moved", moved, Bytes::new(moved).to_string());
        add("both passes", "launches", forward.launches + backward.launches, grouped(forward.launches + backward.launches));
        for component in Component::ALL {
            let kept = self.ledger.kept_bytes_where(|op| op.component == component);
            add("kept for backward", component.key(), kept, Bytes::new(kept).to_string());
        }
        for (name, bytes) in self.memory_rows() {
            add("memory", name, bytes.value(), bytes.to_string());
        }
        out
    }

    /// How the step is done, and what one device computes and exchanges in it.
    fn step_value(&self) -> Value {
        let step = &self.step;
        let (forward, backward, again) = (step.device.forward(), step.device.backward(), step.device.recomputed(step.procedure.rerun));
        json!({
            "optimizer": step.procedure.optimizer.word(),
            "accelerators": step.accelerators,
            "micro_batches": step.micro_batches,
            "stage": step.stage,
            "matmul_forward": whole(forward.matmul_flops),
            "matmul_backward": whole(backward.executed_matmul_flops()),
            "matmul_checkpointing": whole(again.matmul_flops),
            "bytes_checkpointing": whole(again.bytes()),
            "bubble": step.procedure.parallel.bubble(step.micro_batches),
            "collectives": step::collectives_value(step),
        })
    }

    /// Sums over the layers of all stacks, over their number.
    fn layer_value(&self) -> Value {
        let figures = self.layer_figures();
        let values = figures.into_iter().map(|(name, value, _)| (name.to_string(), json!(value)));
        Value::Object(values.collect())
    }

    /// What one layer has and does, on average over those of all stacks.
    fn layer_figures(&self) -> Vec<(&'static str, f64, String)> {
        let layers = (self.model.layers() as f64).max(1.0);
        let ops = || self.ledger.ops().iter().filter(|op| op.layer);
        let forward: Cost = ops().map(|op| op.forward * op.times).sum();
        let backward: Cost = ops().map(|op| op.backward() * op.times).sum();
        let flops = |value: f64| (value / layers, Flops::new(value / layers).to_string());
        // A sum of nothing is a negative zero.
        let bytes = |value: f64| (value / layers + 0.0, Bytes::new(value / layers).to_string());
        let parameters = self.ledger.layer_parameters() / layers;
        let rows = [
            ("parameters", (parameters, grouped(parameters.round()))),
            ("matmul_forward", flops(forward.matmul_flops)),
            ("matmul_backward", flops(backward.executed_matmul_flops())),
            ("elementwise_forward", flops(forward.elementwise_flops)),
            ("elementwise_backward", flops(backward.elementwise_flops)),
            ("bytes_forward", bytes(forward.bytes())),
            ("bytes_backward", bytes(backward.bytes())),
            ("kept_bytes", bytes(self.ledger.kept_bytes_where(|op| op.layer))),
        ];
        rows.into_iter().map(|(name, (value, shown))| (name, value, shown)).collect()
    }

    /// What running the trained model takes.
    fn inference_value(&self) -> Value {
        let forward = self.inference.forward();
        let stored: Map<String, Value> =
            STORAGE.iter().map(|storage| (storage.name.to_string(), whole(self.stored(storage).value()))).collect();
        let changed = self.ledger.changed_parameters();
        let adapters: Map<String, Value> =
            STORAGE.iter().map(|storage| (storage.name.to_string(), whole(storage.bytes(changed).value()))).collect();
        let cache = self.model.cache_elements().map(|elements| elements * self.precision.element_bytes());
        json!({
            "stored_bytes": stored,
            "stored_trained_bytes": if changed < self.ledger.parameters() { Value::Object(adapters) } else { Value::Null },
            "held_bytes": whole(self.inference.parameter_bytes()),
            "matmul_flops": whole(forward.matmul_flops),
            "bytes_moved": whole(forward.bytes()),
            "working_bytes": whole(self.inference.working_bytes()),
            "cache_bytes_per_position": cache.map(whole),
            "cache_bytes": cache.map(|bytes| whole(bytes * (self.batch * self.length) as f64)),
        })
    }

    /// A file of the parameters in a format, with what says where those of pruned matrices stand.
    fn stored(&self, storage: &Storage) -> Bytes {
        storage.bytes(self.ledger.parameters()) + Bytes::new(self.ledger.index_bits() / 8.0)
    }

    fn inference_table(&self) -> String {
        let forward = self.inference.forward();
        let mut rows: Vec<Vec<String>> =
            STORAGE.iter().map(|storage| vec![format!("weights on disk, {}", storage.name), self.stored(storage).to_string()]).collect();
        let mut add = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
        let changed = self.ledger.changed_parameters();
        if changed < self.ledger.parameters() {
            let fp16 = STORAGE.iter().find(|storage| storage.name == "fp16");
            add("trained weights alone on disk, fp16", fp16.map_or(String::new(), |storage| storage.bytes(changed).to_string()));
        }
        add("weights in memory", Bytes::new(self.inference.parameter_bytes()).to_string());
        add("products of a forward pass", Flops::new(forward.matmul_flops).to_string());
        add("moved by a forward pass", Bytes::new(forward.bytes()).to_string());
        add("alive at once beside the weights", Bytes::new(self.inference.working_bytes()).to_string());
        if let Some(elements) = self.model.cache_elements() {
            let position = elements * self.precision.element_bytes();
            add("key-value cache of a position", Bytes::new(position).to_string());
            add("key-value cache of all positions", Bytes::new(position * (self.batch * self.length) as f64).to_string());
        }
        table(vec!["running the trained model".into(), "".into()], rows, 1)
    }

    fn memory_rows(&self) -> [(&'static str, Bytes); 6] {
        [
            ("parameters", self.step.memory.parameters),
            ("gradients", self.step.memory.gradients),
            ("optimizer", self.step.memory.optimizer),
            ("activations", self.step.memory.activations),
            ("transient", self.step.memory.transient),
            ("peak", self.step.memory.peak()),
        ]
    }

    /// What a component computes and moves in one pass.
    fn cost(&self, component: Component, backward: bool) -> Cost {
        let ops = self.ledger.ops().iter().filter(|op| op.component == component);
        ops.map(|op| if backward { op.backward() } else { op.forward } * op.times).sum()
    }

    fn head(&self) -> String {
        let title = self.model.title.as_deref().unwrap_or(&self.model.name);
        let source = self
            .model
            .sources
            .get(&self.model.source)
            .map_or(String::new(), |source| format!("Sizes: {} ({})\n", source.citation, source.year));
        format!("{title}\n{source}batch {}, {} positions, {}\n\n", self.batch, self.length, self.precision.word())
    }

    /// Folded by component.
    #[must_use]
    pub fn table(&self, parameters: Option<&Performance>) -> String {
        let total = (self.ledger.forward(), self.ledger.backward());
        let mut rows: Vec<Vec<String>> = Component::ALL
            .iter()
            .map(|component| {
                let kept = self.ledger.kept_bytes_where(|op| op.component == *component);
                row(
                    component.key(),
                    self.ledger.parameters_of(*component),
                    (self.cost(*component, false), self.cost(*component, true)),
                    Bytes::new(kept).to_string(),
                )
            })
            .collect();
        let kept = Bytes::new(self.ledger.kept_bytes());
        rows.push(row("total", self.ledger.parameters(), total, kept.to_string()));
        let head = [
            "component",
            "parameters",
            "matmul\nforward",
            "matmul\nbackward",
            "element-wise\nforward",
            "element-wise\nbackward",
            "moved\nforward",
            "moved\nbackward",
            "kept for\nbackward",
        ];
        let intensity = total.0.matmul_flops / total.0.bytes();
        self.head()
            + &table(head.map(String::from).to_vec(), rows, 1)
            + "A multiply-add is 2 FLOP; causal attention computes the full square. A tensor that two components keep\n\
               counts once in the total.\n"
            + &self.active()
            + &self.trained()
            + &format!("Arithmetic intensity, forward: {intensity:.1} FLOP a byte.\n\n")
            + &self.layer_table()
            + "\n"
            + &step::memory_table(&self.step, parameters)
            + &step::work_table(&self.step)
            + "\n"
            + &self.inference_table()
    }

    /// The parameters that training changes, where they are not all.
    fn trained(&self) -> String {
        let (trained, all) = (self.ledger.changed_parameters(), self.ledger.parameters());
        if trained < all { format!("Training changes {} of {} parameters.\n", grouped(trained), grouped(all)) } else { String::new() }
    }

    fn layer_table(&self) -> String {
        let rows = self.layer_figures().into_iter().map(|(name, _, shown)| vec![name.replace('_', " "), shown]);
        table(vec!["one layer, on average".into(), "".into()], rows.collect(), 1)
    }

    /// The parameters that one position passes through, where those are not all.
    fn active(&self) -> String {
        let (active, total) = (self.ledger.active_parameters(), self.ledger.parameters());
        if active == total {
            String::new()
        } else {
            format!("Active parameters, which one position passes through: {}.\n", grouped(active))
        }
    }

    /// Row by row.
    #[must_use]
    pub fn rows(&self) -> String {
        let rows = self.ledger.ops().iter().map(|op| {
            let shape = op
                .shape
                .map_or(String::new(), |s| format!("{} x ({} x {} x {})", grouped(s.batch), grouped(s.m), grouped(s.n), grouped(s.k)));
            let flops = op.forward.matmul_flops + op.forward.elementwise_flops;
            vec![
                op.component.key().to_string(),
                op.name.to_string(),
                shape,
                op.formula.to_string(),
                grouped(op.times),
                Flops::new(flops).to_string(),
                Flops::new(op.backward().executed_matmul_flops() + op.backward().elementwise_flops).to_string(),
                Bytes::new(op.forward.bytes()).to_string(),
                Bytes::new(op.backward().bytes()).to_string(),
            ]
        });
        let head = [
            "component",
            "operation",
            "batch x (m x n x k)",
            "formula",
            "times",
            "forward",
            "backward",
            "moved\nforward",
            "moved\nbackward",
        ];
        self.head() + &table(head.map(String::from).to_vec(), rows.collect(), 4) + "Figures are of one run; times says how often it runs.\n"
    }
}

/// A figure that two models are compared by.
struct Figure {
    group: &'static str,
    name: &'static str,
    value: f64,
    shown: String,
}

fn row(name: &str, parameters: f64, (forward, backward): (Cost, Cost), kept: String) -> Vec<String> {
    vec![
        name.to_string(),
        grouped(parameters),
        Flops::new(forward.matmul_flops).to_string(),
        Flops::new(backward.executed_matmul_flops()).to_string(),
        Flops::new(forward.elementwise_flops).to_string(),
        Flops::new(backward.elementwise_flops).to_string(),
        Bytes::new(forward.bytes()).to_string(),
        Bytes::new(backward.bytes()).to_string(),
        kept,
    ]
}

/// A count as a JSON integer, if one can hold it.
pub(super) fn whole(value: f64) -> Value {
    if value.abs() < 9e18 { json!(value.round() as i64) } else { json!(value) }
}
