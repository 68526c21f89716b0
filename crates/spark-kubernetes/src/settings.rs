//! Which cluster of Kubernetes, and what this platform uses of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use mlplatform_runner::{log::LogLimit, runner::RunnerError};
use serde::{Deserialize, Serialize};

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// The settings of a cluster, as a store keeps them: JSON without any secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSettings {
    /// The file with addresses and credentials, as the server finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Which context of that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Where all objects are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whom drivers run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The image for a version of Spark.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

impl ClusterSettings {
    /// Of the cluster with that id; its logs and the ends of its runs are kept in a folder below `root`.
    #[must_use]
    pub fn config(
        self,
        cluster: &str,
        root: &Path,
        longest_log: LogLimit,
        longest_cluster_logs: LogLimit,
    ) -> KubernetesConfig {
        KubernetesConfig {
            kubeconfig: self.kubeconfig,
            context: self.context,
            namespace: self.namespace,
            platform: cluster.to_owned(),
            service_account: self.service_account,
            images: self.images,
            folder: root.join(cluster),
            longest_log,
            longest_cluster_logs,
        }
    }
}

/// The settings of a cluster on Kubernetes.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// The file with addresses and credentials; `None`: `KUBECONFIG`, `~/.kube/config`, or in a pod its service account.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of that file; `None`: its current one.
    pub context: Option<String>,
    /// Where all objects are; `None`: the context's, or the pod's own.
    pub namespace: Option<String>,
    /// Names this platform's cluster among all that use the namespace: a value of a label.
    pub platform: String,
    /// Whom drivers run as; `None`: the operator decides.
    pub service_account: Option<String>,
    /// The image for a version of Spark, for manifests that name none.
    pub images: BTreeMap<String, String>,
    /// Where logs and the ends of runs are kept.
    pub folder: PathBuf,
    /// Bytes of a job's log that are kept.
    pub longest_log: LogLimit,
    /// Bytes of the logs of all jobs of the cluster.
    pub longest_cluster_logs: LogLimit,
}

impl KubernetesConfig {
    /// Reads the credentials; nothing is sent yet. Gives the namespace, too.
    pub(crate) async fn connect(&self) -> Result<(Client, String), RunnerError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let read = match &self.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| error.to_string())
            }
            None => Config::infer().await.map_err(|error| error.to_string()),
        };
        let from = self
            .kubeconfig
            .as_ref()
            .map_or_else(|| "the environment".to_owned(), |path| format!("'{}'", path.display()));
        let unusable = |error: String| {
            RunnerError::Unavailable(format!(
                "the credentials for Kubernetes cannot be read from {from}: {error}: name a kubeconfig and a context of it"
            ))
        };
        let mut config = read.map_err(unusable)?;
        config.connect_timeout = Some(CONNECT);
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unusable(error.to_string()))?;
        Ok((client, namespace))
    }
}
