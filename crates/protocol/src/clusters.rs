//! Messages for Spark clusters. A cluster, its creation and its deletion have the vendor's public format; the rest (lists,
//! times, waking up) is defined by this project.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use crate::open::Open;

/// The longest time until something happens to an inactive cluster: a year, in minutes.
pub const MAX_MINUTES: u32 = 366 * 24 * 60;

/// What a cluster is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterStatus {
    /// Its machines are being made.
    Creating,
    /// Its registry of images is being made.
    CreatingRegistry,
    /// What runs its jobs is being installed.
    InstallSparkOperator,
    /// Its network and disks are being made.
    Provisioning,
    /// A change is being carried out.
    Reconciling,
    /// It could not be made.
    CreateFailed,
    /// It is broken.
    Error,
    /// It wakes up.
    Starting,
    /// It takes jobs.
    Running,
    /// It is being stopped.
    Freezing,
    /// It is stopped, and can be woken up.
    Shutoff,
    /// It is being deleted.
    Deleting,
}

impl ClusterStatus {
    /// As it stands on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::CreatingRegistry => "CREATING_REGISTRY",
            Self::InstallSparkOperator => "INSTALL_SPARK_OPERATOR",
            Self::Provisioning => "PROVISIONING",
            Self::Reconciling => "RECONCILING",
            Self::CreateFailed => "CREATE_FAILED",
            Self::Error => "ERROR",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Freezing => "FREEZING",
            Self::Shutoff => "SHUTOFF",
            Self::Deleting => "DELETING",
        }
    }
}

impl Open<ClusterStatus> {
    /// As it stands on the wire, known or not.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(status) => status.name(),
            Self::Unknown(text) => text,
        }
    }
}

/// A cluster, as `get_cluster_info` and the making of one answer.
///
/// What this project's platform always says, and another may not, has a default: an answer is not refused for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClusterInfo {
    /// Opaque, and never used again.
    pub id: String,
    /// Unique among the clusters there are.
    pub name: String,
    /// Id in the cloud's Kubernetes service; a local cluster has none.
    #[serde(default)]
    pub k8s_id: Option<String>,
    /// What it is doing.
    pub status: Open<ClusterStatus>,
    /// Why, where there is more to say.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// The body that it was made with, as it came.
    #[serde(default)]
    pub info: Map<String, Value>,
    /// Its bucket: `s3a://<bucket>/…` in a manifest.
    #[serde(default)]
    pub s3_bucket_name: Option<String>,
    /// Its registry of images.
    #[serde(default)]
    pub docker_registry_id: String,
    /// Where finished jobs can be looked at.
    #[serde(default)]
    pub history_server_url: Option<String>,
    /// The machine that controls it; a local cluster has none.
    #[serde(default)]
    pub control_instance_id: Option<String>,
    /// Minutes without a running job.
    #[serde(default)]
    pub inactive_min: i64,
    /// It is suspended after so many; `None`: never.
    #[serde(default)]
    pub suspend_after_inactive_min: Option<i64>,
    /// It is deleted after so many; `None`: never.
    #[serde(default)]
    pub delete_after_inactive_min: Option<i64>,
    /// Cores that its jobs share. This project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cores: Option<u32>,
    /// Bytes of memory that its jobs share. This project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<u64>,
}

/// `create_cluster`: the vendor's body, unchanged. Fields that this version does not know are kept, not refused: the
/// vendor's own client must go on working when it learns a new one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct CreateClusterRequest {
    /// Unique among the clusters there are.
    pub name: String,
    /// The rest; what is known of it stands in [`ClusterSpec`].
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schemars(with = "ClusterSpec"))]
    pub rest: Map<String, Value>,
}

/// The fields of [`CreateClusterRequest::rest`] that the vendor documents, with their types. This project's platform
/// needs none of them; the vendor's does.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClusterSpec {
    /// Where its machines stand.
    pub availability_zone: Option<String>,
    /// The network of its machines.
    pub network_id: Option<String>,
    /// The subnet of its machines.
    pub subnet_id: Option<String>,
    /// Its machines.
    pub node_groups: Option<Vec<NodeGroup>>,
    /// For trying, or for work.
    pub cluster_mode: Option<ClusterMode>,
    /// Its registry of images.
    pub registry: Option<Registry>,
    /// The pool of public addresses.
    pub ip_pool: Option<String>,
    /// For signing in on its machines.
    pub keypair: Option<String>,
    /// Seconds without a running job until it is deleted.
    pub delete_after_delay: Option<u64>,
    /// Seconds without a running job until it is suspended.
    pub suspend_after_delay: Option<u64>,
    /// YAML in base64.
    pub spark_configuration: Option<String>,
    /// YAML in base64.
    pub environment_variables: Option<String>,
}

/// Machines of one kind.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NodeGroup {
    /// How many, when their number does not change by itself.
    pub node_count: Option<u32>,
    /// Of which size.
    pub flavor_id: Option<String>,
    /// Whether their number changes by itself.
    pub autoscaling_enabled: Option<bool>,
    /// At least.
    pub min_nodes: Option<u32>,
    /// At most.
    pub max_nodes: Option<u32>,
}

/// What a cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum ClusterMode {
    /// Trying.
    Dev,
    /// Work.
    Prod,
}

/// A registry of images.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Registry {
    /// One that is there already.
    pub existing_registry_id: Option<String>,
}

/// A cluster by its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClusterRequest {
    /// As the list gives it.
    pub cluster_id: String,
}

/// `top_nodes_info`: the machines of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NodesUsage {
    /// Each of them, in the order of their names.
    pub nodes: Vec<NodeUsage>,
}

/// What a machine has and uses, whoever uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NodeUsage {
    /// Its name.
    pub name: String,
    /// Cores in use, as an average of a moment.
    pub cpu_usage: f64,
    /// Cores.
    pub cpu_total: f64,
    /// Bytes of memory that are in use.
    pub memory_usage: u64,
    /// Bytes of memory.
    pub memory_total: u64,
}

/// `set_cluster_delete_time` and `set_cluster_suspend_time`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterTimeRequest {
    /// As the list gives it.
    pub cluster_id: String,
    /// Without a running job.
    pub minutes: Minutes,
}

/// A number of minutes: 1 to [`MAX_MINUTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Minutes(u32);

/// A number of minutes that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a number of minutes that can be set: give 1 to {MAX_MINUTES}, or remove the time")]
pub struct MinutesError(i64);

impl Minutes {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Minutes {
    type Error = MinutesError;

    fn try_from(minutes: i64) -> Result<Self, MinutesError> {
        let number = u32::try_from(minutes).ok().filter(|number| (1..=MAX_MINUTES).contains(number));
        number.map(Self).ok_or(MinutesError(minutes))
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Minutes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_name_of_a_status_is_what_the_wire_says() {
        for name in [
            "CREATING",
            "CREATING_REGISTRY",
            "INSTALL_SPARK_OPERATOR",
            "PROVISIONING",
            "RECONCILING",
            "CREATE_FAILED",
            "ERROR",
            "STARTING",
            "RUNNING",
            "FREEZING",
            "SHUTOFF",
            "DELETING",
        ] {
            let status: ClusterStatus = serde_json::from_value(json!(name)).unwrap();
            assert_eq!((status.name(), json!(status)), (name, json!(name)));
        }
        let newer: Open<ClusterStatus> = serde_json::from_value(json!("UPGRADING")).unwrap();
        assert_eq!(newer.name(), "UPGRADING");
    }

    #[test]
    fn minutes() {
        assert_eq!(Minutes::try_from(1).unwrap().get(), 1);
        for bad in [0, -5, i64::from(MAX_MINUTES) + 1, i64::MAX] {
            assert!(Minutes::try_from(bad).unwrap_err().to_string().contains(&bad.to_string()));
        }
    }

    #[test]
    fn another_platform_may_say_less() {
        let info: ClusterInfo = serde_json::from_value(json!({"id": "c", "name": "n", "status": "RUNNING"})).unwrap();
        assert_eq!((info.docker_registry_id.as_str(), info.suspend_after_inactive_min), ("", None));
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        let body = json!({"name": "n", "cluster_mode": "DEV", "new_in_2030": {"a": [1]}, "keypair": null});
        let request: CreateClusterRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), body);
        let spec: ClusterSpec = serde_json::from_value(Value::Object(request.rest)).unwrap();
        assert_eq!(spec.cluster_mode, Some(ClusterMode::Dev));
    }
}
