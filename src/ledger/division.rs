//! One device's share of a pass: a ledger divided by tensor, sequence, context, expert and pipeline parallelism.
//!
//! The result is a ledger again, so that memory, work, traffic and time of a device follow by the same rules as those of
//! the whole.

use super::Ledger;
use super::op::{Cost, Op, Rule, Shape, TensorRecord};

/// How a pass is divided among devices, and which device is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Division {
    /// Devices that share the heads and the columns of every layer (Shoeybi et al. 2019).
    pub tensor: f64,
    /// Whether those devices share the positions of what lies between (Korthikanti et al. 2022).
    pub sequence: bool,
    /// Devices that share the positions of every sequence (Liu et al. 2023, ring attention).
    pub context: f64,
    /// Devices that share the experts of every layer (Lepikhin et al. 2020).
    pub experts: f64,
    /// Stages that share the layers (Huang et al. 2019).
    pub stages: f64,
    /// The stage looked at, from 0.
    pub stage: f64,
}

impl Default for Division {
    fn default() -> Self {
        Self { tensor: 1.0, sequence: false, context: 1.0, experts: 1.0, stages: 1.0, stage: 0.0 }
    }
}

/// Where a tensor or an operation stands in the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Layers,
    After,
}

impl Division {
    fn holds(&self, place: Place) -> bool {
        match place {
            Place::Before => self.stage == 0.0,
            Place::Layers => true,
            Place::After => self.stage + 1.0 == self.stages,
        }
    }
}

/// What one device sends in a pass of one micro-batch because the pass is divided, each way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exchanges {
    /// Partial sums of products whose inner size is divided among tensor-parallel devices: bytes of a whole output.
    pub partial_sum: f64,
    /// How many there are in a pass.
    pub partial_sums: f64,
    /// Of them, those in layers.
    pub partial_sums_in_layers: f64,
}

impl Ledger {
    /// Where an operation stands in the pass.
    fn place(&self, index: usize) -> Place {
        let first = self.ops.iter().position(|op| op.layer);
        let last = self.ops.iter().rposition(|op| op.layer);
        match (first, last) {
            (Some(first), _) if index < first => Place::Before,
            (_, Some(last)) if index > last => Place::After,
            _ => Place::Layers,
        }
    }

    /// Whether any tensor of an operation is divided among tensor-parallel devices.
    fn is_split(&self, op: &Op) -> bool {
        let split = |id: usize| self.tensors[id].split && self.tensors[id].made();
        split(op.output) || op.inputs.iter().any(|input| split(input.id))
    }

    /// Products that sum over what is divided among tensor-parallel devices, so that each holds a part of the sum: in a
    /// sub-layer its last linear layer, and the lookup in a divided table.
    #[must_use]
    pub fn exchanges(&self) -> Exchanges {
        let mut out = Exchanges::default();
        for op in &self.ops {
            let divided = |id: usize| self.tensors[id].split;
            let parameters = op.inputs.iter().filter(|input| self.tensors[input.id].parameter.is_some());
            let table = op.rule == Rule::Gather && parameters.clone().any(|input| divided(input.id));
            let product = op.rule == Rule::Product && parameters.count() > 0 && self.is_split(op);
            if (product || table) && !divided(op.output) {
                out.partial_sum = out.partial_sum.max(op.output_bytes);
                out.partial_sums += op.times;
                out.partial_sums_in_layers += if op.layer { op.times } else { 0.0 };
            }
        }
        out
    }

    /// Bytes of the first layer's input: what a pipeline stage sends to the next.
    #[must_use]
    pub fn stream_bytes(&self) -> f64 {
        self.tensors.iter().find(|tensor| tensor.layer_input).map_or(0.0, |tensor| tensor.bytes)
    }

    /// Bytes of the parameters of the largest layer, as a step holds them.
    #[must_use]
    pub fn layer_parameter_bytes(&self) -> f64 {
        let regions = self.tensors.iter().map(|tensor| tensor.region).max().unwrap_or_default();
        let of = |region: usize| {
            let parameters = self.tensors.iter().filter(|tensor| tensor.region == region && tensor.layer && tensor.parameter.is_some());
            parameters.map(|tensor| tensor.bytes).sum::<f64>()
        };
        (1..=regions).map(of).fold(0.0, f64::max)
    }

    /// Parameters of all layers, shared ones once.
    #[must_use]
    pub fn layer_parameters(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if tensor.layer { Self::elements(tensor, parameter) } else { 0.0 })
    }

    /// Parameters of experts.
    #[must_use]
    pub fn expert_parameters(&self) -> f64 {
        self.parameters_where(|tensor, parameter| if parameter.active < 1.0 { Self::elements(tensor, parameter) } else { 0.0 })
    }

    /// The ledger of one device.
    #[must_use]
    pub fn on_device(&self, division: &Division) -> Self {
        if *division == Division::default() {
            return self.clone();
        }
        let mut in_split_product = vec![false; self.tensors.len()];
        let mut used = vec![false; self.tensors.len()];
        let mut made_beside = vec![false; self.tensors.len()];
        for op in &self.ops {
            let split = op.rule == Rule::Product && self.is_split(op);
            for id in op.inputs.iter().map(|input| input.id).chain(op.keeps.iter().copied()).chain([op.output]) {
                in_split_product[id] |= split;
                used[id] = true;
            }
            for id in &op.keeps {
                made_beside[*id] |= !op.inputs.iter().any(|input| input.id == *id);
            }
        }
        // A table that both ends use, such as a tied one, is held at both.
        let held_by_use = |id: usize| {
            let uses = self.ops.iter().enumerate().filter(|(_, op)| op.inputs.iter().any(|input| input.id == id));
            uses.map(|(index, _)| self.place(index)).any(|place| division.holds(place))
        };
        let share = 1.0 / division.stages;
        let tensors: Vec<TensorRecord> = self
            .tensors
            .iter()
            .enumerate()
            .map(|(id, tensor)| {
                let mut tensor = tensor.clone();
                let made = tensor.made();
                let factor = match &mut tensor.parameter {
                    Some(parameter) => {
                        // A bias is added in its product and named by no operation: it stands where its component does.
                        let alone = match parameter.component {
                            super::Component::Head => Place::After,
                            _ => Place::Before,
                        };
                        let held = tensor.layer || if used[id] { held_by_use(id) } else { division.holds(alone) };
                        parameter.count *= match (held, tensor.layer && parameter.count > 1.0) {
                            (false, _) => 0.0,
                            (true, true) => share,
                            (true, false) => 1.0,
                        };
                        let split = if tensor.split || in_split_product[id] { division.tensor } else { 1.0 };
                        let experts = if parameter.active < 1.0 { division.experts } else { 1.0 };
                        parameter.factored /= split * experts;
                        1.0 / (split * experts)
                    }
                    None if !made => 1.0,
                    None => {
                        let in_stream = tensor.maker.is_some() || tensor.carried.is_some() || tensor.layer || made_beside[id];
                        let tensor_share = if tensor.split || (division.sequence && in_stream) { division.tensor } else { 1.0 };
                        1.0 / (tensor_share * division.context)
                    }
                };
                tensor.elements *= factor;
                tensor.bytes *= factor;
                tensor.times *= if tensor.layer { share } else { 1.0 };
                tensor
            })
            .collect();
        let mut places = vec![None; self.ops.len()];
        let mut ops: Vec<Op> = Vec::with_capacity(self.ops.len());
        for (index, op) in self.ops.iter().enumerate().filter(|(index, _)| division.holds(self.place(*index))) {
            places[index] = Some(ops.len());
            ops.push(self.share_of(op, division, &tensors, share));
        }
        let mut out = Self { ops, tensors };
        for tensor in &mut out.tensors {
            tensor.maker = tensor.maker.and_then(|maker| places[maker]);
        }
        out
    }

    /// A device's share of an operation, between tensors that are divided already.
    fn share_of(&self, op: &Op, division: &Division, tensors: &[TensorRecord], share: f64) -> Op {
        let split = self.is_split(op);
        let parts = if split || division.sequence { division.tensor } else { 1.0 };
        let ratio = |id: usize| if self.tensors[id].bytes > 0.0 { tensors[id].bytes / self.tensors[id].bytes } else { 1.0 };
        let mut out = op.clone();
        for input in &mut out.inputs {
            let ratio = ratio(input.id);
            input.bytes *= ratio;
            input.elements *= ratio;
        }
        let (read, written) = (|op: &Op| op.inputs.iter().map(|input| input.bytes).sum::<f64>(), ratio(op.output));
        let read_share = if read(op) > 0.0 { read(&out) / read(op) } else { 1.0 };
        let work = 1.0 / (parts * division.context);
        out.forward = Cost {
            matmul_flops: op.forward.matmul_flops * work,
            recomputed_flops: op.forward.recomputed_flops * work,
            elementwise_flops: op.forward.elementwise_flops * work,
            bytes_read: op.forward.bytes_read * read_share,
            bytes_written: op.forward.bytes_written * written,
            launches: op.forward.launches,
        };
        out.output_bytes *= written;
        out.kept_bytes = op.keeps.iter().map(|id| tensors[*id].bytes).sum();
        out.times *= if op.layer { share } else { 1.0 };
        out.shape = op.shape.map(|shape| {
            let shape = Shape { m: shape.m / division.context, ..shape };
            match (parts > 1.0, shape.batch > 1.0, self.tensors[op.output].split) {
                (false, ..) => shape,
                (true, true, _) => Shape { batch: shape.batch / parts, ..shape },
                (true, false, true) => Shape { n: shape.n / parts, ..shape },
                (true, false, false) => Shape { k: shape.k / parts, ..shape },
            }
        });
        out
    }
}
