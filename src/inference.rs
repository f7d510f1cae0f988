//! What a trained model costs to run: forward passes over samples, and tokens generated from a key-value cache.

use serde::Deserialize;

use crate::arch::{Batch, Model};
use crate::document::Problem;
use crate::hardware::Precision;
use crate::perf::{Pass, StepWork};
use crate::training::{Framework, Memory, PhaseWork, Purpose, in_precision};
use crate::units::Bytes;

/// What is asked of a trained model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inference {
    /// fp32, tf32, fp16, bf16 or fp8 (linear layers and their weights alone, the rest in bf16).
    pub precision: Precision,
    /// Sequences that one accelerator runs at once.
    #[serde(default = "one")]
    pub batch: u64,
    /// Positions of a sample's input.
    pub sequence_length: u64,
    /// Tokens that a decoder generates after it, each from the cached keys and values of those before.
    #[serde(default)]
    pub generated: u64,
    /// Samples that the figures are of.
    #[serde(default = "one")]
    pub samples: u64,
    /// eager or graph.
    #[serde(default)]
    pub framework: Framework,
}

fn one() -> u64 {
    1
}

/// Sizes above this are typing errors.
const LARGEST: u64 = 1 << 40;

/// Bits of a weight and of the scale that a block of weights shares, on disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// The word in outputs.
    pub name: &'static str,
    /// Bits of a weight.
    pub bits: f64,
    /// Bits of the scale of a block, over its weights.
    pub scale_bits: f64,
}

/// Formats of weights on disk. The 8 and 4-bit integers share a 16-bit scale among 32 weights, as the Q8_0 and Q4_0 formats
/// of ggml do; the codes of nf4 an 8-bit one among 64, whose 32-bit scales 256 of them share (Dettmers et al. 2023).
pub const STORAGE: [Storage; 5] = [
    Storage { name: "fp32", bits: 32.0, scale_bits: 0.0 },
    Storage { name: "fp16", bits: 16.0, scale_bits: 0.0 },
    Storage { name: "int8", bits: 8.0, scale_bits: 0.5 },
    Storage { name: "int4", bits: 4.0, scale_bits: 0.5 },
    Storage { name: "nf4", bits: 4.0, scale_bits: 8.0 / 64.0 + 32.0 / (64.0 * 256.0) },
];

impl Storage {
    /// Bytes of a file of `parameters` weights.
    #[must_use]
    pub fn bytes(&self, parameters: f64) -> Bytes {
        Bytes::new(parameters * (self.bits + self.scale_bits) / 8.0)
    }
}

impl Inference {
    /// Checks every value.
    ///
    /// # Errors
    /// A size is zero or too large.
    pub fn check(&self) -> Result<(), Problem> {
        let sizes = [("batch", self.batch), ("sequence_length", self.sequence_length), ("samples", self.samples)];
        match sizes.into_iter().find(|(_, size)| *size == 0 || *size > LARGEST) {
            Some((key, size)) => Err(Problem::new(key, size.to_string(), format!("1 to {LARGEST}"))),
            None if self.generated > LARGEST => Err(Problem::new("generated", self.generated.to_string(), format!("0 to {LARGEST}"))),
            None => Ok(()),
        }
    }

    /// The work of all samples on `accelerators` that share them: the forward passes, then the generated tokens.
    ///
    /// # Errors
    /// A sequence is too long for the model, or tokens are asked of a model that generates none.
    pub fn plan(&self, model: &Model, accelerators: u64) -> Result<Vec<PhaseWork>, Problem> {
        let under = |key: &'static str| move |problem: Problem| Problem { key: format!("inference.{key}"), ..problem };
        let model = &*in_precision(model, self.precision).map_err(|problem| problem.under("model"))?;
        let batches = self.samples as f64 / self.batch as f64 / accelerators as f64;
        let mut phases = vec![self.phase(model, self.sequence_length, 0.0, batches).map_err(under("sequence_length"))?];
        if self.generated > 0 {
            // Work is linear in the cached positions, so that their mean stands for all steps.
            let cached = self.sequence_length as f64 + 0.5 * (self.generated as f64 - 1.0);
            phases.push(self.phase(model, 1, cached, batches * self.generated as f64).map_err(under("generated"))?);
        }
        Ok(phases)
    }

    fn phase(&self, model: &Model, length: u64, cached: f64, steps: f64) -> Result<PhaseWork, Problem> {
        let element_bytes = self.precision.element_bytes();
        let batch = Batch { sequences: self.batch as f64, length: length as f64, element_bytes };
        let ledger = model.inference_ledger(batch, cached)?;
        let positions = if self.generated > 0 { (self.sequence_length + self.generated) as f64 } else { 0.0 };
        let cache = model.cache_elements().unwrap_or_default() * positions * self.batch as f64 * element_bytes;
        let work = StepWork::new(vec![Pass::new(ledger.forward_kernels(), model.layers() as f64)], 1.0);
        Ok(PhaseWork {
            purpose: Purpose::Inference,
            companions: Memory::default(),
            sequence_length: length,
            steps,
            micro_batch: self.batch,
            accumulation: 1.0,
            work,
            memory: Memory {
                parameters: Bytes::new(ledger.parameter_bytes()),
                activations: Bytes::new(ledger.working_bytes() + cache),
                ..Memory::default()
            },
            device: ledger.clone(),
            ledger,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_weights_has_its_bits_and_its_scales() {
        let bytes: Vec<f64> = STORAGE.iter().map(|storage| storage.bytes(32.0).value()).collect();
        // Q8_0: 32 bytes and a 2-byte scale; Q4_0: 16 bytes and a 2-byte scale.
        assert_eq!(bytes[..4], [128.0, 64.0, 34.0, 18.0]);
        // 4.127 bits, as QLoRA prints it.
        assert!((bytes[4] * 8.0 / 32.0 - 4.127).abs() < 5e-4);
    }
}
