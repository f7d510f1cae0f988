//! One line from time to time while the measured program runs.

use super::meter::Channel;
use crate::session::MeterKind;
use crate::session::phase::Reader;

/// What an energy costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// Grams of CO2e of a kilowatt-hour, where a grid was named.
    pub grams_per_kwh: Option<f64>,
    /// US dollars of a kilowatt-hour, where a price was named.
    pub usd_per_kwh: Option<f64>,
}

/// Says how it goes.
pub struct Live {
    every: f64,
    rates: Rates,
    begin: f64,
    next: f64,
}

impl Live {
    /// A line every so many seconds.
    pub fn new(every: f64, rates: Rates) -> Self {
        Self { every, rates, begin: f64::INFINITY, next: f64::INFINITY }
    }

    /// The run begins.
    pub fn start(&mut self, now: f64) {
        self.begin = now;
        self.next = now + self.every;
    }

    /// Says how it goes, if it is time.
    pub fn show(&mut self, now: f64, channels: &[Channel<'_>], marks: &Reader) {
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        let added = || channels.iter().filter(|channel| channel.meter.is_added());
        let joules: f64 = added().map(Channel::energy).sum();
        let watts: f64 = added().filter_map(Channel::watts).sum();
        let memory: f64 = channels.iter().filter(|channel| channel.meter.kind == MeterKind::Gpu).filter_map(Channel::memory).sum();
        super::tell(&line(now - self.begin, watts, joules, memory, self.rates, forecast(marks, now - self.begin, joules)));
    }
}

/// Seconds and joules of the whole run, where steps are marked and their number is known: what is left takes the median step each,
/// and the mean power so far.
fn forecast(marks: &Reader, elapsed: f64, joules: f64) -> Option<(u64, u64, f64, f64)> {
    let (done, step) = marks.progress()?;
    let planned = marks.planned().filter(|planned| *planned >= done && done > 0)?;
    let seconds = elapsed + (planned - done) as f64 * step;
    (elapsed > 0.0).then(|| (done, planned, seconds, joules / elapsed * seconds))
}

fn line(elapsed: f64, watts: f64, joules: f64, memory: f64, rates: Rates, forecast: Option<(u64, u64, f64, f64)>) -> String {
    let energy = |joules: f64| {
        let kwh = joules / 3.6e6;
        let mut text = format!("{kwh:.4} kWh");
        if let Some(grams) = rates.grams_per_kwh {
            text += &format!(", {:.1} g CO2e", kwh * grams);
        }
        if let Some(usd) = rates.usd_per_kwh {
            text += &format!(", {:.4} USD", kwh * usd);
        }
        text
    };
    let mut text = format!("lowcarb: {} {watts:.0} W, {}", clock(elapsed), energy(joules));
    if memory > 0.0 {
        text += &format!(", {:.1} GB of GPU memory", memory / 1e9);
    }
    if let Some((done, planned, seconds, joules)) = forecast {
        text += &format!("; step {done} of {planned}, all in {}: {}", clock(seconds), energy(joules));
    }
    text
}

/// Seconds as hours, minutes and seconds.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_nothing_else() {
        assert_eq!(line(75.2, 700.4, 36_000.0, 0.0, Rates::default(), None), "lowcarb: 1:15 700 W, 0.0100 kWh");
        let rates = Rates { grams_per_kwh: Some(400.0), usd_per_kwh: Some(0.2) };
        let text = line(3600.0, 1000.0, 3.6e6, 5e9, rates, Some((50, 100, 7200.0, 7.2e6)));
        assert_eq!(
            text,
            "lowcarb: 1:00:00 1000 W, 1.0000 kWh, 400.0 g CO2e, 0.2000 USD, 5.0 GB of GPU memory; step 50 of 100, all in 2:00:00: 2.0000 kWh, 800.0 g CO2e, 0.4000 USD"
        );
    }

    #[test]
    fn a_forecast_needs_a_plan_and_steps() {
        let mut marks = Reader::new(0.0, 0.0, 0.0);
        assert_eq!(forecast(&marks, 10.0, 1000.0), None);
        marks.line(1.0, "plan steps=100");
        (1..=10).for_each(|step| {
            marks.line(f64::from(step), "step");
        });
        assert_eq!(forecast(&marks, 10.0, 1000.0), Some((10, 100, 100.0, 10_000.0)));
    }
}
