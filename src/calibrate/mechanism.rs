//! What a row of a measured run states of its model beyond sizes: attention mechanism and low-rank layers.

/// The mechanism of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mechanism {
    /// Softmax over all positions.
    #[default]
    Softmax,
    /// Keys and values projected to a length.
    Linformer(u64),
    /// Random features.
    Performer(u64),
    /// elu + 1 of queries and keys.
    Linear,
    /// Blocks of positions that see a block on either side.
    Local(u64),
    /// Sorted blocks.
    Sinkhorn(u64),
}

/// A name of a mechanism in tables: the column that holds its size, where it has one, and what the size makes of it.
pub type Named = (&'static str, Option<&'static str>, fn(u64) -> Mechanism);

/// The names of mechanisms in tables.
pub const MECHANISMS: [Named; 8] = [
    ("softmax", None, |_| Mechanism::Softmax),
    ("vanilla", None, |_| Mechanism::Softmax),
    ("vanilla_sdpa", None, |_| Mechanism::Softmax),
    ("linformer", Some("length_projection"), Mechanism::Linformer),
    ("performer", Some("features"), Mechanism::Performer),
    ("linear", None, |_| Mechanism::Linear),
    ("local", Some("window"), Mechanism::Local),
    ("sinkhorn", Some("window"), Mechanism::Sinkhorn),
];

impl Mechanism {
    /// The keys of a model's `[attention]` that say it.
    #[must_use]
    pub fn settings(self) -> String {
        match self {
            Self::Softmax => "kind = \"softmax\"".into(),
            Self::Linformer(length) => format!("kind = \"linformer\", linformer = {{ projected_length = {length} }}"),
            Self::Performer(features) => format!("kind = \"performer\", performer = {{ features = {features} }}"),
            Self::Linear => "kind = \"linear\"".into(),
            Self::Local(window) => format!("kind = \"local\", local = {{ window = {window} }}"),
            Self::Sinkhorn(block) => format!("kind = \"sinkhorn\", sinkhorn = {{ block = {block} }}"),
        }
    }
}
