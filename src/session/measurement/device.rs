//! A device with the readings of every session that measured it.

use super::Part;
use crate::session::energy::{Basis, Series};
use crate::session::{Meter, Sample, Window};

/// The readings of one device by one session.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The session.
    pub part: &'a Part,
    /// The meter's place in it.
    pub index: usize,
    /// The stretches that count, s of the measurement; all where no other session measured the device.
    pub(super) counted: Option<&'a [(f64, f64)]>,
}

impl<'a> Reading<'a> {
    /// What reads.
    #[must_use]
    pub fn meter(&self) -> &'a Meter {
        &self.part.session.manifest.meters[self.index]
    }

    /// What it read.
    #[must_use]
    pub fn series(&self) -> &'a Series {
        &self.part.series[self.index]
    }

    /// What of a stretch of the measurement counts, s of the session.
    fn stretches(&self, from: f64, to: f64) -> Vec<(f64, f64)> {
        let offset = self.part.offset;
        match self.counted {
            None => vec![(from - offset, to - offset)],
            Some(counted) => counted
                .iter()
                .map(|(begin, end)| (begin.max(from) - offset, end.min(to) - offset))
                .filter(|(begin, end)| end > begin)
                .collect(),
        }
    }

    /// Whether a moment of the session counts.
    #[must_use]
    pub fn counts(&self, time: f64) -> bool {
        let time = time + self.part.offset;
        self.counted.is_none_or(|counted| counted.iter().any(|(begin, end)| (*begin..=*end).contains(&time)))
    }

    /// The rows of the run.
    fn rows(self) -> impl Iterator<Item = &'a Sample> {
        let run = self.part.span();
        let stretches = self.stretches(run.0, run.1);
        let inside = move |row: &&Sample| stretches.iter().any(|(begin, end)| row.time >= *begin && row.time <= *end);
        self.part.session.samples[self.index].iter().filter(inside)
    }

    /// Mean power over a stretch of its session that readings cover, W.
    #[must_use]
    pub fn mean_power(&self, window: Window) -> Option<f64> {
        let (from, to) = self.part.session.window(window)?;
        let covered = self.series().covered(from, to);
        // A limit says what was drawn at most, and nothing of an idle device.
        let is_known = covered > 0.0 && self.series().basis != Basis::Tdp;
        is_known.then(|| self.series().energy(from, to).map(|joules| joules / covered)).flatten()
    }
}

/// One device with all that was read of it; the session that ran longest first.
#[derive(Debug, Clone)]
pub struct Device<'a> {
    /// Its readings.
    pub readings: Vec<Reading<'a>>,
}

impl<'a> Device<'a> {
    /// The readings that its name, limit and baseline are taken from.
    #[must_use]
    pub fn first(&self) -> Reading<'a> {
        self.readings[0]
    }

    /// A figure of every stretch that counts: of the whole run of each node, or of a part of the measurement.
    fn over<T>(&self, stretch: Option<(f64, f64)>, figure: impl Fn(&Series, f64, f64) -> T) -> Vec<T> {
        let of = |reading: &Reading<'a>| {
            let (from, to) = stretch.unwrap_or(reading.part.span());
            let series = reading.series();
            reading.stretches(from, to).into_iter().map(|(from, to)| figure(series, from, to)).collect::<Vec<_>>()
        };
        self.readings.iter().flat_map(of).collect()
    }

    /// Energy while the measured program ran on its node, J.
    #[must_use]
    pub fn run_energy(&self) -> Option<f64> {
        self.over(None, Series::energy).into_iter().sum()
    }

    /// The same by the power readings alone, J.
    #[must_use]
    pub fn run_sampled_energy(&self) -> Option<f64> {
        self.over(None, Series::sampled_energy).into_iter().sum()
    }

    /// The seconds of the run that readings cover.
    #[must_use]
    pub fn run_covered(&self) -> f64 {
        self.over(None, Series::covered).into_iter().sum()
    }

    /// The seconds of the run that count.
    #[must_use]
    pub fn run_length(&self) -> f64 {
        self.over(None, |_, from, to| to - from).into_iter().sum()
    }

    /// How far the energy of the run may be off because readings are apart in time, J.
    #[must_use]
    pub fn run_resolution(&self) -> f64 {
        self.over(None, Series::resolution).into_iter().fold(0.0, f64::hypot)
    }

    /// The rows of the run.
    pub fn run_rows(&self) -> impl Iterator<Item = &'a Sample> + use<'_, 'a> {
        self.readings.iter().flat_map(|reading| reading.rows())
    }

    /// Energy between two moments of the measurement, J; what lies beyond the readings is not added.
    #[must_use]
    pub fn energy(&self, from: f64, to: f64) -> Option<f64> {
        self.over(Some((from, to)), Series::energy).into_iter().sum()
    }

    /// The seconds of a stretch of the measurement that readings cover.
    #[must_use]
    pub fn covered(&self, from: f64, to: f64) -> f64 {
        self.over(Some((from, to)), Series::covered).into_iter().sum()
    }

    /// Power before the measured program started; after it where there is no such baseline, W.
    #[must_use]
    pub fn idle_power(&self) -> Option<f64> {
        self.first().mean_power(Window::IdleBefore).or_else(|| self.first().mean_power(Window::IdleAfter))
    }
}
