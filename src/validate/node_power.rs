//! Power of whole nodes: runs of known time, from the energies of a FLOP and a byte and what stands around the accelerators.

use crate::calibrate::{Figure, Point};
use crate::document::{Diagnostic, Origin, Resolver};
use crate::estimate::{self, Metric, Results};
use crate::numeric::{self, Loss};
use crate::scenario::Scenario;

/// The scenario that holds the runs, each with its measured time and power.
const SCENARIO: &str = "mlperf_node_power";
/// What is fitted: the energy of a FLOP on tensor units, pJ. All else is as profiles and class defaults say.
const FITTED: &str = "performance.power.tensor_pj_per_flop";
/// From which relative change on a fit goes on.
const TOLERANCE: f64 = 1e-4;

/// Power of nodes, fitted and compared.
#[derive(Debug, Clone)]
pub struct NodePower {
    /// Every run as a fit of all computes it, and as one of the other benchmarks does.
    pub points: Vec<Point>,
    /// The fitted energy of a FLOP, pJ.
    pub pj_per_flop: f64,
    /// Where the runs are from.
    pub source: String,
}

/// Fits the energy of a FLOP to node power, and again without each benchmark.
///
/// # Errors
/// The scenario is damaged, or a fit does not come to rest.
pub fn node_power(resolver: &mut Resolver<'_>) -> Result<NodePower, Diagnostic> {
    let measured = run(resolver, &[])?;
    let source = measured.sources.iter().map(|(_, source)| source.clone()).collect::<Vec<_>>().join("; ");
    let all: Vec<usize> = (0..measured.published.len()).collect();
    let (pj_per_flop, seen) = fitted(resolver, &all)?;
    let mut points = Vec::new();
    let mut add = |results: &Results, rows: &[usize], held_out: Option<&str>| {
        for index in rows {
            let check = &results.published[*index];
            let Some(computed) = check.computed else { continue };
            // How far the interval reaches, by what class defaults say of every input.
            let ends = measured.cases.iter().find(|case| case.name == check.published.case).and_then(|case| case.metric(Metric::NodePower));
            let (low, high) =
                ends.map_or((1.0, 1.0), |found| (found.interval.low / found.interval.value, found.interval.high / found.interval.value));
            points.push(Point {
                calibration: SCENARIO.into(),
                table: "power/mlperf".into(),
                id: check.published.case.clone(),
                device: "H100-SXM5-80GB".into(),
                kernel: String::new(),
                held_out: held_out.map(|benchmark| ("benchmark".to_string(), benchmark.to_string())),
                known_device: true,
                several_nodes: false,
                figure: Figure::NodeWatts,
                computed,
                low: computed * low,
                high: computed * high,
                measured: check.printed(),
                deviation: 0.0,
            });
        }
    };
    add(&seen, &all, None);
    let benchmark = |index: usize| measured.published[index].published.case.split(',').next().unwrap_or_default().to_string();
    let mut benchmarks: Vec<String> = all.iter().map(|index| benchmark(*index)).collect();
    benchmarks.dedup();
    for name in &benchmarks {
        let (out, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|index| benchmark(**index) == *name);
        let (_, without) = fitted(resolver, &others)?;
        add(&without, &out, Some(name));
    }
    Ok(NodePower { points, pj_per_flop, source })
}

/// The scenario with values set.
fn run(resolver: &mut Resolver<'_>, set: &[String]) -> Result<Results, Diagnostic> {
    let scenario = Scenario::read(resolver, SCENARIO, set)?;
    estimate::run(&scenario, resolver)
}

/// The energy of a FLOP that serves these runs best, and all runs by it.
fn fitted(resolver: &mut Resolver<'_>, rows: &[usize]) -> Result<(f64, Results), Diagnostic> {
    let mut with =
        |value: f64| run(resolver, &["draws=0".to_string(), format!("{FITTED}={{ value = {value:?}, source = \"mlperf-fit\" }}")]);
    let start = numeric::Parameter { start: 1.0, low: 0.0, high: f64::INFINITY, prior: None };
    let mut failure = None;
    let fit = numeric::fit(&[start], Loss::Squares, TOLERANCE, |values| match with(values[0]) {
        Ok(results) => rows
            .iter()
            .map(|index| &results.published[*index])
            .map(|check| check.computed.map_or(f64::NAN, |computed| (computed / check.printed()).ln()))
            .collect(),
        Err(error) => {
            failure = Some(error);
            vec![f64::NAN; rows.len()]
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let value =
        fit.map_err(|error| Diagnostic::new(&Origin::whole(SCENARIO), FITTED, error.to_string(), "runs that determine it"))?.values[0];
    Ok((value, with(value)?))
}
