//! The edge to CUDA's libraries: every call that Rust cannot check stands here.
//!
//! Each function checks what its call needs; a launch trusts `launch.rs`, whose tests hold that it covers its tensors and no more.

#![expect(unsafe_code, reason = "CUDA's libraries are C: calls of nvrtc and cuBLAS, launches of kernels")]

use std::ffi::{CStr, CString, c_int, c_longlong, c_void};
use std::sync::Arc;

use cudarc::cublas::sys::{cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cublasStatus_t, cudaDataType_t};
use cudarc::cublas::{CudaBlas, result as blas};
use cudarc::driver::sys::cudaError_enum;
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DriverError, PushKernelArg};
use cudarc::{cublas, driver, nvrtc};

use super::super::phases::Trouble;
use super::launch::Launch;

/// The first library that is not there: its name, and what holds it. What cudarc does not find, it panics on when it is called.
pub(super) fn missing_library() -> Option<(&'static str, &'static str)> {
    // SAFETY: loading a library runs its initialisers; these are NVIDIA's, which the caller is about to use.
    let (driver, cublas, nvrtc) =
        unsafe { (driver::sys::is_culib_present(), cublas::sys::is_culib_present(), nvrtc::sys::is_culib_present()) };
    match (driver, cublas, nvrtc) {
        (false, ..) => Some(("libcuda.so.1", "NVIDIA's driver")),
        (_, false, _) => Some(("libcublas", "the CUDA toolkit, and with PyTorch (site-packages/nvidia/*/lib)")),
        (.., false) => Some(("libnvrtc", "the CUDA toolkit, and with PyTorch (site-packages/nvidia/*/lib)")),
        _ => None,
    }
}

/// Machine code of a program for an architecture such as `sm_90`. Not PTX: a driver refuses PTX of a toolkit that is newer than it.
pub(super) fn compile(source: &str, architecture: &str) -> Result<Vec<u8>, String> {
    let text = CString::new(source).map_err(|error| error.to_string())?;
    let failed = |what: &str, error: nvrtc::result::NvrtcError| format!("nvrtc: {what}: {:?}", error.0);
    let program = nvrtc::result::create_program(&text, Some(c"kernels.cu")).map_err(|error| failed("create", error))?;
    // SAFETY: the program was made above and is destroyed below, once; `text` outlives it. Buffers are as large as nvrtc says.
    unsafe {
        let compiled = nvrtc::result::compile_program(program, &[format!("--gpu-architecture={architecture}")]);
        let code = compiled.map_err(|error| {
            let log = nvrtc::result::get_program_log(program).unwrap_or_default();
            let log: Vec<u8> = log.iter().map(|character| *character as u8).collect();
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned();
            format!("{} for {architecture}: {}", failed("compile", error), log.trim())
        });
        let code = code.and_then(|()| {
            let mut size = 0;
            nvrtc::sys::nvrtcGetCUBINSize(program, &mut size).result().map_err(|error| failed("size", error))?;
            let mut code = vec![0_u8; size];
            nvrtc::sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result().map_err(|error| failed("code", error))?;
            Ok(code)
        });
        nvrtc::result::destroy_program(program).map_err(|error| failed("destroy", error))?;
        code
    }
}

/// Launches a kernel of `kernels.cu` on the tensors it takes, in their order, and its numbers.
///
/// All work is on one stream and tensors are freed on it, so that a tensor outlives what uses it.
pub(super) fn launch(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    launch: &Launch,
    tensors: &[CudaSlice<u8>],
) -> Result<(), DriverError> {
    if !tensors.iter().map(|tensor| tensor.len() as u64).eq(launch.tensors.iter().copied()) {
        return Err(DriverError(cudaError_enum::CUDA_ERROR_INVALID_VALUE));
    }
    let mut builder = stream.launch_builder(function);
    for tensor in tensors {
        builder.arg(tensor);
    }
    for number in &launch.numbers {
        builder.arg(number);
    }
    // SAFETY: the kernel reads and writes within tensors of these sizes, and no argument is missing.
    unsafe { builder.launch(launch.config) }.map(|_| ())
}

/// A product of matrices as a linear layer lays them, row by row: `m x k` times the transpose of `n x k`, `batch` of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub m: u64,
    pub n: u64,
    pub k: u64,
    pub batch: u64,
    pub format: cudaDataType_t,
    pub element_bytes: u64,
    pub compute: cublasComputeType_t,
}

impl Product {
    /// Multiplies the second tensor and the third into the first.
    ///
    /// cuBLAS has matrices column by column, where a matrix of rows is its own transpose. So the product is asked for as that of the
    /// transposed matrices in reverse: `n x k` (of its rows, transposed) times `k x m` is `n x m`, which is `m x n` row by row.
    pub(super) fn start(&self, blas: &CudaBlas, stream: &CudaStream, tensors: &mut [CudaSlice<u8>]) -> Result<(), Trouble> {
        let Self { m, n, k, batch, format, element_bytes, compute } = *self;
        let [output, left, right] = tensors else { return Err(Trouble::Failed("a product takes three tensors".to_string())) };
        for (tensor, count) in [(&*output, batch * m * n), (&*left, batch * m * k), (&*right, batch * n * k)] {
            if (tensor.len() as u64) < count * element_bytes {
                return Err(Trouble::Failed("a tensor is smaller than its matrix".to_string()));
            }
        }
        let beyond = |value: u64| Trouble::Unable(format!("{value} is beyond what cuBLAS counts"));
        let size = |value: u64| c_int::try_from(value).map_err(|_| beyond(value));
        let stride = |value: u64| c_longlong::try_from(value).map_err(|_| beyond(value));
        let (rows, columns, inner) = (size(m)?, size(n)?, size(k)?);
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (alpha, beta) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
        let ((output, _written), (left, _left), (right, _right)) =
            (output.device_ptr_mut(stream), left.device_ptr(stream), right.device_ptr(stream));
        let (output, left, right) = (output as *mut c_void, left as *const c_void, right as *const c_void);
        let (transposed, plain) = (cublasOperation_t::CUBLAS_OP_T, cublasOperation_t::CUBLAS_OP_N);
        let algorithm = cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        // SAFETY: the handle lives, the tensors are as large as checked above, and scalars lie on the host, as is cuBLAS's default.
        let result = unsafe {
            if batch == 1 {
                blas::gemm_ex(
                    *blas.handle(),
                    transposed,
                    plain,
                    columns,
                    rows,
                    inner,
                    alpha,
                    right,
                    format,
                    inner,
                    left,
                    format,
                    inner,
                    beta,
                    output,
                    format,
                    columns,
                    compute,
                    algorithm,
                )
            } else {
                blas::gemm_strided_batched_ex(
                    *blas.handle(),
                    transposed,
                    plain,
                    columns,
                    rows,
                    inner,
                    alpha,
                    right,
                    format,
                    inner,
                    stride(n * k)?,
                    left,
                    format,
                    inner,
                    stride(m * k)?,
                    beta,
                    output,
                    format,
                    columns,
                    stride(m * n)?,
                    size(batch)?,
                    compute,
                    algorithm,
                )
            }
        };
        result.map_err(|error| match error.0 {
            cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED
            | cublasStatus_t::CUBLAS_STATUS_ARCH_MISMATCH
            | cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Trouble::Unable(format!("cuBLAS: {:?}", error.0)),
            status => Trouble::Failed(format!("cuBLAS: {status:?}")),
        })
    }
}
