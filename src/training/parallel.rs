//! How a step is divided among accelerators, and what they exchange because of it.

use serde::Deserialize;

use crate::arch::Model;
use crate::document::Problem;
use crate::ledger::{Division, Ledger, Rerun};
use crate::perf::{Collective, CollectiveKind, When};

/// What is held by the host instead of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// Optimizer state and master weights, which the host updates (Ren et al. 2021, ZeRO-Offload).
    Optimizer,
    /// The weights of all layers but the one at work too (Rajbhandari et al. 2021, ZeRO-Infinity).
    Parameters,
}

impl Offload {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::None, Self::Optimizer, Self::Parameters];

    /// The word in files and outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optimizer => "optimizer",
            Self::Parameters => "parameters",
        }
    }
}

/// How a step is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel {
    /// Groups of devices that run sequences of their own; none for what the other degrees leave.
    pub data: Option<u64>,
    /// Devices that share heads and columns.
    pub tensor: u64,
    /// Whether those share the positions of what lies between.
    pub sequence: bool,
    /// Stages that share the layers.
    pub pipeline: u64,
    /// Parts of a stage, which stand apart in the model (Narayanan et al. 2021, section 2.2.2).
    pub interleaving: u64,
    /// Devices that share the positions of every sequence.
    pub context: u64,
    /// Devices, among those of data parallelism, that share the experts.
    pub expert: u64,
    /// 0: nothing is divided among data-parallel devices; 1: optimizer state; 2: gradients too; 3: weights too
    /// (Rajbhandari et al. 2020).
    pub zero: u64,
    /// What the host holds.
    pub offload: Offload,
}

impl Default for Parallel {
    fn default() -> Self {
        Self {
            data: None,
            tensor: 1,
            sequence: false,
            pipeline: 1,
            interleaving: 1,
            context: 1,
            expert: 1,
            zero: 0,
            offload: Offload::None,
        }
    }
}

impl Parallel {
    /// Devices that the degrees ask for together.
    #[must_use]
    pub fn accelerators(&self) -> u64 {
        let product = [self.tensor, self.pipeline, self.context].into_iter().fold(self.data.unwrap_or(self.expert), u64::saturating_mul);
        product.max(1)
    }

    /// Data-parallel groups among `accelerators`.
    #[must_use]
    pub fn groups(&self, accelerators: u64) -> u64 {
        self.data.unwrap_or(accelerators / (self.tensor * self.pipeline * self.context).max(1)).max(1)
    }

    /// Devices that hold the same weights, and that ZeRO divides states among.
    #[must_use]
    pub fn replicas(&self, accelerators: u64) -> f64 {
        (self.groups(accelerators) * self.context) as f64
    }

    /// The division as one stage sees it.
    #[must_use]
    pub fn division(&self, stage: u64) -> Division {
        Division {
            tensor: self.tensor as f64,
            sequence: self.sequence,
            context: self.context as f64,
            experts: self.expert as f64,
            stages: self.pipeline as f64,
            stage: stage as f64,
        }
    }

    /// Micro-batches whose activations a stage holds at once, in its share of the layers: with one forward and one backward in
    /// turn, as many as stages follow, itself with them (Narayanan et al. 2019); with interleaving as many of its parts as
    /// warm up, 2 (p - s - 1) + (v - 1) p + 1 of v (Narayanan et al. 2021).
    #[must_use]
    pub fn in_flight(&self, stage: u64, micro_batches: f64) -> f64 {
        let (stages, parts, stage) = (self.pipeline as f64, self.interleaving as f64, stage as f64);
        let warm = if parts > 1.0 { (2.0 * (stages - stage - 1.0) + (parts - 1.0) * stages + 1.0) / parts } else { stages - stage };
        warm.min(micro_batches).max(1.0)
    }

    /// Idle time over the time of the work: (p - 1) / (v m) (Narayanan et al. 2021, section 2.2.2).
    #[must_use]
    pub fn bubble(&self, micro_batches: f64) -> f64 {
        (self.pipeline as f64 - 1.0) / (self.interleaving as f64 * micro_batches)
    }

    /// Checks the degrees against each other, the model and the number of accelerators.
    ///
    /// # Errors
    /// They do not fit; the message names the key.
    pub fn check(&self, model: &Model, accelerators: Option<u64>) -> Result<(), Problem> {
        let wrong = |key: &str, found: String, allowed: String| Err(Problem::new(key, found, allowed));
        let degrees = [
            ("data_parallel", self.data.unwrap_or(1)),
            ("tensor_parallel", self.tensor),
            ("pipeline_parallel", self.pipeline),
            ("interleaving", self.interleaving),
            ("context_parallel", self.context),
            ("expert_parallel", self.expert),
        ];
        if let Some((key, degree)) = degrees.into_iter().find(|(_, degree)| *degree == 0 || *degree > 1 << 20) {
            return wrong(key, degree.to_string(), format!("1 to {}", 1 << 20));
        }
        if self.zero > 3 {
            return wrong("zero", self.zero.to_string(), "0 to 3".into());
        }
        if self.sequence && self.tensor == 1 {
            return wrong("sequence_parallel", "true with tensor_parallel = 1".into(), "tensor_parallel above 1".into());
        }
        if self.interleaving > 1 && self.pipeline == 1 {
            return wrong("interleaving", format!("{} with pipeline_parallel = 1", self.interleaving), "pipeline_parallel above 1".into());
        }
        if self.zero > 1 && self.pipeline > 1 {
            let allowed = "zero = 0 or 1 beside a pipeline, which holds gradients over all its micro-batches";
            return wrong("zero", format!("{} with pipeline_parallel = {}", self.zero, self.pipeline), allowed.into());
        }
        if let Some((heads, key)) = model.heads().into_iter().find(|(heads, _)| heads % self.tensor != 0) {
            return wrong("tensor_parallel", self.tensor.to_string(), format!("a divisor of the {heads} of {key}"));
        }
        let layers = self.pipeline * self.interleaving;
        if self.pipeline > 1 {
            match model.uniform_layers() {
                Some(count) if count % layers == 0 => {}
                Some(count) => {
                    let key = if count % self.pipeline == 0 { "interleaving" } else { "pipeline_parallel" };
                    return wrong(key, format!("{layers} parts of {count} layers"), format!("a divisor of {count}"));
                }
                None => {
                    return wrong("pipeline_parallel", "stacks or groups of layers that differ".into(), "one stack of equal layers".into());
                }
            }
        }
        if self.context > 1 && !model.attends_in_rings() {
            let allowed = "softmax attention in every layer, whose keys and values can pass from device to device";
            return wrong("context_parallel", format!("{} with another mechanism", self.context), allowed.into());
        }
        if self.expert > 1 {
            match model.experts() {
                None => return wrong("expert_parallel", format!("{} of a model without experts", self.expert), "1".into()),
                Some(experts) if experts % self.expert != 0 => {
                    return wrong("expert_parallel", self.expert.to_string(), format!("a divisor of the {experts} experts"));
                }
                Some(_) => {}
            }
        }
        let Some(accelerators) = accelerators else { return Ok(()) };
        let product = self.tensor.saturating_mul(self.pipeline).saturating_mul(self.context);
        if accelerators % product != 0 {
            let found = format!("{} x {} x {} (tensor, pipeline, context)", self.tensor, self.pipeline, self.context);
            return wrong("tensor_parallel", found, format!("degrees whose product divides the {accelerators} accelerators"));
        }
        match self.data {
            Some(data) if data * product != accelerators => {
                return wrong(
                    "data_parallel",
                    data.to_string(),
                    format!("{}: {accelerators} accelerators over {product}", accelerators / product),
                );
            }
            _ => {}
        }
        if !(self.groups(accelerators) * self.context).is_multiple_of(self.expert) {
            let found = self.expert.to_string();
            return wrong("expert_parallel", found, format!("a divisor of the {} data-parallel devices", self.replicas(accelerators)));
        }
        Ok(())
    }

    /// What a device sends in a step: every collective with its message, its number and its devices. `device` is the ledger of
    /// its stage.
    #[must_use]
    pub fn collectives(&self, device: &Ledger, setting: &Setting) -> Vec<Collective> {
        let (tensor, context, pipeline) = (self.tensor as f64, self.context as f64, self.pipeline as f64);
        let replicas = self.replicas(setting.accelerators);
        let runs = setting.micro_batches;
        let mut out = Vec::new();
        use CollectiveKind::{AllGather, AllReduce, AllToAll, ReduceScatter, SendReceive};
        let mut send = |name, kind, when, message: f64, times: f64, devices: f64, reach: f64| {
            if devices > 1.0 && message > 0.0 && times > 0.0 {
                // Keys, values, gradients and weights are sent while layers are at work.
                let hidden = when == When::Between && !matches!(name, "pipeline" | "expert parallelism");
                out.push(Collective { name, kind, when, message, times, devices, reach, hidden });
            }
        };
        // Forward sums the parts of every such product; backward sums the gradients of what went in (Shoeybi et al. 2019).
        let exchanges = device.exchanges();
        let layers = exchanges.partial_sums_in_layers;
        let again = if matches!(setting.rerun, Rerun::Layers | Rerun::LayersOf(_)) { layers } else { 0.0 };
        let outside = 2.0 * (exchanges.partial_sums - layers);
        for (when, sums) in [(When::Outside, outside), (When::Forward, layers), (When::Again, again), (When::Backward, layers)] {
            if self.sequence {
                let whole = exchanges.partial_sum * tensor;
                send("tensor parallelism: gather", AllGather, when, whole, sums, tensor, tensor);
                send("tensor parallelism: scatter", ReduceScatter, when, whole, sums, tensor, tensor);
            } else {
                send("tensor parallelism", AllReduce, when, exchanges.partial_sum, sums, tensor, tensor);
            }
        }
        // Keys and values go round once forward; backward they go round again with their gradients (Liu et al. 2023).
        let ring = 3.0 * setting.key_value_bytes / context * (context - 1.0) / tensor / pipeline;
        let mut send = |name, kind, message, times, devices, reach| send(name, kind, When::Between, message, times, devices, reach);
        send("context parallelism", SendReceive, ring, runs, context, tensor * context);
        // Each of the tensor-parallel devices sends its share (Narayanan et al. 2021, section 4.1), over every boundary of a
        // micro-batch's parts, and while the pipeline fills and empties.
        let boundary = device.stream_bytes() / if self.sequence { 1.0 } else { tensor };
        let hops = 2.0 * (self.interleaving as f64 * runs + pipeline - 1.0);
        send("pipeline", SendReceive, boundary, hops, pipeline, setting.accelerators as f64);
        send("expert parallelism", AllToAll, setting.expert_bytes, runs, self.expert as f64, tensor * context * self.expert as f64);
        let reach = tensor * replicas;
        match self.zero {
            0 => send("gradients", AllReduce, setting.gradients, 1.0, replicas, reach),
            1 | 2 => {
                let scatters = if self.zero == 2 { runs } else { 1.0 };
                send("ZeRO: gradients", ReduceScatter, setting.gradients, scatters, replicas, reach);
                send("ZeRO: weights", AllGather, setting.parameters, 1.0, replicas, reach);
            }
            _ => {
                send("ZeRO: gradients", ReduceScatter, setting.gradients, runs, replicas, reach);
                send("ZeRO: weights", AllGather, setting.parameters, 2.0 * runs, replicas, reach);
            }
        }
        out
    }
}

/// What the exchanges of a step depend on beside its division.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// All of them.
    pub accelerators: u64,
    /// Micro-batches in a step.
    pub micro_batches: f64,
    /// What backward runs again.
    pub rerun: Rerun,
    /// Bytes of a device's gradients before ZeRO divides them.
    pub gradients: f64,
    /// Bytes of a device's weights before ZeRO divides them.
    pub parameters: f64,
    /// Bytes of keys and values of all layers and positions of a micro-batch.
    pub key_value_bytes: f64,
    /// Bytes that a device's tokens take to experts and back, both passes, of a micro-batch.
    pub expert_bytes: f64,
}
