//! A kernel that was measured by itself: one row of a table in the columns that `lowcarb workload` states.

use super::table::Cells;
use crate::document::{Diagnostic, Origin};
use crate::hardware::Precision;
use crate::ledger::{Component, Kernel, Shape, Tape, Unit, Work};

/// The columns that a table of kernels must have; a cell is empty where a kernel has no such thing.
pub const COLUMNS: [&str; 7] = ["kernel", "precision", "m", "n", "k", "batch", "bytes"];

/// The columns that it may have beside them; others are passed on as they are.
pub const OPTIONAL: [&str; 6] = ["source", "device", "seconds", "measured_w", "idle_w", "power_limit_w"];

/// The name that kernels carry in the place of a software stack's.
pub const STACK: &str = "kernels";

/// Bytes that stay in a cache, so that less of them reaches memory, which the time model does not know: no device's holds more (the
/// MI300X's Infinity Cache has 256 MiB; AMD, CDNA 3 white paper, 2023).
const CACHED: f64 = (1_u64 << 28) as f64;

/// What a row measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelKind {
    /// Nothing, with the device ready to run.
    Idle,
    /// A kernel that does nothing.
    Launch,
    /// Matrix products; several at once are of two activations, one is of a trained matrix.
    Gemm,
    /// Rows picked by an index.
    Gather,
    /// Bytes read and written in their order.
    Elementwise,
}

/// The words of a table; some have two.
const KINDS: [(&str, KernelKind); 10] = [
    ("gemm", KernelKind::Gemm),
    ("copy", KernelKind::Elementwise),
    ("add", KernelKind::Elementwise),
    ("softmax", KernelKind::Elementwise),
    ("gelu", KernelKind::Elementwise),
    ("layer_norm", KernelKind::Elementwise),
    ("layernorm", KernelKind::Elementwise),
    ("gather", KernelKind::Gather),
    ("launch", KernelKind::Launch),
    ("idle", KernelKind::Idle),
];

/// The same of number formats, as lowcarb and PyTorch call them.
const PRECISIONS: [(&str, Precision); 8] = [
    ("fp32", Precision::Fp32),
    ("tf32", Precision::Tf32),
    ("fp16", Precision::Fp16),
    ("bf16", Precision::Bf16),
    ("fp8", Precision::Fp8),
    ("float32", Precision::Fp32),
    ("float16", Precision::Fp16),
    ("bfloat16", Precision::Bf16),
];

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelRun {
    /// Where it stands.
    pub origin: Origin,
    /// Its name: kernel, number format and sizes.
    pub id: String,
    /// Kernel and number format.
    pub name: String,
    /// What it is.
    pub kind: KernelKind,
    /// Number format, where it has one.
    pub precision: Option<Precision>,
    /// The sizes of a product.
    pub shape: Option<Shape>,
    /// Bytes that a call moves.
    pub bytes: Option<f64>,
    /// The accelerator, as the table calls it; nothing where it does not say.
    pub device: Option<String>,
    /// Power limit of the accelerator, W, where the table says.
    pub power_limit: Option<f64>,
    /// Seconds of a call, where they were measured.
    pub seconds: Option<f64>,
    /// Mean power of the accelerator, W, where it was measured.
    pub watts: Option<f64>,
    /// What it draws with nothing to do, W, where it was measured.
    pub idle: Option<f64>,
}

impl KernelRun {
    /// What a call computes and moves, by the ledger; nothing of a device that is idle.
    #[must_use]
    pub fn kernel(&self) -> Option<Kernel> {
        let bare = |work: Work, bytes: f64| Kernel {
            component: Component::Attention,
            work,
            times: 1.0,
            matmul_flops: 0.0,
            elementwise_flops: 0.0,
            bytes,
            unit: Unit::Dense,
            aligned: true,
            tiles: 0.0,
        };
        match self.kind {
            KernelKind::Idle => None,
            // What a kernel that does nothing touches is no traffic.
            KernelKind::Launch => Some(bare(Work::Elementwise, 0.0)),
            KernelKind::Elementwise => Some(bare(Work::Elementwise, self.bytes?)),
            KernelKind::Gather => Some(bare(Work::Gather, self.bytes?)),
            KernelKind::Gemm => {
                let (precision, shape) = (self.precision?, self.shape?);
                let mut tape = Tape::new(precision.element_bytes(), shape.m);
                let left = tape.activation(shape.batch * shape.m * shape.k);
                let right =
                    if shape.batch > 1.0 { tape.activation(shape.batch * shape.k * shape.n) } else { tape.matrix(shape.k, shape.n) };
                tape.matmul("product", left, right, shape);
                let ledger = tape.finish();
                let kernel = ledger.forward_kernels().next()?;
                let unit = if precision == Precision::Fp8 { Unit::Fp8 } else { kernel.unit };
                Some(Kernel { unit, bytes: self.bytes.unwrap_or(kernel.bytes), ..kernel })
            }
        }
    }

    /// Whether a cache may hold what it moves between two calls, so that its time says nothing of memory.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        matches!(self.kind, KernelKind::Elementwise | KernelKind::Gather) && self.bytes.is_some_and(|bytes| bytes < CACHED)
    }

    /// That its table does not say where it was measured.
    #[must_use]
    pub fn lacks_device(&self, option: &str) -> Diagnostic {
        Diagnostic::new(&self.origin, "device", "nothing", format!("the accelerator that it ran on, in this column or by {option}"))
    }

    /// Why a fit cannot use it, if it cannot.
    #[must_use]
    pub fn unfit(&self) -> Option<Diagnostic> {
        let of = |column: &str, found: String, allowed: &str| Some(Diagnostic::new(&self.origin, column, found, allowed));
        if self.is_cached() {
            return of("bytes", "no more than a cache may hold between two calls".into(), "256 MiB or more, to calibrate memory with");
        }
        match self.kind {
            KernelKind::Idle if self.watts.is_none() => of("measured_w", "nothing".into(), "what the device draws with nothing to do"),
            KernelKind::Idle => None,
            _ if self.seconds.is_none() => of("seconds", "nothing".into(), "the seconds of a call"),
            _ => None,
        }
    }
}

impl Cells<'_> {
    /// The row as a kernel.
    pub fn kernel_run(&self) -> Result<KernelRun, Diagnostic> {
        let kind = self.one_of("kernel", &KINDS)?;
        let has_precision = !matches!(self.text("precision"), "" | "none");
        let precision = has_precision.then(|| self.one_of("precision", &PRECISIONS)).transpose()?;
        let size = |column: &str| Ok::<f64, Diagnostic>(self.count(column)? as f64);
        let shape = if kind == KernelKind::Gemm {
            if precision.is_none() {
                return self.wrong("precision", "the number format of a product");
            }
            let batch = self.optional("batch", |cells| cells.count("batch"))?.unwrap_or(1) as f64;
            Some(Shape { batch, m: size("m")?, n: size("n")?, k: size("k")? })
        } else {
            None
        };
        let bytes = self.optional("bytes", |cells| cells.number("bytes", 0.0, 1e15))?;
        if bytes.is_none() && matches!(kind, KernelKind::Elementwise | KernelKind::Gather) {
            return self.wrong("bytes", "the bytes that a call moves");
        }
        // Two words for one kernel or format are one name.
        let word = if self.text("kernel") == "layernorm" { "layer_norm" } else { self.text("kernel") };
        let name = precision.map_or(word.to_string(), |precision| format!("{word} {}", precision.word()));
        let sizes: Vec<&str> =
            ["batch", "m", "n", "k"].map(|column| self.text(column)).into_iter().filter(|size| !size.is_empty()).collect();
        let sizes = if sizes.is_empty() { self.text("bytes").to_string() } else { sizes.join("x") };
        Ok(KernelRun {
            id: format!("{name} {sizes}").trim_end().to_string(),
            name,
            kind,
            precision,
            shape,
            bytes,
            device: Some(self.text("device").to_string()).filter(|name| !name.is_empty()),
            power_limit: self.watts("power_limit_w")?,
            // Nothing is called while a device is idle.
            seconds: if kind == KernelKind::Idle { None } else { self.optional("seconds", |cells| cells.number("seconds", 1e-9, 1e9))? },
            watts: self.watts("measured_w")?,
            idle: self.watts("idle_w")?,
            origin: self.origin.clone(),
        })
    }
}
