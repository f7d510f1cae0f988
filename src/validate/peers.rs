//! What others state of their errors on the same figures.

use serde::Deserialize;

use super::published::Table;
use crate::document::{Diagnostic, Library};

/// An error that others state, or that follows from what they publish.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The table that it is of.
    pub table: String,
    /// The figure.
    pub figure: String,
    /// The regime that was held out; empty for none.
    pub regime: String,
    /// Whose.
    #[serde(rename = "peer")]
    pub name: String,
    /// Mean absolute error, %, as printed or computed.
    pub error_percent: String,
    /// What a reader should know.
    pub remark: String,
    /// Key of its source in the side-car.
    pub source: String,
}

/// All of them.
///
/// # Errors
/// The table is damaged.
pub fn peers(library: &dyn Library) -> Result<Vec<Peer>, Diagnostic> {
    let columns = "table, figure, regime, peer, error_percent, remark, source";
    Ok(Table::<Peer>::read(library, "peers", columns)?.rows)
}
