//! Limits of a document: size, depth and expansion.

/// The largest document. Kubernetes keeps no object above 1.5 MiB.
pub const MAX_BYTES: usize = 2 << 20;
/// The largest scalar; a config map holds 1 MiB altogether.
pub const MAX_SCALAR: usize = 1 << 20;
/// The deepest nesting. A manifest needs about ten levels, and whoever walks the tree may recurse.
pub const MAX_DEPTH: usize = 64;
/// The most values, aliases expanded. Without this bound a dozen lines of aliases become billions of values.
pub const MAX_NODES: usize = 50_000;
