//! What a measured program says of itself: one line a mark, as GUIDE.md describes them.

use std::collections::BTreeMap;

/// When a mark says that it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stamp {
    /// By the monotonic clock of the machine, s.
    Monotonic(f64),
    /// By the wall clock, seconds since 1970, UTC.
    Unix(f64),
    /// It does not say: when the collector saw it.
    Seen,
}

/// Steps that one mark can stand for, so that no sum of counts overflows.
const MOST: u64 = 1_000_000_000;

/// A line of the marks file.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A phase begins.
    Begin(String, Stamp),
    /// A phase ends.
    End(String, Stamp),
    /// Steps are complete.
    Step {
        /// When the last of them ended.
        stamp: Stamp,
        /// How many since the last mark.
        count: u64,
        /// Samples of a step, over all accelerators.
        samples: Option<f64>,
        /// Tokens of a step, over all accelerators.
        tokens: Option<f64>,
    },
    /// How many steps the whole run will have.
    Plan(u64),
    /// Facts of the innermost open phase, as columns of a table.
    Fact(String, serde_json::Map<String, serde_json::Value>),
}

impl Mark {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn read(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "begin" | "end" => {
                let (name, rest) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
                if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
                    return Err(format!("\"{name}\" is no name of a phase: 1 to 64 letters, digits or ._:/-"));
                }
                let mut keys = keys(rest)?;
                let stamp = stamp(&mut keys)?;
                known(&keys)?;
                Ok(if word == "begin" { Self::Begin(name.to_string(), stamp) } else { Self::End(name.to_string(), stamp) })
            }
            "step" => {
                let mut keys = keys(rest)?;
                let stamp = stamp(&mut keys)?;
                let count = whole(keys.remove("count"), "count")?.unwrap_or(1);
                let samples = number(keys.remove("samples"), "samples")?;
                let tokens = number(keys.remove("tokens"), "tokens")?;
                known(&keys)?;
                Ok(Self::Step { stamp, count, samples, tokens })
            }
            "plan" => {
                let mut keys = keys(rest)?;
                let steps = whole(keys.remove("steps"), "steps")?.ok_or("a plan states steps=N")?;
                stamp(&mut keys)?;
                known(&keys)?;
                Ok(Self::Plan(steps))
            }
            "fact" => {
                let (table, json) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                if !matches!(table, "runs" | "kernels") {
                    return Err(format!("\"{table}\" is no table of facts: runs, kernels"));
                }
                match serde_json::from_str(json) {
                    Ok(serde_json::Value::Object(columns)) => Ok(Self::Fact(table.to_string(), columns)),
                    Ok(_) => Err("facts are a JSON object".to_string()),
                    Err(error) => Err(format!("facts are a JSON object on one line: {error}")),
                }
            }
            word => Err(format!("\"{word}\" is no mark: begin, end, step, plan, fact")),
        }
    }
}

fn keys(text: &str) -> Result<BTreeMap<&str, &str>, String> {
    let mut keys = BTreeMap::new();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("\"{word}\" is not KEY=VALUE"))?;
        if keys.insert(key, value).is_some() {
            return Err(format!("{key} twice"));
        }
    }
    Ok(keys)
}

fn known(left: &BTreeMap<&str, &str>) -> Result<(), String> {
    left.keys().next().map_or(Ok(()), |key| Err(format!("\"{key}\" is no key of this mark")))
}

fn stamp(keys: &mut BTreeMap<&str, &str>) -> Result<Stamp, String> {
    match (number(keys.remove("monotonic"), "monotonic")?, number(keys.remove("unix"), "unix")?) {
        (Some(time), _) => Ok(Stamp::Monotonic(time)),
        (None, Some(time)) => Ok(Stamp::Unix(time)),
        (None, None) => Ok(Stamp::Seen),
    }
}

fn number(text: Option<&str>, key: &str) -> Result<Option<f64>, String> {
    match text {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(value) if (0.0..=1e15).contains(&value) => Ok(Some(value)),
            _ => Err(format!("{key}={text}: a number from 0 to 1e15")),
        },
    }
}

fn whole(text: Option<&str>, key: &str) -> Result<Option<u64>, String> {
    match text {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(value) if (1..=MOST).contains(&value) => Ok(Some(value)),
            _ => Err(format!("{key}={text}: a whole number from 1 to {MOST}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_words_and_keys() {
        assert_eq!(Mark::read("begin train monotonic=12.5"), Ok(Mark::Begin("train".into(), Stamp::Monotonic(12.5))));
        assert_eq!(Mark::read("end a/b.c\n"), Ok(Mark::End("a/b.c".into(), Stamp::Seen)));
        let step = Mark::Step { stamp: Stamp::Unix(3.0), count: 4, samples: Some(8.0), tokens: None };
        assert_eq!(Mark::read("step unix=3 count=4 samples=8"), Ok(step));
        assert_eq!(Mark::read("plan steps=900"), Ok(Mark::Plan(900)));
        let Ok(Mark::Fact(table, columns)) = Mark::read("fact runs {\"layers\": 12}") else { panic!("no fact") };
        assert_eq!((table.as_str(), columns["layers"].as_u64()), ("runs", Some(12)));
    }

    #[test]
    fn a_wrong_line_says_what_is_allowed() {
        for (line, part) in [
            ("start x", "begin, end, step, plan, fact"),
            ("begin", "1 to 64 letters"),
            ("begin a b", "not KEY=VALUE"),
            ("step count=0", "from 1 to 1000000000"),
            ("step count=18446744073709551615", "from 1 to 1000000000"),
            ("step colour=3", "no key of this mark"),
            ("step count=2 count=3", "twice"),
            ("fact prices {}", "runs, kernels"),
            ("fact runs [1]", "JSON object"),
            ("plan", "steps=N"),
            ("step unix=-1", "from 0 to 1e15"),
        ] {
            assert!(Mark::read(line).unwrap_err().contains(part), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_reader(line in ".*") {
            let _ = Mark::read(&line);
        }
    }
}
