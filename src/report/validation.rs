//! Validations as tables and JSON.

use serde_json::{Value, json};

use super::calibrations::value as calibrations_value;
use super::ledger::whole;
use super::style::{table as draw, wrap};
use crate::calibrate::Calibration;
use crate::units::grouped;
use crate::validate::{Check, Validation, Verdict};

fn percent(share: f64) -> String {
    if share == 0.0 { "exact".to_string() } else { format!("{:.2} %", 100.0 * share) }
}

fn bar(share: f64) -> String {
    if share == 0.0 { "exact".to_string() } else { format!("{} %", (1e6 * share).round() / 1e4) }
}

/// A count whole, a small figure with three decimals.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 { grouped(value) } else { format!("{value:.3}") }
}

/// One line a table and quantity, then what is explained.
#[must_use]
pub fn table(validations: &[Validation]) -> String {
    let rows = validations.iter().flat_map(|validation| {
        validation.summaries().into_iter().enumerate().map(move |(index, summary)| {
            vec![
                if index == 0 { validation.table.clone() } else { String::new() },
                summary.quantity.to_string(),
                summary.cases.to_string(),
                summary.exact.to_string(),
                percent(summary.mean),
                percent(summary.median),
                percent(summary.worst),
                bar(summary.bar),
                format!("{} of {}", summary.within, summary.cases),
                if summary.explained == 0 { String::new() } else { summary.explained.to_string() },
            ]
        })
    });
    let head =
        ["table", "quantity", "cases", "exact", "mean\nerror", "median\nerror", "worst\nerror", "bar", "within\nthe bar", "explained"];
    let mut out = draw(head.map(String::from).to_vec(), rows.collect(), 2);
    for (holds, title) in [(true, "Explained, and within the bar without what is explained"), (false, "Outside the bar")] {
        let explained = explanations(validations, holds);
        if !explained.is_empty() {
            out += &format!("\n{title}:\n");
        }
        for (why, cases) in explained {
            out += &wrap(&format!("{}: {}.", cases.join("; "), why.trim_end_matches('.')), 110, "  ");
        }
    }
    for (source, tables) in sources(validations) {
        out += &wrap(&format!("{}: {source}", tables.join(", ")), 110, "");
    }
    out
}

/// Every source once, with the tables it is of.
fn sources(validations: &[Validation]) -> Vec<(&str, Vec<&str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for validation in validations {
        match out.iter_mut().find(|(known, _)| *known == validation.source) {
            Some((_, tables)) => tables.push(&validation.table),
            None => out.push((&validation.source, vec![&validation.table])),
        }
    }
    out
}

/// Every explanation of what holds its bar, or of what does not, once, with the models it is of.
fn explanations(validations: &[Validation], holds: bool) -> Vec<(&str, Vec<&str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in validations.iter().flat_map(|validation| &validation.checks).filter(|check| check.holds == holds) {
        let Some(why) = check.explanation.as_deref() else { continue };
        let model = check.case.split(", batch").next().unwrap_or_default();
        match out.iter_mut().find(|(known, _)| *known == why) {
            Some((_, models)) if models.contains(&model) => {}
            Some((_, models)) => models.push(model),
            None => out.push((why, vec![model])),
        }
    }
    out
}

/// Every case.
#[must_use]
pub fn rows(validations: &[Validation]) -> String {
    let row = |validation: &Validation, check: &Check| {
        vec![
            validation.table.clone(),
            check.case.clone(),
            check.quantity.to_string(),
            figure(check.predicted),
            figure(check.recorded),
            if check.predicted == check.recorded { "exact".into() } else { format!("{:+.3} %", 100.0 * check.error()) },
            bar(check.bar),
            match check.verdict() {
                Verdict::Within => "yes",
                Verdict::Explained => "explained",
                Verdict::Outside => "NO",
            }
            .to_string(),
        ]
    };
    let rows = validations.iter().flat_map(|validation| validation.checks.iter().map(move |check| row(validation, check)));
    let head = ["table", "case", "quantity", "predicted", "recorded", "error", "bar", "within"];
    draw(head.map(String::from).to_vec(), rows.collect(), 3)
}

/// Versioned JSON with every case.
#[must_use]
pub fn json(validations: &[Validation], calibrations: &[Calibration]) -> String {
    let tables: Vec<Value> = validations
        .iter()
        .map(|validation| {
            let summaries: Vec<Value> = validation
                .summaries()
                .iter()
                .map(|summary| {
                    json!({
                        "quantity": summary.quantity,
                        "cases": summary.cases,
                        "exact": summary.exact,
                        "mean_error_percent": 100.0 * summary.mean,
                        "median_error_percent": 100.0 * summary.median,
                        "worst_error_percent": 100.0 * summary.worst,
                        "bar_percent": 100.0 * summary.bar,
                        "within_bar": summary.within,
                        "explained": summary.explained,
                    })
                })
                .collect();
            let cases: Vec<Value> = validation
                .checks
                .iter()
                .map(|check| {
                    json!({
                        "case": check.case,
                        "quantity": check.quantity,
                        "predicted": whole(check.predicted),
                        "recorded": whole(check.recorded),
                        "error_percent": 100.0 * check.error(),
                        "bar_percent": 100.0 * check.bar,
                        "within_bar": check.verdict() == Verdict::Within,
                        "explanation": check.explanation,
                    })
                })
                .collect();
            json!({ "table": validation.table, "source": validation.source, "summaries": summaries, "cases": cases })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "schema": 1, "tables": tables, "calibrations": calibrations_value(calibrations) }))
        .unwrap_or_default()
        + "\n"
}
