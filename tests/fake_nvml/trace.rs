//! The power of a scripted device over time, and its exact integral: the truth that a measurement is held against.

/// Power as a function of seconds since the script's origin.
#[derive(Debug, Clone, PartialEq)]
pub enum Trace {
    /// Always the same, W.
    Flat(f64),
    /// `low` W, and `high` W for the first `on` seconds of every `period`.
    Wave { low: f64, high: f64, period: f64, on: f64 },
    /// From `low` to `high` W over every `period`, and from the beginning again.
    Ramp { low: f64, high: f64, period: f64 },
    /// `before` W, and `after` W from `at` seconds on.
    Step { before: f64, after: f64, at: f64 },
}

impl Trace {
    /// From text such as `wave:100,400,1.0,0.5`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, numbers) = text.split_once(':')?;
        let numbers: Vec<f64> = numbers.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        match (kind, numbers.as_slice()) {
            ("flat", [watts]) => Some(Self::Flat(*watts)),
            ("wave", [low, high, period, on]) => Some(Self::Wave { low: *low, high: *high, period: *period, on: *on }),
            ("ramp", [low, high, period]) => Some(Self::Ramp { low: *low, high: *high, period: *period }),
            ("step", [before, after, at]) => Some(Self::Step { before: *before, after: *after, at: *at }),
            _ => None,
        }
    }

    /// Power at a moment, W.
    pub fn watts(&self, time: f64) -> f64 {
        match *self {
            Self::Flat(watts) => watts,
            Self::Wave { low, high, period, on } => {
                if time.rem_euclid(period) < on {
                    high
                } else {
                    low
                }
            }
            Self::Ramp { low, high, period } => low + (high - low) * time.rem_euclid(period) / period,
            Self::Step { before, after, at } => {
                if time < at {
                    before
                } else {
                    after
                }
            }
        }
    }

    /// Energy since the origin, J.
    pub fn joules(&self, time: f64) -> f64 {
        match *self {
            Self::Flat(watts) => watts * time,
            Self::Wave { low, high, period, on } => {
                let (whole, rest) = ((time / period).floor(), time.rem_euclid(period));
                low * time + (high - low) * (whole * on + rest.min(on))
            }
            Self::Ramp { low, high, period } => {
                let (whole, rest) = ((time / period).floor(), time.rem_euclid(period));
                low * time + (high - low) * (whole * period / 2.0 + rest * rest / (2.0 * period))
            }
            Self::Step { before, after, at } => before * time.min(at) + after * (time - at).max(0.0),
        }
    }
}
