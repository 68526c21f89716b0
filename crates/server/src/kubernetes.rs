//! Clusters on Kubernetes: their settings on the command line, their runners, their check.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use mlplatform_platform::jobs::runners::MakeRunner;
use mlplatform_runner::{
    log::LogLimit,
    runner::{Runner, RunnerError},
};
use mlplatform_spark_kubernetes::{
    ClusterSettings, KubernetesRunner,
    check::{Finding, check},
};

use crate::{data_dir::DataDir, start::StartError};

/// Flags of `cluster add`.
#[derive(Clone, Debug, Default, Args)]
pub struct KubernetesArgs {
    /// Run its jobs on Kubernetes, through the Spark operator
    #[arg(long)]
    kubernetes: bool,
    /// The file with the cluster's address and credentials, which the server reads at each start [default: KUBECONFIG,
    /// ~/.kube/config, or in a pod its service account]
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// Which context of that file [default: its current one]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    context: Option<String>,
    /// Where all objects are made; it must exist [default: the context's]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    namespace: Option<String>,
    /// Whom drivers run as [default: the operator decides]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    service_account: Option<String>,
    /// The image for a version of Spark, for manifests that name none; may be repeated
    #[arg(long, value_name = "VERSION=IMAGE", requires = "kubernetes", value_parser = image)]
    image: Vec<(String, String)>,
}

fn image(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((version, image)) if !version.is_empty() && !image.is_empty() => {
            Ok((version.to_owned(), image.to_owned()))
        }
        _ => Err("it is no VERSION=IMAGE, such as 4.0.0=docker.io/apache/spark:4.0.0".to_owned()),
    }
}

impl KubernetesArgs {
    /// As the store keeps them; `None`: the cluster is this machine.
    ///
    /// # Errors
    /// When the path of the file cannot be found.
    pub fn settings(&self) -> Result<Option<String>, StartError> {
        if !self.kubernetes {
            return Ok(None);
        }
        // The server has another working directory.
        let kubeconfig = self.kubeconfig.as_deref().map(std::path::absolute).transpose();
        let settings = ClusterSettings {
            kubeconfig: kubeconfig.map_err(|error| StartError::System("--kubeconfig cannot be found", error))?,
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            images: self.image.iter().cloned().collect::<BTreeMap<_, _>>(),
        };
        let written = serde_json::to_string(&settings).map_err(std::io::Error::other);
        written.map(Some).map_err(|error| StartError::System("the cluster's settings cannot be written", error))
    }
}

/// Where logs and the ends of runs are kept.
fn root(dir: &DataDir) -> PathBuf {
    dir.path().join("kubernetes")
}

/// Makes the runners of the clusters whose settings the store has.
pub(crate) fn make_runner(dir: &DataDir, longest_log: LogLimit, longest_cluster_logs: LogLimit) -> MakeRunner {
    let root = root(dir);
    Box::new(move |cluster, settings| {
        let settings = read(settings);
        let (cluster, root) = (cluster.to_owned(), root.clone());
        Box::pin(async move {
            let config = settings?.config(&cluster, &root, longest_log, longest_cluster_logs);
            Ok(Arc::new(KubernetesRunner::new(config).await?) as Arc<dyn Runner>)
        })
    })
}

fn read(settings: &str) -> Result<ClusterSettings, RunnerError> {
    serde_json::from_str(settings)
        .map_err(|error| RunnerError::Unavailable(format!("the settings of the cluster cannot be read: {error}")))
}

/// What works of a cluster, given its settings.
pub(crate) async fn findings(root: &Path, settings: &str) -> Vec<Finding> {
    match read(settings) {
        Ok(settings) => check(settings.config("check", root, LogLimit::JOB, LogLimit::CLUSTER)).await,
        Err(error) => {
            vec![Finding { subject: "settings".to_owned(), works: Some(false), text: error.to_string() }]
        }
    }
}
