//! What accelerators exchange, and how long a message takes.

use super::Rates;
use crate::units::Seconds;

/// How accelerators exchange a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectiveKind {
    /// All end with the sum of what each has.
    AllReduce,
    /// Each ends with a share of that sum.
    ReduceScatter,
    /// All end with the shares of each.
    AllGather,
    /// Each sends every other a part of what it has.
    AllToAll,
    /// One sends, another receives.
    SendReceive,
}

impl CollectiveKind {
    /// The word in outputs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AllReduce => "all_reduce",
            Self::ReduceScatter => "reduce_scatter",
            Self::AllGather => "all_gather",
            Self::AllToAll => "all_to_all",
            Self::SendReceive => "send_receive",
        }
    }
}

/// When in a step a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before or after the layers of a micro-batch.
    Outside,
    /// In the forward pass of the layers.
    Forward,
    /// While layers run again.
    Again,
    /// In the backward pass of the layers.
    Backward,
    /// Between passes, or once a step.
    Between,
}

/// A message that accelerators exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Collective {
    /// Why.
    pub name: &'static str,
    /// How.
    pub kind: CollectiveKind,
    /// When.
    pub when: When,
    /// Bytes of the whole tensor.
    pub message: f64,
    /// How often: in a pass of one micro-batch, or in a step where it is sent between passes.
    pub times: f64,
    /// Accelerators that take part.
    pub devices: f64,
    /// Accelerators that stand between the first and the last of them, themselves with them: no more than a node has, and the
    /// message stays inside it.
    pub reach: f64,
    /// Whether work goes on meanwhile, so that the overlap hides a part of it.
    pub hidden: bool,
}

impl Collective {
    /// The time of one: in rings, n - 1 steps of an n-th of the message, twice of them for a sum that all receive
    /// (Patarasuk and Yuan 2009), with what a message loses on the way to its bandwidth, and a latency.
    #[must_use]
    pub fn time(&self, rates: &Rates) -> Seconds {
        if self.devices <= 1.0 || self.message <= 0.0 {
            return Seconds::new(0.0);
        }
        // What a message loses on the way to its bandwidth is a time, that of the half message over the links of a node.
        let lost = self.sent() / self.message * rates.half_message / rates.inner_link;
        Seconds::new(self.sent() / self.bandwidth(rates) + lost + rates.latency)
    }

    /// Bytes that one of the accelerators sends each time.
    #[must_use]
    pub fn sent(&self) -> f64 {
        if self.devices <= 1.0 {
            return 0.0;
        }
        let rounds = match self.kind {
            CollectiveKind::AllReduce => 2.0 * (self.devices - 1.0) / self.devices,
            CollectiveKind::ReduceScatter | CollectiveKind::AllGather | CollectiveKind::AllToAll => (self.devices - 1.0) / self.devices,
            CollectiveKind::SendReceive => 1.0,
        };
        rounds * self.message
    }

    /// Bandwidth of its ring at large messages: that of the links inside a node, or the whole network of a node where all of its
    /// accelerators are in the ring. Of some of them, a single ring enters a node at one and leaves it at another, so that it has the
    /// share of one; as many rings as there are of them have the share of each.
    fn bandwidth(&self, rates: &Rates) -> f64 {
        if self.reach <= rates.node {
            return rates.inner_link * rates.mesh.map_or(1.0, |mesh| mesh.share(self.devices));
        }
        let apart = if self.kind == CollectiveKind::SendReceive { rates.node } else { self.reach / self.devices };
        let members = (rates.node / apart).clamp(1.0, self.devices);
        let share = if members < rates.node { members.powf(rates.rings) / rates.node } else { 1.0 };
        let reached = if self.when == When::Between { rates.between } else { 1.0 };
        rates.inner_link.min(rates.network * reached * share)
    }

    /// The time of all of them that no work hides.
    #[must_use]
    pub fn exposed(&self, rates: &Rates) -> Seconds {
        self.time(rates) * self.times * if self.hidden { 1.0 - rates.overlap } else { 1.0 }
    }
}
