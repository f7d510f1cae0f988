//! What measured programs said of themselves with what was measured, as tables that `calibrate` and `validate` read.

use std::io::{self, Write};

use super::{Export, csv};
use crate::session::Measurement;
use crate::session::table::Table;

/// Runs, with the columns of measurements/runs.
pub(super) fn runs(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    tables(export, Table::runs, "no run: the program states one with `fact runs {...}` in a phase with steps", out)
}

/// Kernels, each row a call.
pub(super) fn kernels(export: &Export<'_>, out: &mut dyn Write) -> io::Result<Vec<String>> {
    tables(export, Table::kernels, "no kernel: the program states one with `fact kernels {...}` in a phase", out)
}

fn tables(
    export: &Export<'_>,
    table: fn(&Measurement, &mut Vec<String>) -> Table,
    none: &str,
    out: &mut dyn Write,
) -> io::Result<Vec<String>> {
    let (mut all, mut problems) = (Table::default(), Vec::new());
    for measurement in export.measurements {
        all.add(table(measurement, &mut problems));
    }
    if all.rows.is_empty() {
        problems.push(none.to_string());
    }
    out.write_all(csv(&all).as_bytes())?;
    Ok(problems)
}
