//! What the hardware of a row could do, by the profiles of its accelerator and its node.

use crate::document::{Diagnostic, Origin, Problem};
use crate::hardware::{Accelerator, NodeProfile, Precision};
use crate::perf::{Peaks, Speeds};

/// What a device in a node of so many could do.
pub(super) fn peaks(
    device: &Accelerator,
    node: Option<&NodeProfile>,
    precision: Precision,
    per_node: f64,
    origin: &Origin,
) -> Result<Peaks, Diagnostic> {
    let place = |problem: Problem| Diagnostic::new(origin, "precision", problem.found, problem.allowed);
    // A device without units for 8 bits does not run such products as others.
    device.peak_at(precision).map_err(place)?;
    let precision = precision.dense();
    let peak = device.peak_at(precision).map_err(place)?;
    let link = device.link.as_ref().and_then(|link| link.bandwidth_one_way.as_ref());
    Ok(Peaks {
        matmul: peak.centre().value(),
        multiprocessors: device.board.as_ref().and_then(|board| board.multiprocessors).map(|count| count as f64),
        bandwidth: device.memory.bandwidth.centre().value(),
        link: link.map(|bandwidth| bandwidth.centre().value()),
        mesh: device.link.as_ref().and_then(|link| link.mesh),
        network: node.and_then(|node| node.network.as_ref()).map(|network| network.bandwidth_one_way.centre().value()),
        node: per_node,
        speeds: speeds(device, precision),
    })
}

/// What the device runs faster than dense products of the step's precision, by the peaks that its profile states.
#[must_use]
pub fn speeds(device: &Accelerator, precision: Precision) -> Speeds {
    let precision = precision.dense();
    let Some(peak) = device.peak.at(precision).map(|peak| peak.centre().value()) else { return Speeds::default() };
    let sparsity = device.sparsity.as_ref();
    let pattern = sparsity.and_then(|sparsity| Some((sparsity.pattern?, sparsity.peak.as_ref()?.at(precision)?.centre().value() / peak)));
    Speeds {
        pattern,
        unstructured: sparsity.is_some_and(|sparsity| sparsity.unstructured),
        int8: device.peak.int8.as_ref().map(|rate| rate.centre().value() / peak),
        fp8: device.peak.fp8.as_ref().map(|rate| rate.centre().value() / peak),
    }
}
