//! From kernels on hardware to seconds and joules.
//!
//! A kernel takes launch + max(F / rate + saturation, bytes / bandwidth): FLOPs at the achieved rate with a constant
//! for products too small to reach it, or its traffic at the achieved bandwidth, whichever is longer. A pass through layers
//! adds what accelerators exchange between its kernels, and in an eager framework is no shorter than the host needs to
//! launch it. Stages of a pipeline wait for the slowest; a step adds the optimizer and what is exchanged between passes.
//! Energy is idle power over the whole time, and joules per FLOP and per byte; where they exceed the power limit, the clock
//! falls and the step stretches (`energy.rs`).

mod collective;
mod energy;
mod rates;
mod work;

pub use collective::{Collective, CollectiveKind, When};
pub use energy::{PowerEnvelope, PowerRates, StepEnergy};
pub use rates::{Achieved, Peaks, Rates, Speeds};
pub use work::{Pass, Stage, StepWork, in_step};

use std::ops::{Add, Mul};

use crate::ledger::Work;
use crate::units::Seconds;
use work::Row;

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

impl Add for StepTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            compute: self.compute + other.compute,
            memory: self.memory + other.memory,
            launch: self.launch + other.launch,
            optimizer: self.optimizer + other.optimizer,
            host: self.host + other.host,
            exchange: self.exchange + other.exchange,
            bubble: self.bubble + other.bubble,
        }
    }
}

impl Mul<f64> for StepTime {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self {
            compute: self.compute * factor,
            memory: self.memory * factor,
            launch: self.launch * factor,
            optimizer: self.optimizer * factor,
            host: self.host * factor,
            exchange: self.exchange * factor,
            bubble: self.bubble * factor,
        }
    }
}

impl Row {
    /// Share of the multiprocessors that the tiles of a product fill, over all of its waves; 1 where either is not known.
    fn filled(&self, multiprocessors: Option<f64>) -> f64 {
        let Some(count) = multiprocessors.filter(|_| self.tiles > 0.0) else { return 1.0 };
        let waves = self.tiles / count;
        // Rounded up by casts, which are faster than `ceil` where the processor has no instruction for it.
        let whole = waves as u64 as f64;
        waves / if whole < waves { whole + 1.0 } else { whole }
    }

    /// Time of one launch without its overhead, s, and whether products bind it.
    fn time(&self, rates: &Rates) -> (f64, bool) {
        let rate = if self.work == Work::Mixing { rates.mixing } else { rates.matmul };
        let rate = rate * rates.speeds.of(self.unit) * if self.aligned { 1.0 } else { rates.unaligned };
        let rate = rate * (1.0 - rates.wave * (1.0 - self.filled(rates.multiprocessors)));
        let products = if self.flops > 0.0 { self.flops / rate + rates.saturation } else { 0.0 };
        let traffic = self.bytes / if self.work == Work::Gather { rates.gather_bandwidth } else { rates.bandwidth };
        (products.max(traffic), products >= traffic)
    }
}

impl Pass {
    /// The time of it: what its kernels and exchanges take, and not less than the host takes to launch its layers.
    #[must_use]
    pub fn time(&self, rates: &Rates) -> StepTime {
        let (mut compute, mut memory, mut launches) = (0.0, 0.0, 0.0);
        for row in &self.rows {
            match row.time(rates) {
                (time, true) => compute += row.times * time,
                (time, false) => memory += row.times * time,
            }
            launches += row.times;
        }
        let launch = launches * rates.launch;
        let exchange: f64 = self.exchanges.iter().map(|one| one.exposed(rates).value()).sum();
        let exchanges: f64 = self.exchanges.iter().map(|one| one.times).sum();
        let floor = if rates.host_floor > 0.0 { self.layers * rates.host_floor + exchanges * rates.host_exchange } else { 0.0 };
        StepTime {
            compute: Seconds::new(compute),
            memory: Seconds::new(memory),
            launch: Seconds::new(launch),
            exchange: Seconds::new(exchange),
            host: Seconds::new((floor - compute - memory - launch - exchange).max(0.0)),
            ..StepTime::default()
        }
    }
}

/// The time of a step. With stages of times t_s for a micro-batch, m micro-batches in v parts take m max t + (sum of t - max t) / v:
/// the slowest stage is always at work but while the pipeline fills and empties (Narayanan et al. 2021, section 2.2, there with
/// equal stages). All of it takes as long as on the slowest node.
#[must_use]
pub fn step_time(work: &StepWork, rates: &Rates) -> StepTime {
    let mut slowest = StepTime::default();
    let mut all = Seconds::new(0.0);
    for stage in &work.stages {
        let time = stage.passes.iter().fold(StepTime::default(), |sum, pass| sum + pass.time(rates));
        all = all + time.total() * stage.count;
        if time.total() > slowest.total() {
            slowest = time;
        }
    }
    let bubble = (all.value() - slowest.total().value()).max(0.0) / work.interleaving.max(1.0);
    let between = work.between.iter().map(|one| one.exposed(rates)).fold(Seconds::new(0.0), |sum, time| sum + time);
    let rest = StepTime {
        optimizer: Seconds::new(work.optimizer.value() / rates.bandwidth),
        host: Seconds::new(rates.step_overhead),
        exchange: between,
        ..StepTime::default()
    };
    let stretch = slowest_node(work.accelerators / rates.node, rates.scatter);
    (slowest * work.micro_batches + StepTime { bubble: Seconds::new(bubble), ..StepTime::default() }) * stretch + rest
}

/// How many times as long the slowest of so many nodes takes as the usual one: the largest of n normal variables is about
/// sqrt(2 ln n) deviations above their mean. The rates of one node are those of the slowest accelerator in it.
fn slowest_node(nodes: f64, scatter: f64) -> f64 {
    1.0 + scatter * (2.0 * nodes.max(1.0).ln()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Mesh;
    use crate::ledger::{Component, Kernel, Pattern, Unit};
    use crate::units::Watts;

    fn rates() -> Rates {
        Rates {
            saturation: 8e-6,
            gather_bandwidth: 0.5e12,
            unaligned: 0.5,
            launch: 4e-6,
            inner_link: 100e9,
            network: 50e9,
            half_message: 10e6,
            latency: 1e-5,
            overlap: 0.5,
            node: 4.0,
            ..Rates::alone(100e12, 1e12)
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
            aligned: true,
            tiles: 0.0,
        }
    }

    fn step(kernels: impl IntoIterator<Item = Kernel>, micro_batches: f64) -> StepWork {
        StepWork::new(vec![Pass::new(kernels, 10.0)], micro_batches)
    }

    fn all_reduce(devices: f64, reach: f64, hidden: bool) -> Collective {
        Collective {
            name: "gradients",
            kind: CollectiveKind::AllReduce,
            when: When::Between,
            message: 1e9,
            times: 1.0,
            devices,
            reach,
            hidden,
        }
    }

    #[test]
    fn a_kernel_takes_the_longer_of_products_and_traffic() {
        let work = step([kernel(1e12, 1e9), kernel(0.0, 1e9)], 2.0);
        let time = step_time(&work, &rates());
        assert!((time.compute.value() - 2.0 * (0.01 + 8e-6)).abs() < 1e-12);
        assert!((time.memory.value() - 2e-3).abs() < 1e-12);
        assert!((time.launch.value() - 16e-6).abs() < 1e-12);
        assert_eq!(time.exchange.value(), 0.0);
        let half = Rates { multiprocessors: Some(100.0), wave: 1.0, ..rates() };
        let tiled = step_time(&step([Kernel { tiles: 150.0, ..kernel(1e12, 0.0) }], 1.0), &half);
        assert!((tiled.compute.value() - 0.01 / 0.75 - 8e-6).abs() < 1e-12, "150 tiles take two waves of 100");
        let odd = step_time(&step([Kernel { aligned: false, ..kernel(1e12, 0.0) }], 1.0), &rates());
        assert!((odd.compute.value() - 0.02 - 8e-6).abs() < 1e-12);
    }

    #[test]
    fn a_faster_unit_takes_less_time_and_energy_where_the_device_has_it() {
        let pattern = Pattern { keep: 2, of: 4 };
        let work = step([Kernel { unit: Unit::Pattern(pattern), ..kernel(1e12, 0.0) }], 1.0);
        let able = Rates { speeds: Speeds { pattern: Some((pattern, 2.0)), ..Speeds::default() }, ..rates() };
        let power = PowerRates {
            idle: Watts::new(0.0),
            limit: Watts::new(400.0),
            reference: None,
            share: 1.0,
            per_flop: 1e-12,
            per_byte: 0.0,
            per_sent: 0.0,
            sharpness: 40.0,
            voltage_floor: 0.6,
        };
        let of = |rates: &Rates| {
            let time = step_time(&work, rates).total();
            (time.value() - 12e-6, power.step(&work, time, rates).1.total().value())
        };
        let (dense, sparse) = (of(&rates()), of(&able));
        assert!((dense.0 - 2.0 * sparse.0).abs() < 1e-12 && (dense.1 - 2.0 * sparse.1).abs() < 1e-9, "{dense:?} {sparse:?}");
        assert_eq!(work.flops().value(), 1e12);
    }

    #[test]
    fn a_ring_moves_almost_twice_the_message() {
        let large = Rates { half_message: 0.0, latency: 0.0, inner_link: 200e9, ..rates() };
        let sum = |devices, reach| all_reduce(devices, reach, true);
        assert!((sum(8.0, 8.0).time(&large).value() - 2.0 * 7.0 / 8.0 * 0.02).abs() < 1e-12);
        assert_eq!(sum(1.0, 1.0).time(&large).value(), 0.0);
        assert!((sum(4.0, 4.0).exposed(&large).value() - 0.5 * 2.0 * 3.0 / 4.0 * 0.005).abs() < 1e-12);
        let gather = Collective { kind: CollectiveKind::AllGather, ..sum(8.0, 8.0) };
        assert_eq!(2.0 * gather.time(&large).value(), sum(8.0, 8.0).time(&large).value());
        // Where others of a node's four accelerators have rings of their own, a ring has a quarter of its network for each of its
        // own; a single ring has one quarter, and where all four are in it, the whole.
        let one = Rates { rings: 0.0, ..large };
        for (reach, rates, time) in [(16.0, &one, 0.08), (32.0, &one, 0.08), (16.0, &large, 0.04), (32.0, &large, 0.08)] {
            assert!((sum(8.0, reach).time(rates).value() - 2.0 * 7.0 / 8.0 * time).abs() < 1e-12);
        }
        assert!((sum(8.0, 8.0).time(&Rates { node: 4.0, ..large }).value() - 2.0 * 7.0 / 8.0 * 0.02).abs() < 1e-12);
    }

    #[test]
    fn a_small_ring_in_a_mesh_without_a_switch_has_not_all_links() {
        let mesh = Rates { mesh: Some(Mesh { pair: 1, quad: 4, all: 6 }), half_message: 0.0, latency: 0.0, node: 8.0, ..rates() };
        let time = |devices: f64, rates: &Rates| all_reduce(devices, devices, false).time(rates).value();
        for (devices, share) in [(2.0, 1.0 / 6.0), (4.0, 4.0 / 6.0), (8.0, 1.0)] {
            assert!((time(devices, &Rates { mesh: None, ..mesh }) / time(devices, &mesh) - share).abs() < 1e-12);
        }
    }

    #[test]
    fn nodes_wait_for_the_slowest_of_them() {
        let exact = Rates { launch: 0.0, saturation: 0.0, scatter: 0.02, ..rates() };
        let on = |accelerators| {
            let stage = Stage { count: 2.0, passes: vec![Pass::new([kernel(1e12, 0.0)], 1.0)] };
            let work = StepWork { stages: vec![stage], micro_batches: 3.0, interleaving: 1.0, accelerators, ..StepWork::default() };
            step_time(&work, &exact).total().value()
        };
        assert_eq!(on(4.0), on(0.0));
        assert!((on(4.0) - 0.04).abs() < 1e-12);
        assert!((on(32.0) / on(4.0) - 1.0 - 0.02 * (2.0 * 8.0_f64.ln()).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_host_is_a_floor_not_a_term() {
        let work = step([kernel(1e12, 0.0)], 1.0);
        let eager = Rates { host_floor: 2e-3, ..rates() };
        assert!((step_time(&work, &eager).total().value() - 0.02).abs() < 1e-9);
        let fast = Rates { host_floor: 1e-4, ..rates() };
        assert_eq!(step_time(&work, &fast).host.value(), 0.0);
    }

    #[test]
    fn a_pipeline_waits_for_its_slowest_stage() {
        let stage = |count, flops| Stage { count, passes: vec![Pass::new([kernel(flops, 0.0)], 1.0)] };
        let work = |interleaving| StepWork {
            stages: vec![stage(3.0, 1e12), stage(1.0, 2e12)],
            micro_batches: 8.0,
            interleaving,
            ..StepWork::default()
        };
        let exact = Rates { launch: 0.0, saturation: 0.0, ..rates() };
        assert!((step_time(&work(1.0), &exact).total().value() - (8.0 * 0.02 + 3.0 * 0.01)).abs() < 1e-12);
        assert!((step_time(&work(2.0), &exact).bubble.value() - 0.015).abs() < 1e-12);
        assert_eq!(work(1.0).flops().value(), 8.0 * 1.25e12);
    }
}
