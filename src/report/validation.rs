//! Validations as tables and JSON.

use serde_json::{Map, Value, json};

use super::calibrations::{errors_line, value as calibrations_value};
use super::ledger::whole;
use super::plot;
use super::scatter::Scatter;
use super::style::{table as draw, wrap};
use crate::calibrate::{Errors, Figure, Point, summary};
use crate::units::{grouped, significant};
use crate::validate::{Check, Everything, NOT_PREDICTED, Peer, Timed, Validation, Verdict};

fn percent(share: f64) -> String {
    if share == 0.0 { "exact".to_string() } else { format!("{:.2} %", 100.0 * share) }
}

/// A share in percent, to a tenth.
fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn bar(share: f64) -> String {
    if share == 0.0 { "exact".to_string() } else { format!("{} %", (1e6 * share).round() / 1e4) }
}

/// A count whole, a small figure with three decimals.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 { grouped(value) } else { format!("{value:.3}") }
}

/// What a table and its words say, for text and Markdown alike.
struct Block {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns that are words.
    words: usize,
    notes: Vec<String>,
}

impl Block {
    fn new(title: &str, head: &[&str], rows: Vec<Vec<String>>, words: usize) -> Self {
        Self { title: title.into(), head: head.iter().map(|cell| (*cell).to_string()).collect(), rows, words, notes: Vec::new() }
    }

    fn text(&self) -> String {
        let notes: String = self.notes.iter().map(|note| wrap(note, 110, "")).collect();
        format!("{}\n{}{notes}", self.title, draw(self.head.clone(), self.rows.clone(), self.words))
    }

    fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let line = |cells: &[String]| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
        let rule: String = (0..self.head.len()).map(|column| if column < self.words { "|---" } else { "|---:" }).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let notes: String = self.notes.iter().map(|note| format!("\n{note}\n")).collect();
        format!("### {}\n\n{}{rule}|\n{rows}{notes}", self.title, line(&self.head))
    }
}

/// Aligned tables.
#[must_use]
pub fn table(all: &Everything) -> String {
    blocks(all).iter().map(Block::text).collect::<Vec<_>>().join("\n")
}

/// The same as Markdown.
#[must_use]
pub fn markdown(all: &Everything) -> String {
    blocks(all).iter().map(Block::markdown).collect::<Vec<_>>().join("\n")
}

/// The files of a validation: name and content.
///
/// # Errors
/// The plot cannot be drawn.
pub fn files(all: &Everything) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut files = vec![("validation.json".to_string(), json(all).into_bytes())];
    let plots = plot::both("validation", &Scatter { points: all.held_out().collect() })?;
    let picture = "![predicted against measured](validation.svg)\n\n";
    files.push(("validation.md".to_string(), (picture.to_string() + &markdown(all)).into_bytes()));
    files.extend(plots);
    Ok(files)
}

fn blocks(all: &Everything) -> Vec<Block> {
    vec![
        ledgers("Ledgers and memory, against recorded modules and published tables", &all.ledgers),
        runs(all),
        devices(all),
        regimes(all),
        kernels(all),
        ledgers("Circular: the published hours and watts go in, so that this tests arithmetic and no prediction", &all.circular),
        not_predicted(),
    ]
}

/// One line a table and quantity, then what is explained.
fn ledgers(title: &str, validations: &[Validation]) -> Block {
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
    let mut block = Block::new(title, &head, rows.collect(), 2);
    for (holds, title) in [(true, "Explained, and within the bar without what is explained"), (false, "Outside the bar")] {
        for (why, cases) in explanations(validations, holds) {
            block.notes.push(format!("{title}: {}: {}.", cases.join("; "), why.trim_end_matches('.')));
        }
    }
    block.notes.extend(sources(validations).iter().map(|(source, tables)| format!("{}: {source}.", tables.join(", "))));
    block
}

/// Measured runs: seen, held out, and what others state.
fn runs(all: &Everything) -> Block {
    let mut rows = Vec::new();
    for (table, _) in all.tables() {
        for figure in Figure::ALL {
            let here = |point: &&Point| point.table == table && point.figure == figure;
            let seen: Vec<&Point> = all.points().filter(here).filter(|point| point.held_out.is_none()).collect();
            let held_out: Vec<&Point> = all.held_out().filter(here).collect();
            let Some(seen) = Errors::of(table, &seen) else { continue };
            let mut row = vec![table.to_string(), figure.word().to_string(), seen.rows.to_string(), share(seen.mean), share(seen.median)];
            match Errors::of(table, &held_out) {
                Some(out) => row.extend([
                    share(out.mean),
                    share(out.median),
                    share(out.worst),
                    format!("{:+.1} %", 100.0 * out.bias),
                    format!("{:.0} %", 100.0 * out.inside),
                ]),
                None => row.extend(std::iter::repeat_n(String::from("-"), 5)),
            }
            let others = all.peers.iter().filter(|peer| peer.table == table && peer.figure == figure.word() && peer.regime.is_empty());
            row.push(others.map(|peer| format!("{} {} %", peer.name, peer.error_percent)).collect::<Vec<_>>().join(", "));
            rows.push(row);
        }
    }
    let head = [
        "table",
        "figure",
        "rows",
        "seen:\nmean error",
        "\nmedian",
        "held out:\nmean error",
        "\nmedian",
        "\nworst",
        "\nbias",
        "inside the\ninterval",
        "others state",
    ];
    let mut block = Block::new("Time and power of a step, against measured runs", &head, rows, 2);
    block.notes.push(
        "Held out: a fifth of the rows of every table, each in turn, from fits that are made now; the form of the model and the class \
         defaults were chosen with these tables in view (METHOD.md, section 9a). Of node power a benchmark, each in turn."
            .into(),
    );
    for calibration in &all.runs.made.calibrations {
        block.notes.push(summary(calibration).trim_end().to_string() + ".");
    }
    block.notes.push(format!(
        "Node power: {} runs, 1 parameter, {:.2} pJ a FLOP on tensor units; time is the measured one, intervals are those of class defaults.",
        all.node_power.points.iter().filter(|point| point.held_out.is_none()).count(),
        all.node_power.pj_per_flop
    ));
    for peer in all.peers.iter().filter(|peer| peer.regime.is_empty()) {
        block.notes.push(format!("{} on {}: {}.", peer.name, peer.table, peer.remark));
    }
    block.notes.extend(all.tables().iter().map(|(table, source)| format!("{table}: {source}.")));
    block
}

/// The same by device.
fn devices(all: &Everything) -> Block {
    let mut keys: Vec<(&str, &str, Figure)> = Vec::new();
    for point in all.held_out() {
        let key = (point.calibration.as_str(), point.device.as_str(), point.figure);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by(|one, other| (one.0, one.2.word(), one.1).cmp(&(other.0, other.2.word(), other.1)));
    let row = |(calibration, device, figure): (&str, &str, Figure)| {
        let of = |point: &&Point| point.calibration == calibration && point.device == device && point.figure == figure;
        let errors = Errors::of(device, &all.held_out().filter(of).collect::<Vec<_>>())?;
        let cells = errors_line(&errors);
        Some(
            [calibration, device]
                .map(String::from)
                .into_iter()
                .chain(cells.into_iter().enumerate().filter(|(i, _)| *i != 1 && *i != 2).map(|(_, cell)| cell))
                .collect(),
        )
    };
    let head = ["calibration", "device", "figure", "rows", "mean\nerror", "median\nerror", "worst\nerror", "bias", "inside the\ninterval"];
    Block::new("The same, held out, by device", &head, keys.into_iter().filter_map(row).collect(), 3)
}

/// Whole regimes, as recorded or as fitted now.
fn regimes(all: &Everything) -> Block {
    let now = all.runs.made.points.iter().any(|point| point.held_out.is_some() && !point.is_of_fifths());
    let calibrations = if now { &all.runs.made.calibrations } else { &all.recorded };
    let rows = calibrations.iter().flat_map(|calibration| {
        let of_regime = |errors: &&Errors| errors.is_of_regime();
        calibration.errors.iter().filter(of_regime).enumerate().map(|(index, errors)| {
            let name = if index == 0 { calibration.name.clone() } else { String::new() };
            let cells = errors_line(errors).into_iter().enumerate().filter(|(column, _)| *column != 2).map(|(_, cell)| cell);
            let stack = |peer: &&Peer| peer.regime == errors.regime && peer.figure == errors.figure.word();
            let from = |peer: &&Peer| calibration.tables.iter().any(|table| table.file.contains(&peer.table));
            let others: Vec<String> =
                all.peers.iter().filter(stack).filter(from).map(|peer| format!("{} {} %", peer.name, peer.error_percent)).collect();
            std::iter::once(name).chain(cells).chain([others.join(", ")]).collect()
        })
    });
    let head = [
        "calibration",
        "figure",
        "held out",
        "rows",
        "mean\nerror",
        "median\nerror",
        "worst\nerror",
        "bias",
        "inside the\ninterval",
        "others state",
    ];
    let title = if now { "Whole regimes held out, fitted now" } else { "Whole regimes held out, as recorded with the calibrations" };
    let mut block = Block::new(title, &head, rows.collect(), 3);
    if !now {
        block.notes.push("--regimes fits them anew.".into());
    }
    block
}

/// Kernels by themselves.
fn kernels(all: &Everything) -> Block {
    let row = |(table, device, errors): (&str, &str, Errors)| {
        let cells = errors_line(&errors).into_iter().enumerate().filter(|(column, _)| *column != 0 && *column != 2).map(|(_, cell)| cell);
        [table, device].map(String::from).into_iter().chain(cells).collect()
    };
    let head = ["table", "device", "kernel", "rows", "mean\nerror", "median\nerror", "worst\nerror", "bias", "inside the\ninterval"];
    let rows = all.kernels.errors().into_iter().map(row).collect();
    let mut block = Block::new("Kernels by themselves, by class defaults, nothing fitted", &head, rows, 3);
    block.notes.extend(all.kernels.notes.iter().cloned());
    block.notes.extend(all.kernels.sources.iter().map(|(table, source)| format!("{table}: {source}.")));
    block
}

/// Tables of which something is left out.
fn not_predicted() -> Block {
    let rows = NOT_PREDICTED.map(|(table, why)| vec![table.to_string(), wrap(why, 85, "").trim_end().to_string()]);
    Block::new("Shipped tables of which rows are not predicted", &["table", "why"], rows.to_vec(), 2)
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

/// Every case, and every measured figure.
#[must_use]
pub fn rows(all: &Everything) -> String {
    let line = |point: &Point, id: String, fitted: &str| {
        vec![
            point.table.clone(),
            id,
            point.device.clone(),
            point.figure.word().to_string(),
            fitted.to_string(),
            significant(point.computed),
            format!("{} to {}", significant(point.low), significant(point.high)),
            significant(point.measured),
            format!("{:+.1} %", 100.0 * point.error()),
            if point.is_inside() { "yes" } else { "no" }.to_string(),
        ]
    };
    let runs = all.points().filter(|point| point.held_out.is_none()).chain(all.held_out());
    let runs = runs.map(|point| line(point, point.id.clone(), if point.held_out.is_some() { "held out" } else { "seen" }));
    let kernels = all.kernels.timed.iter().map(|Timed { kind, point }| line(point, format!("{kind}, {}", point.id), "not fitted"));
    let head = ["table", "row", "device", "figure", "", "predicted", "90 % interval", "measured", "error", "inside"];
    cases(&all.ledgers) + "\n" + &draw(head.map(String::from).to_vec(), runs.chain(kernels).collect(), 5) + "\n" + &cases(&all.circular)
}

fn cases(validations: &[Validation]) -> String {
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
pub fn json(all: &Everything) -> String {
    let ledgers = tables(&all.ledgers);
    let peers: Vec<Value> = all
        .peers
        .iter()
        .map(|peer| {
            json!({
                "table": peer.table, "figure": peer.figure, "regime": peer.regime, "peer": peer.name,
                "mean_error_percent": peer.error_percent, "remark": peer.remark,
            })
        })
        .collect();
    let points: Vec<Value> = all.points().map(point).collect();
    let sources: Map<String, Value> = all.tables().into_iter().map(|(table, source)| (table.to_string(), json!(source))).collect();
    let value = json!({
        "schema": 1,
        "level": 0.9,
        "tables": ledgers,
        "runs": { "sources": sources, "fits": calibrations_value(&all.runs.made.calibrations), "points": points },
        "kernels": kernels_value(all),
        "calibrations": calibrations_value(&all.recorded),
        "circular": tables(&all.circular),
        "peers": peers,
        "not_predicted": NOT_PREDICTED.map(|(table, why)| json!({ "table": table, "why": why })),
    });
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

/// Kernels by themselves.
fn kernels_value(all: &Everything) -> Value {
    let errors = |(table, device, errors): (&str, &str, Errors)| {
        json!({
            "table": table, "device": device, "kernel": errors.regime, "figure": errors.figure.word(), "rows": errors.rows,
            "mean_error_percent": 100.0 * errors.mean, "median_error_percent": 100.0 * errors.median,
            "worst_error_percent": 100.0 * errors.worst, "bias_percent": 100.0 * errors.bias,
            "inside_interval_percent": 100.0 * errors.inside,
        })
    };
    let points = all.kernels.timed.iter().map(|Timed { kind, point }| {
        json!({
            "table": point.table, "kernel": kind, "id": point.id, "device": point.device, "figure": point.figure.word(),
            "predicted": point.computed, "low": point.low, "high": point.high, "measured": point.measured,
            "error_percent": 100.0 * point.error(),
        })
    });
    let sources: Map<String, Value> = all.kernels.sources.iter().map(|(table, source)| (table.clone(), json!(source))).collect();
    json!({
        "fitted": false, "sources": sources, "notes": all.kernels.notes,
        "errors": all.kernels.errors().into_iter().map(errors).collect::<Vec<_>>(), "points": points.collect::<Vec<_>>(),
    })
}

/// One measured figure.
fn point(point: &Point) -> Value {
    json!({
        "calibration": point.calibration, "table": point.table, "id": point.id, "device": point.device, "figure": point.figure.word(),
        "held_out": point.held_out.as_ref().map(|(cut, value)| format!("{cut} = {value}")), "predicted": point.computed,
        "low": point.low, "high": point.high, "measured": point.measured, "error_percent": 100.0 * point.error(),
    })
}

fn tables(validations: &[Validation]) -> Vec<Value> {
    validations
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
        .collect()
}
