//! Yearly carbon intensity of grids, from published tables.

use super::{Found, SideCar, number, table};
use crate::document::{Diagnostic, Library, Origin, nearest};

/// The tables that are searched, in this order: a zone that two of them know is taken from the first.
const TABLES: &[&str] = &["electricity_maps", "ember", "green_algorithms"];

/// One row of a table of intensities.
#[derive(Debug, Clone, PartialEq)]
pub struct Intensity {
    /// Code of the zone.
    pub zone: String,
    /// Its name.
    pub name: String,
    /// Year, if the source states one.
    pub year: Option<i64>,
    /// g/kWh.
    pub grams_per_kwh: f64,
}

/// A table of intensities.
#[derive(Debug, Clone, PartialEq)]
pub struct GridTable {
    /// What it is and where from.
    pub side_car: SideCar,
    /// Its rows.
    pub rows: Vec<Intensity>,
}

impl GridTable {
    fn read(library: &dyn Library, stem: &str, origin: &Origin) -> Result<Self, Diagnostic> {
        let (side_car, rows) = table(library, stem, origin)?;
        let rows = rows.iter().filter_map(|row| {
            Some(Intensity {
                zone: row.get(0)?.to_string(),
                name: row.get(1)?.to_string(),
                year: row.get(2).and_then(|cell| cell.parse().ok()),
                grams_per_kwh: number(row, 3)?,
            })
        });
        Ok(Self { rows: rows.collect(), side_car })
    }

    fn matching<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Intensity> {
        self.rows.iter().filter(move |row| row.zone.eq_ignore_ascii_case(wanted) || row.name.eq_ignore_ascii_case(wanted))
    }
}

/// Every table, for listing and checking.
///
/// # Errors
/// A table cannot be read.
pub fn grid_tables(library: &dyn Library, origin: &Origin) -> Result<Vec<GridTable>, Diagnostic> {
    TABLES.iter().map(|stem| GridTable::read(library, stem, origin)).collect()
}

/// The intensity of the zone called `name`: a code or a name, or `table/code`; of `year`, or of the latest year.
///
/// # Errors
/// No table knows the zone, or none has that year of it.
pub fn find_intensity(library: &dyn Library, name: &str, year: Option<i64>, origin: &Origin) -> Result<Found, Diagnostic> {
    let (wanted_table, wanted) = name.split_once('/').map_or((None, name), |(table, zone)| (Some(table), zone));
    let mut known: Vec<String> = Vec::new();
    let mut years: Vec<i64> = Vec::new();
    for stem in TABLES {
        let grid = GridTable::read(library, stem, origin)?;
        if wanted_table.is_some_and(|table| table != grid.side_car.name) {
            known.push(format!("{}/...", grid.side_car.name));
            continue;
        }
        let found = grid.matching(wanted).filter(|row| year.is_none() || row.year == year).max_by_key(|row| row.year);
        if let Some(row) = found {
            let year = row.year.map_or("year not stated".to_string(), |year| year.to_string());
            let basis = grid.side_car.basis.as_deref().unwrap_or("unstated");
            let from = format!("{} ({}), {year}, {basis}; {}", row.name, row.zone, grid.side_car.citation);
            return Ok(Found { value: row.grams_per_kwh, class: grid.side_car.class, from });
        }
        years.extend(grid.matching(wanted).filter_map(|row| row.year));
        known.extend(grid.rows.iter().flat_map(|row| [row.zone.clone(), row.name.clone()]));
    }
    if let (false, Some(year)) = (years.is_empty(), year) {
        years.sort_unstable();
        years.dedup();
        let list: Vec<String> = years.iter().map(i64::to_string).collect();
        return Err(Diagnostic::new(origin, "year", format!("no figure for {wanted} in {year}"), list.join(", ")));
    }
    let mut error = Diagnostic::new(
        origin,
        "grid",
        format!("unknown grid \"{name}\""),
        "a zone such as DE, US-CAL-CISO, world, ember/DEU (list them with `lowcarb profiles list grids`)",
    );
    error.nearest = nearest(wanted, known.iter().map(String::as_str));
    Err(error)
}
