//! From tables of measured runs to what devices and software stacks achieve, and to predictions of other runs.

mod basis;
mod calibration;
pub mod fit;
mod group;
mod hold_out;
mod kernel_run;
mod make;
mod mechanism;
mod peaks;
mod predict;
mod prepare;
mod run;
mod section;
mod stack;
mod table;

pub use basis::{Basis, Grounds};
pub use calibration::{Calibration, FittedDevice, FittedTable, Units, Value, summary};
pub use hold_out::{Errors, Figure, Point, Widening};
pub use kernel_run::{KernelKind, KernelRun, STACK as KERNELS};
pub use make::{HeldOut, Made, Table, calibrate};
pub use peaks::speeds;
pub use predict::{Prediction, class_default, predict};
pub use prepare::{Around, Prepared, Schedule, Workshop};
pub use run::{COLUMNS, OPTIONAL, Run, RunPhase};
pub use stack::Stack;
pub use table::{Measured, RunTable};
