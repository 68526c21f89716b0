//! What `mlplatform_client.v2` needs: another credential, and the machines of a cluster.

use mlplatform_client::{
    Config,
    config::ServiceUserGiven,
    credential::ServiceUser,
    protocol::{Secret, clusters::NodeUsage},
};
use pyo3::prelude::*;

use super::MLPlatform;
use crate::{arguments, errors, exit, text::Text};

#[pymethods]
impl MLPlatform {
    /// Gives the object the settings of a service user, in place of those of ``__init__``.
    #[pyo3(signature = (host, name, secret, session, audience, lk_ui_url, verify_tls, verify_issuer_tls, timeout))]
    #[allow(clippy::too_many_arguments, reason = "the arguments of two documented classes")]
    fn _use_service_user(
        &self,
        py: Python<'_>,
        host: Text<'_>,
        name: Option<Text<'_>>,
        secret: Option<Text<'_>>,
        session: Option<Text<'_>>,
        audience: Option<Text<'_>>,
        lk_ui_url: Option<Text<'_>>,
        verify_tls: bool,
        verify_issuer_tls: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let _inside = exit::enter(py);
        let text = |name, text: Option<Text<'_>>| text.map(|text| text.read_setting(name)).transpose();
        let secret_of = |name, given| text(name, given).map(|text| text.map(|text| Secret::from_pasted(&text)));
        let given = ServiceUserGiven {
            host: host.read_setting("host")?,
            user: ServiceUser {
                name: text("user name", name)?.unwrap_or_default(),
                secret: secret_of("secret", secret)?.unwrap_or_else(|| Secret::from_pasted("")),
                audience: text("spark_app_id", audience)?,
            },
            session: secret_of("ciam_access_token", session)?,
            lk_ui_url: text("lk_ui_url", lk_ui_url)?,
            verify_tls,
            verify_issuer_tls,
            timeout,
        };
        let config = Config::of_service_user(given, |variable| std::env::var_os(variable));
        self.configure(py, config.map_err(|error| errors::raise(py, &error))?)
    }

    /// What the machines of a cluster have and use: name, cores in use, cores, bytes in use, bytes.
    #[pyo3(signature = (cluster_id, timeout))]
    fn _top_nodes_info(&self, py: Python<'_>, cluster_id: Text<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.top_nodes_info(&cluster_id, timeout).await },
            |_, nodes| {
                let row =
                    |node: NodeUsage| (node.name, node.cpu_usage, node.cpu_total, node.memory_usage, node.memory_total);
                Ok(nodes.into_iter().map(row).collect::<Vec<_>>())
            },
        )
    }
}
