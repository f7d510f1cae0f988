//! A quantity as people write it: a value, or what is known of it, with its source.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::distribution::Distribution;
use crate::source::Class;
use crate::units::{Quantity, Ratio};

/// A quantity with its uncertainty and, where one is named, its source.
///
/// In a file: `"700 W"`, or a table with one of
/// `value`; `low` and `high` (uniform); `low`, `mode` and `high` (triangular); `mean` and `standard_deviation`;
/// `median` and `geometric_standard_deviation`; and optionally `distribution` (the name of what the numbers say),
/// `source`, `class` and `note`.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<Q> {
    /// What is believed of it, in base units.
    pub distribution: Distribution,
    /// The key of its source in the file's `[sources]`.
    pub source: Option<String>,
    /// Its class, where the file says one other than its source's.
    pub class: Option<Class>,
    quantity: PhantomData<Q>,
}

impl<Q: Quantity> Estimate<Q> {
    /// A quantity that is known.
    #[must_use]
    pub fn fixed(value: Q) -> Self {
        Self::of(Distribution::Fixed(value.value()))
    }

    /// A quantity of which `distribution` is believed, in base units.
    #[must_use]
    pub fn of(distribution: Distribution) -> Self {
        Self { distribution, source: None, class: None, quantity: PhantomData }
    }

    /// The same source with another belief.
    #[must_use]
    pub fn with(self, distribution: Distribution) -> Self {
        Self { distribution, ..self }
    }

    /// The same as a plain number of the base unit.
    #[must_use]
    pub fn in_base_units(&self) -> Estimate<Ratio> {
        Estimate { distribution: self.distribution, source: self.source.clone(), class: self.class, quantity: PhantomData }
    }

    /// The central value.
    #[must_use]
    pub fn centre(&self) -> Q {
        Q::new(self.distribution.centre())
    }
}

impl<Q: Quantity + fmt::Display> fmt::Display for Estimate<Q> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |p: f64| Q::new(self.distribution.quantile(p));
        if self.distribution.is_uncertain() {
            write!(out, "{} ({} to {})", self.centre(), show(1e-9), show(1.0 - 1e-9))
        } else {
            self.centre().fmt(out)
        }
    }
}

#[derive(Default)]
struct Parts {
    value: Option<f64>,
    low: Option<f64>,
    mode: Option<f64>,
    high: Option<f64>,
    mean: Option<f64>,
    standard_deviation: Option<f64>,
    median: Option<f64>,
    geometric_standard_deviation: Option<f64>,
    distribution: Option<String>,
}

const FORMS: &str = "value; or low and high; or low, mode and high; or mean and standard_deviation; or median and \
                     geometric_standard_deviation";
const KEYS: &[&str] = &[
    "value",
    "low",
    "mode",
    "high",
    "mean",
    "standard_deviation",
    "median",
    "geometric_standard_deviation",
    "distribution",
    "source",
    "class",
    "note",
];

impl Parts {
    fn distribution(&self) -> Result<Distribution, String> {
        let Self { value, low, mode, high, mean, standard_deviation, median, geometric_standard_deviation: gsd, .. } = *self;
        let found = match (value, low, mode, high, mean, standard_deviation, median, gsd) {
            (Some(value), None, None, None, None, None, None, None) => ("fixed", Distribution::Fixed(value)),
            (None, Some(low), None, Some(high), None, None, None, None) => ("uniform", Distribution::Uniform { low, high }),
            (None, Some(low), Some(mode), Some(high), None, None, None, None) => {
                ("triangular", Distribution::Triangular { low, mode, high })
            }
            (None, None, None, None, Some(mean), Some(standard_deviation), None, None) => {
                ("normal", Distribution::Normal { mean, standard_deviation })
            }
            (None, None, None, None, None, None, Some(median), Some(geometric_standard_deviation)) => {
                ("lognormal", Distribution::Lognormal { median, geometric_standard_deviation })
            }
            _ => return Err(format!("found a mix of keys that is no distribution, allowed: {FORMS}")),
        };
        if let (_, Distribution::Uniform { low, high } | Distribution::Triangular { low, high, .. }) = found
            && low > high
        {
            return Err(format!("found low {low} above high {high}, allowed: low at or below high (in base units)"));
        }
        if let (_, Distribution::Triangular { low, mode, high }) = found
            && (mode < low || mode > high)
        {
            return Err(format!("found mode {mode} outside {low} to {high}, allowed: low <= mode <= high (in base units)"));
        }
        if gsd.is_some_and(|gsd| gsd < 1.0) {
            return Err("found a geometric_standard_deviation below 1, allowed: 1 or more".to_string());
        }
        match &self.distribution {
            Some(named) if named != found.0 => {
                Err(format!("found distribution \"{named}\" with the keys of a {} one, allowed: {FORMS}", found.0))
            }
            _ => Ok(found.1),
        }
    }
}

impl<'de, Q: Quantity + Deserialize<'de>> Deserialize<'de> for Estimate<Q> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<Q>(PhantomData<Q>);

        impl<'de, Q: Quantity + Deserialize<'de>> Visitor<'de> for Reader<Q> {
            type Value = Estimate<Q>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "a {} such as \"1 {}\", or a table with {FORMS}", Q::NAME, Q::BASE_UNIT)
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                Q::check(value).map(Estimate::fixed).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Q::parse(text).map(Estimate::fixed).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parts = Parts::default();
                let (mut source, mut class) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    let slot = match key.as_str() {
                        "value" => &mut parts.value,
                        "low" => &mut parts.low,
                        "mode" => &mut parts.mode,
                        "high" => &mut parts.high,
                        "mean" => &mut parts.mean,
                        "standard_deviation" => &mut parts.standard_deviation,
                        "median" => &mut parts.median,
                        "geometric_standard_deviation" => {
                            parts.geometric_standard_deviation = Some(map.next_value::<f64>()?);
                            continue;
                        }
                        "distribution" => {
                            parts.distribution = Some(map.next_value()?);
                            continue;
                        }
                        "source" => {
                            source = Some(map.next_value()?);
                            continue;
                        }
                        "class" => {
                            class = Some(map.next_value()?);
                            continue;
                        }
                        "note" => {
                            map.next_value::<String>()?;
                            continue;
                        }
                        other => return Err(de::Error::custom(format!("found an unknown key \"{other}\", allowed: {}", KEYS.join(", ")))),
                    };
                    *slot = Some(map.next_value::<Q>()?.value());
                }
                let distribution = parts.distribution().map_err(de::Error::custom)?;
                Ok(Estimate { distribution, source, class, quantity: PhantomData })
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Node;
    use crate::units::Watts;

    fn read(text: &str) -> Result<Estimate<Watts>, String> {
        let node = Node::parse("f", &format!("x = {text}")).unwrap();
        node.find("x").unwrap().read().map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("\"700 W\"").unwrap().distribution, Distribution::Fixed(700.0));
        assert_eq!(read("{ value = \"0.7 kW\", source = \"s\" }").unwrap().source.as_deref(), Some("s"));
        assert_eq!(read("{ low = 1, high = 2 }").unwrap().distribution, Distribution::Uniform { low: 1.0, high: 2.0 });
        assert_eq!(read("{ low = 1, mode = 1.5, high = 2, class = \"assumed\" }").unwrap().class, Some(Class::Assumed));
        assert!(read("{ mean = \"1 kW\", standard_deviation = \"50 W\" }").is_ok());
        assert!(read("{ distribution = \"lognormal\", median = \"1 kW\", geometric_standard_deviation = 1.2 }").is_ok());
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let message = |text: &str| read(text).unwrap_err();
        assert!(message("{ low = 3, high = 2 }").contains("found low 3 above high 2"));
        assert!(message("{ low = 1, mode = 5, high = 2 }").contains("found mode 5 outside 1 to 2"));
        assert!(message("{ low = 1 }").contains("no distribution"));
        assert!(message("{ low = 1, hihg = 2 }").contains("unknown key \"hihg\""));
        assert!(message("{ distribution = \"normal\", low = 1, high = 2 }").contains("keys of a uniform one"));
        assert!(message("{ median = 2, geometric_standard_deviation = 0.5 }").contains("below 1"));
        assert!(message("{ value = \"-3 W\" }").contains("finite power"));
    }
}
