//! What the collector asks of everything that it reads: an energy counter, power readings, and what changes slowly.

use crate::session::{Meter, Sample, sample::Slow};

/// A source of readings.
pub trait Source {
    /// What it is and what it can tell, found out once.
    fn meter(&self) -> Meter;
    /// Its energy counter now, in its own unit.
    ///
    /// # Errors
    /// Why there is no reading.
    fn counter(&mut self) -> Result<u64, Trouble>;
    /// Its power now, W.
    ///
    /// # Errors
    /// Why there is no reading.
    fn power(&mut self) -> Result<f64, Trouble>;
    /// What changes slowly, and what is worth a word since the last time.
    fn slow(&mut self, news: &mut Vec<News>) -> Slow;
    /// Whether it is asked between rows: power readings and counters that move fast are.
    fn is_polled(&self) -> bool {
        true
    }
}

/// Why there is no reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It never has one.
    Absent,
    /// It failed this time.
    Passing(String),
    /// The device is gone.
    Lost(String),
}

/// What is known of when a counter moves.
#[derive(Debug, Clone, Copy, Default)]
struct CounterSeen {
    /// The last reading: when, what, and the integral of power then.
    last: Option<(f64, u64, Option<f64>)>,
    /// Whether it had moved then.
    had_moved: bool,
}

impl CounterSeen {
    /// Takes a reading; when the counter moved, and the integral of power then, where it did. A counter that moved at the reading before
    /// too moves all the time, and is of this moment. One that stood still moved somewhere between the two readings: half-way, for want of
    /// more. The first value of a counter is of an unknown age.
    fn moved(&mut self, now: f64, count: u64, sampled: Option<f64>) -> Option<(f64, Option<f64>)> {
        let before = self.last.replace((now, count, sampled));
        let (time, old, then) = before?;
        let had_moved = std::mem::replace(&mut self.had_moved, count != old);
        if count == old {
            return None;
        }
        let half_way = ((time + now) / 2.0, sampled.zip(then).map(|(sampled, then)| (sampled + then) / 2.0));
        Some(if had_moved { (now, sampled) } else { half_way })
    }
}

/// A source with what has been read of it.
pub struct Channel<'a> {
    source: Box<dyn Source + 'a>,
    /// What the manifest says of it.
    pub meter: Meter,
    lost: bool,
    failing: bool,
    before: Option<(f64, f64)>,
    row: Sample,
    fresh: bool,
    memory: Option<f64>,
    counter: CounterSeen,
    /// Energy at the start of the run, J, for the live line.
    base: f64,
}

/// Something to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// A word that stays the same between versions; nothing where it is a note and no fault.
    pub code: Option<&'static str>,
    /// For people.
    pub text: String,
}

impl News {
    /// Something that figures are to be read with in mind.
    pub fn fault(code: &'static str, text: impl Into<String>) -> Self {
        Self { code: Some(code), text: text.into() }
    }

    /// Something to know.
    pub fn note(text: impl Into<String>) -> Self {
        Self { code: None, text: text.into() }
    }
}

impl<'a> Channel<'a> {
    /// A channel; `index` is its place in the manifest.
    pub fn new(source: Box<dyn Source + 'a>, index: usize) -> Self {
        let meter = source.meter();
        let row = Sample { meter: index, ..Sample::default() };
        Self {
            source,
            meter,
            lost: false,
            failing: false,
            before: None,
            row,
            fresh: false,
            memory: None,
            counter: CounterSeen::default(),
            base: 0.0,
        }
    }

    /// Whether it is asked between rows.
    pub fn is_polled(&self) -> bool {
        self.source.is_polled()
    }

    /// Reads power and counter at a moment of the session.
    pub fn poll(&mut self, now: f64, news: &mut Vec<News>) {
        if self.lost {
            return;
        }
        if self.meter.power.is_some() {
            let power = self.source.power();
            self.power(now, power, news);
        }
        if self.meter.counter_unit_j.is_some() && !self.lost {
            let counter = self.source.counter();
            self.counter(now, counter, news);
        }
    }

    fn power(&mut self, now: f64, reading: Result<f64, Trouble>, news: &mut Vec<News>) {
        let most = crate::session::energy::IMPLAUSIBLE * self.meter.limit_w.unwrap_or(crate::session::energy::UNKNOWN_LIMIT);
        match reading {
            Ok(watts) if watts.is_finite() && (0.0..=most).contains(&watts) => {
                // Trapezoids between readings; they are taken at random moments, so that a load in step with them is not missed.
                let added = self.before.map_or(0.0, |(time, before)| (watts + before) / 2.0 * (now - time));
                self.row.sampled = Some(self.row.sampled.unwrap_or(0.0) + added);
                self.row.power = Some(watts);
                self.before = Some((now, watts));
                self.works(now, news);
            }
            Ok(watts) => news.push(News::fault("implausible_power", format!("a reading of {watts:.0} W is not believed"))),
            Err(trouble) => self.trouble(trouble, "power", news),
        }
    }

    fn counter(&mut self, now: f64, reading: Result<u64, Trouble>, news: &mut Vec<News>) {
        match reading {
            Ok(count) => {
                // A counter that is asked only for rows moves between any two readings: it is of the moment of each.
                let moved = self.counter.moved(now, count, self.row.sampled);
                let known = if self.source.is_polled() { moved } else { Some((now, self.row.sampled)) };
                if let Some((time, sampled)) = known {
                    (self.row.counter_time, self.row.sampled_at_counter) = (Some(time), sampled);
                }
                self.row.counter = Some(count);
                self.works(now, news);
            }
            Err(trouble) => self.trouble(trouble, "energy counter", news),
        }
    }

    fn trouble(&mut self, trouble: Trouble, what: &str, news: &mut Vec<News>) {
        match trouble {
            Trouble::Absent => {}
            Trouble::Passing(text) => {
                if !self.failing {
                    news.push(News::fault("reading_failed", format!("{what}: {text}")));
                }
                self.failing = true;
            }
            Trouble::Lost(text) => {
                news.push(News::fault("gpu_lost", format!("{what}: {text}: nothing is read of it from here on")));
                self.lost = true;
                self.row.power = None;
            }
        }
    }

    fn works(&mut self, now: f64, news: &mut Vec<News>) {
        self.row.time = now;
        self.fresh = true;
        if std::mem::take(&mut self.failing) {
            news.push(News::fault("reading_returned", "readings are back"));
        }
    }

    /// Reads what changes slowly; it goes with the next row.
    pub fn slow(&mut self, now: f64, news: &mut Vec<News>) {
        if !self.lost {
            let before = self.row.slow.limit.or(self.meter.limit_w);
            self.row.slow = self.source.slow(news);
            self.memory = self.row.slow.memory.or(self.memory);
            // A row is of the moment at which power and counter were read, where there are such.
            if self.meter.power.is_none() && self.meter.counter_unit_j.is_none() && self.row.slow != Slow::default() {
                (self.row.time, self.fresh) = (now, true);
            }
            if let (Some(old), Some(new)) = (before, self.row.slow.limit)
                && (old - new).abs() > 0.5
            {
                news.push(News::fault("limit_changed", format!("the power limit went from {old:.0} W to {new:.0} W")));
                self.meter.limit_w = Some(new);
            }
        }
    }

    /// The row of the last reading; nothing where there was none since the last row.
    pub fn row(&mut self) -> Option<Sample> {
        if !std::mem::take(&mut self.fresh) {
            return None;
        }
        let row = self.row;
        self.row.slow = Slow::default();
        Some(row)
    }

    /// The energy counter as it was read last.
    pub fn count(&self) -> Option<u64> {
        self.row.counter
    }

    /// Whether it has a counter that can still be read, and that has been seen to move.
    pub fn is_counting(&self) -> bool {
        self.row.counter_time.is_some() && !self.lost && self.is_polled()
    }

    /// Memory in use when that was read last, bytes.
    pub fn memory(&self) -> Option<f64> {
        self.memory
    }

    /// Marks the start of the run for what a live view says.
    pub fn start(&mut self) {
        self.base = self.joules();
    }

    /// Energy since the start of the run, J, as far as it is known now.
    pub fn energy(&self) -> f64 {
        (self.joules() - self.base).max(0.0)
    }

    /// The last power reading, W.
    pub fn watts(&self) -> Option<f64> {
        self.row.power.filter(|_| !self.lost)
    }

    fn joules(&self) -> f64 {
        match (self.row.counter, self.meter.counter_unit_j) {
            (Some(count), Some(unit)) => count as f64 * unit,
            _ => self.row.sampled.unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_in_steps_moved_half_way_and_one_that_always_moves_now() {
        let mut seen = CounterSeen::default();
        assert_eq!(seen.moved(0.0, 5, Some(0.0)), None);
        assert_eq!(seen.moved(1.0, 5, Some(10.0)), None);
        assert_eq!(seen.moved(2.0, 9, Some(20.0)), Some((1.5, Some(15.0))));
        assert_eq!(seen.moved(3.0, 9, Some(30.0)), None);
        assert_eq!(seen.moved(4.0, 12, Some(40.0)), Some((3.5, Some(35.0))));
        assert_eq!(seen.moved(5.0, 13, None), Some((5.0, None)));
        assert_eq!(seen.moved(6.0, 14, Some(60.0)), Some((6.0, Some(60.0))));
    }
}
