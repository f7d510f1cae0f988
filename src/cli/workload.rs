//! `lowcarb workload`: kernels of a transformer's training step, to be measured.

use std::process::ExitCode;

use clap::Args;

use super::procedure::{one_of, precision};
use super::{Failure, print};
use crate::hardware::Precision;
use crate::workload::{self, Case, Kernel};

/// Run kernels of a training step on an NVIDIA GPU, to be measured.
///
/// lowcarb measure -- lowcarb workload: matrix products by precision and size, copies, element-wise kernels and nothing at all, each a
/// phase of the session; about four minutes. Needs the NVIDIA driver, cuBLAS and nvrtc.
#[derive(Args)]
pub(crate) struct Workload {
    /// Print the cases as CSV, with FLOP and bytes of a call, and run none; needs no GPU.
    #[arg(long)]
    list: bool,
    /// Run these kernels alone: idle, launch, gemm, copy, add, gelu, softmax, layer_norm or gather.
    #[arg(long, value_name = "KERNELS", value_delimiter = ',', value_parser = kernel)]
    only: Vec<Kernel>,
    /// Run in these precisions alone: fp32, tf32, fp16 or bf16.
    #[arg(long, value_name = "PRECISIONS", value_delimiter = ',', value_parser = precision)]
    precision: Vec<Precision>,
    /// How long each case runs; idle takes five times as long.
    #[arg(long, value_name = "SECONDS", default_value_t = workload::SECONDS_PER_KERNEL, value_parser = seconds)]
    seconds_per_kernel: f64,
}

fn kernel(text: &str) -> Result<Kernel, String> {
    one_of(text, &Kernel::ALL, Kernel::word)
}

fn seconds(text: &str) -> Result<f64, String> {
    let found: Option<f64> = text.parse().ok();
    found.filter(|seconds| (0.01..=3600.0).contains(seconds)).ok_or_else(|| "allowed: 0.01 to 3600".to_string())
}

impl Workload {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let wanted = |case: &Case| {
            let of_precision = case.precision.is_none_or(|precision| self.precision.contains(&precision));
            (self.only.is_empty() || self.only.contains(&case.kernel)) && (self.precision.is_empty() || of_precision)
        };
        let cases: Vec<Case> = workload::standard().into_iter().filter(wanted).collect();
        if cases.is_empty() {
            return Err(Failure::Input("--only, --precision: no case is of these kernels in these precisions; --list prints all".into()));
        }
        if self.list {
            print(&workload::csv(&cases))?;
            return Ok(ExitCode::SUCCESS);
        }
        run(&cases, self.seconds_per_kernel)
    }
}

#[cfg(not(feature = "cuda"))]
fn run(_: &[Case], _: f64) -> Result<ExitCode, Failure> {
    Err(Failure::Work(
        "this lowcarb was built without the GPU workload: build it with --features cuda (CUDA is not needed to build)".into(),
    ))
}

#[cfg(feature = "cuda")]
fn run(cases: &[Case], seconds: f64) -> Result<ExitCode, Failure> {
    let mut marks = workload::Marks::from_environment().map_err(Failure::Work)?;
    let gpu = workload::Gpu::open().map_err(Failure::Work)?;
    gpu.description().iter().for_each(|line| super::tell(line));
    if !marks.are_read() {
        super::tell("not run by `lowcarb measure`: nothing is recorded");
    }
    super::tell(&format!("{} cases, about {:.0} s", cases.len(), workload::forecast(cases, seconds)));
    let (mut at, mut skipped) = (0, 0);
    let mut told = |done: &workload::Done| {
        at += 1;
        skipped += usize::from(matches!(done.outcome, workload::Outcome::Skipped(_)));
        super::tell(&format!("[{at}/{}] {done}", cases.len()));
    };
    workload::run(&gpu, cases, seconds, &mut marks, &mut told).map_err(Failure::Work)?;
    if skipped == cases.len() {
        return Err(Failure::Work("no case could run".into()));
    }
    Ok(ExitCode::SUCCESS)
}
