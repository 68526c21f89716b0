//! The Python extension: the list of exported names. HTTP and policy are in `crates/client`.

mod arguments;
mod awaited;
mod command;
mod contract;
mod errors;
mod exit;
mod files;
mod log_lines;
mod login;
mod manifest;
mod notebook;
mod platform;
mod runtime;
mod serializers;
mod text;
mod times;
mod values;

use pyo3::prelude::*;

/// The compiled core of `mlplatform_client`. Import the public names from `mlplatform_client`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::awaited::{Call, Completions};
    #[pymodule_export]
    use super::command::command;
    #[pymodule_export]
    use super::contract::contract;
    #[pymodule_export]
    use super::log_lines::SparkJobLogLines;
    #[pymodule_export]
    use super::login::Login;
    #[pymodule_export]
    use super::manifest::{Manifest, ManifestProblem};
    #[pymodule_export]
    use super::notebook::{mimebundle, table};
    #[pymodule_export]
    use super::platform::{AwaitedPlatform, MLPlatform};
    #[pymodule_export]
    use super::serializers::audit::MLPAuditEntry;
    #[pymodule_export]
    use super::serializers::auth::{MLPRegisterTokenInfo, MLPTokenInfo};
    #[pymodule_export]
    use super::serializers::lists::{K8sSparkEventsList, K8sSparkJobsInfoList};
    #[pymodule_export]
    use super::serializers::spark_jobs::{
        K8sSparkApplication, K8sSparkEvent, K8sSparkJobExplanation, K8sSparkJobInfo, K8sSparkJobInfoDetail,
        K8sSparkJobLogs,
    };
    #[pymodule_export]
    use super::serializers::spark_proxy::{K8sClusterInfo, K8sConfigmap, K8sObjectNamesList, K8sSecret};
    use super::{Bound, PyModule, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::notebook::register(module)?;
        crate::exit::register(module.py())
    }

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "the name is Python's convention")]
    const __version__: &str = mlplatform_client::VERSION;
}
