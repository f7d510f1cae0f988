//! Axial attention: positions on a grid see those of their row, or those of their column (Ho et al. 2019, arXiv
//! 1912.12180). Layers of the two kinds in turn, which groups of layers say, let every position reach every other.
//!
//! Products, forward, per sequence and layer: 2 n s h d_h for the scores, as many for the values, with s the positions of a
//! row or of a column; n fills up the grid. On a square grid they grow as n^1.5. In a decoder positions of a row are
//! masked, and columns are shifted to the rows above: the square is computed all the same.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::{attend, pad};
use super::{Abilities, Attention, Context, Inputs, Mechanism, queries_keys_values};
use crate::document::Problem;
use crate::ledger::{Shape, Tape, Tensor};

/// Along what a layer mixes positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AxialAxis {
    /// Within each row.
    #[default]
    Rows,
    /// Within each column.
    Columns,
}

/// Settings of axial attention.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Positions of a row; that of a square grid where not said.
    #[serde(default)]
    pub row: Option<u64>,
    /// rows or columns.
    #[serde(default)]
    pub axis: AxialAxis,
}

impl Settings {
    /// Positions of a row, and rows.
    fn grid(&self, length: u64) -> (u64, u64) {
        let row = self.row.unwrap_or_else(|| (length as f64).sqrt().ceil() as u64).max(1);
        (row, length.div_ceil(row))
    }

    /// Positions that one sees.
    fn seen(&self, length: u64) -> u64 {
        let (row, rows) = self.grid(length);
        if self.axis == AxialAxis::Rows { row } else { rows }
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, fused_projection: true, ..Abilities::default() }
    }

    fn check(&self, _model: &Model, _attention: &Attention) -> Result<(), Problem> {
        check_size("axial.row", self.row.unwrap_or(1))
    }

    fn partial(&self) -> bool {
        true
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let (row, rows) = self.grid(context.batch.length as u64);
        let (length, seen) = ((row * rows) as f64, self.seen(context.batch.length as u64) as f64);
        let x = pad(tape, context, inputs.x, length);
        let heads = queries_keys_values(tape, context, &Inputs { x, memory: x, ..*inputs });
        let heads = if self.axis == AxialAxis::Columns { heads.map(|x| tape.pass("lay out columns", x)) } else { heads };
        let mask = inputs.causal.then(|| tape.mask(seen * seen));
        let batch = context.batch.sequences * context.attention.heads as f64 * length / seen;
        let head_width = context.attention.head_width(context.model.width) as f64;
        attend(tape, context, heads, Shape { batch, m: seen, n: seen, k: head_width }, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_square_or_has_the_rows_that_it_needs() {
        let rows = Settings::default();
        assert_eq!((rows.grid(4096), rows.seen(4096)), ((64, 64), 64));
        assert_eq!(rows.grid(4097), (65, 64));
        let columns = Settings { row: Some(128), axis: AxialAxis::Columns };
        assert_eq!((columns.grid(1000), columns.seen(1000)), ((128, 8), 8));
    }
}
