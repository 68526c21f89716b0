//! YAML as a tree that keeps what it read: the order of keys, the line of each value, the text of each plain scalar.
//!
//! Two generations of readers are about. PyYAML and its kin follow YAML 1.1, where `yes` is true, `12:30` is 750 and
//! `010` is 8; newer ones follow 1.2, where the first two are texts and the third is 10. A tree that decided while
//! reading would change files that it only passes on. So a plain scalar here is its source text until somebody asks
//! what it means ([`Scalar::kind`]); it is then a number or a truth value only where both generations agree, else text.
//! What is written anew ([`write()`]) is quoted wherever one of them could take a text for something else.
//!
//! Files come from strangers: [`read`] works within fixed bounds of size, depth and expansion, and names the line of
//! whatever it refuses.

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
