//! The uncertain and the fixed inputs of a set of cases, and their draws.

use crate::numeric::{Distribution, uniforms};
use crate::scenario::Known;
use crate::source::Class;

/// An input by its place in a row of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(usize);

impl Handle {
    pub(super) fn of(self, row: &[f64]) -> f64 {
        row[self.0]
    }
}

/// An input of the estimate, for the report.
#[derive(Debug, Clone, PartialEq)]
pub struct InputValue {
    /// What it is.
    pub name: String,
    /// Unit of the numbers.
    pub unit: &'static str,
    /// What is believed of it.
    pub distribution: Distribution,
    /// How it came to be.
    pub class: Class,
    /// Citation.
    pub from: String,
}

/// All inputs of the cases of a point. Cases that use the same value share an input, and so its draws.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    entries: Vec<InputValue>,
}

impl Inputs {
    /// The input called `name` with this value; a case that says another value has its own entry, drawn from the same
    /// stream of random numbers.
    pub(super) fn add(&mut self, name: &str, unit: &'static str, known: &Known) -> Handle {
        let same = |entry: &InputValue| entry.name == name && entry.distribution == known.distribution;
        let index = self.entries.iter().position(same).unwrap_or_else(|| {
            self.entries.push(InputValue {
                name: name.to_string(),
                unit,
                distribution: known.distribution,
                class: known.class,
                from: known.from.clone(),
            });
            self.entries.len() - 1
        });
        Handle(index)
    }

    /// Every input at its central value.
    pub(super) fn centre(&self) -> Vec<f64> {
        self.entries.iter().map(|entry| entry.distribution.centre()).collect()
    }

    /// The inputs, for the report.
    pub(super) fn values(&self) -> Vec<InputValue> {
        self.entries.clone()
    }

    /// The draws of every input.
    pub(super) fn columns(&self, seed: u64, draws: usize) -> Columns {
        let drawn = self.entries.iter().enumerate().filter(|(_, entry)| entry.distribution.is_uncertain());
        let column = |entry: &InputValue| uniforms(seed, &entry.name, draws).into_iter().map(|u| entry.distribution.quantile(u)).collect();
        Columns { drawn: drawn.map(|(index, entry)| (index, column(entry))).collect() }
    }

    /// The uncertain inputs: place, name, and values at the ends of the central 90 %.
    pub(super) fn uncertain(&self) -> impl Iterator<Item = (usize, &InputValue, [f64; 2])> {
        let ends = |entry: &InputValue| [entry.distribution.quantile(0.05), entry.distribution.quantile(0.95)];
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.distribution.is_uncertain())
            .map(move |(i, entry)| (i, entry, ends(entry)))
    }
}

/// The draws of the uncertain inputs.
pub(super) struct Columns {
    drawn: Vec<(usize, Vec<f64>)>,
}

impl Columns {
    /// Writes one draw into a row; fixed inputs stay.
    pub(super) fn fill(&self, draw: usize, row: &mut [f64]) {
        for (index, values) in &self.drawn {
            row[*index] = values[draw];
        }
    }
}
