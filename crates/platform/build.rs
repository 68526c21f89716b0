//! The migrations are embedded at compile time; a new one must cause a new build.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo:rerun-if-changed=migrations")
}
