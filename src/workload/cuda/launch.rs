//! How each kernel of `kernels.cu` is launched: its name, its grid and the number it takes after its tensors.

use cudarc::driver::LaunchConfig;

use super::super::cases::{Case, Kernel};
use super::super::operands::INDEX_BYTES;
use crate::hardware::Precision;

/// Bytes that a thread moves at once.
const PACK_BYTES: u64 = 16;
/// Threads of a block, unless rows say otherwise.
const THREADS: u64 = 256;
/// Threads of a warp, which takes a row of a softmax or a norm.
const WARP: u64 = 32;
/// Rows of a block of softmax or norm.
const ROWS: u64 = 2;

/// A launch of a kernel.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub kernel: String,
    pub config: LaunchConfig,
    /// Bytes of the tensors that it takes, in their order: it reads and writes within them.
    pub tensors: Vec<u64>,
    /// What the kernel takes after its tensors.
    pub numbers: Vec<u32>,
}

impl Launch {
    /// The launch of a case; none where its call is no kernel of ours, or where a size is beyond what a grid holds.
    pub(super) fn of(case: &Case) -> Option<Self> {
        let packs = |elements: u64| elements * case.element_bytes() / PACK_BYTES;
        let kernel = format!("{}_{}", case.kernel.word(), case.precision.map_or("", Precision::word));
        let launch = match case.kernel {
            Kernel::Launch => Self::new("empty".to_string(), 1, [1, 1], 0, &[]),
            Kernel::Add | Kernel::Gelu => {
                let packs = packs(case.elements?);
                Self::new(kernel, packs.div_ceil(THREADS), [THREADS, 1], 0, &[packs])
            }
            Kernel::Softmax | Kernel::LayerNorm => {
                let packs = packs(case.n?);
                Self::new(kernel, case.m? / ROWS, [WARP, ROWS], ROWS * packs * PACK_BYTES, &[packs])
            }
            Kernel::Gather => {
                let packs = packs(case.n?);
                let threads = packs.next_multiple_of(WARP).min(THREADS);
                Self::new(kernel, case.m?, [threads, 1], 0, &[packs])
            }
            Kernel::Idle | Kernel::Gemm | Kernel::Copy => None,
        };
        Some(Self { tensors: case.operands().iter().map(|operand| operand.bytes).collect(), ..launch? })
    }

    /// The launch that fills a tensor of so many bytes; the last number is a seed, or what indices stay below.
    pub(super) fn fill(format: &str, bytes: u64, number: u64) -> Option<Self> {
        let count = match format {
            "fp32" => bytes / 4,
            "fp16" | "bf16" => bytes / 2,
            "indices" => bytes / INDEX_BYTES,
            _ => return None,
        };
        let launch = Self::new(format!("fill_{format}"), count.div_ceil(THREADS), [THREADS, 1], 0, &[count, number])?;
        Some(Self { tensors: vec![bytes], ..launch })
    }

    fn new(kernel: String, blocks: u64, [x, y]: [u64; 2], shared_bytes: u64, numbers: &[u64]) -> Option<Self> {
        let whole = |value: u64| u32::try_from(value).ok();
        let config = LaunchConfig {
            grid_dim: (whole(blocks).filter(|blocks| (1..=LARGEST_GRID).contains(blocks))?, 1, 1),
            block_dim: (whole(x)?, whole(y)?, 1),
            shared_mem_bytes: whole(shared_bytes)?,
        };
        Some(Self { kernel, config, tensors: Vec::new(), numbers: numbers.iter().map(|number| whole(*number)).collect::<Option<_>>()? })
    }
}

/// Blocks of a grid in its first dimension (CUDA programming guide, table of technical specifications).
const LARGEST_GRID: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use super::super::super::standard::standard;
    use super::super::KERNELS;
    use super::*;

    /// Threads and rows cover every element, no more, and shared memory stays within what every device grants unasked, 48 KiB.
    #[test]
    fn launches_cover_their_cases() {
        for case in standard() {
            let Some(Launch { kernel, config, numbers, .. }) = Launch::of(&case) else {
                assert!(matches!(case.kernel, Kernel::Idle | Kernel::Gemm | Kernel::Copy), "{}", case.name());
                continue;
            };
            let (blocks, threads) = (u64::from(config.grid_dim.0), u64::from(config.block_dim.0));
            assert!(threads * u64::from(config.block_dim.1) <= 1024 && config.shared_mem_bytes <= 48 * 1024, "{kernel}");
            let packs = numbers.first().map_or(0, |packs| u64::from(*packs));
            let covered = match case.kernel {
                Kernel::Launch => 0,
                Kernel::Add | Kernel::Gelu => {
                    assert!((blocks - 1) * threads < packs && packs <= blocks * threads, "{kernel}");
                    packs
                }
                _ => packs * blocks * u64::from(config.block_dim.1),
            };
            assert_eq!(16 * covered, case.elements.unwrap_or(0) * case.element_bytes(), "{}", case.name());
        }
    }

    /// The source names every kernel that a case or a fill asks for.
    #[test]
    fn every_kernel_is_in_the_source() {
        let defined = |name: &str| {
            let (word, format) = name.rsplit_once('_').unwrap_or((name, ""));
            let for_each_format = KERNELS.contains(&format!("void {word}_##T(")) && KERNELS.contains(&format!("KERNELS_OF({format})"));
            KERNELS.contains(&format!("extern \"C\" __global__ void {name}(")) || for_each_format
        };
        let fills = ["fp32", "fp16", "bf16", "indices"].map(|format| Launch::fill(format, 8, 1).unwrap());
        for launch in standard().iter().filter_map(Launch::of).chain(fills) {
            assert!(defined(&launch.kernel), "{}", launch.kernel);
        }
        assert!(!defined("softmax_fp16") && !defined("relu_fp32"));
    }
}
