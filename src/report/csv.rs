//! Results as one row a case, metric and unit in the head.

use super::{COLUMNS, Report};

impl Report<'_> {
    /// The results as CSV; an empty cell is what cannot be said.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut head: Vec<String> = vec!["case".into(), "at".into()];
        for column in COLUMNS {
            let name =
                format!("{}_{}", column.heading.to_lowercase().replace([' ', '-'], "_").replace(',', ""), column.unit.to_lowercase());
            head.extend([name.clone(), format!("{name}_low"), format!("{name}_high"), format!("{name}_saving_percent")]);
        }
        head.push("class".into());
        writer.write_record(&head).ok();
        for case in &self.results.cases {
            let mut row = vec![case.name.clone(), case.at.map_or(String::new(), |at| at.to_string())];
            for column in COLUMNS {
                match case.metric(column.metric) {
                    Some(found) => {
                        let interval = found.interval.scaled(column.scale());
                        row.extend([interval.value, interval.low, interval.high].map(|value| value.to_string()));
                    }
                    None => row.extend([const { String::new() }; 3]),
                }
                row.push(case.saving(column.metric).map_or(String::new(), |saving| saving.value.to_string()));
            }
            row.push(case.metrics.first().map_or(String::new(), |found| found.class.word().into()));
            writer.write_record(&row).ok();
        }
        // The writer is a vector and its records are text: neither step can fail.
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}
