//! What training a transformer will cost in time, energy, money, CO2e and water, before anyone spends it.
//!
//! Each module takes the plain values of the modules below it and knows nothing of those above; `DESIGN.md` draws the
//! way through, and a test holds the levels.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod arch;
pub mod calibrate;
pub mod cli;
pub mod document;
pub mod estimate;
pub mod hardware;
pub mod impact;
pub mod inference;
pub mod ledger;
pub mod measure;
pub mod numeric;
pub mod perf;
pub mod quality;
pub mod report;
pub mod scenario;
pub mod session;
pub mod site;
pub mod source;
pub mod store;
pub mod training;
pub mod units;
pub mod validate;
pub mod workload;
