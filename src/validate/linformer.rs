//! Time and memory that Linformer saves at inference, as published.
//!
//! Each cell compares two encoders of BERT-base's sizes without a head on one V100 of 16 GB in fp16, each with the largest
//! batch that fits, as the paper says: the ratio of times a sequence, and of batches. Rates and what memory holds beside
//! the model are the centres of the class defaults and of the card's profile; no number is fitted. PyTorch of that time
//! added the bias of a linear layer in an operation of its own, since the input has three dimensions.

use serde::Deserialize;

use super::published::Table;
use super::{Check, Validation};
use crate::arch::{Batch, Model};
use crate::document::{Diagnostic, Kind, Library, Node, Origin, Resolver, overlay};
use crate::hardware::{Accelerator, Performance, Precision};
use crate::ledger::{Component, Kernel, Ledger, Op, Unit, Work};
use crate::perf::{Pass, Rates, StepWork, step_time};

const DEFAULTS: &str = "hardware_profiles/class_defaults.toml";

const CARD: &str = "V100-SXM2-16GB";
const PRECISION: Precision = Precision::Fp16;
/// Both models; queries are scaled, as in fairseq.
const MODEL: (&str, [&str; 2]) = ("bert-base", ["attention.scale=\"queries\"", "head={kind=\"none\"}"]);
/// No batch is larger.
const LARGEST: f64 = 4096.0;
/// Shorter sequences are not compared.
const SHORTEST: f64 = 2048.0;
/// The bars of time and memory saved.
const BARS: (f64, f64) = (0.2, 0.15);

/// Why some memory is saved more or less than published.
const BATCH: &str = "The memory saved is a ratio of largest batches, which depend on what the framework holds beside the model; the paper does not say what that was";
const NO_ROOM: &str = "scores and weights of one sequence take more than the card has, 51 GB at 32,768 positions, and the published \
                       ratio of batches stops growing there: what was compared is not known";
const KERNEL: &str = "perhaps softmax, which PyTorch runs in another kernel from 1,025 columns on, of whose speed the time model knows \
                      nothing: the published time saved jumps where the Transformer's rows pass 1,024 and falls where Linformer's do";

#[derive(Deserialize)]
struct Row {
    n: f64,
    k: u64,
    time_saved: f64,
    memory_saved: f64,
}

/// What a model takes at its largest batch.
#[derive(Clone, Copy)]
struct Run {
    /// Sequences; 1 where not even that fits.
    batch: f64,
    /// Seconds a sequence.
    seconds: f64,
    /// Whether it fits.
    fits: bool,
}

/// The card, and what runs on it.
struct Bench {
    /// What the model may take of its memory.
    room: f64,
    rates: Rates,
    model: Node,
}

impl Bench {
    fn new(resolver: &mut Resolver<'_>) -> Result<Self, Diagnostic> {
        let origin = Origin::whole("validate");
        let card = resolver.named(Kind::Accelerator, CARD, &origin)?;
        let device = Accelerator::read(&card)?;
        let parameters = Performance::read(&resolver.data(DEFAULTS, &origin)?)?;
        let lacks = || Diagnostic::new(&card.origin, "peak", "nothing", "a peak in fp16");
        let peak = device.peak.at(PRECISION).ok_or_else(lacks)?.centre().value();
        let bandwidth = device.memory.bandwidth.centre().value();
        let matmul = peak * parameters.matmul_efficiency(&device, PRECISION).centre().value();
        let rates = Rates {
            saturation: parameters.matmul.saturation_time.centre().value(),
            gather_bandwidth: bandwidth * parameters.memory.gather_efficiency.centre().value(),
            launch: parameters.launch.overhead.centre().value(),
            // The host runs ahead of batches that fill the memory.
            ..Rates::alone(matmul, bandwidth * parameters.memory.efficiency.centre().value())
        };
        let mut model = resolver.named(Kind::Model, MODEL.0, &origin)?;
        for assignment in MODEL.1 {
            model = overlay::overlay(model, overlay::assignment(assignment)?);
        }
        let overhead = &parameters.memory_overhead;
        let free = device.memory.capacity.centre().value() - overhead.context.centre().value();
        Ok(Self { room: free / (1.0 + overhead.fragmentation.centre().value()), rates, model })
    }

    /// The model at a length, with a length that keys and values are projected to or without.
    fn run(&self, length: f64, projected: Option<u64>) -> Result<Run, Diagnostic> {
        let mut settings = vec![format!("embedding.positions.length={length}")];
        if let Some(k) = projected {
            settings.push("attention.kind=\"linformer\"".into());
            settings.push(format!("attention.linformer={{projected_length={k},sharing=\"layerwise\"}}"));
        }
        let mut node = self.model.clone();
        for setting in settings {
            node = overlay::overlay(node, overlay::assignment(&setting)?);
        }
        let model = Model::read(&node)?;
        let ledger = |sequences: f64| {
            let batch = Batch { sequences, length, element_bytes: PRECISION.element_bytes() };
            model.inference_ledger(batch, 0.0).map_err(|problem| problem.at(&node).under(MODEL.0))
        };
        let fits = |ledger: &Ledger| ledger.parameter_bytes() + ledger.working_bytes() <= self.room;
        let (mut batch, mut above) = (1.0, LARGEST + 1.0);
        while above - batch > 1.0 {
            let middle = f64::floor(0.5 * (batch + above));
            if fits(&ledger(middle)?) { batch = middle } else { above = middle }
        }
        let ledger = ledger(batch)?;
        let kernels = ledger.forward_kernels().chain(ledger.ops().iter().filter_map(bias));
        let work = StepWork::new(vec![Pass::new(kernels, 0.0)], 1.0);
        Ok(Run { batch, seconds: step_time(&work, &self.rates).total().value() / batch, fits: fits(&ledger) })
    }
}

/// The kernel that adds the bias of a linear layer; length projections have none.
fn bias(op: &Op) -> Option<Kernel> {
    let has = op.work() == Work::Linear && matches!(op.component, Component::Attention | Component::FeedForward);
    (has && op.name != "length projection").then_some(Kernel {
        tiles: 0.0,
        component: op.component,
        work: Work::Elementwise,
        times: op.times,
        matmul_flops: 0.0,
        elementwise_flops: 0.5 * op.forward.bytes_written,
        bytes: 2.0 * op.forward.bytes_written,
        unit: Unit::Dense,
        aligned: true,
    })
}

/// Compares the table.
///
/// # Errors
/// The table, a profile or the model cannot be read.
pub fn linformer(library: &dyn Library) -> Result<Validation, Diagnostic> {
    let table = Table::<Row>::read(library, "linformer", "n,k,time_saved,memory_saved")?;
    let bench = Bench::new(&mut Resolver::new(library))?;
    let mut checks = Vec::new();
    for row in table.rows {
        if row.n < SHORTEST {
            continue;
        }
        let (dense, short) = (bench.run(row.n, None)?, bench.run(row.n, Some(row.k))?);
        let case = format!("{} positions, {} projected", row.n, row.k);
        let (time, memory, why) = if dense.fits {
            ("time saved", "memory saved", (Some(KERNEL), Some(BATCH)))
        } else {
            ("time saved, no room", "memory saved, no room", (Some(NO_ROOM), Some(NO_ROOM)))
        };
        let check = |quantity, predicted: f64, recorded: f64, bar: f64, why: Option<&str>| {
            let holds = dense.fits && (predicted / recorded - 1.0).abs() <= bar;
            let explanation = why.filter(|_| !holds).map(String::from);
            Check { case: case.clone(), quantity, predicted, recorded, bar, explanation, holds }
        };
        checks.push(check(time, dense.seconds / short.seconds, row.time_saved, BARS.0, why.0));
        checks.push(check(memory, short.batch / dense.batch, row.memory_saved, BARS.1, why.1));
    }
    Ok(Validation { table: "published/linformer".into(), source: table.source, checks })
}
