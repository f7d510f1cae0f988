//! From a row of a table to the work of its step and the peaks of its hardware.

use std::collections::HashMap;

use super::calibration::Units;
use super::kernel_run::KernelRun;
use super::peaks::peaks;
use super::run::{Run, RunPhase};
use super::stack::Stack;
use crate::arch::{Batch, Model};
use crate::document::{Data, Diagnostic, Kind, Node, Origin, Problem, Resolver, overlay};
use crate::hardware::{Accelerator, NodeProfile, Performance, Precision};
use crate::numeric::Estimate;
use crate::perf::{Pass, Peaks, PowerEnvelope, StepWork};
use crate::training::{Framework, Memory, Offload, Optimizer, Training};
use crate::units::{Bytes, Watts};

/// What stands around kernels and takes time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// A step whose kernels a host launches one by one.
    EagerStep,
    /// A step whose kernels are launched as one graph.
    GraphStep,
    /// Nothing: a kernel that is called over and over.
    Nothing,
}

/// A run or a kernel whose time can be computed from what a device achieves.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// What one step does.
    pub work: StepWork,
    /// What its hardware could do.
    pub peaks: Peaks,
    /// What its accelerator may draw, where the profile states a limit.
    pub envelope: Option<PowerEnvelope>,
    /// What stands around its kernels.
    pub around: Around,
    /// What its products run on.
    pub units: Units,
    /// Memory that a step needs on the fullest accelerator, without what a framework takes beside.
    pub memory: Memory,
    /// Sequences that an accelerator runs at once, and parts of a stage.
    pub schedule: Schedule,
}

/// How a step is cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Sequences that an accelerator runs at once.
    pub micro_batch: u64,
    /// Parts of a stage that stand apart in the model.
    pub interleaving: u64,
}

/// Stack, device and node as a row names them.
type DeviceKey = (String, String, Option<String>);

/// What stands behind the names of a row, and behind those of all rows before it.
pub struct Workshop<'a> {
    resolver: Resolver<'a>,
    stacks: HashMap<String, Stack>,
    accelerators: HashMap<String, Accelerator>,
    devices: HashMap<DeviceKey, (Accelerator, Option<NodeProfile>)>,
    models: HashMap<String, Model>,
    class: &'a Performance,
}

impl<'a> Workshop<'a> {
    /// A workshop that looks names up by `resolver`.
    #[must_use]
    pub fn new(resolver: Resolver<'a>, class: &'a Performance) -> Self {
        Self { class, resolver, stacks: HashMap::new(), accelerators: HashMap::new(), devices: HashMap::new(), models: HashMap::new() }
    }

    /// The resolver that it looks names up by.
    pub fn resolver(&mut self) -> &mut Resolver<'a> {
        &mut self.resolver
    }

    /// The stack of a row.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn stack(&mut self, run: &Run) -> Result<&Stack, Diagnostic> {
        if !self.stacks.contains_key(&run.framework) {
            let node = self
                .resolver
                .named(Kind::Stack, &run.framework, &run.origin)
                .map_err(|error| in_column(error, &run.origin, "framework"))?;
            self.stacks.insert(run.framework.clone(), Stack::read(&node)?);
        }
        Ok(&self.stacks[&run.framework])
    }

    /// The accelerator of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn accelerator(&mut self, name: &str, origin: &Origin) -> Result<&Accelerator, Diagnostic> {
        let key = name.to_lowercase();
        if !self.accelerators.contains_key(&key) {
            let named = self.resolver.named(Kind::Accelerator, &key, origin).map_err(|error| in_column(error, origin, "device"))?;
            self.accelerators.insert(key.clone(), Accelerator::read(&named)?);
        }
        Ok(&self.accelerators[&key])
    }

    /// The accelerator of a row, and the node that the row, the stack or the profile names.
    ///
    /// # Errors
    /// There is no such accelerator or node.
    pub fn device(&mut self, run: &Run) -> Result<&(Accelerator, Option<NodeProfile>), Diagnostic> {
        let key = (run.framework.clone(), run.device.to_lowercase(), run.node.clone());
        if !self.devices.contains_key(&key) {
            let device = self.accelerator(&run.device, &run.origin)?.clone();
            let measured = self.stack(run)?.nodes.get(&device.name).cloned();
            let node = match run.node.as_ref().or(measured.as_ref()).or(device.node.as_ref()) {
                Some(name) => {
                    let node = self.resolver.named(Kind::Node, name, &run.origin).map_err(|error| in_column(error, &run.origin, "node"))?;
                    Some(NodeProfile::read(&node)?)
                }
                None => None,
            };
            self.devices.insert(key.clone(), (device, node));
        }
        Ok(&self.devices[&key])
    }

    /// The model of a row.
    fn model(&mut self, run: &Run) -> Result<Model, Diagnostic> {
        let stack = self.stack(run)?.clone();
        let (kind, placement, head) = if run.decoder { ("decoder", "pre", "causal_lm") } else { ("encoder", "post", "masked_lm") };
        let vocabulary = stack.vocabulary(run.vocabulary, run.tensor);
        let implementation = if run.fused_attention { "fused" } else { "eager" };
        let dropout = run.dropout.map_or(String::new(), |rate| format!("dropout = {rate}\n"));
        let linear = run.rank.map_or(String::new(), |rank| format!("linear = {{ rank = {rank} }}\n"));
        let attention = run.mechanism.settings();
        let text = format!(
            "schema = 1\nname = \"row\"\nsource = \"row\"\nwidth = {}\n{dropout}{linear}embedding = {{ vocabulary = {vocabulary}, positions = {{ kind = \
             \"learned\", length = {} }} }}\n{kind} = {{ layers = {} }}\nattention = {{ {attention}, heads = {}, implementation = \
             \"{implementation}\" }}\nfeed_forward = {{ width = {}, activation = \"gelu\" }}\nnorm = {{ kind = \"layer\", placement = \
             \"{placement}\" }}\nhead = {{ kind = \"{head}\" }}\nsources = {{ row = {{ citation = \"the row\", year = 2000, licence = \"as the \
             table\" }} }}\n",
            run.hidden, run.sequence_length, run.layers, run.heads, run.feed_forward
        );
        let key = format!("{}\n{}\n{text}", run.framework, run.model);
        if let Some(model) = self.models.get(&key) {
            return Ok(model.clone());
        }
        let stated = Node::parse(&run.id, &text)?;
        let said = stack.says(&run.model).cloned().map(|mut said| {
            if let (Data::Table(table), Some(_)) = (&mut said.data, run.dropout) {
                // The row's own rate holds.
                table.remove("dropout");
            }
            said
        });
        let model = said.fold(stated, overlay::overlay);
        let model =
            Model::read(&model).map_err(|error| Diagnostic { origin: run.origin.clone(), key: column(&error.key).into(), ..error })?;
        self.models.insert(key, model.clone());
        Ok(model)
    }

    /// The work of a row with micro-batches of a size.
    ///
    /// # Errors
    /// A name is not known, or sizes and degrees do not fit each other.
    pub fn prepare(&mut self, run: &Run, schedule: Schedule) -> Result<Prepared, Diagnostic> {
        let place = |problem: Problem| Diagnostic::new(&run.origin, column(&problem.key), problem.found, problem.allowed);
        let model = self.model(run)?;
        let gradient_precision = self.stack(run)?.training.gradients(run.precision);
        let peaks = self.peaks(run)?;
        let training = training(run, schedule, gradient_precision);
        let (mut work, memory) = match run.phase {
            RunPhase::Forward => forward(run, &model, schedule.micro_batch).map_err(place)?,
            RunPhase::ForwardBackward | RunPhase::TrainStep => {
                let phases = training.plan(&model, run.accelerators).map_err(place)?;
                let Some(phase) = phases.into_iter().next() else { return Err(place(Problem::new("seq_len", "nothing", "a length"))) };
                let mut work = phase.work;
                if run.phase == RunPhase::ForwardBackward {
                    work.optimizer = Bytes::new(0.0);
                }
                (work, phase.memory)
            }
        };
        let stack = self.stack(run)?;
        let around = if stack.framework == Framework::Eager { Around::EagerStep } else { Around::GraphStep };
        stack.training.hide_exchanges(&mut work, run.fused_attention, run.sequence_parallel, schedule.interleaving);
        let device = self.device(run)?.0.clone();
        let envelope = self.envelope(&device, run.precision, [run.power_limit, run.idle], &run.origin)?;
        Ok(Prepared { work, peaks, envelope, around, units: Units::of(run.precision), memory, schedule })
    }

    /// How a row allows its step to be cut up: as it says, or every divisor of the sequences of a data-parallel group, and of the
    /// layers of a stage where the stack can and micro-batches are a multiple of the stages (Narayanan et al. 2021, section 2.2.2).
    ///
    /// # Errors
    /// There is no such stack.
    pub fn schedules(&mut self, run: &Run) -> Result<Vec<Schedule>, Diagnostic> {
        let each = (run.global_batch / run.data).max(1);
        let divisors = |of: u64| (1..=of.min(128)).filter(move |size| of.is_multiple_of(*size));
        let micro_batches = run.micro_batch.map_or_else(|| divisors(each).collect(), |size| vec![size]);
        let layers = run.layers / run.pipeline;
        let divides = self.stack(run)?.training.interleaves && run.pipeline > 1 && run.layers.is_multiple_of(run.pipeline);
        let parts = |micro_batch: u64| match run.interleaving {
            Some(parts) => vec![parts],
            None if divides && (each / micro_batch).is_multiple_of(run.pipeline) => divisors(layers).collect(),
            None => vec![1],
        };
        let schedules = micro_batches
            .into_iter()
            .flat_map(|micro_batch| parts(micro_batch).into_iter().map(move |interleaving| Schedule { micro_batch, interleaving }));
        Ok(schedules.collect())
    }

    /// The work of a kernel by itself, on units of one kind; nothing of a device that is idle, or has no such units.
    ///
    /// # Errors
    /// The device is not known, or does not run products of such numbers.
    pub fn prepare_kernel(&mut self, run: &KernelRun, device: &Accelerator, units: Units) -> Result<Option<Prepared>, Diagnostic> {
        let Some(kernel) = run.kernel() else { return Ok(None) };
        let precision = if kernel.matmul_flops > 0.0 { run.precision } else { units.precision(device) };
        let Some(precision) = precision else { return Ok(None) };
        let peaks = peaks(device, None, precision, f64::INFINITY, &run.origin)?;
        let envelope = self.envelope(device, precision, [run.power_limit, run.idle], &run.origin)?;
        let work = StepWork::new(vec![Pass::new([kernel], 0.0)], 1.0);
        let schedule = Schedule { micro_batch: 1, interleaving: 1 };
        Ok(Some(Prepared { work, peaks, envelope, around: Around::Nothing, units, memory: Memory::default(), schedule }))
    }

    /// What an accelerator may draw, below the limit that a row or the profile states, above the idle power of either. Rates of tensor units are those
    /// seen under the board's own limit; vector units are held to reach theirs at the full clock.
    fn envelope(
        &self,
        device: &Accelerator,
        precision: Precision,
        [limit, idle]: [Option<f64>; 2],
        origin: &Origin,
    ) -> Result<Option<PowerEnvelope>, Diagnostic> {
        let idle_share = self.class.power.idle_share_of_limit.centre().value();
        let Some(power) = &device.power else { return Ok(None) };
        let board = power.limit.centre();
        let of_profile = || power.idle.as_ref().map_or(board * idle_share, Estimate::centre);
        let idle = idle.map_or_else(of_profile, Watts::new);
        let limit = limit.map_or(board, Watts::new);
        if limit <= idle {
            let allowed = format!("more than {idle}, which the {} draws with nothing to do", device.name);
            return Err(Diagnostic::new(origin, "power_limit_w", limit.to_string(), allowed));
        }
        Ok(Some(PowerEnvelope {
            idle,
            limit,
            reference: (Units::of(precision) == Units::Tensor).then_some(board),
            scales: device.power_scales(precision),
        }))
    }

    fn peaks(&mut self, run: &Run) -> Result<Peaks, Diagnostic> {
        let (device, node) = self.device(run)?;
        peaks(device, node.as_ref(), run.precision, run.per_node as f64, &run.origin)
    }
}

/// The column that states a key of a model or a training.
fn column(key: &str) -> &str {
    match key {
        "width" => "hidden",
        "decoder.layers" | "encoder.layers" => "layers",
        "attention.heads" => "heads",
        "feed_forward.width" => "feed_forward",
        "embedding.vocabulary" => "vocabulary",
        "embedding.positions.length" | "training.sequence_length" => "seq_len",
        other => other.strip_prefix("training.").unwrap_or(other),
    }
}

/// A message about a name with the place and the column that it stands in.
fn in_column(error: Diagnostic, origin: &Origin, column: &str) -> Diagnostic {
    if error.origin == *origin { Diagnostic { key: column.into(), ..error } } else { error }
}

fn training(run: &Run, schedule: Schedule, gradient_precision: Option<Precision>) -> Training {
    Training {
        precision: run.precision,
        optimizer: Optimizer::default(),
        gradient_precision,
        master_weights: None,
        steps: 1,
        global_batch: Some(run.global_batch),
        micro_batch: Some(schedule.micro_batch),
        sequence_length: Some(run.sequence_length),
        phases: Vec::new(),
        checkpointing: run.checkpointing,
        checkpoint_every: None,
        data_parallel: Some(run.data),
        tensor_parallel: run.tensor,
        sequence_parallel: run.sequence_parallel,
        pipeline_parallel: run.pipeline,
        interleaving: schedule.interleaving,
        context_parallel: 1,
        expert_parallel: 1,
        zero: run.zero,
        offload: Offload::None,
        framework: Framework::Eager,
    }
}

/// Forward passes alone, of a model that one accelerator holds.
fn forward(run: &Run, model: &Model, micro_batch: u64) -> Result<(StepWork, Memory), Problem> {
    if run.tensor * run.pipeline > 1 {
        let found = format!("{} x {} accelerators that share a model", run.tensor, run.pipeline);
        return Err(Problem::new("tensor_parallel", found, "1 in a row of phase forward"));
    }
    let batch = Batch { sequences: micro_batch as f64, length: run.sequence_length as f64, element_bytes: run.precision.element_bytes() };
    let ledger = model.inference_ledger(batch, 0.0)?;
    let runs = run.global_batch as f64 / run.data as f64 / micro_batch as f64;
    let work = StepWork::new(vec![Pass::new(ledger.forward_kernels(), model.layers() as f64)], runs);
    let memory =
        Memory { parameters: Bytes::new(ledger.parameter_bytes()), activations: Bytes::new(ledger.working_bytes()), ..Memory::default() };
    Ok((work, memory))
}
