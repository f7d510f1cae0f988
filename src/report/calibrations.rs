//! Calibrations as tables: what was fitted, and how wrong it is on rows that it had and had not seen.

use std::fmt::Write;

use serde_json::{Value, json};

use super::style::table as draw;
use crate::calibrate::{Calibration, Errors, summary};
use crate::hardware::Parameter;

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// One line of errors: rows, mean, median, worst, bias, share inside the interval.
#[must_use]
pub fn errors_line(errors: &Errors) -> Vec<String> {
    vec![
        errors.figure.word().to_string(),
        errors.regime.clone(),
        if errors.held_out { "held out" } else { "seen" }.to_string(),
        errors.rows.to_string(),
        percent(errors.mean),
        percent(errors.median),
        percent(errors.worst),
        format!("{:+.1} %", 100.0 * errors.bias),
        format!("{:.0} %", 100.0 * errors.inside),
    ]
}

/// The heads of those columns.
pub const ERRORS_HEAD: [&str; 9] =
    ["figure", "rows", "", "count", "mean\nerror", "median\nerror", "worst\nerror", "bias", "inside\nthe interval"];

/// Calibrations for JSON.
#[must_use]
pub fn value(calibrations: &[Calibration]) -> Value {
    let errors = |errors: &Errors| {
        json!({
            "figure": errors.figure.word(), "regime": errors.regime, "held_out": errors.held_out, "rows": errors.rows, "mean_error_percent": 100.0 * errors.mean,
            "median_error_percent": 100.0 * errors.median, "worst_error_percent": 100.0 * errors.worst,
            "bias_percent": 100.0 * errors.bias, "inside_interval_percent": 100.0 * errors.inside,
        })
    };
    let one = |calibration: &Calibration| {
        json!({
            "name": calibration.name, "stack": calibration.stack, "vendor": calibration.vendor, "units": calibration.units.word(),
            "date": calibration.date, "rows": calibration.tables.iter().map(|table| table.rows).sum::<usize>(),
            "parameters": Parameter::ALL.len() + calibration.devices.iter().map(|device| device.deviations.len()).sum::<usize>(),
            "errors": calibration.errors.iter().map(errors).collect::<Vec<_>>(),
        })
    };
    Value::Array(calibrations.iter().map(one).collect())
}

/// Parameters and errors of every calibration.
#[must_use]
pub fn table(calibrations: &[Calibration]) -> String {
    let mut out = String::new();
    for calibration in calibrations {
        let _ = write!(out, "{}", summary(calibration));
        let rows = Parameter::ALL.into_iter().filter_map(|parameter| {
            let value = calibration.parameters.get(parameter.key())?;
            let shown = |number: f64| {
                if parameter.unit().is_empty() { format!("{number:.3}") } else { format!("{number:.3e} {}", parameter.unit()) }
            };
            Some(vec![parameter.key().to_string(), shown(value.value), format!("{} to {}", shown(value.low), shown(value.high))])
        });
        out += &draw(["parameter", "value", "90 % interval"].map(String::from).to_vec(), rows.collect(), 1);
        if calibration.devices.len() > 1 {
            let rows = calibration.devices.iter().map(|device| {
                let deviations: Vec<String> = device.deviations.iter().map(|deviation| format!("{deviation:+.2}")).collect();
                vec![device.name.clone(), device.rows.to_string(), deviations.join(", ")]
            });
            out += &draw(
                ["device", "rows", "logits of matmul and mixing\nbeside its siblings'"].map(String::from).to_vec(),
                rows.collect(),
                1,
            );
        }
        out += &draw(ERRORS_HEAD.map(String::from).to_vec(), calibration.errors.iter().map(errors_line).collect(), 3);
        out.push('\n');
    }
    out
}
