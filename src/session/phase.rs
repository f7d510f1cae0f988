//! Marks to phases and steps.

use serde_json::{Map, Value};

use super::energy::Finding;
use super::mark::{Mark, Stamp};
use super::{Event, Session, Window};

/// One time that a phase ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, s of the session.
    pub begin: f64,
    /// When it ended; the end of the measured program where it does not say.
    pub end: f64,
    /// Steps that were marked in it and in no phase inside it.
    pub steps: Vec<Step>,
    /// What the program said of it, by table.
    pub facts: Vec<(String, Map<String, Value>)>,
}

/// Steps that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// When the last of them ended, s of the session.
    pub end: f64,
    /// How many.
    pub count: u64,
    /// Samples of one.
    pub samples: Option<f64>,
    /// Tokens of one.
    pub tokens: Option<f64>,
}

/// All that a measured program said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Marks {
    /// Phases in the order in which they began. Steps and facts outside every phase are of one named `run`.
    pub phases: Vec<Phase>,
    /// How many steps the whole run will have.
    pub planned: Option<u64>,
    /// Lines that are no marks, and marks that do not fit.
    pub findings: Vec<Finding>,
}

/// The name of the phase that stands for the whole run.
pub const WHOLE: &str = "run";
/// How far a stamp may lie after the moment at which its line was seen, s: clocks are read one after the other.
const AHEAD: f64 = 0.05;

impl Marks {
    /// The marks of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let (begin, end) = session.window(Window::Run).unwrap_or((0.0, session.last_time()));
        let mut reader = Reader::new(session.manifest.started_monotonic_s, session.manifest.started_unix_s, begin);
        for event in &session.events {
            if let Event::Mark { t_s, line } = event {
                reader.line(*t_s, line);
            }
        }
        reader.finish(end)
    }

    /// The names of phases in the order in which they began, each with its times.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&str, Vec<&Phase>)> {
        let mut out: Vec<(&str, Vec<&Phase>)> = Vec::new();
        for phase in &self.phases {
            match out.iter_mut().find(|(name, _)| *name == phase.name) {
                Some((_, times)) => times.push(phase),
                None => out.push((&phase.name, vec![phase])),
            }
        }
        out
    }

    /// The same on a clock that says `by` seconds more.
    #[must_use]
    pub fn shifted(mut self, by: f64) -> Self {
        for phase in &mut self.phases {
            phase.begin += by;
            phase.end += by;
            phase.steps.iter_mut().for_each(|step| step.end += by);
        }
        self.findings.iter_mut().for_each(|finding| finding.time += by);
        self
    }
}

/// Takes marks as they come, so that a live view reads them as a later reader does.
#[derive(Debug, Clone)]
pub struct Reader {
    monotonic: f64,
    unix: f64,
    last: f64,
    whole: Phase,
    /// Indices into `marks.phases`, outermost first.
    open: Vec<usize>,
    marks: Marks,
}

impl Reader {
    /// A reader for a session that started at these readings of the monotonic and the wall clock, of a program that started at
    /// `begin` seconds of the session.
    #[must_use]
    pub fn new(monotonic: f64, unix: f64, begin: f64) -> Self {
        let whole = Phase { name: WHOLE.into(), begin, end: f64::NAN, steps: Vec::new(), facts: Vec::new() };
        Self { monotonic, unix, last: begin, whole, open: Vec::new(), marks: Marks::default() }
    }

    /// Takes a line that was seen at a moment. Whether it says itself when it happened, or has no need to.
    pub fn line(&mut self, seen: f64, line: &str) -> bool {
        match Mark::read(line) {
            Ok(mark) => {
                let is_seen = |stamp: &Stamp| *stamp == Stamp::Seen;
                let stamped = !matches!(&mark, Mark::Begin(_, stamp) | Mark::End(_, stamp) | Mark::Step { stamp, .. } if is_seen(stamp));
                self.mark(seen, mark);
                stamped
            }
            Err(error) => {
                self.finding(seen, "mark_not_read", error);
                true
            }
        }
    }

    fn mark(&mut self, seen: f64, mark: Mark) {
        match mark {
            Mark::Begin(name, stamp) => {
                let begin = self.time(stamp, seen);
                self.open.push(self.marks.phases.len());
                self.marks.phases.push(Phase { name, begin, end: f64::NAN, steps: Vec::new(), facts: Vec::new() });
            }
            Mark::End(name, stamp) => {
                let end = self.time(stamp, seen);
                let Some(place) = self.open.iter().rposition(|index| self.marks.phases[*index].name == name) else {
                    return self.finding(seen, "mark_does_not_fit", format!("phase {name} ends, and is not open"));
                };
                for index in self.open.split_off(place) {
                    if self.marks.phases[index].name != name {
                        let text = format!("phase {} did not end before {name} around it", self.marks.phases[index].name);
                        self.finding(seen, "mark_does_not_fit", text);
                    }
                    self.marks.phases[index].end = end;
                }
            }
            Mark::Step { stamp, count, samples, tokens } => {
                let end = self.time(stamp, seen);
                self.innermost().steps.push(Step { end, count, samples, tokens });
            }
            Mark::Plan(steps) => self.marks.planned = Some(steps),
            Mark::Fact(table, columns) => self.innermost().facts.push((table, columns)),
        }
    }

    /// Ends every phase that is open with the measured program.
    #[must_use]
    pub fn finish(mut self, end: f64) -> Marks {
        for index in std::mem::take(&mut self.open) {
            let phase = &mut self.marks.phases[index];
            phase.end = end.max(phase.begin);
            let text = format!("phase {} did not end before the program did", phase.name);
            self.finding(end, "mark_does_not_fit", text);
        }
        if !self.whole.steps.is_empty() || !self.whole.facts.is_empty() {
            self.whole.end = end.max(self.whole.begin);
            self.marks.phases.insert(0, self.whole);
        }
        self.marks
    }

    /// Steps so far, and the median seconds of one: of the phase that has most.
    #[must_use]
    pub fn progress(&self) -> Option<(u64, f64)> {
        let phases = self.marks.phases.iter().chain([&self.whole]);
        let longest = phases.max_by_key(|phase| phase.counted())?;
        Some((longest.counted(), longest.step_times()?.median))
    }

    /// How many steps the whole run will have.
    #[must_use]
    pub fn planned(&self) -> Option<u64> {
        self.marks.planned
    }

    fn innermost(&mut self) -> &mut Phase {
        match self.open.last() {
            Some(index) => &mut self.marks.phases[*index],
            None => &mut self.whole,
        }
    }

    /// When a mark happened: as it says, unless that lies before the mark before it or after the moment at which it was seen.
    fn time(&mut self, stamp: Stamp, seen: f64) -> f64 {
        let stated = match stamp {
            Stamp::Monotonic(time) => time - self.monotonic,
            Stamp::Unix(time) => time - self.unix,
            Stamp::Seen => seen,
        };
        let time = if stated > seen + AHEAD || stated < self.last - AHEAD {
            self.finding(
                seen,
                "mark_out_of_time",
                format!("a mark says {stated:.3} s, was seen at {seen:.3} s after one of {:.3} s", self.last),
            );
            seen
        } else {
            stated
        };
        self.last = self.last.max(time);
        self.last
    }

    fn finding(&mut self, time: f64, code: &'static str, text: String) {
        self.marks.findings.push(Finding { time, code, text });
    }
}

/// Seconds of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTimes {
    /// Of all steps together: their time over their number.
    pub mean: f64,
    /// Half of the steps took less; each step between two marks counts as their mean.
    pub median: f64,
}

impl Phase {
    /// How many steps were marked.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.steps.iter().map(|step| step.count).sum()
    }

    /// What a step took; nothing without steps.
    #[must_use]
    pub fn step_times(&self) -> Option<StepTimes> {
        let last = self.steps.last()?;
        let mut before = self.begin;
        let mut times: Vec<(f64, u64)> = Vec::new();
        for step in &self.steps {
            times.push(((step.end - before) / step.count as f64, step.count));
            before = step.end;
        }
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        let counted = self.counted();
        let mut seen = 0;
        let median = times.iter().find_map(|(time, count)| {
            seen += count;
            (2 * seen >= counted).then_some(*time)
        })?;
        Some(StepTimes { mean: (last.end - self.begin) / counted as f64, median })
    }

    /// A figure of all steps together, where every mark states it.
    #[must_use]
    pub fn total(&self, figure: impl Fn(&Step) -> Option<f64>) -> Option<f64> {
        if self.steps.is_empty() {
            return None;
        }
        self.steps.iter().map(|step| figure(step).map(|value| value * step.count as f64)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(lines: &[(f64, &str)]) -> Marks {
        let mut reader = Reader::new(1000.0, 5000.0, 1.0);
        lines.iter().for_each(|(seen, line)| {
            reader.line(*seen, line);
        });
        reader.finish(20.0)
    }

    #[test]
    fn phases_nest_and_steps_belong_to_the_innermost() {
        let marks = marks(&[
            (1.1, "begin train"),
            (2.1, "step tokens=10"),
            (3.1, "step tokens=10"),
            (3.2, "begin evaluation unix=5003.15"),
            (4.2, "step"),
            (4.3, "end evaluation"),
            (5.1, "step count=2 tokens=10"),
            (5.2, "end train"),
        ]);
        assert_eq!(marks.findings, []);
        let [train, evaluation] = &marks.phases[..] else { panic!("{marks:?}") };
        assert_eq!((train.counted(), evaluation.counted()), (4, 1));
        assert_eq!((train.begin, train.end), (1.1, 5.2));
        assert!((evaluation.begin - 3.15).abs() < 1e-9);
        assert_eq!(train.total(|step| step.tokens), Some(40.0));
        assert_eq!(evaluation.total(|step| step.tokens), None);
        let times = train.step_times().unwrap();
        assert!((times.mean - 1.0).abs() < 1e-9 && (times.median - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_step_is_not_moved_by_a_slow_first() {
        let marks = marks(&[(1.0, "begin a"), (9.0, "step"), (10.0, "step count=10"), (10.1, "step"), (10.2, "end a")]);
        let times = marks.phases[0].step_times().unwrap();
        assert!((times.median - 0.1).abs() < 1e-9 && (times.mean - 9.1 / 12.0).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_is_named_and_the_rest_is_read() {
        let marks =
            marks(&[(1.5, "begin a"), (2.0, "end b"), (2.5, "go"), (3.0, "begin c"), (4.0, "end a"), (5.0, "begin d"), (6.0, "step")]);
        let codes: Vec<&str> = marks.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["mark_does_not_fit", "mark_not_read", "mark_does_not_fit", "mark_does_not_fit"]);
        assert_eq!(marks.phases.iter().map(|phase| phase.end).collect::<Vec<_>>(), [4.0, 4.0, 20.0]);
    }

    #[test]
    fn steps_without_a_phase_are_of_the_run() {
        let marks = marks(&[(2.0, "step"), (3.0, "step")]);
        assert_eq!((marks.phases[0].name.as_str(), marks.phases[0].counted()), (WHOLE, 2));
    }

    #[test]
    fn a_stamp_of_another_clock_is_not_believed() {
        let marks = marks(&[(2.0, "begin a monotonic=90"), (3.0, "end a unix=9000")]);
        assert_eq!((marks.phases[0].begin, marks.phases[0].end), (2.0, 3.0));
        assert_eq!(marks.findings.len(), 2);
    }
}
