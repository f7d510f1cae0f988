//! Cloud offers of accelerators, from a published catalogue.

use super::{Found, number, table};
use crate::document::{Diagnostic, Library, Origin, nearest};

/// An offer of one accelerator, over the rows of the catalogue that fit: its name and the cheapest and dearest row.
#[derive(Debug, Clone, PartialEq)]
pub struct BookOffer {
    /// `on_demand` or `spot`.
    pub name: &'static str,
    /// USD/h, cheapest.
    pub low: Found,
    /// USD/h, dearest.
    pub high: Found,
}

/// What `provider` or `provider/region` asks for one `accelerator` an hour.
///
/// # Errors
/// The catalogue has no such provider, or the provider has no such accelerator.
pub fn book_offers(library: &dyn Library, book: &str, accelerator: &str, origin: &Origin) -> Result<Vec<BookOffer>, Diagnostic> {
    let (side_car, rows) = table(library, "accelerator_offers", origin)?;
    let (provider, region) = book.split_once('/').map_or((book, None), |(provider, region)| (provider, Some(region)));
    let of_provider = |row: &&csv::StringRecord| row.get(0) == Some(provider) && region.is_none_or(|region| row.get(4) == Some(region));
    let fitting: Vec<_> = rows.iter().filter(of_provider).filter(|row| row.get(2) == Some(accelerator)).collect();
    if fitting.is_empty() {
        let mut known: Vec<String> = rows
            .iter()
            .filter(|row| row.get(2) == Some(accelerator))
            .flat_map(|row| {
                let provider = row.get(0).unwrap_or_default();
                [provider.to_string(), format!("{provider}/{}", row.get(4).unwrap_or_default())]
            })
            .collect();
        known.sort();
        known.dedup();
        let allowed = if known.is_empty() { format!("price.offers: no book lists the {accelerator}") } else { known.join(", ") };
        let mut error = Diagnostic::new(origin, "book", format!("no offer of the {accelerator} at \"{book}\""), allowed);
        error.nearest = nearest(book, known.iter().map(String::as_str));
        return Err(error);
    }
    let offer = |name, low_column, high_column| {
        let each = |row: &&csv::StringRecord, column| Some(number(row, column)? / number(row, 3)?);
        let prices = |column| fitting.iter().filter_map(move |row| each(row, column)).collect::<Vec<f64>>();
        let low = prices(low_column).into_iter().reduce(f64::min)?;
        let high = prices(high_column).into_iter().reduce(f64::max)?;
        let found =
            |value| Found { value, class: side_car.class, from: format!("{book}, {name}; {} ({})", side_car.citation, side_car.year) };
        Some(BookOffer { name, low: found(low), high: found(high) })
    };
    Ok([offer("on_demand", 5, 5), offer("spot", 6, 7)].into_iter().flatten().collect())
}
