//! NVIDIA devices: cuBLAS for products, kernels compiled by nvrtc for the rest, all on one stream of the first device that CUDA shows.
//!
//! The libraries are loaded when a device is opened, so that the program builds and starts without them.

mod edge;
mod launch;

use std::mem::ManuallyDrop;
use std::sync::Arc;

use cudarc::cublas::CudaBlas;
use cudarc::cublas::sys::{cublasComputeType_t, cudaDataType_t};
use cudarc::driver::sys::cudaError_enum;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DriverError};
use cudarc::nvrtc::Ptx;

use self::edge::Product;
use self::launch::Launch;
use super::cases::{Case, Kernel};
use super::operands::{Contents, Operand};
use super::phases::{Device, Ready, Trouble};
use crate::hardware::Precision;

const KERNELS: &str = include_str!("kernels.cu");

/// Compute capability from which tensor units take TF32 and bf16 (CUDA programming guide, table of compute capabilities). Before
/// it, cuBLAS may compute in another way and say nothing.
const AMPERE: (i32, i32) = (8, 0);

/// Environment variables that change what the libraries compute (cuBLAS and CUDA documentation).
const INFLUENCES: [&str; 4] =
    ["NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_WORKSPACE_CONFIG", "CUDA_LAUNCH_BLOCKING"];

/// A device that is open.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    /// Never dropped: of a device that has failed, cudarc panics when it closes the handle.
    blas: ManuallyDrop<CudaBlas>,
    name: String,
    capability: (i32, i32),
}

impl Gpu {
    /// Opens the first device.
    ///
    /// # Errors
    /// A library or a device is missing, or does not work; the message says what helps.
    pub fn open() -> Result<Self, String> {
        if let Some((library, holder)) = edge::missing_library() {
            return Err(format!("{library} is not found: it comes with {holder}; if it is there, name its folder in LD_LIBRARY_PATH"));
        }
        let because = |what: &'static str| move |error: DriverError| format!("{what}: {}", text(error));
        let context = CudaContext::new(0).map_err(because("no device can be opened (CUDA_VISIBLE_DEVICES names those to use)"))?;
        let name = context.name().map_err(because("the device's name"))?;
        let capability = context.compute_capability().map_err(because("the device's compute capability"))?;
        let code = edge::compile(KERNELS, &format!("sm_{}{}", capability.0, capability.1))?;
        let module = context.load_module(Ptx::from_binary(code)).map_err(because("the kernels are refused"))?;
        let stream = context.default_stream();
        let blas = CudaBlas::new(stream.clone()).map_err(|error| format!("cuBLAS: {:?}", error.0))?;
        Ok(Self { context, stream, module, blas: ManuallyDrop::new(blas), name, capability })
    }

    /// What it is, and what around it changes what is measured.
    #[must_use]
    pub fn description(&self) -> Vec<String> {
        let (major, minor) = self.capability;
        let set = |name: &&str| std::env::var(name).ok().map(|value| format!("{name}={value} is set, which changes what is measured"));
        std::iter::once(format!("{}, compute capability {major}.{minor}", self.name)).chain(INFLUENCES.iter().filter_map(set)).collect()
    }

    /// Why the device cannot compute in a precision.
    fn lacks(&self, case: &Case) -> Option<String> {
        let precision = case.precision.filter(|_| case.kernel == Kernel::Gemm)?;
        match precision {
            Precision::Tf32 if std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value == "0") => {
                Some("NVIDIA_TF32_OVERRIDE=0 makes it fp32".to_string())
            }
            Precision::Tf32 | Precision::Bf16 if self.capability < AMPERE => {
                Some(format!("{} needs compute capability 8.0", precision.word()))
            }
            Precision::Fp8 => Some("no products in fp8 yet".to_string()),
            _ => None,
        }
    }

    fn trouble(&self, case: &Case, error: DriverError) -> Trouble {
        if error.0 != cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY {
            return Trouble::Failed(text(error));
        }
        let needed: u64 = case.operands().iter().map(|operand| operand.bytes).sum();
        let free = self.context.mem_get_info().map_or(String::new(), |(free, _)| format!(", {:.2} GB are free", 1e-9 * free as f64));
        Trouble::Unable(format!("out of memory: it needs {:.2} GB{free}", 1e-9 * needed as f64))
    }

    fn function(&self, name: &str) -> Result<CudaFunction, DriverError> {
        self.module.load_function(name)
    }

    /// A tensor with its contents; `seed` tells those of one case apart.
    fn tensor(&self, case: &Case, operand: &Operand, seed: u64) -> Result<CudaSlice<u8>, DriverError> {
        let invalid = DriverError(cudaError_enum::CUDA_ERROR_INVALID_VALUE);
        let length = usize::try_from(operand.bytes).map_err(|_| invalid)?;
        let tensor = self.stream.alloc_zeros::<u8>(length)?;
        let fill = match operand.contents {
            Contents::Output => return Ok(tensor),
            Contents::Numbers => Launch::fill(format(case), operand.bytes, seed),
            Contents::Indices(below) => Launch::fill("indices", operand.bytes, below),
        };
        let fill = fill.ok_or(invalid)?;
        let function = self.function(&fill.kernel)?;
        edge::launch(&self.stream, &function, &fill, std::slice::from_ref(&tensor))?;
        Ok(tensor)
    }

    fn work(&self, case: &Case) -> Result<Work, Trouble> {
        let invalid = || Trouble::Failed(format!("{}: not a case of this device", case.name()));
        match (case.kernel, case.m, case.n, case.k, case.batch) {
            (Kernel::Copy, ..) => Ok(Work::Copy),
            (Kernel::Gemm, Some(m), Some(n), Some(k), Some(batch)) => {
                let (format, compute) = match case.precision {
                    Some(Precision::Fp32) => (cudaDataType_t::CUDA_R_32F, cublasComputeType_t::CUBLAS_COMPUTE_32F),
                    Some(Precision::Tf32) => (cudaDataType_t::CUDA_R_32F, cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32),
                    Some(Precision::Fp16) => (cudaDataType_t::CUDA_R_16F, cublasComputeType_t::CUBLAS_COMPUTE_32F),
                    Some(Precision::Bf16) => (cudaDataType_t::CUDA_R_16BF, cublasComputeType_t::CUBLAS_COMPUTE_32F),
                    _ => return Err(invalid()),
                };
                Ok(Work::Product(Product { m, n, k, batch, format, element_bytes: case.element_bytes(), compute }))
            }
            _ => {
                let launch = Launch::of(case).ok_or_else(invalid)?;
                let function = self.function(&launch.kernel).map_err(|error| self.trouble(case, error))?;
                Ok(Work::Launch(function, launch))
            }
        }
    }
}

impl Device for Gpu {
    fn prepare(&self, case: &Case) -> Result<Box<dyn Ready + '_>, Trouble> {
        if let Some(why) = self.lacks(case) {
            return Err(Trouble::Unable(why));
        }
        let work = self.work(case)?;
        let tensors = (1..).zip(case.operands()).map(|(seed, operand)| self.tensor(case, &operand, seed));
        let tensors = tensors.collect::<Result<Vec<_>, _>>().map_err(|error| self.trouble(case, error))?;
        Ok(Box::new(Prepared { gpu: self, case: *case, work, tensors }))
    }
}

/// What one call does.
enum Work {
    Copy,
    Product(Product),
    Launch(CudaFunction, Launch),
}

struct Prepared<'a> {
    gpu: &'a Gpu,
    case: Case,
    work: Work,
    tensors: Vec<CudaSlice<u8>>,
}

impl Prepared<'_> {
    fn start(&mut self) -> Result<(), Trouble> {
        let Gpu { stream, blas, .. } = self.gpu;
        match &self.work {
            Work::Product(product) => product.start(blas, stream, &mut self.tensors),
            Work::Launch(function, launch) => {
                edge::launch(stream, function, launch, &self.tensors).map_err(|error| self.gpu.trouble(&self.case, error))
            }
            Work::Copy => match self.tensors.as_mut_slice() {
                [to, from] => stream.memcpy_dtod(&*from, to).map_err(|error| self.gpu.trouble(&self.case, error)),
                _ => Err(Trouble::Failed("a copy takes two tensors".to_string())),
            },
        }
    }
}

impl Ready for Prepared<'_> {
    fn run(&mut self, calls: u64) -> Result<(), Trouble> {
        for _ in 0..calls {
            self.start()?;
        }
        self.gpu.stream.synchronize().map_err(|error| self.gpu.trouble(&self.case, error))
    }
}

/// The format in memory of a case's numbers.
fn format(case: &Case) -> &'static str {
    match case.precision {
        Some(Precision::Tf32) | None => Precision::Fp32.word(),
        Some(precision) => precision.word(),
    }
}

fn text(error: DriverError) -> String {
    match error.error_string() {
        Ok(words) => format!("{:?}: {}", error.0, words.to_string_lossy()),
        Err(_) => format!("{:?}", error.0),
    }
}
