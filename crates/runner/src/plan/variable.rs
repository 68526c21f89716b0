//! The sources of a pod's environment variables.

use super::objects::Object;

/// Where a part of the environment comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    /// A text in which `$(NAME)` stands for a variable before it.
    Plain {
        /// The variable's name.
        name: String,
        /// Not expanded yet.
        value: String,
    },
    /// A value without references.
    Literal {
        /// The variable's name.
        name: String,
        /// Taken to the letter.
        value: String,
    },
    /// The path at which something is mounted.
    Mounted {
        /// The variable's name.
        name: String,
        /// Of the mount.
        path: String,
    },
    /// One key of an object.
    Key {
        /// The variable's name.
        name: String,
        /// Whose key.
        object: Object,
        /// Which key.
        key: String,
    },
    /// All keys of an object, each behind the prefix.
    All {
        /// May be empty.
        prefix: String,
        /// Whose keys.
        object: Object,
    },
    /// A value that only a container has; the text is for whoever submits to a runner without containers.
    NeedsContainer {
        /// The variable's name.
        name: String,
        /// The field, why it cannot be, and the remedy.
        problem: String,
    },
}

impl Variable {
    /// The object that it is taken from.
    #[must_use]
    pub const fn object(&self) -> Option<&Object> {
        match self {
            Self::Key { object, .. } | Self::All { object, .. } => Some(object),
            _ => None,
        }
    }
}
