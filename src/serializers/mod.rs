//! Value classes, one file for each Python submodule of `mlplatform_client.serializers`.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod dataclass;
pub(crate) mod lists;
pub(crate) mod spark_jobs;
pub(crate) mod spark_proxy;
pub(crate) mod value;

use pyo3::prelude::*;

use crate::times;

/// Imports the classes before the first wait: see `exit`.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    times::prepare(py)?;
    lists::info_list_class(py)?;
    auth::prepare(py)
}
