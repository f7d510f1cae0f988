//! Which sessions read the same device, and which of them counts when.

use super::{Joint, Part};
use crate::session::energy::Finding;
use crate::session::manifest::MeterKind;

/// A meter's place: part, meter, and the stretches of the measurement that count.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub part: usize,
    pub index: usize,
    pub counted: Option<Vec<(f64, f64)>>,
}

/// The meters by what they read. Where several sessions read one thing, each counts during its own run, the longest first.
pub(super) fn devices(parts: &[Part], joints: &mut Vec<Joint>) -> Vec<Vec<Place>> {
    let mut groups: Vec<((MeterKind, String, String), Vec<Place>)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        for (index, meter) in part.manifest().meters.iter().enumerate() {
            let place = Place { part: at, index, counted: None };
            let (of, name) = match meter.kind {
                // The identity of an accelerator is one in the world.
                MeterKind::Gpu => ("", &meter.uuid),
                // Containers of one machine give it names of their own, which are in the identity.
                MeterKind::Host | MeterKind::HostPart => (part.machine(), &meter.name),
                MeterKind::Process => (part.manifest().id.as_str(), &meter.uuid),
            };
            let key = (meter.kind, of.to_string(), name.clone());
            match groups.iter_mut().find(|(known, places)| *known == key && places.iter().all(|place| place.part != at)) {
                Some((_, places)) => places.push(place),
                None => groups.push((key, vec![place])),
            }
        }
    }
    for (_, places) in groups.iter_mut().filter(|(_, places)| places.len() > 1) {
        share(parts, places, joints);
    }
    groups.into_iter().map(|(_, places)| places).collect()
}

/// Divides the time among the sessions that read one thing, and says where they overlapped.
fn share(parts: &[Part], places: &mut Vec<Place>, joints: &mut Vec<Joint>) {
    let length = |place: &Place| parts[place.part].run.1 - parts[place.part].run.0;
    places.sort_by(|one, other| length(other).total_cmp(&length(one)).then(one.part.cmp(&other.part)));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for place in places.iter_mut() {
        let span = parts[place.part].span();
        let counted = without(span, &taken);
        let twice = (span.1 - span.0) - counted.iter().map(|(begin, end)| end - begin).sum::<f64>();
        let part = &parts[place.part];
        let meter = &part.manifest().meters[place.index];
        // Parts of a package are never added.
        if twice > 0.0 && meter.is_added() {
            let code = if meter.kind == MeterKind::Gpu { "gpu_measured_twice" } else { "host_measured_twice" };
            let text = format!(
                "session {} on {} measured {} too: its {twice:.1} s at the same time as a longer session are counted once",
                part.manifest().id,
                part.host_name(),
                meter.name,
            );
            joints.push(Joint { uuid: Some(meter.uuid.clone()), finding: Finding { time: span.0, code, text } });
        }
        taken.extend(&counted);
        place.counted = Some(counted);
    }
    places.retain(|place| place.counted.as_ref().is_none_or(|counted| !counted.is_empty()));
}

/// What of a stretch others do not take.
fn without(span: (f64, f64), taken: &[(f64, f64)]) -> Vec<(f64, f64)> {
    taken.iter().fold(vec![span], |left, (begin, end)| {
        let cut = |(from, to): (f64, f64)| [(from, to.min(*begin)), (from.max(*end), to)];
        left.into_iter().flat_map(cut).filter(|(from, to)| to > from).collect()
    })
}
