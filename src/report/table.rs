//! Aligned tables for a terminal.

use super::style::{table, wrap};
use super::{Report, interval_text, label, word};
use crate::estimate::{CaseResult, Metric, PhaseResult};
use crate::inference::STORAGE;
use crate::quality::Quality;
use crate::training::Purpose;
use crate::units::{Bytes, Joules, Seconds, grouped, significant};

const WIDTH: usize = 110;

/// More cases than this of a sweep are lines, not columns.
const MOST_COLUMNS: usize = 5;

impl Report<'_> {
    /// The answer as tables for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{}\n\n", self.results.title);
        if let Some(description) = &self.results.description {
            out += &wrap(description, WIDTH, "");
            out.push('\n');
        }
        out + &self.body()
    }

    /// What stands under the title and the description.
    pub(super) fn body(&self) -> String {
        let results = self.results;
        let mut out = String::new();
        if results.sweep_key.is_some() {
            out += &self.sweep_table();
        } else {
            out += &self.main_table();
            out += &self.savings_table();
            out += &self.thresholds();
            out += &self.sizes();
            out += &self.breakdown();
        }
        out += &self.swings();
        out += &self.assumptions();
        out += &self.published();
        out += &self.remarks();
        out += &self.sources_line();
        out
    }

    fn main_table(&self) -> String {
        let columns: Vec<_> = self.columns().collect();
        let head = std::iter::once("case".to_string())
            .chain(columns.iter().map(|column| format!("{}\n{}", column.heading, column.unit)))
            .chain(std::iter::once("class".to_string()))
            .collect();
        let rows = self.results.cases.iter().map(|case| {
            let cells = columns.iter().map(|column| match case.metric(column.metric) {
                Some(found) => {
                    let text = interval_text(found.interval.scaled(column.scale()), "\n");
                    if found.lacks.is_empty() { text } else { text.replacen('\n', "*\n", 1) + if text.contains('\n') { "" } else { "*" } }
                }
                None => "-".to_string(),
            });
            let class = case.metric(Metric::Duration).map_or("", |found| found.class.word());
            std::iter::once(label(case)).chain(cells).chain(std::iter::once(class.to_string())).collect()
        });
        let mut out = table(head, rows.collect(), 1);
        out += &wrap(
            "Second lines hold 90 % of the draws; the cost reaches from the cheapest offer to the dearest. Energy is at the \
             facility's meter; CO2e is of the electricity, location-based. The class is that of the time; JSON has that of each figure.",
            WIDTH,
            "",
        );
        let lacking: Vec<String> = self
            .results
            .cases
            .first()
            .into_iter()
            .flat_map(|case| &case.metrics)
            .filter(|found| !found.lacks.is_empty() && super::COLUMNS.iter().any(|column| column.metric == found.metric))
            .map(|found| format!("{} lacks {}", word(found.metric), found.lacks.join(" and ")))
            .collect();
        if !lacking.is_empty() {
            out += &format!("* {}\n", lacking.join("; "));
        }
        out.push('\n');
        out
    }

    fn savings_table(&self) -> String {
        let columns: Vec<_> = self.columns().collect();
        let variants: Vec<&CaseResult> = self.results.cases.iter().filter(|case| !case.savings_percent.is_empty()).collect();
        if variants.is_empty() {
            return String::new();
        }
        let mark = self.results.threshold.as_ref().map(|(_, mark, _)| *mark);
        let mut head: Vec<String> = vec![format!("saving against {}, %", self.results.baseline)];
        head.extend(columns.iter().map(|column| column.heading.to_string()));
        if let Some(mark) = mark {
            head.push(format!("energy > {mark} %\nin draws"));
        }
        let rows = variants.iter().map(|case| {
            let mut row = vec![label(case)];
            row.extend(columns.iter().map(|column| case.saving(column.metric).map_or("-".into(), percent)));
            if mark.is_some() {
                let share = case.share_above_mark.iter().find(|(metric, _)| *metric == Metric::Energy);
                row.push(share.map_or("-".into(), |(_, share)| format!("{:.0} %", 100.0 * share)));
            }
            row
        });
        table(head, rows.collect(), 1) + "Intervals of savings are from paired draws: both cases see the same inputs.\n\n"
    }

    fn thresholds(&self) -> String {
        let Some((key, mark, low)) = &self.results.threshold else { return String::new() };
        let sentence = |found: &crate::estimate::ThresholdResult| match found.value {
            Some(value) => format!("{} at {value} and below", word(found.metric)),
            None => format!("{} at no value from {low} on", word(found.metric)),
        };
        let list: Vec<String> = self.results.thresholds.iter().map(sentence).collect();
        wrap(&format!("More than {mark} % is saved, at central values of {key}: {}.", list.join("; ")), WIDTH, "") + "\n"
    }

    /// Parameters, memory and published quality of the cases that have a model.
    fn sizes(&self) -> String {
        let cases: Vec<&CaseResult> = self.results.cases.iter().filter(|case| case.parameters.is_some()).collect();
        if cases.is_empty() {
            return String::new();
        }
        let judged = cases.iter().any(|case| case.quality.is_some());
        let mut head: Vec<String> =
            ["model", "parameters", "on disk\nfp32", "on disk\nfp16", "memory\nof a step"].map(String::from).to_vec();
        let frozen = cases.iter().any(|case| case.trained_parameters.is_some_and(|trained| Some(trained) < case.parameters));
        if frozen {
            head.insert(2, "trained".into());
        }
        if judged {
            head.push("published quality".into());
        }
        let rows = cases.iter().map(|case| {
            let parameters = case.parameters.unwrap_or_default();
            let memory = case.memory.as_ref().map_or("-".into(), |memory| memory.needed.to_string());
            let [fp32, fp16, ..] = STORAGE.map(|storage| (storage.bytes(parameters) + Bytes::new(case.index_bits / 8.0)).to_string());
            let mut row = vec![label(case), grouped(parameters), fp32, fp16, memory];
            if frozen {
                row.insert(2, case.trained_parameters.map_or("-".into(), grouped));
            }
            if judged {
                let shown = |quality: &Quality| format!("{} {} ({})", quality.printed, quality.metric, quality.task);
                row.push(case.quality.as_ref().map_or("not published".into(), shown));
            }
            row
        });
        let mut out = table(head, rows.collect(), 1);
        if let Some(memory) = cases.iter().find_map(|case| case.memory.as_ref()) {
            let (context, fragmentation) = (Bytes::new(memory.context.distribution.centre()), memory.fragmentation.distribution.centre());
            let sentence = format!(
                "Memory of a step holds the framework's own: a context of {context} ({}) and {:.0} % for fragmentation ({}).",
                memory.context.class.word(),
                100.0 * fragmentation,
                memory.fragmentation.class.word()
            );
            out += &wrap(&sentence, WIDTH, "");
        }
        let mut cited: Vec<&str> = cases.iter().filter_map(|case| case.quality.as_ref().map(|quality| quality.from.as_str())).collect();
        cited.dedup();
        for citation in cited {
            out += &wrap(&format!("Quality: {citation}; as printed."), WIDTH, "");
        }
        out.push('\n');
        out
    }

    fn breakdown(&self) -> String {
        let phases = || self.results.cases.iter().flat_map(|case| case.phases.iter().map(move |phase| (case, phase)));
        let mut rows: Vec<Vec<String>> = phases().map(|(case, phase)| phase_row(case, phase)).collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = [
            "where a step goes",
            "positions",
            "batch",
            "step",
            "linear",
            "attention\nmap",
            "gathers",
            "element-\nwise",
            "optimizer",
            "exchange",
            "host",
        ];
        let mut head = head.map(String::from).to_vec();
        let mut beside = |name: &str, time: fn(&PhaseResult) -> Option<Seconds>| {
            if phases().any(|(_, phase)| time(phase).is_some()) {
                head.push(format!("beside it:\n{name}"));
                let times = phases().map(|(_, phase)| time(phase).map_or("-".into(), |time| time.to_string()));
                rows.iter_mut().zip(times).for_each(|(row, time)| row.push(time));
            }
        };
        beside("input wait", |phase| phase.input_wait);
        beside("lost", |phase| phase.lost);
        let mut out = table(head, rows, 1);
        out += &wrap(
            "Modelled at central values: linear layers, products that mix positions, rows that are gathered or sorted, and element-wise kernels, with their launches; \
             what is bound by memory does not shrink with the rank.",
            WIDTH,
            "",
        );
        out.push('\n');
        out + &self.energies()
    }

    /// Where the energy of a step of one accelerator goes.
    fn energies(&self) -> String {
        let phases = self.results.cases.iter().flat_map(|case| case.phases.iter().map(move |phase| (case, phase)));
        let row = |(case, phase): (&CaseResult, &PhaseResult)| {
            let (throttled, energy) = phase.power?;
            let total = energy.total();
            let share = |part: Joules| format!("{:.0} %", 100.0 * (part / total));
            let slower = throttled / phase.step.total();
            Some(vec![
                phase_label(case, phase),
                phase.sequence_length.to_string(),
                total.to_string(),
                share(energy.idle),
                share(energy.products),
                share(energy.traffic),
                share(energy.links),
                if slower > 5e-4 { format!("{:.1} %", 100.0 * slower) } else { "-".into() },
            ])
        };
        let rows: Vec<Vec<String>> = phases.filter_map(row).collect();
        if rows.is_empty() {
            return String::new();
        }
        let head = [
            "where its energy goes",
            "positions",
            "an accelerator's",
            "idle",
            "products",
            "memory\ntraffic",
            "links",
            "longer by the\npower limit",
        ];
        table(head.map(String::from).to_vec(), rows, 1) + "\n"
    }

    fn swings(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .results
            .swings
            .iter()
            .take(6)
            .map(|swing| vec![swing.input.clone(), format!("{:.1}", swing.ends[0]), format!("{:.1}", swing.ends[1])])
            .collect();
        let Some(first) = self.results.swings.first() else { return String::new() };
        let head = vec![format!("what moves the saving of {}, %", first.variant), "input at its 5 %".into(), "at its 95 %".into()];
        table(head, rows, 1) + "\n"
    }

    fn assumptions(&self) -> String {
        let Some(first) = self.results.assumptions.first() else { return String::new() };
        let mut head = vec!["saving of energy, %, if instead".to_string()];
        head.extend(first.savings.iter().map(|(name, ..)| name.clone()));
        let shown = |saving: Option<f64>| saving.map_or("-".to_string(), |saving| format!("{saving:.1}"));
        let as_said = self.results.cases.iter().filter(|case| !case.savings_percent.is_empty());
        let energy_or_time = |energy: Option<f64>, time: Option<f64>| shown(energy.or(time));
        let mut rows = vec![
            std::iter::once("as said".to_string())
                .chain(as_said.map(|case| {
                    let of = |metric| case.saving(metric).map(|saving| saving.value);
                    energy_or_time(of(Metric::Energy), of(Metric::Duration))
                }))
                .collect::<Vec<String>>(),
        ];
        rows.extend(self.results.assumptions.iter().map(|assumption| {
            let cells = assumption.savings.iter().map(|(_, time, energy)| energy_or_time(*energy, *time));
            std::iter::once(assumption.name.clone()).chain(cells).collect()
        }));
        table(head, rows, 1) + "At central values; a negative saving costs more than the baseline.\n\n"
    }

    fn published(&self) -> String {
        if self.results.published.is_empty() {
            return String::new();
        }
        let rows = self.results.published.iter().map(|check| {
            let decimals = check.decimals();
            let ours =
                check.computed.map_or("-".to_string(), |ours| if decimals == 0 { grouped(ours) } else { format!("{ours:.decimals$}") });
            let same = if check.same_digits() { "same digits" } else { "" };
            let difference = check.difference_percent().map_or("-".to_string(), |d| format!("{d:+.2} % {same}"));
            let at = check.published.at.map_or_else(String::new, |at| format!(" @ {}", grouped(at)));
            vec![
                check.published.case.clone() + &at,
                check.published.quantity.title().to_string(),
                check.published.unit.clone(),
                check.published.printed.clone(),
                ours,
                difference.trim_end().to_string(),
            ]
        });
        let head = ["published", "quantity", "unit", "printed", "computed", "difference"].map(String::from).to_vec();
        table(head, rows.collect(), 3) + "\n"
    }

    fn sweep_table(&self) -> String {
        let key = self.results.sweep_key.as_deref().unwrap_or_default();
        let mut names: Vec<&str> = Vec::new();
        let mut points: Vec<f64> = Vec::new();
        for case in &self.results.cases {
            if !names.contains(&case.name.as_str()) {
                names.push(&case.name);
            }
            points.extend(case.at.filter(|at| !points.contains(at)));
        }
        let find = |name: &str, at: f64| self.results.cases.iter().find(|case| case.name == name && case.at == Some(at));
        let step = |case: &CaseResult| case.phases.first().map(|phase| phase.step.total().value());
        let memory = |case: &CaseResult| case.memory.as_ref().map(|memory| memory.needed.value());
        if names.len() > MOST_COLUMNS {
            return self.long_sweep_table(&names, &points);
        }
        let mut head = vec![key.rsplit('.').next().unwrap_or(key).to_string()];
        head.extend(names.iter().map(|name| format!("{name}\nms a step")));
        head.push("fastest".into());
        head.extend(names.iter().map(|name| format!("{name}\nGB")));
        head.push("leanest".into());
        let rows = points.iter().map(|at| {
            let cases: Vec<&CaseResult> = names.iter().filter_map(|name| find(name, *at)).collect();
            let least = |value: &dyn Fn(&CaseResult) -> Option<f64>| {
                let known = cases.iter().filter_map(|case| value(case).map(|value| (value, case.name.clone())));
                known.min_by(|a, b| a.0.total_cmp(&b.0)).map_or("-".to_string(), |(_, name)| name)
            };
            let mut row = vec![significant(*at)];
            row.extend(cases.iter().map(|case| step(case).map_or("-".into(), |s| significant(s * 1e3))));
            row.push(least(&step));
            row.extend(cases.iter().map(|case| {
                let mark = if case.memory.as_ref().is_some_and(|memory| !memory.fits()) { "!" } else { "" };
                memory(case).map_or("-".into(), |bytes| significant(bytes / 1e9) + mark)
            }));
            row.push(least(&memory));
            row
        });
        self.with_crossings(table(head, rows.collect(), 0))
    }

    /// A line a case, where there are too many for columns.
    fn long_sweep_table(&self, names: &[&str], points: &[f64]) -> String {
        let part = |unit: &str, value: &dyn Fn(&CaseResult) -> String| {
            let mut head = vec![format!("{unit} at")];
            head.extend(points.iter().map(|at| grouped(*at)));
            let cell = |name: &&str, at: &f64| {
                self.results.cases.iter().find(|case| case.name == **name && case.at == Some(*at)).map_or("-".into(), value)
            };
            let rows =
                names.iter().map(|name| std::iter::once((*name).to_string()).chain(points.iter().map(|at| cell(name, at))).collect());
            table(head, rows.collect(), 1) + "\n"
        };
        let step = |case: &CaseResult| case.phases.first().map_or("-".into(), |phase| significant(phase.step.total().value() * 1e3));
        let memory = |case: &CaseResult| {
            let mark = if case.memory.as_ref().is_some_and(|memory| !memory.fits()) { "!" } else { "" };
            case.memory.as_ref().map_or("-".into(), |memory| significant(memory.needed.value() / 1e9) + mark)
        };
        self.with_crossings(part("ms a step", &step) + part("GB", &memory).trim_end_matches('\n') + "\n")
    }

    /// A sweep's table with where cases change places, and where the time of a step goes.
    fn with_crossings(&self, mut out: String) -> String {
        out += "! does not fit the device.\n\n";
        for crossing in self.results.crossings() {
            out += &format!("{crossing}\n");
        }
        out.push('\n');
        out += &self.breakdown();
        out
    }

    fn remarks(&self) -> String {
        let mut out = String::new();
        let mut seen: Vec<String> = Vec::new();
        let many = self.results.sweep_key.is_some();
        for case in &self.results.cases {
            for text in case.missing.iter().chain(case.notes.iter().filter(|_| !many)) {
                let same = self.results.cases.iter().all(|other| other.missing.contains(text) || other.notes.contains(text));
                let line = if same { text.clone() } else { format!("{}: {text}", label(case)) };
                if !seen.contains(&line) {
                    seen.push(line);
                }
            }
        }
        seen.extend(self.results.notes.iter().cloned());
        for text in seen {
            let wrapped = wrap(&text, WIDTH, "  ");
            out += &format!("-{}", &wrapped[1..]);
        }
        let like = self.like();
        if let Some(like) = like {
            out += &format!("-{}", &wrap(&format!("The baseline's CO2e is like {}.", like), WIDTH, "  ")[1..]);
        }
        if out.is_empty() { out } else { out + "\n" }
    }

    fn sources_line(&self) -> String {
        let used: Vec<String> = self.provenance().into_iter().map(|(_, file, hash)| format!("{file} {hash}")).collect();
        let mut out = wrap(
            &format!("{} draws, seed {}. Made from {}.", grouped(self.results.draws as f64), self.results.seed, used.join(", ")),
            WIDTH,
            "",
        );
        out += &wrap("Every input with its class and source: --format markdown or json.", WIDTH, "");
        out
    }
}

fn percent(saving: crate::numeric::Interval) -> String {
    if (saving.high - saving.low).abs() < 0.05 {
        return format!("{:.1}", saving.value);
    }
    format!("{:.1}\n{:.1} to {:.1}", saving.value, saving.low, saving.high)
}

/// The case, and what the phase is for where that is not to train.
fn phase_label(case: &CaseResult, phase: &PhaseResult) -> String {
    label(case) + if phase.purpose == Purpose::Evaluation { ", evaluation" } else { "" }
}

fn phase_row(case: &CaseResult, phase: &PhaseResult) -> Vec<String> {
    let total = phase.step.total();
    let share = |part: Seconds| format!("{:.0} %", 100.0 * (part / total));
    let of = |share: f64| format!("{:.0} %", 100.0 * share);
    vec![
        phase_label(case, phase),
        phase.sequence_length.to_string(),
        phase.micro_batch.to_string(),
        total.to_string(),
        of(phase.linear_share),
        of(phase.mixing_share),
        of(phase.gather_share),
        of(phase.elementwise_share),
        share(phase.step.optimizer),
        share(phase.step.exchange),
        share(phase.step.host),
    ]
}
