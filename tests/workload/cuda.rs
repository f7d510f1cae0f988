//! The workload on a stand-in for CUDA's libraries, which knows what memory is allocated and refuses calls that go beyond it; and
//! without one of them.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use lowcarb::workload::standard;

use super::common::Workplace;

/// The stand-in, compiled once.
fn fake() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workload/fake_cuda.rs");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("libfake_cuda-{}.so", std::process::id()));
        let rustc = std::env::var("RUSTC").unwrap_or("rustc".into());
        let made = Command::new(rustc).args(["--edition=2021", "--crate-type=cdylib", "-o"]).arg(&library).arg(source).status().unwrap();
        assert!(made.success());
        library
    })
}

/// Every file that may be taken for a library of CUDA, on any version of it.
fn names(library: &str) -> Vec<String> {
    let endings = ["", "64", "64_13", "64_134", "64_134_0", "64_130_4", "64_10", "64_11", "64_12", "64_130_0", "64_9"];
    let plain = endings.iter().map(|ending| format!("lib{library}{ending}.so"));
    plain.chain([13, 12, 11, 10, 9, 1].map(|version| format!("lib{library}.so.{version}"))).collect()
}

/// Runs the workload where CUDA's libraries are stand-ins, and those that are not named are broken, so that a real one is not found.
fn run(place: &Workplace, present: &[&str], arguments: &[&str], settings: &[(&str, &str)]) -> (Output, String) {
    // A link of an earlier run would lead a write into the stand-in.
    std::fs::remove_dir_all(place.path("libraries")).ok();
    for library in ["cuda", "cublas", "nvrtc"] {
        for name in names(library) {
            place.write(&format!("libraries/{name}"), "not a library");
        }
        if present.contains(&library) {
            // Links to one file are one library, with one memory.
            let name = place.path(&format!("libraries/lib{library}.so"));
            std::fs::remove_file(&name).unwrap();
            std::os::unix::fs::symlink(fake(), name).unwrap();
        }
    }
    let mut command = place.command(&[&["workload", "--seconds-per-kernel", "0.01"], arguments].concat());
    command.env("LD_LIBRARY_PATH", place.path("libraries")).env("FAKE_CUDA_LOG", place.path("log"));
    command.env("LOWCARB_MARKS", place.path("marks")).envs(settings.iter().copied());
    let output = command.output().unwrap();
    let talk = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!talk.contains("panicked"), "{talk}");
    assert_eq!(output.stdout, b"");
    (output, talk)
}

const ALL: [&str; 3] = ["cuda", "cublas", "nvrtc"];

fn phases(place: &Workplace) -> Vec<String> {
    let marks = std::fs::read_to_string(place.path("marks")).unwrap();
    marks.lines().filter_map(|line| Some(line.strip_prefix("begin ")?.split(' ').next()?.to_string())).collect()
}

#[test]
fn every_case_runs_within_the_memory_that_it_allocated() {
    let place = Workplace::new();
    let (output, talk) = run(&place, &ALL, &[], &[]);
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let bad: Vec<&str> = log.lines().filter(|line| line.starts_with("bad")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(output.status.code(), Some(0), "{talk}");
    let names: Vec<String> = standard().iter().map(lowcarb::workload::Case::name).collect();
    assert_eq!(phases(&place), names);
    for line in [
        "compile --gpu-architecture=sm_90",
        // Transposed and in reverse: 8192 x 768 x 192, row by row.
        "gemm 14/68 1:768x8192x192",
        "gemm 0/77 192:512x512x64",
        "gemm 2/68 1:8192x8192x8192",
        "gemm 0/68 1:512x512x512",
        "copy 4194304",
        "empty 1 1x1 0",
        "softmax_bf16 65536 32x2 8192",
        "gather_fp32 8192 of 30522",
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line} is not in\n{log}");
    }
    assert!(talk.starts_with("Fake GPU, compute capability 9.0\n"), "{talk}");
    assert!(talk.contains(&format!("\n[{0}/{0}] gather/bf16/32768x4096:32000: ", names.len())), "{talk}");
    let facts = std::fs::read_to_string(place.path("marks")).unwrap();
    let facts = facts.lines().filter(|line| line.starts_with("fact kernels {")).count();
    assert_eq!(facts, names.len());
}

#[test]
fn what_an_old_or_small_device_cannot_run_is_named_and_the_rest_runs() {
    let place = Workplace::new();
    let settings = [("FAKE_CUDA_CAPABILITY", "70"), ("FAKE_CUDA_MEMORY", "1000000000"), ("CUDA_LAUNCH_BLOCKING", "1")];
    let (output, talk) = run(&place, &ALL, &["--only", "gemm,copy,gelu", "--precision", "tf32,fp32,bf16"], &settings);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(talk.contains("CUDA_LAUNCH_BLOCKING=1 is set, which changes what is measured"), "{talk}");
    for line in [
        "gemm/tf32/512x512x512: not run: tf32 needs compute capability 8.0",
        "gemm/bf16/192:512x512x64: not run: bf16 needs compute capability 8.0",
        "copy/fp32/268435456: not run: out of memory: it needs 2.15 GB, 0.00 GB are free",
        "gelu/bf16/67108864: ",
        "gemm/fp32/8192x8192x8192: ",
    ] {
        assert!(talk.contains(line), "{line} is not in\n{talk}");
    }
    let phases = phases(&place);
    assert!(phases.iter().all(|name| !name.starts_with("gemm/tf32")) && phases.contains(&"gelu/bf16/67108864".to_string()));
    let (output, talk) = run(&place, &ALL, &["--only", "gemm", "--precision", "bf16"], &settings);
    assert!(output.status.code() == Some(1) && talk.ends_with("error: no case could run\n"), "{talk}");
    let settings = [("NVIDIA_TF32_OVERRIDE", "0"), ("FAKE_CUDA_NO_FP16", "1")];
    let (_, talk) = run(&place, &ALL, &["--only", "gemm", "--precision", "tf32,fp16"], &settings);
    assert!(talk.contains("not run: NVIDIA_TF32_OVERRIDE=0 makes it fp32"), "{talk}");
    assert!(talk.contains("gemm/fp16/512x512x512: not run: cuBLAS: CUBLAS_STATUS_NOT_SUPPORTED"), "{talk}");
}

#[test]
fn a_device_that_fails_is_named_with_the_case() {
    let place = Workplace::new();
    let (output, talk) = run(&place, &ALL, &["--only", "gemm", "--precision", "fp32"], &[("FAKE_CUDA_LOST", "40")]);
    assert_eq!(output.status.code(), Some(1), "{talk}");
    let last = talk.lines().last().unwrap();
    assert!(last.starts_with("error: gemm/fp32/") && last.ends_with(": CUDA_ERROR_LAUNCH_FAILED: what the driver says"), "{last}");
}

#[test]
fn a_library_or_a_device_that_is_missing_is_named_with_what_helps() {
    let place = Workplace::new();
    for (present, settings, message) in [
        (&[][..], None, "libcuda.so.1 is not found: it comes with NVIDIA's driver"),
        (&["cuda"][..], None, "libcublas is not found: it comes with the CUDA toolkit"),
        (&["cuda", "cublas"][..], None, "libnvrtc is not found: it comes with the CUDA toolkit"),
        (&ALL[..], Some(("FAKE_CUDA_INIT", "100")), "CUDA_VISIBLE_DEVICES names those to use): CUDA_ERROR_NO_DEVICE"),
        (&ALL[..], Some(("FAKE_CUDA_CAPABILITY", "200")), "NVRTC_ERROR_COMPILATION for sm_200: no such architecture"),
    ] {
        let (output, talk) = run(&place, present, &[], settings.as_slice());
        assert_eq!((output.status.code(), talk.lines().count()), (Some(1), 1), "{talk}");
        assert!(talk.starts_with("error: ") && talk.contains(message), "{talk}");
    }
}
