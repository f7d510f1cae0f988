//! Which tensors are alive at once while a step runs: the most bytes of them.
//!
//! The rule, operation by operation. Forward: an output lives from the operation that makes it to the last one that reads
//! it, and if it is kept, on to the backward pass of the first operation that keeps it. Backward, in reverse order: an
//! operation makes a gradient for each input that needs one, with what scratch its kernel takes; gradients of one tensor are
//! summed into one; the gradient of its output and what it alone still kept are freed after it. Leaf inputs, the last output
//! and the gradients of both live throughout. Of equal layers, one is walked through while the others hold what they keep.

use super::Ledger;
use super::rerun::{Copies, Rerun};

impl Ledger {
    /// The most bytes alive at once in forward and backward of one micro-batch. Parameters and their gradients are not among
    /// them.
    #[must_use]
    pub fn peak_bytes(&self, rerun: Rerun) -> f64 {
        let mut walk = Walk::new(self, rerun);
        walk.forward();
        walk.backward();
        walk.peak
    }
}

/// A walk through the operations, forward and back.
struct Walk<'a> {
    ledger: &'a Ledger,
    rerun: Rerun,
    copies: Vec<Copies>,
    /// The last operation that reads a tensor, and the first that keeps it.
    last_read: Vec<Option<usize>>,
    first_kept: Vec<Option<usize>>,
    /// The tensor that goes on where this one ends, under another count.
    carried_to: Vec<Option<usize>>,
    /// Whether a tensor's own copy is there.
    there: Vec<bool>,
    /// Bytes of its gradient so far.
    gradients: Vec<f64>,
    alive: f64,
    peak: f64,
}

impl<'a> Walk<'a> {
    fn new(ledger: &'a Ledger, rerun: Rerun) -> Self {
        let tensors = ledger.tensors.len();
        let (mut last_read, mut first_kept, mut carried_to) = (vec![None; tensors], vec![None; tensors], vec![None; tensors]);
        for (index, op) in ledger.ops.iter().enumerate() {
            op.inputs.iter().for_each(|input| last_read[input.id] = Some(index));
            for id in &op.keeps {
                first_kept[*id].get_or_insert(index);
            }
        }
        for (id, tensor) in ledger.tensors.iter().enumerate() {
            if let Some(from) = tensor.carried {
                carried_to[from] = Some(id);
            }
        }
        let copies = ledger.copies(rerun);
        let (there, gradients) = (vec![false; tensors], vec![0.0; tensors]);
        Self { ledger, rerun, copies, last_read, first_kept, carried_to, there, gradients, alive: 0.0, peak: 0.0 }
    }

    /// Whether nothing but the end of the step frees a tensor.
    fn stays(&self, id: usize) -> bool {
        self.ledger.tensors[id].leaf || self.ledger.ops.last().is_some_and(|op| op.output == id)
    }

    fn make(&mut self, id: usize) {
        let tensor = &self.ledger.tensors[id];
        if !self.there[id] && tensor.made() {
            self.there[id] = true;
            self.alive += tensor.bytes;
        }
    }

    fn free(&mut self, id: usize) {
        if self.there[id] && !self.stays(id) {
            self.there[id] = false;
            self.alive -= self.ledger.tensors[id].bytes;
        }
    }

    fn mark(&mut self) {
        self.peak = self.peak.max(self.alive);
    }

    /// What the other layers of a stack hold.
    fn others(&self, region: usize) -> f64 {
        let held = self.ledger.tensors.iter().zip(&self.copies).filter(|(tensor, _)| tensor.region == region);
        held.map(|(tensor, copies)| tensor.bytes * (copies.held - 1.0).max(0.0)).sum()
    }

    fn forward(&mut self) {
        for (id, tensor) in self.ledger.tensors.iter().enumerate().filter(|(_, tensor)| tensor.leaf) {
            self.there[id] = true;
            self.alive += 2.0 * tensor.bytes;
        }
        let mut region = 0;
        for (index, op) in self.ledger.ops.iter().enumerate() {
            if op.region != region {
                region = op.region;
                self.alive += if region == 0 { 0.0 } else { self.others(region) };
            }
            let touched = || op.inputs.iter().map(|input| input.id).chain(op.keeps.iter().copied()).chain([op.output]);
            touched().for_each(|id| self.make(id));
            self.mark();
            for id in touched() {
                if self.copies[id].held == 0.0 && self.last_read[id].is_none_or(|last| last <= index) {
                    self.free(id);
                }
            }
        }
    }

    fn backward(&mut self) {
        if let Some(last) = self.ledger.ops.last().filter(|op| op.inputs.iter().any(|input| input.gradient)) {
            self.gradients[last.output] = last.output_bytes;
            self.alive += last.output_bytes;
        }
        let mut region = 0;
        let mut again = 0;
        for (index, op) in self.ledger.ops.iter().enumerate().rev() {
            if op.region != region {
                self.alive -= if region == 0 { 0.0 } else { self.others(region) };
                region = op.region;
            }
            if region != 0 && again != region && (self.rerun.runs(op) || op.reversible) {
                again = region;
                self.run_again(region);
            }
            if op.inputs.iter().any(|input| input.gradient) {
                self.derive(index);
            }
            for id in &op.keeps {
                if self.first_kept[*id] == Some(index) {
                    self.free(*id);
                }
            }
        }
    }

    /// Backward runs a layer of a stack again: what that makes is alive until the operations that keep it are done.
    fn run_again(&mut self, region: usize) {
        for id in 0..self.ledger.tensors.len() {
            if self.ledger.tensors[id].region == region && self.copies[id].alive > 0.0 {
                self.make(id);
                // Of layers that run again together, the others' copies stay until the stack is done.
                self.alive += self.ledger.tensors[id].bytes * (self.copies[id].alive - 1.0).max(0.0);
            }
        }
    }

    /// The backward pass of an operation.
    fn derive(&mut self, index: usize) {
        let op = &self.ledger.ops[index];
        // A layer's output goes on as the next one's input, and their gradients are one.
        let own = self.gradients[op.output];
        let carried = self.carried_to[op.output].map_or(0.0, |id| std::mem::take(&mut self.gradients[id]));
        let scratch = op.scratch_bytes();
        self.alive += scratch;
        let pieces = op.inputs.iter().filter(|input| input.gradient && self.ledger.tensors[input.id].parameter.is_none());
        let pieces: Vec<(usize, f64)> = pieces
            .map(|input| {
                let tensor = &self.ledger.tensors[input.id];
                (input.id, tensor.bytes * (input.elements / tensor.elements).min(1.0))
            })
            .collect();
        self.alive += pieces.iter().map(|(_, bytes)| bytes).sum::<f64>();
        self.mark();
        self.alive -= scratch;
        for (id, bytes) in pieces {
            let sum = (self.gradients[id] + bytes).min(self.ledger.tensors[id].bytes);
            self.alive += sum - self.gradients[id] - bytes;
            self.gradients[id] = sum;
        }
        if !self.stays(op.output) {
            self.gradients[op.output] = 0.0;
            self.alive -= own;
        }
        self.alive -= carried;
    }
}
