//! Results as a Markdown report, from a template.

use minijinja::{Environment, context};

use super::{Report, interval_text, label};
use crate::numeric::Distribution;
use crate::units::significant;

/// The template, editable as text.
const TEMPLATE: &str = include_str!("../../reports/templates/report.md");

impl Report<'_> {
    /// The report; `picture` is the file name of a plot beside it.
    #[must_use]
    pub fn markdown(&self, picture: Option<&str>) -> String {
        let columns: Vec<_> = self.columns().collect();
        let head: Vec<String> = columns.iter().map(|column| format!("{}, {}", column.heading, column.unit)).collect();
        let rows: Vec<Vec<String>> = self
            .results
            .cases
            .iter()
            .map(|case| {
                let cells = columns.iter().map(|column| {
                    case.metric(column.metric).map_or("-".into(), |found| interval_text(found.interval.scaled(column.scale()), "<br>"))
                });
                std::iter::once(label(case)).chain(cells).collect()
            })
            .collect();
        let inputs: Vec<Vec<String>> = self
            .results
            .inputs
            .iter()
            .map(|input| {
                vec![
                    input.name.clone(),
                    distribution(&input.distribution),
                    input.unit.into(),
                    input.class.word().into(),
                    input.from.clone(),
                ]
            })
            .collect();
        let documents: Vec<Vec<String>> = self.provenance().into_iter().map(|(kind, file, hash)| vec![kind, file, hash]).collect();
        let body = self.body();
        let values = context! {
            title => &self.results.title, description => &self.results.description, picture => picture, head => head, rows => rows,
            body => body.trim_end(), inputs => inputs, documents => documents, draws => self.results.draws, seed => self.results.seed,
        };
        let rendered = Environment::new().render_str(TEMPLATE, values);
        rendered.unwrap_or_else(|error| format!("the report's template is wrong: {error}\n"))
    }
}

fn distribution(distribution: &Distribution) -> String {
    match *distribution {
        Distribution::Fixed(value) => significant(value),
        Distribution::Uniform { low, high } => format!("{} to {}", significant(low), significant(high)),
        Distribution::Triangular { low, mode, high } => format!("{} ({} to {})", significant(mode), significant(low), significant(high)),
        Distribution::Normal { mean, standard_deviation } => format!("{} ± {}", significant(mean), significant(standard_deviation)),
        Distribution::Lognormal { median, geometric_standard_deviation } => {
            format!("{} ×/÷ {}", significant(median), significant(geometric_standard_deviation))
        }
    }
}
