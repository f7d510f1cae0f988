//! From kernels on hardware to seconds and joules.
//!
//! A kernel takes launch + max(F / rate + saturation, bytes / bandwidth): FLOPs at the achieved rate with a constant
//! for products too small to reach it, or its traffic at the achieved bandwidth, whichever is longer. A step adds
//! the optimizer, the exposed part of the gradient exchange, and in an eager framework is no shorter than the host
//! needs to launch it. Energy is idle power over the whole time, and joules per FLOP and per byte; if their mean
//! exceeds the power limit, the clock falls and the step stretches until it does not.

use crate::ledger::{Kernel, Pattern, Unit, Work};
use crate::units::{Bytes, Flops, Joules, Seconds, Watts};

/// The work of one training step on one accelerator, summed into rows that share a shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepWork {
    rows: Vec<Row>,
    /// Executed FLOPs of all rows by unit, and their bytes, summed once.
    flops: Vec<(Unit, f64)>,
    traffic: f64,
    /// Bytes that the optimizer reads and writes.
    pub optimizer: Bytes,
    /// What the accelerators exchange.
    pub collectives: Vec<Collective>,
    /// Time that a stage of a pipeline waits for the others, over the time of its kernels.
    pub bubble: f64,
    /// Layers run, times micro-batches: the host launches them one by one.
    pub layer_runs: f64,
}

/// Kernels of equal cost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    work: Work,
    unit: Unit,
    times: f64,
    flops: f64,
    bytes: f64,
}

impl StepWork {
    /// The work of `kernels`, run `micro_batches` times.
    #[must_use]
    pub fn new(kernels: impl Iterator<Item = Kernel>, micro_batches: f64) -> Self {
        let mut work = Self::default();
        work.add(kernels, micro_batches);
        work
    }

    /// Adds the work of `kernels`, run `micro_batches` times.
    pub fn add(&mut self, kernels: impl Iterator<Item = Kernel>, micro_batches: f64) {
        for kernel in kernels {
            let (work, unit, times) = (kernel.work, kernel.unit, kernel.times * micro_batches);
            let (flops, bytes) = (kernel.matmul_flops, kernel.bytes);
            let alike = |row: &&mut Row| row.flops == flops && row.bytes == bytes && row.work == work && row.unit == unit;
            match self.rows.iter_mut().find(alike) {
                Some(row) => row.times += times,
                None => self.rows.push(Row { work, unit, times, flops, bytes }),
            }
        }
        self.sum();
    }

    /// Adds the work of another step, done in the same one.
    pub fn join(&mut self, other: &Self) {
        self.rows.extend_from_slice(&other.rows);
        self.optimizer = self.optimizer + other.optimizer;
        for theirs in &other.collectives {
            let alike = |ours: &&mut Collective| ours.name == theirs.name && ours.times == theirs.times && ours.devices == theirs.devices;
            match self.collectives.iter_mut().find(alike) {
                // What both exchange at once is one message.
                Some(ours) => ours.message += theirs.message,
                None => self.collectives.push(*theirs),
            }
        }
        self.layer_runs += other.layer_runs;
        self.sum();
    }

    fn sum(&mut self) {
        self.flops.clear();
        self.traffic = 0.0;
        for row in &self.rows {
            self.traffic += row.times * row.bytes;
            match self.flops.iter_mut().find(|(unit, _)| *unit == row.unit) {
                Some((_, flops)) => *flops += row.times * row.flops,
                None => self.flops.push((row.unit, row.times * row.flops)),
            }
        }
    }

    /// The part of it that is of one kind, without what is not a kernel.
    #[must_use]
    pub fn only(&self, kind: Work) -> Self {
        let rows = self.rows.iter().filter(|row| row.work == kind).copied().collect();
        let mut part = Self { rows, ..Self::default() };
        part.sum();
        part
    }

    /// Executed FLOPs of matrix products.
    #[must_use]
    pub fn flops(&self) -> Flops {
        Flops::new(self.flops.iter().map(|(_, flops)| flops).sum())
    }

    /// The same, those of faster units as fewer FLOPs of dense ones.
    fn dense_flops(&self, speeds: &Speeds) -> Flops {
        Flops::new(self.flops.iter().map(|(unit, flops)| flops / speeds.of(*unit)).sum())
    }

    /// What its products could run on besides dense units.
    pub fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        self.flops.iter().filter(|(unit, flops)| *unit != Unit::Dense && *flops > 0.0).map(|(unit, _)| *unit)
    }

    /// Bytes moved by kernels and the optimizer.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.traffic) + self.optimizer
    }
}

/// How accelerators exchange a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectiveKind {
    /// All end with the sum of what each has.
    AllReduce,
    /// Each ends with a share of that sum.
    ReduceScatter,
    /// All end with the shares of each.
    AllGather,
    /// Each sends every other a part of what it has.
    AllToAll,
    /// One sends, another receives.
    SendReceive,
}

impl CollectiveKind {
    /// The word in outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllGather => "all_gather",
            Self::AllToAll => "all_to_all",
            Self::SendReceive => "send_receive",
        }
    }
}

/// A message that accelerators exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Collective {
    /// Why.
    pub name: &'static str,
    /// How.
    pub kind: CollectiveKind,
    /// Bytes of the whole tensor.
    pub message: f64,
    /// How often in a step.
    pub times: f64,
    /// Accelerators that take part.
    pub devices: f64,
    /// Accelerators that stand between the first and the last of them, themselves with them: no more than a node has, and the
    /// message stays inside it.
    pub reach: f64,
    /// Whether work goes on meanwhile, so that the overlap hides a part of it.
    pub hidden: bool,
}

/// What a device and its framework achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Achieved rate of large products, FLOP/s.
    pub matmul: f64,
    /// Time that a product takes beyond its FLOPs at that rate, s.
    pub saturation: f64,
    /// Achieved memory bandwidth, B/s.
    pub bandwidth: f64,
    /// The same of kernels that gather rows, B/s.
    pub gather_bandwidth: f64,
    /// Time of a launch, s.
    pub launch: f64,
    /// Least time of a layer in an eager framework, s; 0 in a compiled one.
    pub host_floor: f64,
    /// Time of a step that no kernel explains, s: input, dispatch, the framework's own work between steps.
    pub step_overhead: f64,
    /// Achieved bandwidth of the narrowest link of a ring through all accelerators at large messages, B/s.
    pub link: f64,
    /// The same of a ring inside a node.
    pub inner_link: f64,
    /// Message that reaches half of it, bytes.
    pub half_message: f64,
    /// Time of a hop between nodes, s.
    pub hop: f64,
    /// Share of an exchange that is hidden where work goes on meanwhile.
    pub overlap: f64,
    /// Accelerators in a node.
    pub node: f64,
    /// What runs faster than dense products of the step's precision.
    pub speeds: Speeds,
}

impl Rates {
    /// A device by itself that reaches these rates at any size: nothing is launched, exchanged or waited for.
    #[must_use]
    pub fn alone(matmul: f64, bandwidth: f64) -> Self {
        Self {
            matmul,
            saturation: 0.0,
            bandwidth,
            gather_bandwidth: bandwidth,
            launch: 0.0,
            host_floor: 0.0,
            step_overhead: 0.0,
            link: f64::INFINITY,
            inner_link: f64::INFINITY,
            half_message: 0.0,
            hop: 0.0,
            overlap: 1.0,
            node: f64::INFINITY,
            speeds: Speeds::default(),
        }
    }
}

/// What runs faster than dense products of the step's precision, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speeds {
    /// A pattern of zeros that is skipped.
    pub pattern: Option<(Pattern, f64)>,
    /// Whether zeros are skipped wherever they stand.
    pub unstructured: bool,
    /// Products of 8-bit integers.
    pub int8: Option<f64>,
    /// Products of 8-bit floating point.
    pub fp8: Option<f64>,
}

impl Speeds {
    /// How many times as fast as a dense product one for `unit` runs, if the device has it.
    #[must_use]
    pub fn find(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Dense => Some(1.0),
            Unit::Pattern(pattern) => self.pattern.filter(|(known, _)| *known == pattern).map(|(_, speed)| speed),
            Unit::Unstructured(density) => self.unstructured.then_some(1.0 / density),
            Unit::Int8 => self.int8,
            Unit::Fp8 => self.fp8,
        }
    }

    fn of(&self, unit: Unit) -> f64 {
        self.find(unit).unwrap_or(1.0)
    }
}

/// Where the time of a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepTime {
    /// Kernels bound by products.
    pub compute: Seconds,
    /// Kernels bound by memory.
    pub memory: Seconds,
    /// Launches.
    pub launch: Seconds,
    /// The optimizer.
    pub optimizer: Seconds,
    /// Waiting for the host.
    pub host: Seconds,
    /// What accelerators exchange and no work hides.
    pub exchange: Seconds,
    /// Waiting for other stages of a pipeline.
    pub bubble: Seconds,
}

impl StepTime {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Seconds {
        self.compute + self.memory + self.launch + self.optimizer + self.host + self.exchange + self.bubble
    }
}

/// The time of a step.
#[must_use]
pub fn step_time(work: &StepWork, rates: &Rates) -> StepTime {
    let (per_flop, per_byte) = (1.0 / rates.matmul, 1.0 / rates.bandwidth);
    let (mut compute, mut memory, mut launches) = (0.0, 0.0, 0.0);
    for row in &work.rows {
        let products = if row.flops > 0.0 { row.flops * per_flop / rates.speeds.of(row.unit) + rates.saturation } else { 0.0 };
        let traffic = row.bytes / if row.work == Work::Gather { rates.gather_bandwidth } else { rates.bandwidth };
        if products >= traffic {
            compute += row.times * products;
        } else {
            memory += row.times * traffic;
        }
        launches += row.times;
    }
    let launch = launches * rates.launch;
    let host = (work.layer_runs * rates.host_floor - compute - memory - launch).max(0.0) + rates.step_overhead;
    StepTime {
        compute: Seconds::new(compute),
        memory: Seconds::new(memory),
        launch: Seconds::new(launch),
        optimizer: Seconds::new(work.optimizer.value() * per_byte),
        host: Seconds::new(host),
        exchange: work.collectives.iter().map(|collective| collective.exposed(rates)).fold(Seconds::new(0.0), |sum, time| sum + time),
        bubble: Seconds::new(work.bubble * (compute + memory + launch)),
    }
}

impl Collective {
    /// The time of one: in rings, n - 1 steps of an n-th of the message, twice of them for a sum that all receive
    /// (Patarasuk and Yuan 2009), with a bandwidth that depends on the message.
    #[must_use]
    pub fn time(&self, rates: &Rates) -> Seconds {
        if self.devices <= 1.0 || self.message <= 0.0 {
            return Seconds::new(0.0);
        }
        let (link, hop) = if self.reach <= rates.node { (rates.inner_link, 0.0) } else { (rates.link, rates.hop) };
        let bandwidth = link * self.message / (self.message + rates.half_message);
        let (rounds, part) = match self.kind {
            CollectiveKind::AllReduce => (2.0 * (self.devices - 1.0), self.message / self.devices),
            CollectiveKind::ReduceScatter | CollectiveKind::AllGather | CollectiveKind::AllToAll => {
                (self.devices - 1.0, self.message / self.devices)
            }
            CollectiveKind::SendReceive => (1.0, self.message),
        };
        Seconds::new(rounds * (part / bandwidth + hop))
    }

    /// The time of all of a step that no work hides.
    #[must_use]
    pub fn exposed(&self, rates: &Rates) -> Seconds {
        self.time(rates) * self.times * if self.hidden { 1.0 - rates.overlap } else { 1.0 }
    }
}

/// What a device draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerRates {
    /// With nothing to do.
    pub idle: Watts,
    /// The board's limit.
    pub limit: Watts,
    /// Share of the way from idle to the limit while products run at the full rate.
    pub compute_bound: f64,
    /// The same while memory runs at the full bandwidth.
    pub memory_bound: f64,
}

/// Time and energy of a step on one accelerator, the power limit held.
#[must_use]
pub fn step_energy(work: &StepWork, time: Seconds, rates: &Rates, power: &PowerRates) -> (Seconds, Joules) {
    let span = (power.limit.value() - power.idle.value()).max(0.0);
    let per_flop = power.compute_bound * span / rates.matmul;
    let per_byte = power.memory_bound * span / rates.bandwidth;
    let dynamic = per_flop * work.dense_flops(&rates.speeds).value() + per_byte * work.bytes().value();
    // idle t + dynamic <= limit t; where it is not, the step takes until it is.
    let stretched = Seconds::new(if span > 0.0 { time.value().max(dynamic / span) } else { time.value() });
    (stretched, power.idle * stretched + Joules::new(dynamic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Component;
    use proptest::prelude::*;

    fn rates() -> Rates {
        Rates {
            matmul: 100e12,
            saturation: 8e-6,
            bandwidth: 1e12,
            gather_bandwidth: 0.5e12,
            launch: 4e-6,
            host_floor: 0.0,
            step_overhead: 0.0,
            link: 100e9,
            inner_link: 100e9,
            half_message: 10e6,
            hop: 1e-5,
            overlap: 0.5,
            node: 4.0,
            speeds: Speeds::default(),
        }
    }

    fn kernel(matmul_flops: f64, bytes: f64) -> Kernel {
        Kernel {
            component: Component::Attention,
            work: Work::Linear,
            times: 1.0,
            matmul_flops,
            elementwise_flops: 0.0,
            bytes,
            unit: Unit::Dense,
        }
    }

    #[test]
    fn a_kernel_takes_the_longer_of_products_and_traffic() {
        let work = StepWork::new([kernel(1e12, 1e9), kernel(0.0, 1e9)].into_iter(), 2.0);
        let time = step_time(&work, &rates());
        assert!((time.compute.value() - 2.0 * (0.01 + 8e-6)).abs() < 1e-12);
        assert!((time.memory.value() - 2e-3).abs() < 1e-12);
        assert!((time.launch.value() - 16e-6).abs() < 1e-12);
        assert_eq!(time.exchange.value(), 0.0);
    }

    #[test]
    fn a_faster_unit_takes_less_time_and_energy_where_the_device_has_it() {
        let pattern = Pattern { keep: 2, of: 4 };
        let work = StepWork::new([Kernel { unit: Unit::Pattern(pattern), ..kernel(1e12, 0.0) }].into_iter(), 1.0);
        let able = Rates { speeds: Speeds { pattern: Some((pattern, 2.0)), ..Speeds::default() }, ..rates() };
        let power = PowerRates { idle: Watts::new(0.0), limit: Watts::new(400.0), compute_bound: 0.5, memory_bound: 0.5 };
        let of = |rates: &Rates| {
            let time = step_time(&work, rates).total();
            (time.value() - 12e-6, step_energy(&work, time, rates, &power).1.value())
        };
        let (dense, sparse) = (of(&rates()), of(&able));
        assert!((dense.0 - 2.0 * sparse.0).abs() < 1e-12 && (dense.1 - 2.0 * sparse.1).abs() < 1e-9, "{dense:?} {sparse:?}");
        assert_eq!(work.flops().value(), 1e12);
    }

    #[test]
    fn a_ring_moves_almost_twice_the_message() {
        let large = Rates { half_message: 0.0, hop: 0.0, inner_link: 200e9, ..rates() };
        let sum = |devices, reach| Collective {
            name: "gradients",
            kind: CollectiveKind::AllReduce,
            message: 1e9,
            times: 1.0,
            devices,
            reach,
            hidden: true,
        };
        assert!((sum(8.0, 8.0).time(&large).value() - 2.0 * 7.0 / 8.0 * 0.01).abs() < 1e-12);
        assert_eq!(sum(1.0, 1.0).time(&large).value(), 0.0);
        assert!((sum(4.0, 4.0).exposed(&large).value() - 0.5 * 2.0 * 3.0 / 4.0 * 0.005).abs() < 1e-12);
        let gather = Collective { kind: CollectiveKind::AllGather, ..sum(8.0, 8.0) };
        assert_eq!(2.0 * gather.time(&large).value(), sum(8.0, 8.0).time(&large).value());
    }

    #[test]
    fn the_host_is_a_floor_not_a_term() {
        let mut work = StepWork::new([kernel(1e12, 0.0)].into_iter(), 1.0);
        work.layer_runs = 10.0;
        let eager = Rates { host_floor: 2e-3, ..rates() };
        assert!((step_time(&work, &eager).total().value() - 0.02).abs() < 1e-9);
        let fast = Rates { host_floor: 1e-4, ..rates() };
        assert_eq!(step_time(&work, &fast).host.value(), 0.0);
    }

    proptest! {
        #[test]
        fn power_stays_between_idle_and_limit(flops in 0.0..1e15_f64, bytes in 0.0..1e12_f64, cb in 0.0..1.0_f64, mb in 0.0..1.0_f64) {
            let work = StepWork::new([kernel(flops, bytes)].into_iter(), 1.0);
            let power = PowerRates { idle: Watts::new(50.0), limit: Watts::new(400.0), compute_bound: cb, memory_bound: mb };
            let time = step_time(&work, &rates()).total();
            let (stretched, energy) = step_energy(&work, time, &rates(), &power);
            let mean = energy.value() / stretched.value();
            prop_assert!(stretched >= time);
            prop_assert!((50.0 - 1e-6..=400.0 + 1e-6).contains(&mean), "{mean}");
        }
    }
}
