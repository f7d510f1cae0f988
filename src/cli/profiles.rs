//! `lowcarb profiles`: what is known of hardware, grids and models.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::report::profiles as report;
use crate::store::Store;

/// List, show or check the profiles that estimates are made from.
#[derive(Args)]
pub(crate) struct Profiles {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the profiles of a kind: accelerators, nodes, models, scenarios, grids, clouds.
    List {
        /// Which kind; all names, briefly, where not said.
        #[arg(value_enum)]
        kind: Option<report::Listed>,
        /// What is printed.
        #[arg(long, value_enum, default_value = "table")]
        format: ProfileFormat,
    },
    /// Show one profile, every value with its source.
    Show {
        /// A name, an alias or a path.
        name: String,
    },
    /// Check profiles: physics, plausible ranges, sources, duplicates. All of them where no path is given.
    Check {
        /// Files to check.
        paths: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProfileFormat {
    /// Aligned tables for people.
    Table,
    /// Versioned JSON for programs.
    Json,
    /// Rows for a spreadsheet.
    Csv,
    /// A table for a page.
    Markdown,
}

impl Profiles {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let store = Store::standard();
        match self.action {
            Action::List { kind, format } => {
                let listing = report::list(&store, kind)?;
                print(&match format {
                    ProfileFormat::Table => listing.table(),
                    ProfileFormat::Json => listing.json(),
                    ProfileFormat::Csv => listing.csv(),
                    ProfileFormat::Markdown => listing.markdown(),
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Show { name } => {
                print(&report::show(&store, &name)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Check { paths } => {
                let (text, failed) = report::check(&store, &paths)?;
                print(&text)?;
                Ok(if failed { ExitCode::from(2) } else { ExitCode::SUCCESS })
            }
        }
    }
}
