//! One broken rule, as it is told.

use std::fmt;

/// One thing that the operator would refuse, or that would not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `spec.driver.memory`.
    pub path: String,
    /// The line, where it was read from a text; else 0.
    pub line: u32,
    /// What stands there; empty where nothing does.
    pub found: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What to do.
    pub remedy: String,
    /// The operator takes it all the same, and does something else than it says.
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
