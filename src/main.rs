//! The `lowcarb` program: parse, call, print.

use std::process::ExitCode;

fn main() -> ExitCode {
    lowcarb::cli::main()
}
