//! What of a device's memory a case needs, and what must stand in it.
//!
//! What numbers are multiplied changes what a device draws, by up to 40 % (Gregersen et al. 2024, arXiv 2409.18324), since bits that
//! do not flip cost little. So everything that is read holds random numbers, no zeros.

use super::cases::{Case, Kernel};

/// What stands in a tensor before its case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Whatever: it is written.
    Output,
    /// Numbers of the case's precision, uniform between -1 and 1.
    Numbers,
    /// Integers of 8 bytes, uniform below this.
    Indices(u64),
}

/// A tensor in a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Its size.
    pub bytes: u64,
    /// What stands in it.
    pub contents: Contents,
}

/// Bytes of an index, as PyTorch has them.
pub const INDEX_BYTES: u64 = 8;
/// Bytes of a mean or a deviation, which are in fp32.
pub const STATISTIC_BYTES: u64 = 4;

impl Case {
    /// Bytes of one of its numbers.
    #[must_use]
    pub fn element_bytes(&self) -> u64 {
        self.precision.map_or(0, |precision| precision.element_bytes() as u64)
    }

    /// Its tensors, in the order in which its kernel takes them: what it writes, then what it reads.
    #[must_use]
    pub fn operands(&self) -> Vec<Operand> {
        let [m, n, k, batch, elements] = [self.m, self.n, self.k, self.batch, self.elements].map(|size| size.unwrap_or(1));
        let of = |contents: Contents, count: u64| Operand { bytes: count * self.element_bytes(), contents };
        let (output, numbers) = (|count| of(Contents::Output, count), |count| of(Contents::Numbers, count));
        match self.kernel {
            Kernel::Idle | Kernel::Launch => Vec::new(),
            Kernel::Gemm => vec![output(batch * m * n), numbers(batch * m * k), numbers(batch * n * k)],
            Kernel::Copy | Kernel::Gelu | Kernel::Softmax => vec![output(elements), numbers(elements)],
            Kernel::Add => vec![output(elements), numbers(elements), numbers(elements)],
            Kernel::LayerNorm => {
                let statistics = Operand { bytes: 2 * m * STATISTIC_BYTES, contents: Contents::Output };
                vec![output(elements), statistics, numbers(elements), numbers(2 * n)]
            }
            Kernel::Gather => {
                let indices = Operand { bytes: m * INDEX_BYTES, contents: Contents::Indices(k) };
                vec![output(elements), numbers(k * n), indices]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::standard::standard;
    use super::*;

    /// The bytes of a call are those of its operands, each moved once: the ledger's count and this one agree. Of a table, a gather
    /// moves as much as it picks, and no row twice.
    #[test]
    fn a_call_moves_its_operands_once() {
        for case in standard() {
            let operands = case.operands();
            let held: u64 = operands.iter().map(|operand| operand.bytes).sum();
            let moved = match case.kernel {
                Kernel::Gather => held - operands[1].bytes + operands[1].bytes.min(operands[0].bytes),
                _ => held,
            };
            assert_eq!(case.cost().bytes() as u64, moved, "{}", case.name());
        }
    }

    /// Kernels move 16 bytes at once, softmax and norm two rows a block, and count packs in 32 bits.
    #[test]
    fn every_case_is_whole_packs_of_sixteen_bytes() {
        for case in standard().iter().filter(|case| case.elements.is_some()) {
            let row = case.n.or(case.elements).unwrap() * case.element_bytes();
            assert_eq!(row % 16, 0, "{}", case.name());
            assert_eq!(case.m.unwrap_or(2) % 2, 0, "{}", case.name());
            assert!(case.elements.unwrap() < 1 << 32, "{}", case.name());
        }
    }
}
