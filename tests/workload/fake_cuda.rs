//! A stand-in for libcuda, libcublas and libnvrtc in one: it computes nothing, but knows which memory is allocated and refuses, in the
//! log, every call that would read or write beyond it. Compiled by the test, not part of the program.

#![allow(non_snake_case)]

use std::collections::{BTreeMap, HashSet};
use std::ffi::{c_char, c_int, c_longlong, c_uint, c_void, CStr};
use std::io::Write;
use std::sync::Mutex;

const OUT_OF_MEMORY: c_int = 2;
const INVALID_VALUE: c_int = 1;
const LAUNCH_FAILED: c_int = 719;
const CODE: &[u8; 16] = b"code of kernels.";

struct State {
    /// Bytes by address.
    allocations: BTreeMap<u64, u64>,
    next: u64,
    logged: Option<HashSet<String>>,
    synchronisations: u64,
}

static STATE: Mutex<State> = Mutex::new(State { allocations: BTreeMap::new(), next: 1 << 40, logged: None, synchronisations: 0 });

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl State {
    /// Every different line once.
    fn log(&mut self, line: String) {
        if self.logged.get_or_insert_default().insert(line.clone()) {
            let mut file = std::fs::File::options().append(true).create(true).open(std::env::var("FAKE_CUDA_LOG").unwrap()).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }

    /// The call is right if every tensor is an allocation of exactly these bytes.
    fn checked(&mut self, line: String, tensors: &[(u64, u64)], right: bool) -> c_int {
        let held = |(at, bytes): &(u64, u64)| self.allocations.get(at) == Some(bytes);
        let right = right && tensors.iter().all(held);
        let sizes: Vec<String> = tensors.iter().map(|(at, bytes)| format!("{:?}/{bytes}", self.allocations.get(at))).collect();
        self.log(if right { line } else { format!("bad: {line}: {}", sizes.join(", ")) });
        if right { 0 } else { INVALID_VALUE }
    }
}

macro_rules! does_nothing {
    ($($name:ident($($argument:ident: $type:ty),*)),* $(,)?) => { $(
        #[no_mangle]
        pub extern "C" fn $name($($argument: $type),*) -> c_int { $(let _ = $argument;)* 0 }
    )* };
}

does_nothing! {
    cuDevicePrimaryCtxRelease_v2(device: c_int), cuCtxSetCurrent(context: *mut c_void), cuEventDestroy_v2(event: *mut c_void),
    cuModuleUnload(module: *mut c_void), cublasSetStream_v2(handle: *mut c_void, stream: *mut c_void),
    nvrtcDestroyProgram(program: *mut *mut c_void),
}

macro_rules! gives_a_handle {
    ($($name:ident($($argument:ident: $type:ty),*)),* $(,)?) => { $(
        #[no_mangle]
        pub unsafe extern "C" fn $name(to: *mut *mut c_void, $($argument: $type),*) -> c_int {
            $(let _ = $argument;)*
            *to = 8 as *mut c_void;
            0
        }
    )* };
}

gives_a_handle! {
    cuDevicePrimaryCtxRetain(device: c_int), cuCtxGetCurrent(), cuEventCreate(flags: c_uint), cublasCreate_v2(),
    nvrtcCreateProgram(source: *const c_char, name: *const c_char, count: c_int, headers: *const c_void, names: *const c_void),
}

#[no_mangle]
pub extern "C" fn cuInit(_flags: c_uint) -> c_int {
    setting("FAKE_CUDA_INIT").unwrap_or(0) as c_int
}

#[no_mangle]
pub unsafe extern "C" fn cuDeviceGet(to: *mut c_int, ordinal: c_int) -> c_int {
    *to = ordinal;
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, length: c_int, _device: c_int) -> c_int {
    let name = b"Fake GPU\0";
    assert!(length as usize >= name.len());
    std::ptr::copy_nonoverlapping(name.as_ptr().cast(), to, name.len());
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuDeviceGetAttribute(to: *mut c_int, attribute: c_int, _device: c_int) -> c_int {
    let capability = setting("FAKE_CUDA_CAPABILITY").unwrap_or(90) as c_int;
    // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR, _MEMORY_POOLS_SUPPORTED.
    *to = match attribute {
        75 => capability / 10,
        76 => capability % 10,
        115 => 1,
        _ => return INVALID_VALUE,
    };
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuGetErrorString(_error: c_int, to: *mut *const c_char) -> c_int {
    *to = c"what the driver says".as_ptr();
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_int {
    (*free, *total) = (1 << 20, 1 << 30);
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuMemAllocAsync(to: *mut u64, bytes: usize, _stream: *mut c_void) -> c_int {
    let mut state = STATE.lock().unwrap();
    let held: u64 = state.allocations.values().sum();
    if held + bytes as u64 > setting("FAKE_CUDA_MEMORY").unwrap_or(80 << 30) {
        return OUT_OF_MEMORY;
    }
    *to = state.next;
    state.next += bytes as u64 + 4096;
    state.allocations.insert(*to, bytes as u64);
    0
}

#[no_mangle]
pub extern "C" fn cuMemFreeAsync(at: u64, _stream: *mut c_void) -> c_int {
    let mut state = STATE.lock().unwrap();
    let known = state.allocations.remove(&at).is_some();
    state.checked("free".to_string(), &[], known)
}

#[no_mangle]
pub extern "C" fn cuMemsetD8Async(at: u64, _value: u8, bytes: usize, _stream: *mut c_void) -> c_int {
    STATE.lock().unwrap().checked("clear".to_string(), &[(at, bytes as u64)], true)
}

#[no_mangle]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: *mut c_void) -> c_int {
    let bytes = bytes as u64;
    STATE.lock().unwrap().checked(format!("copy {bytes}"), &[(to, bytes), (from, bytes)], to != from)
}

#[no_mangle]
pub extern "C" fn cuStreamSynchronize(_stream: *mut c_void) -> c_int {
    std::thread::sleep(std::time::Duration::from_millis(1));
    let mut state = STATE.lock().unwrap();
    state.synchronisations += 1;
    if setting("FAKE_CUDA_LOST").is_some_and(|after| state.synchronisations > after) { LAUNCH_FAILED } else { 0 }
}

#[no_mangle]
pub unsafe extern "C" fn cuModuleLoadData(to: *mut *mut c_void, image: *const c_void) -> c_int {
    *to = 8 as *mut c_void;
    let image = std::slice::from_raw_parts(image.cast::<u8>(), CODE.len());
    // What a real nvrtc makes is right too.
    let right = image == CODE || image.starts_with(b"\x7fELF");
    STATE.lock().unwrap().checked("module".to_string(), &[], right)
}

#[no_mangle]
pub unsafe extern "C" fn cuModuleGetFunction(to: *mut *mut c_void, _module: *mut c_void, name: *const c_char) -> c_int {
    *to = Box::into_raw(Box::new(CStr::from_ptr(name).to_str().unwrap().to_string())).cast();
    0
}

#[no_mangle]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void, x: c_uint, y: c_uint, z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint, shared: c_uint,
    _stream: *mut c_void, arguments: *mut *mut c_void, _extra: *mut *mut c_void,
) -> c_int {
    let name = &*function.cast::<String>();
    let tensor = |index: usize| *(*arguments.add(index)).cast::<u64>();
    let number = |index: usize| u64::from(*(*arguments.add(index)).cast::<u32>());
    let (word, format) = name.rsplit_once('_').unwrap_or((name, ""));
    let element = match format { "fp32" => 4, "fp16" | "bf16" => 2, "indices" => 8, _ => 0 };
    let (blocks, threads, rows) = (u64::from(x), u64::from(block_x), u64::from(x) * u64::from(block_y));
    let covers = |count: u64| (blocks - 1) * threads < count && count <= blocks * threads;
    let row_bytes = |index: usize| 16 * number(index);
    let (tensors, right): (Vec<(u64, u64)>, bool) = match word {
        "empty" => (vec![], (x, block_x) == (1, 1)),
        "fill" => (vec![(tensor(0), element * number(1))], covers(number(1)) && number(2) > 0),
        "add" => ((0..3).map(|at| (tensor(at), row_bytes(3))).collect(), covers(number(3))),
        "gelu" => ((0..2).map(|at| (tensor(at), row_bytes(2))).collect(), covers(number(2))),
        "softmax" => {
            let bytes = rows * row_bytes(2);
            (vec![(tensor(0), bytes), (tensor(1), bytes)], block_x == 32 && u64::from(shared) == u64::from(block_y) * row_bytes(2))
        }
        "layer_norm" => {
            let bytes = rows * row_bytes(4);
            let tensors = vec![(tensor(0), bytes), (tensor(1), 8 * rows), (tensor(2), bytes), (tensor(3), 2 * row_bytes(4))];
            (tensors, block_x == 32 && u64::from(shared) == u64::from(block_y) * row_bytes(4))
        }
        // A table of whole rows.
        "gather" => {
            let mut state = STATE.lock().unwrap();
            let table = *state.allocations.get(&tensor(1)).unwrap_or(&1);
            let tensors = vec![(tensor(0), blocks * row_bytes(3)), (tensor(2), 8 * blocks)];
            let line = format!("gather_{format} {} of {}", blocks, table / row_bytes(3));
            return state.checked(line, &tensors, table % row_bytes(3) == 0 && block_y == 1);
        }
        _ => (vec![], false),
    };
    let line = format!("{name} {x} {block_x}x{block_y} {shared}");
    STATE.lock().unwrap().checked(line, &tensors, right && (y, z, block_z) == (1, 1, 1) && block_x * block_y <= 1024)
}

#[no_mangle]
pub unsafe extern "C" fn cublasGemmEx(
    handle: *mut c_void, left_op: c_int, right_op: c_int, m: c_int, n: c_int, k: c_int, alpha: *const f32, left: u64, left_type: c_int,
    left_step: c_int, right: u64, right_type: c_int, right_step: c_int, beta: *const f32, output: u64, output_type: c_int,
    output_step: c_int, compute: c_int, algorithm: c_int,
) -> c_int {
    let matrix = |rows: c_int, columns: c_int| c_longlong::from(rows) * c_longlong::from(columns);
    cublasGemmStridedBatchedEx(
        handle, left_op, right_op, m, n, k, alpha, left, left_type, left_step, matrix(m, k), right, right_type, right_step, matrix(n, k),
        beta, output, output_type, output_step, matrix(m, n), 1, compute, algorithm,
    )
}

/// Column by column: op(A) is m x k, op(B) k x n, C m x n; a step is the distance of columns.
#[no_mangle]
pub unsafe extern "C" fn cublasGemmStridedBatchedEx(
    _handle: *mut c_void, left_op: c_int, right_op: c_int, m: c_int, n: c_int, k: c_int, alpha: *const f32, left: u64, left_type: c_int,
    left_step: c_int, left_stride: c_longlong, right: u64, right_type: c_int, right_step: c_int, right_stride: c_longlong,
    beta: *const f32, output: u64, output_type: c_int, output_step: c_int, output_stride: c_longlong, batch: c_int, compute: c_int,
    algorithm: c_int,
) -> c_int {
    // CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF; CUBLAS_COMPUTE_32F and _FAST_TF32, which takes fp32 alone.
    let element = match left_type { 0 => 4, 2 | 14 => 2, _ => 0 };
    let types = left_type == right_type && right_type == output_type && (compute == 68 || (compute == 77 && left_type == 0));
    // Of A, transposed: k rows, m columns. Of B: k rows, n columns.
    let layout = (left_op, right_op) == (1, 0) && left_step == k && right_step == k && output_step == m;
    let sizes = [(m, k), (n, k), (m, n)].map(|(rows, columns)| rows as u64 * columns as u64);
    let strides = [left_stride, right_stride, output_stride].map(|stride| stride as u64) == sizes;
    let bytes = sizes.map(|size| size * batch as u64 * element);
    let right_call = types && layout && strides && (*alpha, *beta) == (1.0, 0.0) && algorithm == -1;
    // CUBLAS_STATUS_NOT_SUPPORTED
    if left_type == 2 && setting("FAKE_CUDA_NO_FP16").is_some() {
        return 15;
    }
    let line = format!("gemm {left_type}/{compute} {batch}:{m}x{n}x{k}");
    STATE.lock().unwrap().checked(line, &[(left, bytes[0]), (right, bytes[1]), (output, bytes[2])], right_call)
}

#[no_mangle]
pub unsafe extern "C" fn nvrtcCompileProgram(_program: *mut c_void, count: c_int, options: *const *const c_char) -> c_int {
    let options = std::slice::from_raw_parts(options, count as usize);
    let words: Vec<&str> = options.iter().map(|option| CStr::from_ptr(*option).to_str().unwrap()).collect();
    STATE.lock().unwrap().log(format!("compile {}", words.join(" ")));
    // NVRTC_ERROR_COMPILATION
    if setting("FAKE_CUDA_CAPABILITY") == Some(200) { 6 } else { 0 }
}

#[no_mangle]
pub unsafe extern "C" fn nvrtcGetCUBINSize(_program: *mut c_void, to: *mut usize) -> c_int {
    *to = CODE.len();
    0
}

#[no_mangle]
pub unsafe extern "C" fn nvrtcGetCUBIN(_program: *mut c_void, to: *mut c_char) -> c_int {
    std::ptr::copy_nonoverlapping(CODE.as_ptr().cast(), to, CODE.len());
    0
}

const LOG: &CStr = c"no such architecture\n";

#[no_mangle]
pub unsafe extern "C" fn nvrtcGetProgramLogSize(_program: *mut c_void, to: *mut usize) -> c_int {
    *to = LOG.count_bytes() + 1;
    0
}

#[no_mangle]
pub unsafe extern "C" fn nvrtcGetProgramLog(_program: *mut c_void, to: *mut c_char) -> c_int {
    std::ptr::copy_nonoverlapping(LOG.as_ptr(), to, LOG.count_bytes() + 1);
    0
}
