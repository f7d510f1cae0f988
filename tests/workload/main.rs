//! The GPU workload: its cases as a user sees them, and its phases and marks on a device that only waits.

#[path = "../common/mod.rs"]
mod common;

use std::cell::RefCell;
use std::time::Duration;

use common::Workplace;
use lowcarb::workload::{Case, Device, Done, Kernel, Marks, Outcome, Ready, Trouble, run, standard};
use serde_json::Value;

/// A device whose every call takes a millisecond, but for cases that it cannot run.
#[derive(Default)]
struct Waiting {
    /// Calls that were asked for, by case, in and outside of phases.
    calls: RefCell<Vec<(String, u64)>>,
    unable: Option<Kernel>,
    /// Fails at a call of this kernel after the first so many.
    fails: Option<(Kernel, u64)>,
}

struct Prepared<'a> {
    device: &'a Waiting,
    case: Case,
    run: u64,
}

impl Device for Waiting {
    fn prepare(&self, case: &Case) -> Result<Box<dyn Ready + '_>, Trouble> {
        assert_ne!(case.kernel, Kernel::Idle, "idle runs nothing");
        if self.unable == Some(case.kernel) {
            return Err(Trouble::Unable("out of memory".into()));
        }
        self.calls.borrow_mut().push((case.name(), 0));
        Ok(Box::new(Prepared { device: self, case: *case, run: 0 }))
    }
}

impl Ready for Prepared<'_> {
    fn run(&mut self, calls: u64) -> Result<(), Trouble> {
        self.run += calls;
        if self.device.fails.is_some_and(|(kernel, after)| kernel == self.case.kernel && self.run > after) {
            return Err(Trouble::Failed("the device is lost".into()));
        }
        std::thread::sleep(Duration::from_micros(1000 * calls));
        self.device.calls.borrow_mut().last_mut().unwrap().1 += calls;
        Ok(())
    }
}

/// The first case of each of these kernels.
fn cases(kernels: &[Kernel]) -> Vec<Case> {
    kernels.iter().map(|kernel| *standard().iter().find(|case| case.kernel == *kernel).unwrap()).collect()
}

/// What the run told, what it ended with and the lines of marks.
fn marked(device: &Waiting, cases: &[Case]) -> (Vec<Done>, Result<(), String>, Vec<String>) {
    let place = Workplace::new();
    let mut marks = Marks::into_file(&place.path("marks")).unwrap();
    let mut told = Vec::new();
    let result = run(device, cases, 0.02, &mut marks, &mut |done| told.push(done.clone()));
    let lines = std::fs::read_to_string(place.path("marks")).unwrap().lines().map(str::to_string).collect();
    (told, result, lines)
}

#[test]
fn a_phase_holds_its_calls_and_no_warm_up() {
    let device = Waiting::default();
    let (told, result, lines) = marked(&device, &cases(&[Kernel::Gemm]));
    assert_eq!(result, Ok(()));
    let [Done { outcome: Outcome::Ran { calls, seconds }, .. }] = told[..] else { panic!("{told:?}") };
    let [begin, fact, end] = &lines[..] else { panic!("{lines:?}") };
    let time = |line: &str, word: &str| -> f64 {
        line.strip_prefix(&format!("{word} gemm/fp32/512x512x512 monotonic=")).unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    };
    let lasted = time(end, "end") - time(begin, "begin");
    assert!(
        calls >= 1 && lasted >= seconds && seconds >= 0.02 && seconds >= 1e-3 * calls as f64,
        "{calls} calls in {seconds} s, {lasted} s"
    );
    let columns: Value = serde_json::from_str(fact.strip_prefix("fact kernels ").unwrap()).unwrap();
    assert_eq!(columns["calls"].as_u64(), Some(calls));
    assert_eq!(columns["flop"].as_u64(), Some(2 * 512 * 512 * 512));
    let asked = device.calls.borrow()[0].1;
    assert!(asked > calls, "{asked} calls with warm-up, {calls} in the phase");
}

#[test]
fn a_case_that_cannot_run_is_named_and_the_next_one_runs() {
    let device = Waiting { unable: Some(Kernel::Softmax), ..Waiting::default() };
    let (told, result, lines) = marked(&device, &cases(&[Kernel::Launch, Kernel::Softmax, Kernel::Idle]));
    assert_eq!(result, Ok(()));
    assert!(matches!(told[0].outcome, Outcome::Ran { .. }) && matches!(told[2].outcome, Outcome::Ran { calls: 0, .. }));
    assert_eq!(told[1].to_string(), "softmax/fp32/98304x512: not run: out of memory");
    let phases: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("begin ")?.split(' ').next()).collect();
    assert_eq!(phases, ["launch", "idle"]);
}

#[test]
fn a_device_that_fails_ends_the_run_and_its_phase_states_no_facts() {
    // Warm-up takes some 300 calls; the phase fails.
    let device = Waiting { fails: Some((Kernel::Copy, 390)), ..Waiting::default() };
    let place = Workplace::new();
    let mut marks = Marks::into_file(&place.path("marks")).unwrap();
    let result = run(&device, &cases(&[Kernel::Copy, Kernel::Add]), 3.0, &mut marks, &mut |_| panic!("nothing ran"));
    assert_eq!(result, Err("copy/fp32/1048576: the device is lost".to_string()));
    let text = std::fs::read_to_string(place.path("marks")).unwrap();
    let words: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["begin", "end"]);
}

#[test]
fn the_list_is_a_table_of_the_cases_that_are_asked_for() {
    let place = Workplace::new();
    let all = place.printed(&["workload", "--list"]);
    assert_eq!(all.lines().next(), Some("name,kernel,precision,m,n,k,batch,elements,flop,bytes"));
    assert_eq!(all.lines().count(), 1 + standard().len());
    let some = place.printed(&["workload", "--list", "--only", "copy,gelu", "--precision", "bf16"]);
    assert_eq!(
        some.lines().skip(1).collect::<Vec<_>>(),
        ["gelu/bf16/25165824,gelu,bf16,,,,,25165824,201326592,100663296", "gelu/bf16/67108864,gelu,bf16,,,,,67108864,536870912,268435456"]
    );
}

#[test]
fn wrong_options_are_refused() {
    let place = Workplace::new();
    for (arguments, message) in [
        (&["--only", "gem"][..], "allowed: idle, launch, gemm, copy"),
        (&["--precision", "fp64"], "allowed: fp32, tf32"),
        (&["--seconds-per-kernel", "0"], "allowed: 0.01 to 3600"),
        (&["--seconds-per-kernel", "nan"], "allowed: 0.01 to 3600"),
        (&["--only", "softmax", "--precision", "fp16"], "no case is of these kernels"),
    ] {
        let output = place.run(&[&["workload", "--list"], arguments].concat());
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {talk}");
        assert!(talk.contains(message), "{arguments:?}: {talk}");
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_feature_help_does_not_show_it_and_a_run_says_why() {
    let place = Workplace::new();
    assert!(!place.printed(&["--help"]).contains("workload"));
    let output = place.run(&["workload"]);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("--features cuda") && talk.lines().count() == 1, "{talk}");
}

#[cfg(all(feature = "cuda", target_os = "linux"))]
mod cuda;
