//! From which value of a key a saving passes a mark: bisection at central values.

use std::collections::BTreeMap;

use super::central_savings;
use super::results::{Metric, ThresholdResult};
use crate::document::{Diagnostic, Resolver};
use crate::scenario::{Scenario, Threshold};

/// The metrics that are asked.
const ASKED: [Metric; 4] = [Metric::Duration, Metric::Energy, Metric::Operational, Metric::Cost];

/// The largest value of the key, between its bounds, at which each metric's saving is above the mark. Savings must
/// fall as the key rises by two, as they do with a rank.
pub(super) fn find(scenario: &Scenario, resolver: &mut Resolver<'_>, wanted: &Threshold) -> Result<Vec<ThresholdResult>, Diagnostic> {
    let baseline = scenario.case(resolver, &scenario.settings.baseline, &[])?;
    let mut seen: BTreeMap<u64, Vec<(Metric, f64)>> = BTreeMap::new();
    let mut above = |resolver: &mut Resolver<'_>, value: u64, metric: Metric| -> Result<Option<bool>, Diagnostic> {
        if let std::collections::btree_map::Entry::Vacant(e) = seen.entry(value) {
            let over = scenario.set("threshold.key", &wanted.key, value as f64)?;
            let case = scenario.what_if(resolver, &over)?;
            e.insert(central_savings(&baseline, &case));
        }
        let saving = seen[&value].iter().find(|(other, _)| *other == metric).map(|(_, saving)| *saving);
        Ok(saving.map(|saving| saving > wanted.saving_percent))
    };
    let mut out = Vec::new();
    for metric in ASKED {
        let Some(lowest) = above(resolver, wanted.low, metric)? else { continue };
        let mut found = lowest.then_some(wanted.low);
        // Among even values savings fall; an odd one may take the slower way through tensor units.
        let (mut low, mut high) = (wanted.low / 2, wanted.high / 2);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if above(resolver, 2 * middle, metric)? == Some(true) { low = middle } else { high = middle - 1 }
        }
        for value in [2 * low, 2 * low + 1] {
            if (wanted.low..=wanted.high).contains(&value) && above(resolver, value, metric)? == Some(true) {
                found = Some(value);
            }
        }
        out.push(ThresholdResult { metric, value: found });
    }
    Ok(out)
}
