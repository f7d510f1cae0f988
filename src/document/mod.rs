//! Documents that people write: TOML whose every value knows the file and line it came from.
//!
//! A document is parsed into [`Node`]s, overlaid by others ([`overlay`](mod@overlay)), resolved ([`Resolver`]: `use = "name"` pulls in a
//! base), and read into a typed value by serde. Because a node keeps its place through all of this, an error names the
//! file and line of the very value that is wrong, also when it came in through an overlay.

mod diagnostic;
mod json;
mod node;
pub mod overlay;
mod problem;
mod read;
mod resolve;

pub use diagnostic::{Diagnostic, nearest};
pub use node::{Data, Node, Origin, Table};
pub use problem::Problem;
pub use resolve::{Kind, Library, Resolver, Text, Used, expand};
