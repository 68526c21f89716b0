//! YAML as a lossless tree: it keeps the order of keys, the line of each value and the text of each plain scalar.
//!
//! Parsers follow different versions. PyYAML and others follow YAML 1.1, where `yes` is true, `12:30` is 750 and `010` is 8;
//! newer ones follow 1.2, where the first two are text and the third is 10. Deciding while reading would change files that are
//! only passed on. So a plain scalar keeps its source text; [`Scalar::kind`] returns a number or a boolean only if both versions
//! agree, otherwise text. [`write()`] quotes a text that one of the versions would read as another type.
//!
//! Input is untrusted: [`read`] has fixed limits of size, depth and expansion, and errors name the line.

mod characters;
mod limits;
mod node;
mod read;
mod scalar;
mod write;

pub use limits::{MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_SCALAR};
pub use node::{Entry, Mapping, Node, Value, number_scalar};
pub use read::{YamlError, read, read_bytes};
pub use scalar::{Kind, Scalar};
pub use write::write;

#[cfg(test)]
mod tests;
