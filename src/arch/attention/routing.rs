//! Routing attention: positions see those of their cluster (Roy et al. 2020, arXiv 2003.05997, section 4). Queries and
//! keys are compared with c centroids, which k-means moves along without a gradient; each cluster takes the w queries and
//! the w keys that are nearest to it, and attends within. Some heads may be local instead, as in the paper's models.
//!
//! Products, forward, per sequence and layer: 4 n c h d_h to compare queries and keys with centroids, 2 n c h d_h where
//! they are the same; 2 c w^2 h d_h for the scores, as many for the values. With c = w = sqrt(n) that is O(n^1.5).
//!
//! Kept: normalised queries and keys with their lengths, what each gather picked from and its indices, the weights, and
//! how often each position was picked, by which the sum of its results is divided.

use serde::{Deserialize, Serialize};

use super::super::config::Model;
use super::super::validate::check_size;
use super::blocks::attend;
use super::{Abilities, Attention, AttentionKind, Context, Inputs, Mechanism, local, project, rotary};
use crate::document::Problem;
use crate::ledger::{Keeps, Shape, Tape, Tensor};

/// Settings of routing attention.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Queries, and keys, of a cluster, w.
    pub window: u64,
    /// Clusters, c; as many windows as the longest sequence has where not said.
    #[serde(default)]
    pub clusters: Option<u64>,
    /// Whether queries are keys; in a decoder where not said.
    #[serde(default)]
    pub shared: Option<bool>,
    /// Heads that attend to blocks of neighbours instead, from a projection of their own.
    #[serde(default)]
    pub local_heads: u64,
    /// Positions of their blocks; those of a cluster where not said.
    #[serde(default)]
    pub local_window: Option<u64>,
    /// Whether their projection has a bias; as the others where not said.
    #[serde(default)]
    pub local_bias: Option<bool>,
}

impl Settings {
    /// Clusters.
    fn count(&self, model: &Model) -> Option<u64> {
        self.clusters.or(model.embedding.positions.length.map(|length| length.div_ceil(self.window.max(1))))
    }

    /// What the local heads do.
    fn local(&self) -> local::Settings {
        local::Settings::new(self.local_window.unwrap_or(self.window))
    }
}

impl Mechanism for Settings {
    fn abilities(&self) -> Abilities {
        Abilities { causal: true, rotary: true, ..Abilities::default() }
    }

    fn check(&self, model: &Model, attention: &Attention) -> Result<(), Problem> {
        check_size("routing.window", self.window)?;
        check_size("routing.local_window", self.local_window.unwrap_or(1))?;
        if self.local_heads >= attention.heads {
            let allowed = format!("fewer than the {} heads, or attention of kind local", attention.heads);
            return Err(Problem::new("routing.local_heads", self.local_heads.to_string(), allowed));
        }
        match self.count(model) {
            None => Err(Problem::new("routing.clusters", "nothing", "the number of clusters")),
            Some(clusters) => check_size("routing.clusters", clusters),
        }
    }

    fn note(&self, length: u64) -> Option<String> {
        let clusters = self.clusters.unwrap_or(length.div_ceil(self.window.max(1)));
        let window = self.window.min(length);
        let products = u128::from(clusters) * (u128::from(length) + u128::from(window) * u128::from(window));
        (products >= u128::from(length) * u128::from(length))
            .then(|| format!("routing attention saves nothing at {length} positions with {clusters} clusters of {window}"))
    }

    fn write(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let routed = self.routed(tape, context, inputs);
        if self.local_heads == 0 {
            return routed;
        }
        let own = Attention {
            kind: AttentionKind::Local,
            heads: self.local_heads,
            key_value_heads: None,
            head_width: Some(context.attention.head_width(context.model.width)),
            bias: self.local_bias.unwrap_or(context.attention.bias),
            fused_projection: false,
            ..context.attention.clone()
        };
        // Rotary positions turn them within what each block sees.
        let (turned, inputs) = (inputs.rotary.is_some(), Inputs { rotary: None, ..*inputs });
        let near = self.local().attend(tape, &Context { attention: &own, ..*context }, &inputs, turned);
        tape.operation("join heads", 0.0, &[near, routed], near.elements + routed.elements, Keeps::Nothing)
    }
}

impl Settings {
    /// The heads that are routed.
    fn routed(&self, tape: &mut Tape, context: &Context<'_>, inputs: &Inputs) -> Tensor {
        let heads = context.attention.heads - self.local_heads;
        let head_width = context.attention.head_width(context.model.width) as f64;
        let shared = self.shared.unwrap_or(inputs.causal);
        let mut query = project(tape, context, "query projection", heads, inputs.x);
        let value = project(tape, context, "value projection", heads, inputs.x);
        let mut key = if shared { query } else { project(tape, context, "key projection", heads, inputs.x) };
        if let Some(tables) = rotary(context, inputs) {
            (query, key) = (tape.rotate(query, tables), tape.rotate(key, tables));
        }
        let clusters = self.count(context.model).unwrap_or_default() as f64;
        let rows = context.batch.sequences * heads as f64;
        let both = 2.0 * query.elements;
        let compared = if shared { query } else { tape.operation("join queries and keys", 0.0, &[query, key], both, Keeps::Nothing) };
        compare(tape, compared, Shape { batch: heads as f64, m: compared.elements / heads as f64 / head_width, n: clusters, k: head_width });
        if shared {
            key = normalised(tape, key, head_width);
        }
        // A cluster has as many positions as the sequence at most.
        let window = (self.window as f64).min(context.batch.length);
        let mut pick = || tape.indices(rows * clusters * window);
        let (queries, keys) = (pick(), pick());
        let keys = if shared { queries } else { keys };
        let elements = rows * clusters * window * head_width;
        let [query, key, value] = [(query, queries), (key, keys), (value, keys)]
            .map(|(x, indices)| tape.gather_elements("gather by cluster", x, indices, elements));
        let scores = Shape { batch: rows * clusters, m: window, n: window, k: head_width };
        // One mask of later positions, one of the position itself.
        let masks = u8::from(inputs.causal) + u8::from(shared);
        let mask = (masks > 0).then(|| tape.mask(f64::from(masks) * rows * clusters * window * window));
        let out = attend(tape, context, [query, key, value], scores, mask);
        let positions = rows * context.batch.length * head_width;
        let sums = tape.operation("scatter to positions", 1.0, &[out, queries], positions, Keeps::These(&[queries]));
        let counts = tape.constant(positions, context.batch.element_bytes);
        tape.divide("mean of clusters", sums, counts)
    }
}

/// Compares normalised vectors with the centroids of each head, without a gradient, moves the centroids, and keeps the
/// vectors near them by a loss of its own.
fn compare(tape: &mut Tape, x: Tensor, shape: Shape) {
    let vectors = x.elements / shape.k;
    let normal = normalised(tape, x, shape.k);
    let centroids = tape.buffer(shape.batch * shape.n * shape.k);
    let still = tape.detached(normal);
    let distances = tape.matmul("compare with centroids", still, centroids, shape);
    let nearest = tape.operation("nearest centroid", 1.0, &[distances], vectors, Keeps::Nothing);
    if !tape.is_inference() {
        let near = tape.operation("centroid of each", 0.0, &[nearest], x.elements, Keeps::Nothing);
        tape.operation("commitment loss", 3.0 * x.elements, &[normal, near], 1.0, Keeps::These(&[normal, near]));
        tape.operation("move centroids", 1.0, &[still, nearest], shape.batch * shape.n * shape.k, Keeps::Nothing);
    }
    tape.operation("nearest to each centroid", 1.0, &[distances], distances.elements, Keeps::Nothing);
}

/// Vectors of `width` over their lengths, which are kept from zero.
fn normalised(tape: &mut Tape, x: Tensor, width: f64) -> Tensor {
    let lengths = tape.operation("lengths", 2.0, &[x], x.elements / width, Keeps::OutputAnd(&[x]));
    let lengths = tape.pass("above zero", lengths);
    tape.divide("normalise", x, lengths)
}
