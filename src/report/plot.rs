//! Plots as SVG and PNG.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::{COLUMNS, Column, word};
use crate::estimate::{CaseResult, Metric, Results};
use crate::numeric::Interval;

pub(super) const SIZE: (u32, u32) = (1000, 520);
/// Height of the title, and of a row of the key below a plot.
const TITLE: u32 = 40;
const ROW: u32 = 24;
const KEY_COLUMNS: usize = 4;
/// More lines than this have a key below the plot instead of a legend in it.
const MOST_IN_A_LEGEND: usize = 5;
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
pub(super) const MESH: RGBColor = RGBColor(225, 225, 225);
/// Okabe and Ito 2008: told apart by every kind of colour vision.
pub(super) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(110, 110, 110),
];

/// Makes the shipped font known, once.
fn fonts() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        let regular = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
        let bold = include_bytes!("../../assets/fonts/DejaVuSans-Bold.ttf");
        register_font("sans-serif", FontStyle::Normal, regular).map_err(|_| "the shipped font is damaged".to_string())?;
        register_font("sans-serif", FontStyle::Bold, bold).map_err(|_| "the shipped font is damaged".to_string())
    })
    .clone()
}

/// Something that can be drawn on any surface.
pub(super) trait Picture {
    /// Draws it.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B>;
}

impl Picture for Results {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        draw(area, self)
    }
}

/// Every plot of the results, as name and content; an SVG first.
pub(super) fn all(results: &Results) -> Result<Vec<(String, Vec<u8>)>, String> {
    both(if results.sweep_key.is_some() { "sweep" } else { "cases" }, results)
}

/// A picture as SVG and as PNG.
pub(super) fn both(name: &str, picture: &impl Picture) -> Result<Vec<(String, Vec<u8>)>, String> {
    fonts()?;
    let mut svg = String::new();
    picture.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area()).map_err(|error| error.to_string())?;
    let mut pixels = vec![0_u8; (SIZE.0 * SIZE.1 * 3) as usize];
    picture.draw(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area()).map_err(|error| error.to_string())?;
    Ok(vec![(format!("{name}.svg"), svg.into_bytes()), (format!("{name}.png"), png(&pixels)?)])
}

fn png(pixels: &[u8]) -> Result<Vec<u8>, String> {
    use image::ImageEncoder;
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new(&mut out)
        .write_image(pixels, SIZE.0, SIZE.1, image::ColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, results: &Results) -> Drawn<B> {
    area.fill(&WHITE)?;
    let title = TextStyle::from(("sans-serif", 22).into_font().style(FontStyle::Bold)).color(&INK);
    let body = area.titled(&results.title, title)?;
    let names = names(results);
    if results.sweep_key.is_some() && names.len() > MOST_IN_A_LEGEND {
        let (charts, key) = body.split_vertically(SIZE.1 - TITLE - ROW * names.len().div_ceil(KEY_COLUMNS) as u32);
        draw_key(&key, &names)?;
        return sweep(&charts, results);
    }
    if results.sweep_key.is_some() {
        return sweep(&body, results);
    }
    let (left, right) = body.split_horizontally(SIZE.0 / 2);
    let shown = |metric: Metric| results.cases.iter().any(|case| case.metric(metric).is_some());
    let metric = [Metric::Energy, Metric::Cost, Metric::Duration].into_iter().find(|metric| shown(*metric));
    let Some(column) = COLUMNS.iter().find(|column| Some(column.metric) == metric) else { return Ok(()) };
    let savings = results.cases.iter().any(|case| case.saving(column.metric).is_some());
    let mark = results.threshold.as_ref().map(|(_, mark, _)| *mark);
    let amounts: Vec<(String, Option<Interval>)> = results
        .cases
        .iter()
        .map(|case| (case.name.clone(), case.metric(column.metric).map(|found| found.interval.scaled(column.scale()))))
        .collect();
    bars(&left, &format!("{}, {}", column.heading, column.unit), &amounts, None, 0)?;
    if savings {
        let amounts: Vec<(String, Option<Interval>)> =
            results.cases.iter().skip(1).map(|case| (case.name.clone(), case.saving(column.metric))).collect();
        bars(&right, &format!("saving of {} against {}, %", word(column.metric), results.baseline), &amounts, mark, 1)
    } else {
        let other = COLUMNS.iter().find(|column| column.metric == Metric::Operational && shown(Metric::Operational));
        let other: &Column = other.unwrap_or(column);
        let amounts: Vec<(String, Option<Interval>)> = results
            .cases
            .iter()
            .map(|case| (case.name.clone(), case.metric(other.metric).map(|found| found.interval.scaled(other.scale()))))
            .collect();
        bars(&right, &format!("{}, {}", other.heading, other.unit), &amounts, None, 0)
    }
}

/// Time and memory over the values of a sweep.
fn sweep<B: DrawingBackend>(area: &DrawingArea<B, Shift>, results: &Results) -> Drawn<B> {
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let step = |case: &CaseResult| case.phases.first().map(|phase| phase.step.total().value() * 1e3);
    let memory = |case: &CaseResult| case.memory.as_ref().map(|memory| memory.needed.value() / 1e9);
    lines(&left, results, "time of a step, ms", &step)?;
    lines(&right, results, "memory, GB", &memory)
}

/// The names of the cases, each once.
fn names(results: &Results) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    results.cases.iter().for_each(|case| {
        if !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    });
    names
}

/// How a case is drawn among many: its colour, and whether its line is thin and its points hollow, once colours repeat.
fn look(index: usize) -> (RGBColor, bool) {
    (PALETTE[index % PALETTE.len()], index >= PALETTE.len())
}

/// Which line is which, where a legend would cover the lines.
fn draw_key<B: DrawingBackend>(area: &DrawingArea<B, Shift>, names: &[&str]) -> Drawn<B> {
    let text = TextStyle::from(("sans-serif", 15).into_font()).color(&INK);
    let width = (SIZE.0 as usize / KEY_COLUMNS) as i32;
    for (index, name) in names.iter().enumerate() {
        let (x, y) = ((index % KEY_COLUMNS) as i32 * width + 40, (index / KEY_COLUMNS) as i32 * ROW as i32 + 10);
        let (colour, again) = look(index);
        area.draw(&PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(if again { 1 } else { 3 })))?;
        area.draw(&Circle::new((x + 15, y), 4, if again { WHITE.filled() } else { colour.filled() }))?;
        area.draw(&Circle::new((x + 15, y), 4, colour.stroke_width(1)))?;
        area.draw(&Text::new(shorten(name), (x + 38, y - 8), text.clone()))?;
    }
    Ok(())
}

/// Horizontal bars with the interval as a line, and the value at the end.
fn bars<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    caption: &str,
    amounts: &[(String, Option<Interval>)],
    mark: Option<f64>,
    first_colour: usize,
) -> Drawn<B> {
    let known = amounts.iter().filter_map(|(_, interval)| *interval);
    let top = known.clone().map(|interval| interval.high.max(interval.value)).fold(f64::MIN_POSITIVE, f64::max);
    let bottom = known.clone().map(|interval| interval.low.min(interval.value)).fold(0.0, f64::min);
    let least = known.map(|interval| interval.value).filter(|value| *value > 0.0).fold(top, f64::min);
    // Amounts a thousand times apart are shown by their orders of magnitude.
    let logarithmic = bottom >= 0.0 && top / least > 300.0;
    let decade = least.log10().floor();
    let place = |value: f64| if logarithmic { (value.max(f64::MIN_POSITIVE).log10() - decade).max(0.0) } else { value };
    let range = if logarithmic { 0.0..(place(top) * 1.3).ceil() } else { bottom * 1.15..top * 1.28 };
    let count = amounts.len();
    let text = TextStyle::from(("sans-serif", 15).into_font()).color(&INK);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(caption, TextStyle::from(("sans-serif", 17).into_font()).color(&INK))
        .x_label_area_size(34)
        .y_label_area_size(165)
        .build_cartesian_2d(range, (count as f64)..0.0)?;
    let label =
        |value: &f64| if logarithmic { crate::units::significant(10_f64.powf(*value + decade)) } else { crate::units::significant(*value) };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(MESH)
        .axis_style(MESH)
        .x_labels(5)
        .x_label_formatter(&label)
        .label_style(text.clone())
        .draw()?;
    if let Some(mark) = mark {
        let colour = RGBColor(160, 0, 0);
        chart.draw_series([PathElement::new([(mark, 0.0), (mark, count as f64)], colour.stroke_width(2))])?;
        chart.draw_series([Text::new(format!(" {mark} %"), (mark, count as f64 - 0.12), text.clone().color(&colour))])?;
    }
    for (index, (name, interval)) in amounts.iter().enumerate() {
        let middle = index as f64 + 0.5;
        let pixel = chart.backend_coord(&(chart.x_range().start, middle));
        let (x0, _) = area.get_base_pixel();
        let right = text.clone().pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Right,
            plotters::style::text_anchor::VPos::Center,
        ));
        let (_, y0) = area.get_base_pixel();
        area.draw(&Text::new(shorten(name), (pixel.0 - x0 - 8, pixel.1 - y0), right))?;
        let left = text.clone().pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Left,
            plotters::style::text_anchor::VPos::Center,
        ));
        let Some(interval) = interval else {
            area.draw(&Text::new("not known", (pixel.0 - x0 + 8, pixel.1 - y0), left))?;
            continue;
        };
        let colour = PALETTE[(index + first_colour) % PALETTE.len()];
        chart.draw_series([Rectangle::new(
            [(place(0.0).min(place(interval.value)), middle - 0.32), (place(interval.value), middle + 0.32)],
            colour.mix(0.8).filled(),
        )])?;
        if interval.high > interval.low {
            chart.draw_series([PathElement::new([(place(interval.low), middle), (place(interval.high), middle)], INK.stroke_width(2))])?;
            for end in [interval.low, interval.high] {
                chart.draw_series([PathElement::new([(place(end), middle - 0.12), (place(end), middle + 0.12)], INK.stroke_width(2))])?;
            }
        }
        let end = place(interval.high.max(interval.value));
        let span = chart.x_range().end - chart.x_range().start;
        chart.draw_series([Text::new(crate::units::significant(interval.value), (end + 0.015 * span, middle), left)])?;
    }
    Ok(())
}

fn shorten(name: &str) -> String {
    if name.chars().count() > 22 { name.chars().take(21).chain(['…']).collect() } else { name.to_string() }
}

/// One line a case over the sweep's values, both axes logarithmic.
fn lines<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    results: &Results,
    caption: &str,
    value: &dyn Fn(&CaseResult) -> Option<f64>,
) -> Drawn<B> {
    let points = |name: &str| -> Vec<(f64, f64)> {
        let of = results.cases.iter().filter(|case| case.name == name);
        of.filter_map(|case| Some((case.at?, value(case)?))).filter(|(x, y)| *x > 0.0 && *y > 0.0).collect()
    };
    let names = names(results);
    let all: Vec<(f64, f64)> = names.iter().flat_map(|name| points(name)).collect();
    if all.is_empty() {
        return Ok(());
    }
    let ends = |pick: fn(&(f64, f64)) -> f64| {
        let values = all.iter().map(pick);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    };
    let ((x_low, x_high), (y_low, y_high)) = (ends(|point| point.0), ends(|point| point.1));
    let text = TextStyle::from(("sans-serif", 15).into_font()).color(&INK);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(caption, TextStyle::from(("sans-serif", 17).into_font()).color(&INK))
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((x_low..x_high * 1.05).log_scale(), (y_low * 0.8..y_high * 1.3).log_scale())?;
    let key = results.sweep_key.as_deref().unwrap_or_default();
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(MESH)
        .axis_style(MESH)
        .x_desc(key.rsplit('.').next().unwrap_or(key).replace('_', " "))
        .x_label_formatter(&|x| crate::units::significant(*x))
        .y_label_formatter(&|y| crate::units::significant(*y))
        .y_labels(6)
        .label_style(text.clone())
        .draw()?;
    for (index, name) in names.iter().enumerate() {
        let (colour, again) = look(index);
        let line = chart.draw_series(LineSeries::new(points(name), colour.stroke_width(if again { 1 } else { 3 })))?;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
        let fill = if again { WHITE } else { colour };
        chart.draw_series(points(name).into_iter().map(|point| Circle::new(point, 4, fill.filled())))?;
        chart.draw_series(points(name).into_iter().map(|point| Circle::new(point, 4, colour.stroke_width(1))))?;
    }
    if names.len() > MOST_IN_A_LEGEND {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(MESH)
        .label_font(text)
        .draw()
}
