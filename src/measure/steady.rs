//! Whether power has become level: a device that warms up leaks more, so a measurement that begins cold is too low.

/// Seconds of one mean.
const STRETCH: f64 = 5.0;
/// How many means in a row must agree.
const STRETCHES: usize = 3;
/// How far they may lie apart, as a share of the last. Assumed: half of what a power sensor is worth at best.
const APART: f64 = 0.02;

/// Watches power.
#[derive(Debug, Clone, Default)]
pub struct Steady {
    begin: Option<f64>,
    sum: f64,
    count: u32,
    means: Vec<f64>,
}

impl Steady {
    /// Takes a reading, W; whether the last stretches agree.
    pub fn is_level(&mut self, now: f64, watts: Option<f64>) -> bool {
        let Some(watts) = watts else { return false };
        let begin = *self.begin.get_or_insert(now);
        self.sum += watts;
        self.count += 1;
        if now - begin < STRETCH {
            return false;
        }
        self.means.push(self.sum / f64::from(self.count));
        (self.begin, self.sum, self.count) = (None, 0.0, 0);
        let Some(last) = self.means.len().checked_sub(STRETCHES).map(|first| &self.means[first..]) else { return false };
        let (low, high) = last.iter().fold((f64::MAX, f64::MIN), |(low, high), mean| (low.min(*mean), high.max(*mean)));
        high - low <= APART * high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_that_still_rises_is_not_level() {
        let mut steady = Steady::default();
        // 300 W that rise to 400 W with a time constant of 10 s: within 2 % over 15 s after about 30 s.
        let watts = |time: f64| 400.0 - 100.0 * (-time / 10.0).exp();
        let level = (0..1000).map(|index| f64::from(index) / 10.0).find(|time| steady.is_level(*time, Some(watts(*time))));
        let level = level.unwrap();
        assert!((25.0..50.0).contains(&level), "{level}");
        assert!(!Steady::default().is_level(1.0, None));
    }
}
