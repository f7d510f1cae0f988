//! The work of one training step, as the time and power model sees it: stages, their passes, and rows of equal kernels.

use super::{Collective, Speeds, When};
use crate::ledger::{Kernel, Unit, Work};
use crate::units::{Bytes, Flops};

/// The work of one step on the accelerators that share a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepWork {
    /// Kinds of stages of the pipeline; one where there is none.
    pub stages: Vec<Stage>,
    /// Micro-batches that pass all stages in turn.
    pub micro_batches: f64,
    /// Parts of a stage that stand apart in the model.
    pub interleaving: f64,
    /// Accelerators of all degrees together; 0 where they do not matter.
    pub accelerators: f64,
    /// Bytes that the optimizer reads and writes.
    pub optimizer: Bytes,
    /// What the accelerators exchange between passes, in a step.
    pub between: Vec<Collective>,
}

/// Stages of a pipeline that do the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// How many.
    pub count: f64,
    /// What one of them runs for a micro-batch.
    pub passes: Vec<Pass>,
}

/// Kernels that follow each other, through layers or around them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pass {
    /// Layers, which a host launches one by one.
    pub layers: f64,
    pub(super) rows: Vec<Row>,
    /// What the accelerators exchange between its kernels.
    pub exchanges: Vec<Collective>,
}

/// Kernels of equal cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub work: Work,
    pub unit: Unit,
    pub aligned: bool,
    pub times: f64,
    pub flops: f64,
    pub bytes: f64,
    pub tiles: f64,
}

impl Pass {
    /// The pass of `kernels` through `layers`.
    #[must_use]
    pub fn new(kernels: impl IntoIterator<Item = Kernel>, layers: f64) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for kernel in kernels {
            let Kernel { work, unit, aligned, times, matmul_flops: flops, bytes, tiles, .. } = kernel;
            let alike = |row: &&mut Row| {
                let costs = row.flops == flops && row.bytes == bytes && row.tiles == tiles;
                costs && row.work == work && row.unit == unit && row.aligned == aligned
            };
            match rows.iter_mut().find(alike) {
                Some(row) => row.times += times,
                None => rows.push(Row { work, unit, aligned, times, flops, bytes, tiles }),
            }
        }
        Self { layers, rows, exchanges: Vec::new() }
    }
}

impl StepWork {
    /// The work of passes that one stage runs for each micro-batch.
    #[must_use]
    pub fn new(passes: Vec<Pass>, micro_batches: f64) -> Self {
        Self { stages: vec![Stage { count: 1.0, passes }], micro_batches, interleaving: 1.0, ..Self::default() }
    }

    /// Adds a pass to every stage.
    pub fn add(&mut self, pass: &Pass) {
        self.stages.iter_mut().for_each(|stage| stage.passes.push(pass.clone()));
    }

    /// Adds the work of another step of as many stages and micro-batches, done in the same one.
    pub fn join(&mut self, other: &Self) {
        for (ours, theirs) in self.stages.iter_mut().zip(&other.stages) {
            ours.passes.extend_from_slice(&theirs.passes);
        }
        self.optimizer = self.optimizer + other.optimizer;
        merge(&mut self.between, &other.between, |ours, theirs| {
            // What both exchange at once is one message.
            let alike = ours.times == theirs.times;
            if alike {
                ours.message += theirs.message;
            }
            alike
        });
    }

    /// The part of it that is of one kind, without what is not a kernel.
    #[must_use]
    pub fn only(&self, kind: Work) -> Self {
        let pass = |pass: &Pass| Pass { rows: pass.rows.iter().filter(|row| row.work == kind).copied().collect(), ..Pass::default() };
        let stage = |stage: &Stage| Stage { count: stage.count, passes: stage.passes.iter().map(pass).collect() };
        let stages = self.stages.iter().map(stage).collect();
        Self {
            stages,
            micro_batches: self.micro_batches,
            interleaving: self.interleaving,
            accelerators: self.accelerators,
            ..Self::default()
        }
    }

    /// Rows of all stages, each with how often one accelerator runs it in a step, on average over stages.
    fn rows(&self) -> impl Iterator<Item = (f64, &Row)> {
        let stages: f64 = self.stages.iter().map(|stage| stage.count).sum();
        self.stages.iter().flat_map(move |stage| {
            let each = self.micro_batches * stage.count / stages;
            stage.passes.iter().flat_map(|pass| &pass.rows).map(move |row| (each * row.times, row))
        })
    }

    /// Executed FLOPs of matrix products of one accelerator.
    #[must_use]
    pub fn flops(&self) -> Flops {
        Flops::new(self.rows().map(|(times, row)| times * row.flops).sum())
    }

    /// The same, those of faster units as fewer FLOPs of dense ones.
    pub(super) fn dense_flops(&self, speeds: &Speeds) -> Flops {
        Flops::new(self.rows().map(|(times, row)| times * row.flops / speeds.of(row.unit)).sum())
    }

    /// What its products could run on besides dense units.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for (times, row) in self.rows() {
            if row.unit != Unit::Dense && times * row.flops > 0.0 && !units.contains(&row.unit) {
                units.push(row.unit);
            }
        }
        units
    }

    /// Bytes moved by kernels and the optimizer of one accelerator.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.rows().map(|(times, row)| times * row.bytes).sum()) + self.optimizer
    }

    /// Bytes that one accelerator sends to others, on average over stages.
    #[must_use]
    pub fn sent(&self) -> Bytes {
        let stages: f64 = self.stages.iter().map(|stage| stage.count).sum();
        let of = |exchanges: &[Collective]| exchanges.iter().map(|one| one.times * one.sent()).sum::<f64>();
        let within = self
            .stages
            .iter()
            .map(|stage| self.micro_batches * stage.count / stages * stage.passes.iter().map(|pass| of(&pass.exchanges)).sum::<f64>());
        Bytes::new(within.sum::<f64>() + of(&self.between))
    }

    /// What an accelerator exchanges in a step; of stages, the one that exchanges most often.
    #[must_use]
    pub fn collectives(&self) -> Vec<Collective> {
        let within = |stage: &Stage| in_step(stage.passes.iter().flat_map(|pass| &pass.exchanges), self.micro_batches);
        let times = |of: &Vec<Collective>| of.iter().map(|one| one.times).sum::<f64>();
        let most = self.stages.iter().map(within).max_by(|a, b| times(a).total_cmp(&times(b)));
        most.unwrap_or_default().into_iter().chain(self.between.iter().copied()).collect()
    }
}

/// Messages with how often each is sent in a step of so many micro-batches, equal ones as one.
#[must_use]
pub fn in_step<'a>(messages: impl Iterator<Item = &'a Collective>, micro_batches: f64) -> Vec<Collective> {
    let mut out = Vec::new();
    for one in messages {
        let times = if one.when == When::Between { one.times } else { one.times * micro_batches };
        merge(&mut out, &[Collective { times, ..*one }], |ours, theirs| {
            let alike = ours.message == theirs.message;
            if alike {
                ours.times += theirs.times;
            }
            alike
        });
    }
    out
}

/// Adds messages to those of the same name and devices that `join` takes, the others as their own.
fn merge(ours: &mut Vec<Collective>, theirs: &[Collective], join: impl Fn(&mut Collective, &Collective) -> bool) {
    for one in theirs {
        let same = |other: &&mut Collective| other.name == one.name && other.devices == one.devices;
        if !ours.iter_mut().filter(|other| same(other)).any(|other| join(other, one)) {
            ours.push(*one);
        }
    }
}
