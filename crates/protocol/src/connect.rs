//! Sessions of Spark Connect, and what a cluster's server loads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An open session of Spark Connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SparkSessionInfo {
    /// As the client chose it: a UUID.
    pub session_id: String,
    /// Id of the access token that it was opened with.
    pub token_id: String,
    /// The name of that token.
    pub token_name: String,
    /// Where it was opened from.
    pub address: String,
    /// When it was opened.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub opened_at: Timestamp,
    /// When it was last called: since then it is idle, unless something runs.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub last_used_at: Timestamp,
    /// Operations that run now.
    pub running: u64,
    /// Operations since it was opened, those that run included.
    pub operations: u64,
}

/// The open sessions of a cluster, in the order of opening. There are no pages: a server has some hundreds at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SparkSessions {
    /// The sessions.
    pub items: Vec<SparkSessionInfo>,
}

/// `close_spark_session`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SparkSessionRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// As the list of sessions gives it.
    pub session_id: String,
}

/// `add_spark_connect_jars`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddJarsRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// Addresses of jars, such as `s3a://<bucket>/a.jar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jars: Option<Vec<String>>,
    /// Maven coordinates, such as `org.example:name:1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<String>>,
    /// Addresses of Maven repositories, beside the central one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<String>>,
}

/// The settings of a cluster's Connect server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SparkConnectSettings {
    /// Settings of Spark, by their names.
    pub settings: BTreeMap<String, String>,
    /// Open sessions that end because the server is started again.
    pub ends_sessions: u64,
}
