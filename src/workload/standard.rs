//! The cases that run unless fewer are asked for.

use super::cases::{Case, Kernel};
use crate::hardware::Precision::{self, Bf16, Fp16, Fp32, Tf32};

/// Rows of an activation: 16 sequences of 512.
const TOKENS: u64 = 8192;

/// Square products, from what a launch dominates to what fills any device.
const SQUARES: [u64; 5] = [512, 1024, 2048, 4096, 8192];

/// Products of the layers of BERT-base (width 768, feed-forward 3072; Devlin et al. 2019).
const BASE: [[u64; 3]; 3] = [[TOKENS, 768, 768], [TOKENS, 3072, 768], [TOKENS, 768, 3072]];
/// Products of the layers of Llama 7B (width 4096, feed-forward 11008; Touvron et al. 2023).
const LARGE: [[u64; 3]; 3] = [[TOKENS, 4096, 4096], [TOKENS, 11_008, 4096], [TOKENS, 4096, 11_008]];

/// Scores and values of attention, each with its batch of sequences and heads: BERT-base, and 2,048 positions with heads of 128.
const ATTENTION: [(u64, [u64; 3]); 2] = [(192, [512, 512, 64]), (192, [512, 64, 512])];
const LONG_ATTENTION: [(u64, [u64; 3]); 2] = [(64, [2048, 2048, 128]), (64, [2048, 128, 2048])];

/// The same with heads of 256 (Gemma; Gemma Team 2024, arXiv 2403.08295), whose products no memory holds up: those of narrower heads
/// wait for the scores on devices whose tensor units are fast beside their memory.
const WIDE_ATTENTION: [(u64, [u64; 3]); 2] = [(64, [2048, 2048, 256]), (64, [2048, 256, 2048])];

/// Ranks of the two factors of a 768 x 768 matrix, up to where they compute as much as the matrix.
const RANKS: [u64; 6] = [32, 64, 128, 192, 256, 384];
const FEW_RANKS: [u64; 2] = [64, 192];
/// The other factors of the two matrices of a feed-forward network at rank 192.
const FEED_FORWARD_FACTORS: [[u64; 3]; 2] = [[TOKENS, 3072, 192], [TOKENS, 192, 3072]];

/// Elements of copies: within the cache of any device, within that of some, of none.
const COPIES: [u64; 4] = [1 << 20, 1 << 24, 1 << 26, 1 << 28];

/// All of them, in the order in which they run.
#[must_use]
pub fn standard() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let none = |kernel| Case { kernel, precision: None, m: None, n: None, k: None, batch: None, elements: None };
    cases.extend([none(Kernel::Idle), none(Kernel::Launch)]);
    for precision in [Fp32, Tf32, Fp16, Bf16] {
        cases.extend(products(precision));
    }
    cases.extend(COPIES.map(|elements| Case::elementwise(Kernel::Copy, Fp32, elements)));
    for precision in [Fp32, Bf16] {
        cases.extend([1 << 24, 1 << 26].map(|elements| Case::elementwise(Kernel::Add, precision, elements)));
        cases.extend([TOKENS * 3072, 1 << 26].map(|elements| Case::elementwise(Kernel::Gelu, precision, elements)));
        cases.extend([[192 * 512, 512], [64 * 2048, 2048]].map(|size| Case::rows(Kernel::Softmax, precision, size)));
        cases.extend([[TOKENS, 768], [4 * TOKENS, 4096]].map(|size| Case::rows(Kernel::LayerNorm, precision, size)));
        // Vocabularies of BERT and Llama.
        let gathers = [([TOKENS, 768], 30_522), ([4 * TOKENS, 4096], 32_000)];
        cases.extend(gathers.map(|(size, table)| Case { k: Some(table), ..Case::rows(Kernel::Gather, precision, size) }));
    }
    cases
}

/// Matrix products of one precision: all shapes in bf16, in which models train today, fewer in the others.
fn products(precision: Precision) -> Vec<Case> {
    let all = precision == Bf16;
    let mut sizes: Vec<(u64, [u64; 3])> = SQUARES.map(|size| (1, [size, size, size])).to_vec();
    sizes.extend(BASE.map(|size| (1, size)));
    for rank in if all { &RANKS[..] } else { &FEW_RANKS } {
        sizes.extend([(1, [TOKENS, *rank, 768]), (1, [TOKENS, 768, *rank])]);
    }
    sizes.extend(ATTENTION);
    if all {
        sizes.extend(FEED_FORWARD_FACTORS.iter().chain(&LARGE).map(|size| (1, *size)));
        sizes.extend(LONG_ATTENTION.iter().chain(&WIDE_ATTENTION));
    }
    sizes.into_iter().map(|(batch, size)| Case::gemm(precision, batch, size)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::marks::is_phase_name;
    use super::*;

    #[test]
    fn names_are_those_of_phases_and_no_two_are_alike() {
        let cases = standard();
        let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
        assert_eq!(names.len(), cases.len());
        for name in &names {
            assert!(is_phase_name(name), "{name}");
        }
        for name in ["idle", "launch", "gemm/bf16/8192x768x192", "gemm/bf16/192:512x512x64", "gather/fp32/8192x768:30522"] {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
    }

    #[test]
    fn every_kernel_runs_and_products_run_in_every_precision() {
        let cases = standard();
        for kernel in Kernel::ALL {
            assert!(cases.iter().any(|case| case.kernel == kernel), "{kernel:?}");
        }
        for precision in [Fp32, Tf32, Fp16, Bf16] {
            let of = cases.iter().filter(|case| case.kernel == Kernel::Gemm && case.precision == Some(precision)).count();
            assert!(of >= 14, "{of} in {precision:?}");
        }
    }

    /// 16 GB, what the smallest accelerators of data centres have, hold every case.
    #[test]
    fn every_case_fits_a_small_device() {
        for case in standard() {
            assert!(case.cost().bytes() < 8e9, "{}", case.name());
        }
    }
}
