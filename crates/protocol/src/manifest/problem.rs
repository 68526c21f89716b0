//! A violated rule.

use std::fmt;

/// A field that the operator would refuse, or that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field: `spec.driver.memory`.
    pub path: String,
    /// The line in the text; 0 if it was not read from one.
    pub line: u32,
    /// The value; empty if it is missing.
    pub found: String,
    /// The violated rule.
    pub rule: String,
    /// The remedy.
    pub remedy: String,
    /// Only a warning: the operator accepts it, but does something else.
    pub is_harmless: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line != 0 {
            write!(f, " (line {})", self.line)?;
        }
        let found = if self.found.is_empty() { "missing" } else { &self.found };
        write!(f, ": {found}; {}; {}", self.rule, self.remedy)
    }
}
