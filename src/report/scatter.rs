//! Predicted against measured, on logarithmic axes.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::plot::{Drawn, INK, MESH, PALETTE, Picture, SIZE};
use crate::calibrate::{Figure, Point};
use crate::units::significant;

/// Share of the measured figure on either side of which a grey line is drawn.
const BAND: f64 = 0.1;

/// Held-out rows: seconds on the left, watts on the right.
pub(super) struct Scatter<'a> {
    /// The points.
    pub points: Vec<&'a Point>,
}

impl Picture for Scatter<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        area.fill(&WHITE)?;
        let title = TextStyle::from(("sans-serif", 22).into_font().style(FontStyle::Bold)).color(&INK);
        let body = area.titled("Predicted against measured, rows that the fit had not seen", title)?;
        let (left, right) = body.split_horizontally(SIZE.0 / 2);
        self.panel(&left, "seconds of a step", &[Figure::Seconds])?;
        self.panel(&right, "mean power, W", &[Figure::Watts, Figure::NodeWatts])
    }
}

impl Scatter<'_> {
    fn panel<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, caption: &str, figures: &[Figure]) -> Drawn<B> {
        let points: Vec<&Point> = self.points.iter().copied().filter(|point| figures.contains(&point.figure)).collect();
        let values = || points.iter().flat_map(|point| [point.measured, point.computed]);
        let (low, high) = (values().fold(f64::INFINITY, f64::min) / 1.2, values().fold(0.0, f64::max) * 1.2);
        if points.is_empty() || !low.is_finite() || low <= 0.0 {
            return Ok(());
        }
        let text = TextStyle::from(("sans-serif", 15).into_font()).color(&INK);
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .caption(caption, TextStyle::from(("sans-serif", 17).into_font()).color(&INK))
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((low..high).log_scale(), (low..high).log_scale())?;
        let label = |value: &f64| significant(*value);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(MESH)
            .axis_style(MESH)
            .x_desc("measured")
            .y_desc("predicted")
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .x_labels(6)
            .y_labels(6)
            .label_style(text.clone())
            .draw()?;
        for (factor, colour) in [(1.0, INK), (1.0 + BAND, RGBColor(170, 170, 170)), (1.0 / (1.0 + BAND), RGBColor(170, 170, 170))] {
            let (from, to) = (low.max(low / factor), high.min(high / factor));
            chart.draw_series([PathElement::new([(from, from * factor), (to, to * factor)], colour.stroke_width(1))])?;
        }
        let mut tables: Vec<&str> = Vec::new();
        points.iter().for_each(|point| {
            if !tables.contains(&point.table.as_str()) {
                tables.push(&point.table);
            }
        });
        for (index, table) in tables.iter().enumerate() {
            let colour = PALETTE[index % PALETTE.len()];
            let here = points.iter().filter(|point| point.table == *table);
            chart
                .draw_series(here.map(|point| Circle::new((point.measured, point.computed), 3, colour.mix(0.6).filled())))?
                .label(*table)
                .legend(move |(x, y)| Circle::new((x + 11, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.9))
            .border_style(MESH)
            .label_font(text)
            .draw()
    }
}
