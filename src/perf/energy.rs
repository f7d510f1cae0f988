//! What a device draws, and how its power limit slows it.
//!
//! Products draw A = e_f F / t beside the idle power, memory traffic and links B = e_b bytes / t + e_l bytes sent / t. What the limit leaves is R = share x
//! limit - idle. Below it the clock stays; above it falls to a share f of itself, and the voltage v with it down to a floor, so
//! that A f v^2 + B f = R, the energy of a FLOP being proportional to the square of the voltage (Rabaey et al. 2003, section 5.5). The
//! mean power passes smoothly from demand to limit, because a step has hot and cool stretches: idle + (D^-n + R^-n)^(-1/n), D = A + B.

use super::{Achieved, Rates, StepWork};
use crate::hardware::{Parameter, PowerScales};
use crate::units::{Joules, Seconds, Watts};

/// What a device may draw, as its profile and a user say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerEnvelope {
    /// With nothing to do.
    pub idle: Watts,
    /// The limit that holds.
    pub limit: Watts,
    /// The limit under which the rates of the time model were seen; none where they are of a clock that nothing limits.
    pub reference: Option<Watts>,
    /// How its parameters differ from those of the devices that they were seen on.
    pub scales: PowerScales,
}

/// What a device draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerRates {
    /// With nothing to do.
    pub idle: Watts,
    /// The limit that holds.
    pub limit: Watts,
    /// The limit under which the rates of the time model were seen; none where they are of a clock that nothing limits.
    pub reference: Option<Watts>,
    /// Share of the limit that devices settle at.
    pub share: f64,
    /// Energy of a FLOP of dense products, J.
    pub per_flop: f64,
    /// Energy of a byte from or to memory, J.
    pub per_byte: f64,
    /// Energy of a byte sent to another accelerator, J.
    pub per_sent: f64,
    /// n: how sharply the mean power bends at the limit.
    pub sharpness: f64,
    /// The least voltage over that of the full clock.
    pub voltage_floor: f64,
}

impl PowerRates {
    /// What a device draws by the values of the parameters.
    #[must_use]
    pub fn new(envelope: &PowerEnvelope, achieved: &Achieved) -> Self {
        let PowerEnvelope { idle, limit, reference, scales } = *envelope;
        let of = |parameter| achieved.get(parameter);
        Self {
            idle,
            limit,
            reference,
            share: of(Parameter::LimitShare),
            per_flop: 1e-12 * of(Parameter::FlopEnergy) * scales.flop,
            per_byte: 1e-12 * of(Parameter::ByteEnergy) * scales.byte,
            per_sent: 1e-12 * of(Parameter::LinkEnergy),
            sharpness: of(Parameter::Sharpness),
            voltage_floor: (of(Parameter::VoltageFloor) * scales.voltage_floor).min(1.0),
        }
    }

    /// What a limit leaves to draw beside the idle power, W.
    fn room(&self, limit: Watts) -> f64 {
        (self.share * limit.value() - self.idle.value()).max(1e-3 * limit.value())
    }

    /// How many times as long work takes under a limit that would draw so much beside the idle power.
    fn stretch(&self, demand: &Demand, limit: Watts) -> f64 {
        let room = self.room(limit);
        let (products, traffic) = (demand.products, demand.traffic + demand.links);
        if products + traffic <= room {
            return 1.0;
        }
        let floor = self.voltage_floor;
        let linear = room / (products * floor * floor + traffic);
        if linear <= floor {
            return 1.0 / linear;
        }
        // A f^3 + B f rises with f from below R at the floor to above it at 1.
        let (mut low, mut high) = (floor, 1.0);
        for _ in 0..30 {
            let middle = 0.5 * (low + high);
            if products * middle.powi(3) + traffic * middle > room { high = middle } else { low = middle }
        }
        2.0 / (low + high)
    }
}

/// Where the energy of a step on one accelerator goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepEnergy {
    /// What it draws with nothing to do.
    pub idle: Joules,
    /// Matrix products.
    pub products: Joules,
    /// Bytes from and to device memory.
    pub traffic: Joules,
    /// Bytes sent to other accelerators.
    pub links: Joules,
}

/// What work draws at the full clock beside the idle power, W.
#[derive(Debug, Clone, Copy)]
struct Demand {
    products: f64,
    traffic: f64,
    links: f64,
}

impl StepEnergy {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Joules {
        self.idle + self.products + self.traffic + self.links
    }
}

impl PowerRates {
    /// Time and energy of a step that takes `time` where nothing limits it but what `reference` names, the power limit held.
    #[must_use]
    pub fn step(&self, work: &StepWork, time: Seconds, rates: &Rates) -> (Seconds, StepEnergy) {
        if time.value() <= 0.0 {
            return (time, StepEnergy::default());
        }
        let demand = self.demand(work, time, rates);
        let stretch = match self.reference {
            // The rates were seen under this very limit.
            Some(reference) if reference == self.limit => 1.0,
            Some(reference) => self.stretch(&demand, self.limit) / self.stretch(&demand, reference),
            None => self.stretch(&demand, self.limit),
        };
        let time = time * stretch.max(1.0);
        (time, self.energy(&demand, time))
    }

    /// Energy of a step that is known to take `time`, whatever limits it.
    #[must_use]
    pub fn energy_in(&self, work: &StepWork, time: Seconds, rates: &Rates) -> StepEnergy {
        if time.value() <= 0.0 {
            return StepEnergy::default();
        }
        self.energy(&self.demand(work, time, rates), time)
    }

    fn demand(&self, work: &StepWork, time: Seconds, rates: &Rates) -> Demand {
        Demand {
            products: self.per_flop * work.dense_flops(&rates.speeds).value() / time.value(),
            traffic: self.per_byte * work.bytes().value() / time.value(),
            links: self.per_sent * work.sent().value() / time.value(),
        }
    }

    /// The energy of `time` at such a demand; what the limit leaves goes to all in proportion.
    fn energy(&self, of: &Demand, time: Seconds) -> StepEnergy {
        let (demand, room) = (of.products + of.traffic + of.links, self.room(self.limit));
        let share = if demand > 0.0 {
            // (D^-n + R^-n)^(-1/n), from the smaller of both so that no power of a small number overflows.
            let (small, large) = (demand.min(room), demand.max(room));
            small * (1.0 + (small / large).powf(self.sharpness)).powf(-1.0 / self.sharpness) / demand
        } else {
            0.0
        };
        StepEnergy {
            idle: self.idle * time,
            products: Watts::new(of.products * share) * time,
            traffic: Watts::new(of.traffic * share) * time,
            links: Watts::new(of.links * share) * time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Component, Kernel, Unit, Work};
    use crate::perf::{Pass, step_time};
    use proptest::prelude::*;

    fn power(limit: f64) -> PowerRates {
        PowerRates {
            idle: Watts::new(35.0),
            limit: Watts::new(limit),
            reference: None,
            share: 0.97,
            per_flop: 25e-12,
            per_byte: 180e-12,
            per_sent: 40e-12,
            sharpness: 4.0,
            voltage_floor: 0.645,
        }
    }

    fn work(flops: f64, bytes: f64) -> StepWork {
        let kernel = Kernel {
            component: Component::Attention,
            work: Work::Linear,
            times: 1.0,
            matmul_flops: flops,
            elementwise_flops: 0.0,
            bytes,
            unit: Unit::Dense,
            aligned: true,
            tiles: 0.0,
        };
        StepWork::new(vec![Pass::new([kernel], 0.0)], 1.0)
    }

    #[test]
    fn a_lower_limit_saves_energy_down_to_the_voltage_floor_and_then_costs_it() {
        let (work, rates) = (work(1e13, 0.0), Rates::alone(1e13, 1e12));
        let of = |limit: f64| power(limit).step(&work, step_time(&work, &rates).total(), &rates);
        let [high, middle, low] = [250.0, 150.0, 60.0].map(of);
        assert!(high.0 < middle.0 && middle.0 < low.0);
        assert!(middle.1.total() < high.1.total() && low.1.total() > middle.1.total(), "{high:?} {middle:?} {low:?}");
        // At half the room the clock falls by far less than half.
        assert!(middle.0.value() / high.0.value() < 1.4, "{middle:?} {high:?}");
    }

    #[test]
    fn rates_seen_under_a_limit_are_not_slowed_by_it_again() {
        let (work, rates) = (work(1e13, 0.0), Rates::alone(1e13, 1e12));
        let time = step_time(&work, &rates).total();
        let same = PowerRates { reference: Some(Watts::new(200.0)), ..power(200.0) };
        assert_eq!(same.step(&work, time, &rates).0, time);
        let lower = PowerRates { limit: Watts::new(120.0), ..same };
        assert!(lower.step(&work, time, &rates).0 > time);
    }

    proptest! {
        #[test]
        fn power_stays_between_idle_and_limit(flops in 0.0..1e15_f64, bytes in 0.0..1e12_f64, limit in 50.0..700.0_f64, n in 1.0..40.0_f64) {
            let (work, rates) = (work(flops, bytes), Rates::alone(1e14, 1e12));
            let power = PowerRates { sharpness: n, ..power(limit) };
            let time = step_time(&work, &rates).total();
            let (stretched, energy) = power.step(&work, time, &rates);
            prop_assert!(stretched >= time);
            if time.value() > 0.0 {
                let mean = energy.total().value() / stretched.value();
                prop_assert!((35.0 - 1e-6..=limit + 1e-6).contains(&mean), "{mean}");
            }
        }
    }
}
