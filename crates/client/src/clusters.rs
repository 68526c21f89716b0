//! Methods for clusters. Each calls one route.

use std::time::Duration;

use mlplatform_protocol::{
    ClusterInfo, Minutes,
    clusters::{ClusterRequest, ClusterTimeRequest, CreateClusterRequest, NodeUsage},
    routes::{
        CreateCluster, DeleteCluster, GetClusterInfo, GetClusters, RemoveClusterDeleteTime, RemoveClusterSuspendTime,
        SetClusterDeleteTime, SetClusterSuspendTime, TopNodesInfo, WakeUpCluster,
    },
    token::{self, Shape},
};

use crate::{client::Client, error::Error};

impl Client {
    /// All clusters; `timeout` is for all pages together.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_clusters(&self, timeout: Option<Duration>) -> Result<Vec<ClusterInfo>, Error> {
        self.call_pages::<GetClusters, _>(|page| page, self.deadline(timeout)).await
    }

    /// One cluster.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_cluster_info(&self, cluster_id: &str, timeout: Option<Duration>) -> Result<ClusterInfo, Error> {
        self.call::<GetClusterInfo>(&one(cluster_id)?, self.deadline(timeout)).await
    }

    /// What the machines of a cluster have and use.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn top_nodes_info(&self, cluster_id: &str, timeout: Option<Duration>) -> Result<Vec<NodeUsage>, Error> {
        Ok(self.call::<TopNodesInfo>(&one(cluster_id)?, self.deadline(timeout)).await?.nodes)
    }

    /// Creates a cluster; it runs a little later.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn create_cluster(
        &self,
        request: CreateClusterRequest,
        timeout: Option<Duration>,
    ) -> Result<ClusterInfo, Error> {
        self.call::<CreateCluster>(&request, self.deadline(timeout)).await
    }

    /// Deletes a cluster with its secrets and config maps.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn delete_cluster(&self, cluster_id: &str, timeout: Option<Duration>) -> Result<(), Error> {
        self.call::<DeleteCluster>(&one(cluster_id)?, self.deadline(timeout)).await
    }

    /// Sets after how many minutes without a job a cluster is deleted.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn set_cluster_delete_time(
        &self,
        cluster_id: &str,
        minutes: i64,
        timeout: Option<Duration>,
    ) -> Result<ClusterInfo, Error> {
        self.call::<SetClusterDeleteTime>(&timed(cluster_id, minutes)?, self.deadline(timeout)).await
    }

    /// Turns the automatic deletion off.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn remove_cluster_delete_time(
        &self,
        cluster_id: &str,
        timeout: Option<Duration>,
    ) -> Result<ClusterInfo, Error> {
        self.call::<RemoveClusterDeleteTime>(&one(cluster_id)?, self.deadline(timeout)).await
    }

    /// Sets after how many minutes without a job a cluster is suspended.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn set_cluster_suspend_time(
        &self,
        cluster_id: &str,
        minutes: i64,
        timeout: Option<Duration>,
    ) -> Result<ClusterInfo, Error> {
        self.call::<SetClusterSuspendTime>(&timed(cluster_id, minutes)?, self.deadline(timeout)).await
    }

    /// Turns the automatic suspension off.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn remove_cluster_suspend_time(
        &self,
        cluster_id: &str,
        timeout: Option<Duration>,
    ) -> Result<ClusterInfo, Error> {
        self.call::<RemoveClusterSuspendTime>(&one(cluster_id)?, self.deadline(timeout)).await
    }

    /// Starts a cluster that is `SHUTOFF`.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn wake_up_cluster(&self, cluster_id: &str, timeout: Option<Duration>) -> Result<(), Error> {
        self.call::<WakeUpCluster>(&one(cluster_id)?, self.deadline(timeout)).await
    }
}

/// Checks an id. In a path, an empty segment or dots would select another route.
pub(crate) fn cluster_id(text: &str) -> Result<String, Error> {
    match text.trim() {
        "" | "." | ".." => {
            let shown = text.escape_debug();
            Err(Error::argument("cluster_id", format!("'{shown}' is not a cluster id: get_clusters() returns the ids")))
        }
        // An address is written to logs.
        id if token::shape(id) != Shape::Opaque => {
            Err(Error::argument("cluster_id", "this is a token, not a cluster id: get_clusters() returns the ids"))
        }
        id => Ok(id.to_owned()),
    }
}

fn one(cluster: &str) -> Result<ClusterRequest, Error> {
    Ok(ClusterRequest { cluster_id: cluster_id(cluster)? })
}

fn timed(cluster: &str, minutes: i64) -> Result<ClusterTimeRequest, Error> {
    let minutes = Minutes::try_from(minutes).map_err(|problem| Error::argument("minutes", problem))?;
    Ok(ClusterTimeRequest { cluster_id: cluster_id(cluster)?, minutes })
}
