//! What a device draws, and how its power limit slows it.
//!
//! Products and memory traffic draw A = e_f F / t and B = e_b bytes / t beside the idle power. What the limit leaves is R = share x
//! limit - idle. Below it the clock stays; above it falls to a share f of itself, and the voltage v with it down to a floor, so
//! that A f v^2 + B f = R, the energy of a FLOP being proportional to the square of the voltage (Rabaey et al. 2003, section 5.5). The
//! mean power passes smoothly from demand to limit, because a step has hot and cool stretches: idle + (D^-n + R^-n)^(-1/n), D = A + B.

use super::{Rates, StepWork};
use crate::units::{Joules, Seconds, Watts};

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
    /// n: how sharply the mean power bends at the limit.
    pub sharpness: f64,
    /// The least voltage over that of the full clock.
    pub voltage_floor: f64,
}

impl PowerRates {
    /// What a limit leaves to draw beside the idle power, W.
    fn room(&self, limit: Watts) -> f64 {
        (self.share * limit.value() - self.idle.value()).max(1e-3 * limit.value())
    }

    /// How many times as long work takes that would draw `products` and `traffic` watts beside the idle power.
    fn stretch(&self, products: f64, traffic: f64, limit: Watts) -> f64 {
        let room = self.room(limit);
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

/// Time and energy of a step on one accelerator, the power limit held.
#[must_use]
pub fn step_energy(work: &StepWork, time: Seconds, rates: &Rates, power: &PowerRates) -> (Seconds, Joules) {
    if time.value() <= 0.0 {
        return (time, Joules::new(0.0));
    }
    let products = power.per_flop * work.dense_flops(&rates.speeds).value() / time.value();
    let traffic = power.per_byte * work.bytes().value() / time.value();
    let seen = power.reference.map_or(1.0, |reference| power.stretch(products, traffic, reference));
    let time = time * (power.stretch(products, traffic, power.limit) / seen).max(1.0);
    let (demand, room) = (products + traffic, power.room(power.limit));
    let drawn = if demand > 0.0 {
        // (D^-n + R^-n)^(-1/n), from the smaller of both so that no power of a small number overflows.
        let (small, large) = (demand.min(room), demand.max(room));
        small * (1.0 + (small / large).powf(power.sharpness)).powf(-1.0 / power.sharpness)
    } else {
        0.0
    };
    (time, (power.idle + Watts::new(drawn)) * time)
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
        };
        StepWork::new(vec![Pass::new([kernel], 0.0)], 1.0)
    }

    #[test]
    fn a_lower_limit_saves_energy_down_to_the_voltage_floor_and_then_costs_it() {
        let (work, rates) = (work(1e13, 0.0), Rates::alone(1e13, 1e12));
        let of = |limit: f64| step_energy(&work, step_time(&work, &rates).total(), &rates, &power(limit));
        let [high, middle, low] = [250.0, 150.0, 60.0].map(of);
        assert!(high.0 < middle.0 && middle.0 < low.0);
        assert!(middle.1 < high.1 && low.1 > middle.1, "{high:?} {middle:?} {low:?}");
        // At half the room the clock falls by far less than half.
        assert!(middle.0.value() / high.0.value() < 1.4, "{middle:?} {high:?}");
    }

    #[test]
    fn rates_seen_under_a_limit_are_not_slowed_by_it_again() {
        let (work, rates) = (work(1e13, 0.0), Rates::alone(1e13, 1e12));
        let time = step_time(&work, &rates).total();
        let same = PowerRates { reference: Some(Watts::new(200.0)), ..power(200.0) };
        assert_eq!(step_energy(&work, time, &rates, &same).0, time);
        let lower = PowerRates { limit: Watts::new(120.0), ..same };
        assert!(step_energy(&work, time, &rates, &lower).0 > time);
    }

    proptest! {
        #[test]
        fn power_stays_between_idle_and_limit(flops in 0.0..1e15_f64, bytes in 0.0..1e12_f64, limit in 50.0..700.0_f64, n in 1.0..40.0_f64) {
            let (work, rates) = (work(flops, bytes), Rates::alone(1e14, 1e12));
            let power = PowerRates { sharpness: n, ..power(limit) };
            let time = step_time(&work, &rates).total();
            let (stretched, energy) = step_energy(&work, time, &rates, &power);
            prop_assert!(stretched >= time);
            if time.value() > 0.0 {
                let mean = energy.value() / stretched.value();
                prop_assert!((35.0 - 1e-6..=limit + 1e-6).contains(&mean), "{mean}");
            }
        }
    }
}
