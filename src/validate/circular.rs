//! Published energies that are hours times watts: to match them tests the multiplication, nothing else.

use super::{Check, Validation};
use crate::document::{Diagnostic, Resolver};
use crate::estimate;
use crate::scenario::Scenario;

/// The scenarios whose inputs hold the answer.
const SCENARIOS: [&str; 2] = ["strubell_2019", "patterson_2021"];
/// What figures may differ by that were rounded on the way; a half of the last printed digit where that is more.
const BAR: f64 = 0.01;

/// Every printed figure of those scenarios beside ours.
///
/// # Errors
/// A scenario is damaged.
pub fn circular(resolver: &mut Resolver<'_>) -> Result<Vec<Validation>, Diagnostic> {
    let mut out = Vec::new();
    for name in SCENARIOS {
        let scenario = Scenario::read(resolver, name, &["draws=0".to_string()])?;
        let results = estimate::run(&scenario, resolver)?;
        let check = |check: &estimate::PublishedCheck| {
            let (predicted, printed) = (check.computed?, check.printed());
            let bar = BAR.max(0.5 * 10_f64.powi(-(check.decimals() as i32)) / printed * (1.0 + 1e-9));
            Some(Check {
                case: check.published.case.clone(),
                quantity: check.published.quantity.title(),
                predicted,
                recorded: printed,
                bar,
                explanation: None,
                holds: (predicted / printed - 1.0).abs() <= bar,
            })
        };
        let checks = results.published.iter().filter_map(check).collect();
        out.push(Validation { table: format!("scenarios/{name}"), source: results.title.clone(), checks });
    }
    Ok(out)
}
