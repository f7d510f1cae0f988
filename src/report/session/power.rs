//! Power over time, with the run and its phases behind it.

use std::io::{self, Write};

use plotters::coord::Shift;
use plotters::prelude::*;

use super::super::plot::{self, Drawn, INK, MESH, PALETTE, Picture};
use super::export::Export;
use crate::session::{Measurement, MeterKind};
use crate::units::significant;

/// Stretches that the time is divided into; each is drawn at its mean power.
const STRETCHES: usize = 600;
/// No more lines than these are told apart: of more devices the mean is drawn, with the least and the most.
const MOST_LINES: usize = PALETTE.len();

/// Draws the first measurement as SVG.
pub(super) fn svg(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    write(export, out, "svg")
}

/// The same as PNG.
pub(super) fn png(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    write(export, out, "png")
}

fn write(export: &Export<'_>, out: &mut dyn Write, ending: &str) -> io::Result<Vec<String>> {
    let Some(measurement) = export.measurements.first() else { return Ok(Vec::new()) };
    let files = plot::both("power", &Power { measurement }).map_err(io::Error::other)?;
    if let Some((_, content)) = files.iter().find(|(name, _)| name.ends_with(ending)) {
        out.write_all(content)?;
    }
    let left = export.measurements.len() - 1;
    Ok(if left > 0 { vec![format!("a picture is of one measurement: {left} more are not in it")] } else { Vec::new() })
}

struct Power<'a> {
    measurement: &'a Measurement,
}

/// A line: its name, and mean power of each stretch that readings cover, W.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Power<'_> {
    /// From the first to the last reading of any device, s of the measurement.
    fn time(&self) -> (f64, f64) {
        let spans = self.measurement.parts.iter().map(|part| (part.offset, part.offset + part.session.last_time()));
        spans.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (from, to)| (low.min(from), high.max(to)))
    }

    fn lines(&self) -> Vec<Line> {
        let (begin, end) = self.time();
        let step = (end - begin) / STRETCHES as f64;
        let edges = || (0..STRETCHES).map(|index| (begin + step * index as f64, begin + step * (index + 1) as f64));
        let joined = self.measurement.is_joined();
        let line = |device: crate::session::measurement::Device<'_>| {
            let meter = device.first().meter();
            let host = if joined { format!(" {}", device.first().part.host_name()) } else { String::new() };
            let power = |(from, to): (f64, f64)| {
                let is_covered = device.covered(from, to) > 0.5 * (to - from);
                device.energy(from, to).filter(|_| is_covered).map(|joules| ((from + to) / 2.0, joules / (to - from)))
            };
            let short: String = meter.uuid.chars().take(12).collect();
            let name = if meter.kind == MeterKind::Gpu { format!("{} {short}{host}", meter.name) } else { format!("{}{host}", meter.name) };
            Line { name, points: edges().filter_map(power).collect() }
        };
        let gpus: Vec<Line> = self.measurement.devices(MeterKind::Gpu).map(line).collect();
        let mut lines = if gpus.len() > MOST_LINES { summed(&gpus) } else { gpus };
        let room = MOST_LINES.saturating_sub(lines.len());
        lines.extend(self.measurement.devices(MeterKind::Host).take(room).map(line));
        lines.retain(|line| !line.points.is_empty());
        lines
    }
}

/// The mean of many devices, with the least and the most.
fn summed(gpus: &[Line]) -> Vec<Line> {
    let mut by_time: std::collections::BTreeMap<u64, (f64, Vec<f64>)> = std::collections::BTreeMap::new();
    for (time, watts) in gpus.iter().flat_map(|gpu| &gpu.points) {
        by_time.entry(time.to_bits()).or_insert_with(|| (*time, Vec::new())).1.push(*watts);
    }
    let line = |name: &str, of: fn(&[f64]) -> f64| {
        let mut points: Vec<(f64, f64)> = by_time.values().map(|(time, watts)| (*time, of(watts))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line { name: format!("{name} of {} GPUs", gpus.len()), points }
    };
    vec![
        line("mean", |watts| watts.iter().sum::<f64>() / watts.len() as f64),
        line("most", |watts| watts.iter().copied().fold(0.0, f64::max)),
        line("least", |watts| watts.iter().copied().fold(f64::INFINITY, f64::min)),
    ]
}

impl Picture for Power<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let area = area.margin(6, 0, 0, 8);
        let title = TextStyle::from(("sans-serif", 22).into_font().style(FontStyle::Bold)).color(&INK);
        let command = self.measurement.parts[0].manifest().command.join(" ");
        let shown: String = command.chars().take(70).filter(|c| !c.is_control()).collect();
        let body = area.titled(&format!("Power: {}", if shown.is_empty() { "what was watched" } else { &shown }), title)?;
        let lines = self.lines();
        let (begin, end) = self.time();
        let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max) * 1.15;
        if lines.is_empty() || end <= begin {
            let text = TextStyle::from(("sans-serif", 17).into_font()).color(&INK);
            return body.draw(&Text::new("no power and no energy counter was read", (40, 40), text));
        }
        let text = TextStyle::from(("sans-serif", 15).into_font()).color(&INK);
        let mut chart = ChartBuilder::on(&body)
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(begin..end, 0.0..most.max(1.0))?;
        // The run is light; phases inside it take turns in two greys, so that neighbours are told apart.
        let (from, to) = self.measurement.span();
        chart.draw_series([Rectangle::new([(from, 0.0), (to, most)], RGBColor(246, 246, 246).filled())])?;
        let greys = [RGBColor(228, 236, 244), RGBColor(238, 232, 222)];
        for (index, phase) in self.measurement.marks.phases.iter().enumerate() {
            chart.draw_series([Rectangle::new([(phase.begin, 0.0), (phase.end, most)], greys[index % 2].filled())])?;
        }
        let label = |value: &f64| significant(*value);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(MESH)
            .axis_style(MESH)
            .x_desc("seconds of the session")
            .y_desc("W")
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .label_style(text.clone())
            .draw()?;
        for (index, line) in lines.into_iter().enumerate() {
            let colour = PALETTE[index % PALETTE.len()];
            chart
                .draw_series(LineSeries::new(line.points, colour.stroke_width(2)))?
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        // A name stands where its phase is wide enough for it.
        let wide = (end - begin) / 105.0;
        for phase in &self.measurement.marks.phases {
            let room = ((phase.end - phase.begin) / wide) as usize;
            if room > phase.name.chars().count().min(4) {
                let name: String = phase.name.chars().take(room).collect();
                chart.draw_series([Text::new(name, (phase.begin + wide / 2.0, most * 0.985), text.clone())])?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.9))
            .border_style(MESH)
            .label_font(text)
            .draw()
    }
}
