//! The entry point of the `mlp` script.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Run the command with these arguments, the program's name first, and exit the process with its exit code.
///
/// The command does not use Python, and handles Ctrl-C itself.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, arguments: Vec<OsString>) {
    #[expect(clippy::disallowed_methods, reason = "it does not return")]
    py.detach(|| std::process::exit(i32::from(mlplatform_cli::run(arguments))));
}
