//! Spark Connect: its sessions, and what a cluster's server loads. The answers are JSON: they are shown, and nothing else.

use std::time::Duration;

use mlplatform_protocol::{
    Value,
    clusters::ClusterRequest,
    connect::{AddJarsRequest, SparkSessionRequest},
    routes::{AddSparkConnectJars, CloseSparkSession, GetSparkSessions},
};

use crate::{client::Client, clusters::cluster_id, error::Error};

impl Client {
    /// The open sessions of a cluster: `items`, each a [`SparkSessionInfo`](mlplatform_protocol::connect::SparkSessionInfo).
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_spark_sessions(&self, cluster: &str, timeout: Option<Duration>) -> Result<Value, Error> {
        let request = ClusterRequest { cluster_id: cluster_id(cluster)? };
        self.json::<GetSparkSessions>(&request, self.deadline(timeout)).await
    }

    /// Closes a session.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn close_spark_session(
        &self,
        cluster: &str,
        session_id: &str,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let request = SparkSessionRequest { cluster_id: cluster_id(cluster)?, session_id: session_id.to_owned() };
        if request.session_id.is_empty() {
            return Err(Error::argument("session_id", "it is empty: get_spark_sessions returns the ids"));
        }
        self.call::<CloseSparkSession>(&request, self.deadline(timeout)).await
    }

    /// Adds to what a cluster's Connect server loads, and gives the
    /// [`SparkConnectSettings`](mlplatform_protocol::connect::SparkConnectSettings).
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn add_spark_connect_jars(
        &self,
        cluster: &str,
        jars: Option<Vec<String>>,
        packages: Option<Vec<String>>,
        repositories: Option<Vec<String>>,
        timeout: Option<Duration>,
    ) -> Result<Value, Error> {
        let request = AddJarsRequest { cluster_id: cluster_id(cluster)?, jars, packages, repositories };
        self.json::<AddSparkConnectJars>(&request, self.deadline(timeout)).await
    }
}
