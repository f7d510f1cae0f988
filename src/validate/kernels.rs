//! Kernels by themselves against measured times: the time model by class defaults, with nothing fitted.
//!
//! All-reduces inside a node, matrix products in 16 bits, and attention between given queries, keys and values. A row takes what
//! its exchange or the kernels of its ledger take; the host is no floor here, since what it launches is no layer of a model.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::attention::{Between, exact};
use super::published::Table;
use crate::calibrate::fit::Step;
use crate::calibrate::{Calibration, Errors, Figure, Point, class_default};
use crate::document::{Diagnostic, Kind, Library, Origin, Resolver};
use crate::hardware::{Accelerator, Performance, Precision};
use crate::ledger::{Kernel, Rerun, Shape, Tape};
use crate::perf::{Achieved, Collective, CollectiveKind, Pass, Peaks, Rates, Speeds, StepTime, When};
use crate::units::Seconds;

/// All tables are of 16 bits; of all-reduces it does not matter.
const PRECISION: Precision = Precision::Fp16;
/// The card of the table of attention.
const ATTENTION_CARD: &str = "A100-SXM4-40GB";

/// What a reader should know.
const NOTES: [&str; 6] = [
    "Predicted by the centres of the class defaults, launch + max(products, traffic); the interval is the one that `predict` states \
     with class defaults: their distributions to first order, and the scatter of runs that it assumes",
    "In part these are no tests: saturation time is from the products of the A100 here, the low end of the efficiency of products \
     from the MI210, efficiency and half message of exchanges from these all-reduces (sources gemm-saturation, achieved-matmul, \
     nccl-busbw and nccl-fit of the class defaults)",
    "The tables say neither form nor memory of most cards: the profiles are those that the names a100, v100 and mi210 stand for",
    "The latency of an exchange comes on top of a half message that was fitted to times which hold it: small messages come out slow. \
     In training, that latency holds waiting too",
    "Attention at short lengths measures how fast PyTorch launches, which is not in these times. FlashAttention is its first version, \
     which reaches 0.21 of the peak forward at 65,536 positions; the class takes 0.64 for products of activations, from training runs",
    "Masks are of padding, as in the authors' benchmark, not causal: at long lengths FlashAttention takes as long with them as without, \
     and the ledger counts the full square. Mask and dropout are in its kernel and cost nothing here; in PyTorch's attention they are \
     kernels of their own. There a mask made backward 2.4 times as long (80 and 34 ms at 4,096 positions), which one more pass over the \
     scores does not explain",
];

/// A measured kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// What kind of kernel.
    pub kind: String,
    /// Its time as predicted and measured, s.
    pub point: Point,
}

/// Measured kernels, by class defaults.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kernels {
    /// Every row that is predicted.
    pub timed: Vec<Timed>,
    /// The tables and where they are from.
    pub sources: Vec<(String, String)>,
    /// What a reader should know, and which rows are not predicted.
    pub notes: Vec<String>,
}

impl Kernels {
    /// The errors of a table's kernels of one kind on one device, in the order they stand: table, device, and errors whose regime is
    /// the kind.
    #[must_use]
    pub fn errors(&self) -> Vec<(&str, &str, Errors)> {
        let mut groups: Vec<(&str, Vec<&Point>)> = Vec::new();
        for Timed { kind, point } in &self.timed {
            let alike = |group: &&mut (&str, Vec<&Point>)| {
                let of = group.1[0];
                group.0 == kind && of.table == point.table && of.device == point.device
            };
            match groups.iter_mut().find(alike) {
                Some((_, points)) => points.push(point),
                None => groups.push((kind, vec![point])),
            }
        }
        let line = |(kind, points): &(&'_ str, Vec<&'_ Point>)| Errors::of(kind, points);
        groups.iter().filter_map(|group| Some((group.1[0].table.as_str(), group.1[0].device.as_str(), line(group)?))).collect()
    }
}

/// Compares the tables of kernels.
///
/// # Errors
/// A table or a profile cannot be read.
pub fn kernels(library: &dyn Library, class: &Performance) -> Result<Kernels, Diagnostic> {
    let found = Kernels { notes: NOTES.map(|note| format!("{note}.")).to_vec(), ..Kernels::default() };
    let mut bench = Bench { library, class, devices: BTreeMap::new(), found };
    bench.all_reduces()?;
    bench.products()?;
    bench.attention()?;
    Ok(bench.found)
}

/// A device as the class defaults know it.
struct Device {
    name: String,
    peaks: Peaks,
    defaults: Calibration,
}

impl Device {
    fn read(library: &dyn Library, class: &Performance, name: &str) -> Result<Self, Diagnostic> {
        let node = Resolver::new(library).named(Kind::Accelerator, name, &Origin::whole("validate"))?;
        let device = Accelerator::read(&node)?;
        let lacks = || Diagnostic::new(&node.origin, "peak", "nothing", "a peak in fp16");
        let link = device.link.as_ref().and_then(|link| link.bandwidth_one_way.as_ref());
        let peaks = Peaks {
            multiprocessors: device.board.as_ref().and_then(|board| board.multiprocessors).map(|count| count as f64),
            matmul: device.peak.at(PRECISION).ok_or_else(lacks)?.centre().value(),
            bandwidth: device.memory.bandwidth.centre().value(),
            link: link.map(|bandwidth| bandwidth.centre().value()),
            mesh: device.link.as_ref().and_then(|link| link.mesh),
            network: None,
            // No row leaves its node.
            node: f64::INFINITY,
            speeds: Speeds::default(),
        };
        Ok(Self { peaks, defaults: class_default(class, &device, PRECISION), name: device.name })
    }

    /// What takes `seconds` by the rates of this device beside what was measured, s.
    fn timed(&self, table: &str, [kind, id]: [String; 2], measured: f64, seconds: impl Fn(&Rates) -> Seconds) -> Timed {
        let of = |values: &[f64]| seconds(&Rates::new(&self.peaks, &Achieved::new(|parameter| values[parameter as usize]))).value();
        let computed = of(&self.defaults.values());
        let point = Point {
            calibration: self.defaults.name.clone(),
            table: table.to_string(),
            id,
            device: self.name.clone(),
            kernel: kind.clone(),
            held_out: None,
            known_device: false,
            several_nodes: false,
            figure: Figure::KernelSeconds,
            computed,
            low: computed,
            high: computed,
            measured,
            // Class defaults are of any device already.
            deviation: self.defaults.deviations(true, |values| Step { time: StepTime::default(), seconds: of(values), energy: None })[0],
        };
        Timed { kind, point: point.widened(&self.defaults) }
    }
}

/// What is being compared.
struct Bench<'a> {
    library: &'a dyn Library,
    class: &'a Performance,
    devices: BTreeMap<String, Device>,
    found: Kernels,
}

#[derive(Deserialize)]
struct AllReduce {
    gpu: String,
    n_gpus: f64,
    bytes: f64,
    time_ns: f64,
}

#[derive(Deserialize)]
struct Product {
    gpu: String,
    kind: String,
    dim1: f64,
    dim2: f64,
    dim3: f64,
    ms: f64,
}

#[derive(Deserialize)]
struct Attention {
    table: u32,
    pass: String,
    dropout: String,
    masking: String,
    method: String,
    seq_len: f64,
    #[serde(rename = "value_ms_or_MB")]
    value: f64,
}

impl Bench<'_> {
    fn device(&mut self, name: &str) -> Result<&Device, Diagnostic> {
        let name = name.to_lowercase();
        if !self.devices.contains_key(&name) {
            self.devices.insert(name.clone(), Device::read(self.library, self.class, &name)?);
        }
        Ok(&self.devices[&name])
    }

    fn table<Row: serde::de::DeserializeOwned>(&mut self, name: &str, columns: &str) -> Result<Vec<Row>, Diagnostic> {
        let table = Table::<Row>::read_from(self.library, name, columns)?;
        self.found.sources.push((name.to_string(), table.source));
        Ok(table.rows)
    }

    /// Rings inside a node.
    fn all_reduces(&mut self) -> Result<(), Diagnostic> {
        let table = "kernels/nccl_allreduce";
        for row in self.table::<AllReduce>(table, "gpu,n_gpus,bytes,time_ns,busbw_GBps")? {
            let exchange = Collective {
                name: "all-reduce",
                kind: CollectiveKind::AllReduce,
                when: When::Between,
                message: row.bytes,
                times: 1.0,
                devices: row.n_gpus,
                reach: row.n_gpus,
                hidden: false,
            };
            let words = [format!("all-reduce of {}", row.n_gpus), format!("{} bytes", row.bytes)];
            let timed = self.device(&row.gpu)?.timed(table, words, 1e-9 * row.time_ns, |rates| exchange.time(rates));
            self.found.timed.push(timed);
        }
        Ok(())
    }

    /// Products of an activation and a weight.
    fn products(&mut self) -> Result<(), Diagnostic> {
        let table = "kernels/gemm_llmcompass";
        let mut others = 0_usize;
        for row in self.table::<Product>(table, "gpu,kind,dim1,dim2,dim3,ms,tflops")? {
            if row.kind != "matmul_MNK" {
                others += 1;
                continue;
            }
            let (m, n, k) = (row.dim1, row.dim2, row.dim3);
            let mut tape = Tape::new(PRECISION.element_bytes(), m);
            let (left, right) = (tape.activation(m * k), tape.matrix(k, n));
            tape.matmul("product", left, right, Shape::product(m, n, k));
            let pass = Pass::new(tape.finish().forward_kernels(), 0.0);
            let words = ["matrix product".to_string(), format!("{m} x {k} by {k} x {n}")];
            let timed = self.device(&row.gpu)?.timed(table, words, 1e-3 * row.ms, |rates| pass.time(rates).total());
            self.found.timed.push(timed);
        }
        if others > 0 {
            self.found.notes.push(format!("{table}: {others} rows that are no matrix products are not predicted."));
        }
        Ok(())
    }

    /// Exact attention, forward and backward.
    fn attention(&mut self) -> Result<(), Diagnostic> {
        let table = "kernels/flash_attention_a100";
        let mut memory = 0_usize;
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for row in self.table::<Attention>(table, "table,pass,dropout,masking,method,seq_len,value_ms_or_MB")? {
            let between = Between { masked: row.masking == "mask", dropout: row.dropout == "drop" };
            if row.pass == "mem" {
                memory += 1;
                continue;
            }
            let Some(ledger) = exact(&row.method, row.seq_len, between) else {
                *others.entry(row.method).or_default() += 1;
                continue;
            };
            let forward = if row.pass == "bwd" { ledger.ops().len() } else { 0 };
            let kernels: Vec<Kernel> = match row.pass.as_str() {
                "fwd" => ledger.forward_kernels().collect(),
                _ => ledger.kernels(Rerun::Nothing).skip(forward).collect(),
            };
            let pass = Pass::new(kernels, 0.0);
            let words = [format!("{}, {}", row.method, row.pass), format!("table {}, {} positions", row.table, row.seq_len)];
            let timed = self.device(ATTENTION_CARD)?.timed(table, words, 1e-3 * row.value, |rates| pass.time(rates).total());
            self.found.timed.push(timed);
        }
        let rows: usize = others.values().sum();
        let names: Vec<String> = others.into_keys().collect();
        self.found.notes.push(format!(
            "{table}: {rows} rows of other methods are not predicted ({}): exact attention alone is written here. {memory} rows are of \
             memory; published/attention_memory has those that are compared.",
            names.join(", ")
        ));
        Ok(())
    }
}
