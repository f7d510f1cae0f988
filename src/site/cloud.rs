//! Cloud regions: PUE, WUE and the grid they draw from.

use super::{Found, number, table};
use crate::document::{Diagnostic, Library, Origin, nearest};

/// What is known of a cloud region.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CloudRegion {
    /// The zone of its grid.
    pub zone: Option<String>,
    /// Power usage effectiveness.
    pub pue: Option<Found>,
    /// Water usage effectiveness, L/kWh.
    pub wue: Option<Found>,
    /// Location-based intensity, g/kWh.
    pub intensity: Option<Found>,
}

/// What is known of `provider/region`, each value from the latest year that has it.
///
/// # Errors
/// No such region.
pub fn cloud_region(library: &dyn Library, name: &str, origin: &Origin) -> Result<CloudRegion, Diagnostic> {
    let (side_car, rows) = table(library, "cloud_regions", origin)?;
    let (provider, region) = name.split_once('/').unwrap_or(("", name));
    let mut out = CloudRegion::default();
    let mut latest = [0_i64; 4];
    for row in rows.iter().filter(|row| row.get(0) == Some(provider) && row.get(1) == Some(region)) {
        let year: i64 = row.get(4).and_then(|cell| cell.parse().ok()).unwrap_or_default();
        let found = |value: f64| Found { value, class: side_car.class, from: format!("{name}, {year}; {}", side_car.citation) };
        if year >= latest[0] {
            out.zone = row.get(3).filter(|zone| !zone.is_empty()).map(String::from);
            latest[0] = year;
        }
        for (slot, column, target) in [(1, 5, &mut out.pue), (2, 6, &mut out.wue), (3, 8, &mut out.intensity)] {
            if let (true, Some(value)) = (year >= latest[slot], number(row, column)) {
                *target = Some(found(value));
                latest[slot] = year;
            }
        }
    }
    if latest[0] == 0 {
        let mut known: Vec<String> =
            rows.iter().map(|row| format!("{}/{}", row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default())).collect();
        known.dedup();
        let mut error =
            Diagnostic::new(origin, "cloud_region", format!("unknown cloud region \"{name}\""), "provider/region such as aws/us-east-1");
        error.nearest = nearest(name, known.iter().map(String::as_str));
        return Err(error);
    }
    Ok(out)
}

/// The PUE of a provider, or of the industry for the provider `unknown`.
///
/// # Errors
/// No such provider.
pub fn provider_pue(library: &dyn Library, provider: &str, origin: &Origin) -> Result<Found, Diagnostic> {
    let (side_car, rows) = table(library, "pue", origin)?;
    let found = rows.iter().find(|row| row.get(0) == Some(provider)).and_then(|row| number(row, 1));
    match found {
        Some(value) => Ok(Found { value, class: side_car.class, from: format!("{provider}; {} ({})", side_car.citation, side_car.year) }),
        None => {
            let known: Vec<&str> = rows.iter().filter_map(|row| row.get(0)).collect();
            Err(Diagnostic::unknown(origin, "provider", "provider", provider, &known))
        }
    }
}
