//! Energy of one meter between any two moments, from its counter where it has one, else from its power readings.
//!
//! A counter moves in steps (about every 20 to 100 ms on NVIDIA's devices), so its value says how much energy there was at the moment
//! when it last moved, not at the moment when it was read. Between two such moments the counter's increase is spread as the power
//! readings between them say; beyond the first and the last, the power readings go on alone.

use super::Sample;
use super::manifest::{Meter, MeterKind, PowerSource};

/// Where an energy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Differences of the device's own energy counter.
    Counter,
    /// Integral of power readings.
    Samples,
    /// Neither could be read: the power limit times the time, which is more than was drawn.
    Tdp,
}

/// What was found in a meter's readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// When, s.
    pub time: f64,
    /// A word that stays the same between versions.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

/// A moment at which the energy since the session started is known.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    time: f64,
    joules: f64,
}

/// Readings of a meter, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What its totals come from.
    pub basis: Basis,
    counter: Vec<Point>,
    sampled: Vec<Point>,
    limit: Option<f64>,
    /// First and last moment of any reading, s.
    covered: Option<(f64, f64)>,
    /// Time between two movements of the counter, s: the median; nothing where it never moved twice.
    pub counter_period: Option<f64>,
    /// What was found in the readings.
    pub findings: Vec<Finding>,
}

/// From how many times its power limit on a reading is a fault of the reading and not of the device: assumed, well above what boards
/// draw for moments.
pub const IMPLAUSIBLE: f64 = 4.0;
/// The limit that is taken where a device states none, W: above every board that is sold.
pub const UNKNOWN_LIMIT: f64 = 5000.0;
/// From how many seconds without a movement on a counter is taken to stand still: ten times its usual period on NVIDIA's devices.
const STUCK: f64 = 1.0;
/// From how far apart counter and power readings are worth a word.
const GAP: f64 = 0.05;
/// The shortest stretch over which they are compared, s: ten usual periods of a counter.
const LONG_ENOUGH: f64 = 1.0;

impl Series {
    /// The series of a meter.
    #[must_use]
    pub fn new(meter: &Meter, rows: &[Sample]) -> Self {
        let sampled = sampled(rows);
        let mut findings = Vec::new();
        let (mut counter, counter_period) = match meter.counter_unit_j {
            Some(unit) => counter(meter, unit, rows, &sampled, &mut findings),
            None => (Vec::new(), None),
        };
        if counter.len() < 2 {
            // One movement says when, not how much.
            counter.clear();
        }
        let covered = rows
            .iter()
            .filter(|row| row.counter.is_some() || row.power.is_some())
            .map(|row| row.time)
            .fold(None, |range: Option<(f64, f64)>, time| Some(range.map_or((time, time), |(first, _)| (first, time))));
        let basis = if !counter.is_empty() {
            Basis::Counter
        } else if sampled.len() > 1 {
            Basis::Samples
        } else {
            Basis::Tdp
        };
        let mut series = Self { basis, counter, sampled, limit: meter.limit_w, covered, counter_period, findings };
        if meter.counter_unit_j.is_some() && meter.kind == MeterKind::Gpu {
            series.find_stuck();
        }
        if let (Basis::Samples, Some(PowerSource::UsageOfLastSecond), Some((time, _))) = (series.basis, meter.power, series.covered) {
            let text = "power readings are means of the last second: energies of short stretches are blurred by as much";
            series.findings.push(Finding { time, code: "power_lags", text: text.into() });
        }
        series
    }

    /// A counter that stands still while power is drawn.
    fn find_stuck(&mut self) {
        let (Some(first), Some(end)) = (self.sampled.first(), self.sampled.last()) else { return };
        let still = self.counter.last().map_or(first.time, |last| last.time);
        let drawn = end.joules - at(&self.sampled, still);
        if end.time - still > STUCK.max(10.0 * self.counter_period.unwrap_or(0.0)) && drawn > 1.0 {
            let text =
                format!("the energy counter stands still from {still:.1} s on, while {drawn:.0} J were drawn: power readings are used");
            self.findings.push(Finding { time: still, code: "counter_stuck", text });
        }
    }

    /// Energy between two moments, J; nothing where no reading and no limit says anything of it. What lies beyond the readings is
    /// not added.
    #[must_use]
    pub fn energy(&self, from: f64, to: f64) -> Option<f64> {
        match self.basis {
            Basis::Tdp => self.limit.map(|limit| limit * (to - from).max(0.0)),
            Basis::Counter | Basis::Samples => {
                let (first, last) = self.covered?;
                let (from, to) = (from.clamp(first, last), to.clamp(first, last));
                Some(self.cumulative(to) - self.cumulative(from))
            }
        }
    }

    /// Energy by the power readings alone, J.
    #[must_use]
    pub fn sampled_energy(&self, from: f64, to: f64) -> Option<f64> {
        (self.sampled.len() > 1).then(|| at(&self.sampled, to) - at(&self.sampled, from))
    }

    /// How far the power readings are from the counter over a stretch, as a share of the counter's energy.
    #[must_use]
    pub fn gap(&self, from: f64, to: f64) -> Option<f64> {
        let counted = self.energy(from, to).filter(|joules| self.basis == Basis::Counter && *joules > 0.0)?;
        Some(self.sampled_energy(from, to)? / counted - 1.0)
    }

    /// Whether counter and power readings disagree by more than is worth a word.
    #[must_use]
    pub fn disagrees(&self, from: f64, to: f64) -> Option<f64> {
        self.gap(from, to).filter(|gap| gap.abs() > GAP && to - from >= LONG_ENOUGH)
    }

    /// The seconds of a stretch that readings cover.
    #[must_use]
    pub fn covered(&self, from: f64, to: f64) -> f64 {
        self.covered.map_or(0.0, |(first, last)| (to.min(last) - from.max(first)).max(0.0))
    }

    /// How far an energy may be off because readings are apart in time, J: the energy of one step of the counter, or of one gap
    /// between power readings, at each end.
    #[must_use]
    pub fn resolution(&self, from: f64, to: f64) -> f64 {
        let points = if self.basis == Basis::Counter { &self.counter } else { &self.sampled };
        let step = |time: f64| {
            let after = points.partition_point(|point| point.time < time).clamp(1, points.len().max(2) - 1);
            match (points.get(after - 1), points.get(after)) {
                (Some(before), Some(after)) => (after.joules - before.joules).abs() / 2.0,
                _ => 0.0,
            }
        };
        step(from).hypot(step(to))
    }

    fn cumulative(&self, time: f64) -> f64 {
        let (Some(first), Some(last)) = (self.counter.first(), self.counter.last()) else { return at(&self.sampled, time) };
        let beyond = |edge: &Point, other: &Point| {
            if self.sampled.len() > 1 {
                edge.joules + at(&self.sampled, time) - at(&self.sampled, edge.time)
            } else {
                // Nothing is known but the counter: its rate beside the edge goes on.
                let rate = (other.joules - edge.joules) / (other.time - edge.time);
                edge.joules + rate * (time - edge.time)
            }
        };
        if time <= first.time {
            return self.counter.get(1).map_or(first.joules, |next| beyond(first, next));
        }
        if time >= last.time {
            return self.counter.len().checked_sub(2).map_or(last.joules, |index| beyond(last, &self.counter[index]));
        }
        let after = self.counter.partition_point(|point| point.time <= time);
        let (before, after) = (self.counter[after - 1], self.counter[after]);
        let linear = (time - before.time) / (after.time - before.time);
        let (low, high) = (at(&self.sampled, before.time), at(&self.sampled, after.time));
        let share = if high > low { (at(&self.sampled, time) - low) / (high - low) } else { linear };
        before.joules + (after.joules - before.joules) * share
    }
}

/// The value of a rising line through points, held at its ends.
fn at(points: &[Point], time: f64) -> f64 {
    let after = points.partition_point(|point| point.time <= time);
    match (after.checked_sub(1).and_then(|index| points.get(index)), points.get(after)) {
        (Some(before), Some(after)) => before.joules + (after.joules - before.joules) * (time - before.time) / (after.time - before.time),
        (Some(only), None) | (None, Some(only)) => only.joules,
        (None, None) => 0.0,
    }
}

/// The integral of the power readings: at the rows, and at the moments at which the counter moved.
fn sampled(rows: &[Sample]) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for row in rows {
        let at_counter = row.counter_time.zip(row.sampled_at_counter).map(|(time, joules)| Point { time, joules });
        let at_row = row.sampled.map(|joules| Point { time: row.time, joules });
        for point in at_counter.into_iter().chain(at_row) {
            if points.last().is_none_or(|last| point.time > last.time && point.joules >= last.joules) {
                points.push(point);
            }
        }
    }
    points
}

/// Energy used between two readings of a counter in microjoules, across its end. `None`: the counter was reset, and
/// what it had counted is not known.
///
/// A counter that falls by less than half its range cannot have come round in the time between two readings (a range is
/// 2^32 units, some 65 to 262 kJ: minutes at full power), so that was a reset. The driver states the largest value, one unit less
/// than the period: a turn loses at most 2^-32 of the range.
#[must_use]
pub fn wrapped_difference(before: u64, after: u64, range: Option<u64>) -> Option<u64> {
    if let Some(difference) = after.checked_sub(before) {
        return Some(difference);
    }
    let range = range?;
    let difference = range.checked_sub(before)?.checked_add(after)?;
    (difference <= range / 2).then_some(difference)
}

/// The energy at each moment at which the counter moved, and the time between movements.
fn counter(meter: &Meter, unit: f64, rows: &[Sample], sampled: &[Point], findings: &mut Vec<Finding>) -> (Vec<Point>, Option<f64>) {
    let mut points: Vec<Point> = Vec::new();
    let mut periods = Vec::new();
    let mut last: Option<(f64, u64)> = None;
    for row in rows {
        let Some((time, count)) = row.counter_time.zip(row.counter) else { continue };
        let Some((before, old)) = last else {
            points.push(Point { time, joules: 0.0 });
            last = Some((time, count));
            continue;
        };
        // A GPU's counter that stands still waits for its next movement; a host's says that nothing was drawn.
        if time <= before || (count == old && meter.kind == MeterKind::Gpu) {
            continue;
        }
        let limit = row.slow.limit.or(meter.limit_w).unwrap_or(UNKNOWN_LIMIT);
        let most = IMPLAUSIBLE * limit * (time - before + 0.2);
        let filled = || if sampled.len() > 1 { at(sampled, time) - at(sampled, before) } else { 0.0 };
        let by_samples = if sampled.len() > 1 { "the power readings fill the gap" } else { "what was drawn meanwhile is missing" };
        let mut finding = |code, text| findings.push(Finding { time, code, text });
        let step = match count.checked_sub(old) {
            Some(difference) if difference as f64 * unit <= most || meter.kind != MeterKind::Gpu => difference as f64 * unit,
            Some(difference) => {
                let text =
                    format!("the energy counter jumped by {:.0} J in {:.2} s: {by_samples}", difference as f64 * unit, time - before);
                finding("counter_jump", text);
                filled()
            }
            None => match wrapped_difference(old, count, meter.counter_range) {
                Some(difference) => difference as f64 * unit,
                None => {
                    finding("counter_reset", format!("the energy counter fell from {old} to {count}: {by_samples}"));
                    filled()
                }
            },
        };
        periods.push(time - before);
        let joules = points.last().map_or(0.0, |point| point.joules) + step.max(0.0);
        points.push(Point { time, joules });
        last = Some((time, count));
    }
    periods.sort_by(f64::total_cmp);
    let period = periods.get(periods.len() / 2).copied();
    (points, period)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn meter() -> Meter {
        Meter {
            kind: MeterKind::Gpu,
            name: "test".into(),
            uuid: "GPU-0".into(),
            counter_unit_j: Some(1e-3),
            counter_range: None,
            power: None,
            limit_w: Some(400.0),
            facts: BTreeMap::new(),
            capabilities: BTreeMap::new(),
            instances: Vec::new(),
        }
    }

    /// Rows every 0.1 s of a device that draws `watts(t)`, whose counter moves every `step` seconds.
    fn rows(watts: impl Fn(f64) -> f64, step: f64, until: f64) -> Vec<Sample> {
        let joules = |time: f64| {
            let pieces = (time * 1000.0).round() as usize;
            (0..pieces).map(|piece| watts((piece as f64 + 0.5) / 1000.0) / 1000.0).sum::<f64>()
        };
        (0..=(until * 10.0) as usize)
            .map(|index| {
                let time = index as f64 / 10.0;
                let moved = (time / step + 1e-9).floor() * step;
                Sample {
                    time,
                    counter: Some((joules(moved) * 1000.0).round() as u64),
                    counter_time: (moved > 0.0).then_some(moved),
                    sampled: Some(joules(time)),
                    sampled_at_counter: (moved > 0.0).then(|| joules(moved)),
                    power: Some(watts(time)),
                    ..Sample::default()
                }
            })
            .collect()
    }

    #[test]
    fn a_counter_in_steps_gives_the_energy_between_its_steps() {
        // 100 W, then 300 W from 1.03 s on; the counter moves every 0.14 s.
        let watts = |time: f64| if time < 1.03 { 100.0 } else { 300.0 };
        let series = Series::new(&meter(), &rows(watts, 0.14, 3.0));
        assert_eq!(series.basis, Basis::Counter);
        for (from, to, truth) in [(0.5, 1.5, 53.0 + 141.0), (0.5, 0.9, 40.0), (0.0, 3.0, 103.0 + 591.0), (1.1, 1.15, 15.0)] {
            let energy = series.energy(from, to).unwrap();
            assert!((energy / truth - 1.0).abs() < 0.02, "{from} to {to}: {energy}, not {truth}");
        }
        assert!((series.counter_period.unwrap() - 0.14).abs() < 1e-6);
    }

    #[test]
    fn a_reset_is_filled_from_power_readings_and_named() {
        let mut rows = rows(|_| 200.0, 0.1, 4.0);
        let at_reset = rows[20].counter.unwrap();
        for row in &mut rows[21..] {
            row.counter = row.counter.map(|count| count - at_reset);
        }
        let series = Series::new(&meter(), &rows);
        assert!((series.energy(0.0, 4.0).unwrap() - 800.0).abs() < 1.0);
        assert_eq!(series.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["counter_reset"]);
    }

    #[test]
    fn a_jump_that_no_device_can_draw_is_not_counted() {
        let mut rows = rows(|_| 200.0, 0.1, 4.0);
        rows[21..].iter_mut().for_each(|row| row.counter = row.counter.map(|count| count + 50_000_000));
        let series = Series::new(&meter(), &rows);
        assert!((series.energy(0.0, 4.0).unwrap() - 800.0).abs() < 1.0);
        assert_eq!(series.findings[0].code, "counter_jump");
    }

    #[test]
    fn a_counter_with_a_range_starts_again() {
        let mut rows = rows(|_| 200.0, 0.1, 4.0);
        rows.iter_mut().for_each(|row| row.counter = row.counter.map(|count| (count + 700_000) % 1_000_000));
        let meter = Meter { kind: MeterKind::Host, counter_range: Some(1_000_000), ..meter() };
        let series = Series::new(&meter, &rows);
        assert!((series.energy(0.0, 4.0).unwrap() - 800.0).abs() < 1.0);
        assert!(series.findings.is_empty());
    }

    #[test]
    fn without_a_counter_the_readings_count_and_without_both_the_limit() {
        let mut rows = rows(|_| 150.0, 0.1, 2.0);
        rows.iter_mut().for_each(|row| (row.counter, row.counter_time) = (None, None));
        let series = Series::new(&meter(), &rows);
        assert_eq!((series.basis, series.energy(0.5, 1.5).unwrap().round()), (Basis::Samples, 150.0));
        let series = Series::new(&meter(), &[]);
        assert_eq!((series.basis, series.energy(0.0, 2.0)), (Basis::Tdp, Some(800.0)));
        let series = Series::new(&Meter { limit_w: None, ..meter() }, &[]);
        assert_eq!(series.energy(0.0, 2.0), None);
    }

    #[test]
    fn what_lies_beyond_the_readings_is_not_added() {
        let series = Series::new(&meter(), &rows(|_| 200.0, 0.1, 2.0));
        assert!((series.energy(1.0, 9.0).unwrap() - 200.0).abs() < 1.0);
        assert!((series.covered(1.0, 9.0) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_are_never_negative(a in 0.0..3.0f64, b in 0.0..3.0f64, c in 0.0..3.0f64, step in 0.02..0.3f64) {
            let series = Series::new(&meter(), &rows(|time| 100.0 + 200.0 * (time * 7.0).sin().abs(), step, 3.0));
            let mut times = [a, b, c];
            times.sort_by(f64::total_cmp);
            let [a, b, c] = times;
            let (first, second, whole) = (series.energy(a, b).unwrap(), series.energy(b, c).unwrap(), series.energy(a, c).unwrap());
            prop_assert!(first >= -1e-9 && second >= -1e-9);
            prop_assert!((first + second - whole).abs() < 1e-6);
        }
    }
}
