//! The sessions of one run, one a node, as one measurement: on one clock, and nothing counted twice.
//!
//! Each session keeps its own clock; the wall clocks of the nodes say how they lie to each other. So an error of a node's wall clock
//! (NTP keeps them to milliseconds in one cluster) moves the edges of phases that another node marked, and changes no total: what a
//! device used is taken over the run as its own session saw it.

mod device;
mod part;
mod share;

use std::collections::{BTreeMap, BTreeSet};

pub use device::{Device, Reading};
pub use part::Part;
use share::{Place, devices};

use super::energy::Finding;
use super::manifest::MeterKind;
use super::phase::Marks;
use super::{Session, State, read};

/// What was found when sessions were joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// The device that it concerns.
    pub uuid: Option<String>,
    /// What it is.
    pub finding: Finding,
}

/// What was measured of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The sessions, in the order in which they started.
    pub parts: Vec<Part>,
    /// The place of the part that marked.
    pub marker: usize,
    /// What the measured program said of itself, in seconds of the measurement.
    pub marks: Marks,
    /// What was found when sessions were joined.
    pub joints: Vec<Joint>,
    devices: Vec<Vec<Place>>,
}

impl From<Session> for Measurement {
    fn from(session: Session) -> Self {
        Self::build(vec![session])
    }
}

/// The sessions that are another copy of one beside them: its place, and that of the copy that is kept. A whole copy is kept before
/// one that was cut short, then the one with more readings.
#[must_use]
pub fn copies(sessions: &[&Session]) -> Vec<(usize, usize)> {
    let rank = |session: &Session| (session.state == State::Complete, session.samples.iter().map(Vec::len).sum::<usize>());
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, session) in sessions.iter().enumerate() {
        let best = kept.entry(&session.manifest.id).or_insert(place);
        if rank(session) > rank(sessions[*best]) {
            *best = place;
        }
    }
    let of = |(place, session): (usize, &&Session)| (place, kept[session.manifest.id.as_str()]);
    sessions.iter().enumerate().map(of).filter(|(place, best)| place != best).collect()
}

/// The measurements all of whose sessions are in another one too, each with the place of that one.
#[must_use]
pub fn contained(measurements: &[&Measurement]) -> Vec<(usize, usize)> {
    let ids = |measurement: &Measurement| measurement.parts.iter().map(|part| part.manifest().id.clone()).collect::<BTreeSet<_>>();
    let ids: Vec<BTreeSet<String>> = measurements.iter().map(|measurement| ids(measurement)).collect();
    let is_in = |one: usize, other: usize| ids[one].is_subset(&ids[other]) && (ids[one].len() < ids[other].len() || other < one);
    (0..ids.len()).filter_map(|one| Some((one, (0..ids.len()).find(|other| *other != one && is_in(one, *other))?))).collect()
}

impl Measurement {
    /// Joins the sessions of the nodes of one run; no two may be copies of one.
    ///
    /// # Errors
    /// There is none, or they do not overlap in time: they are not of one run.
    pub fn join(sessions: Vec<Session>) -> Result<Self, String> {
        if sessions.is_empty() {
            return Err("found no session; allowed: one or more".into());
        }
        let joined = Self::build(sessions);
        let mut by_begin: Vec<&Part> = joined.parts.iter().collect();
        by_begin.sort_by(|one, other| one.span().0.total_cmp(&other.span().0));
        let mut last = by_begin[0];
        for part in by_begin {
            let gap = part.span().0 - last.span().1;
            if gap > 0.0 {
                return Err(format!(
                    "found sessions that do not overlap in time: by their wall clocks {} on {} ended {gap:.3} s before {} on {} began; allowed: \
                     the sessions of the nodes of one run. A run that was resumed is a run of its own",
                    last.manifest().id,
                    last.host_name(),
                    part.manifest().id,
                    part.host_name(),
                ));
            }
            if part.span().1 > last.span().1 {
                last = part;
            }
        }
        Ok(joined)
    }

    fn build(sessions: Vec<Session>) -> Self {
        let first = sessions.iter().map(|session| session.manifest.started_unix_s).fold(f64::INFINITY, f64::min);
        let mut parts: Vec<Part> = sessions.into_iter().map(|session| Part::new(session, first)).collect();
        parts.sort_by(|one, other| one.offset.total_cmp(&other.offset).then_with(|| one.manifest().id.cmp(&other.manifest().id)));
        let most = parts.iter().map(Part::marks).max().unwrap_or(0);
        let marker = parts.iter().position(|part| part.marks() == most).unwrap_or(0);
        let marks = parts.get(marker).map(|part| Marks::of(&part.session).shifted(part.offset)).unwrap_or_default();
        let mut joints = Vec::new();
        for part in parts.iter().enumerate().filter(|(place, part)| *place != marker && part.marks() > 0).map(|(_, part)| part) {
            let of = parts[marker].host_name();
            let text = format!("{} marked too, {} lines: phases and steps are those that {of} marked", part.host_name(), part.marks());
            joints.push(Joint { uuid: None, finding: Finding { time: part.span().0, code: "marks_left_out", text } });
        }
        let devices = devices(&parts, &mut joints);
        Self { parts, marker, marks, joints, devices }
    }

    /// Tells this measurement from every other: the session's identity, or one made from those of all.
    #[must_use]
    pub fn id(&self) -> String {
        let mut ids: Vec<&str> = self.parts.iter().map(|part| part.manifest().id.as_str()).collect();
        ids.sort_unstable();
        match ids[..] {
            [one] => one.to_string(),
            _ => read::hash(ids.join("\n").as_bytes()).chars().take(32).collect(),
        }
    }

    /// Whether it joins several sessions.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.parts.len() > 1
    }

    /// The devices of a kind.
    pub fn devices(&self, kind: MeterKind) -> impl Iterator<Item = Device<'_>> + Clone {
        self.devices.iter().map(|places| self.device(places)).filter(move |device| device.first().meter().kind == kind)
    }

    fn device<'a>(&'a self, places: &'a [Place]) -> Device<'a> {
        let reading = |place: &'a Place| Reading { part: &self.parts[place.part], index: place.index, counted: place.counted.as_deref() };
        Device { readings: places.iter().map(reading).collect() }
    }

    /// Every meter of every part, also where what it read does not count.
    pub fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        let places = || self.devices.iter().flatten();
        self.parts.iter().enumerate().flat_map(move |(part, at)| {
            (0..at.series.len()).map(move |index| {
                let place = places().find(|place| (place.part, place.index) == (part, index));
                Reading { part: at, index, counted: place.map_or(Some(&[]), |place| place.counted.as_deref()) }
            })
        })
    }

    /// While the measured program ran on any node, s of the measurement.
    #[must_use]
    pub fn span(&self) -> (f64, f64) {
        let spans = || self.parts.iter().map(Part::span);
        (spans().map(|span| span.0).fold(f64::INFINITY, f64::min), spans().map(|span| span.1).fold(f64::NEG_INFINITY, f64::max))
    }

    /// When it started, seconds since 1970, UTC: time 0 of the measurement.
    #[must_use]
    pub fn started_unix_s(&self) -> f64 {
        self.parts[0].manifest().started_unix_s
    }
}
