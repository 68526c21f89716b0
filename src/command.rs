//! `mlp`, the command: what the script of the wheel calls.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Does what the arguments say, the program's name first, and ends the process with the exit code.
///
/// Python is only how the command is found: nothing of it is needed once it begins, and Ctrl-C is the command's own.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, arguments: Vec<OsString>) {
    #[expect(clippy::disallowed_methods, reason = "it does not come back")]
    py.detach(|| std::process::exit(i32::from(mlplatform_cli::run(arguments))));
}
