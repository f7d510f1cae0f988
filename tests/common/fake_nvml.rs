//! A driver's library that is really loaded, a script for it, and what the script's devices truly drew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Workplace;

#[path = "../fake_nvml/trace.rs"]
mod trace;
#[allow(unused_imports, reason = "not every test file computes a truth")]
pub use trace::Trace;

/// The library, built once for all tests of a file.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_nvml/lib.rs");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("libfake_nvml_{}.so", std::process::id()));
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let built = Command::new(compiler)
            .args(["--edition", "2021", "--crate-type", "cdylib", "-C", "opt-level=1", "-o"])
            .args([&library, &source])
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the fake library cannot be built");
        library
    })
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A script that begins now, one line a device; its origin.
pub fn script(workplace: &Workplace, devices: &[&str]) -> f64 {
    let origin = now();
    workplace.write("script", format!("origin {origin:.6}\n{}\n", devices.join("\n")));
    origin
}

/// `lowcarb measure` on the scripted devices.
pub fn measure(workplace: &Workplace, arguments: &[&str]) -> assert_cmd::Command {
    let mut all = vec!["measure", "--nvml-lib", library().to_str().unwrap(), "--powercap", "/nonexistent"];
    all.extend(arguments);
    let mut command = workplace.command(&all);
    command.env("FAKE_NVML", workplace.path("script"));
    command
}
