//! When meters are read, and when a row is written.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How much of one core the collector may use; it reads power between rows as often as that allows.
pub const BUDGET: f64 = 0.003;
/// The same where a device has no energy counter: its readings are then all there is.
pub const BUDGET_WITHOUT_COUNTER: f64 = 0.008;
/// The shortest time between two readings, s: about what a timer can keep.
pub const SHORTEST: f64 = 0.002;
/// Processor seconds of a wake-up on a virtual machine, for a first guess that the first second corrects.
const WAKE: f64 = 4e-5;
/// Seconds between readings around the start of the run.
const DENSE: f64 = 0.004;
/// Seconds around the start of the run in which readings are as frequent as can be: what was drawn between two movements of a
/// counter there belongs in part to the run and in part not.
const EDGE: f64 = 0.12;

/// When to read next, and when to write a row.
pub struct Schedule {
    random: ChaCha8Rng,
    interval: f64,
    /// Mean seconds between readings.
    spacing: f64,
    /// The share of a core that they may use.
    budget: f64,
    /// Readings are dense before this moment, and from the other one on, s.
    dense: (f64, f64),
    next_row: f64,
}

impl Schedule {
    /// The run begins: readings are dense for a while.
    pub fn start(&mut self, now: f64) {
        self.dense = (now + EDGE, f64::INFINITY);
    }

    /// Readings from now on, of a run that is expected to start at a moment.
    pub fn new(seed: u64, now: f64, expected_start: f64, interval: f64, budget: f64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, interval, spacing: interval.min(0.01), budget, dense: (now + EDGE, expected_start - EDGE), next_row: now + interval }
    }

    /// The moment of the next reading: a quarter earlier or later than planned, so that a load in step with the readings is seen as it
    /// is on average.
    pub fn due(&mut self, now: f64) -> f64 {
        let is_dense = now < self.dense.0 || now >= self.dense.1;
        let spacing = if is_dense { self.spacing.min(DENSE) } else { self.spacing };
        now + spacing * (0.75 + self.random.random::<f64>() / 2.0)
    }

    /// Whether a reading makes a row: the one that is nearest to the row's time. An interval that was missed is not made up for.
    pub fn is_row(&mut self, now: f64) -> bool {
        let is_row = now >= self.next_row - self.spacing / 2.0;
        if is_row {
            self.next_row = (self.next_row + self.interval).max(now + self.interval / 2.0);
        }
        is_row
    }

    /// A first guess from the processor seconds of a round of readings.
    pub fn guess(&mut self, round: f64) {
        self.spacing = ((round + WAKE) / self.budget).clamp(SHORTEST, self.interval.max(SHORTEST));
    }

    /// Makes readings as frequent as the share of a core that they used allows.
    pub fn adapt(&mut self, used: f64) {
        let factor = (used / self.budget).clamp(0.6, 2.0);
        self.spacing = (self.spacing * factor).max(SHORTEST).min(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_come_as_often_as_the_budget_allows() {
        let mut schedule = Schedule::new(1, 0.0, f64::INFINITY, 0.1, BUDGET);
        assert_eq!(schedule.spacing, 0.01);
        schedule.adapt(2.0 * BUDGET);
        assert_eq!(schedule.spacing, 0.02);
        schedule.guess(2e-5);
        assert!((schedule.spacing - 0.02).abs() < 1e-9);
        (0..20).for_each(|_| schedule.adapt(1.0));
        assert_eq!(schedule.spacing, 0.1);
        (0..20).for_each(|_| schedule.adapt(0.0));
        assert_eq!(schedule.spacing, SHORTEST);
    }

    #[test]
    fn rows_come_once_an_interval_and_readings_at_random_moments() {
        let mut schedule = Schedule::new(1, 0.0, f64::INFINITY, 0.1, BUDGET);
        let (mut now, mut rows, mut gaps) = (0.0, Vec::new(), Vec::new());
        while now < 100.0 {
            let due = schedule.due(now);
            gaps.push(due - now);
            now = due;
            if schedule.is_row(now) {
                rows.push(now);
            }
        }
        assert!((rows.len() as f64 - 1000.0).abs() <= 2.0, "{}", rows.len());
        assert!(rows.windows(2).all(|pair| pair[1] - pair[0] < 0.12));
        let late = &gaps[200..];
        assert!(late.iter().any(|gap| *gap < 0.008) && late.iter().any(|gap| *gap > 0.012));
        assert!((late.iter().sum::<f64>() / late.len() as f64 - 0.01).abs() < 2e-4);
    }
}
