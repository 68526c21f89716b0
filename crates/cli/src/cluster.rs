//! `mlp cluster`: Spark clusters.

use mlplatform_client::protocol::clusters::ClusterInfo;

use crate::{
    args::{After, Cluster},
    context::Context,
    failure::Failure,
};

pub(crate) async fn run(context: &Context, command: Cluster) -> Result<(), Failure> {
    let output = context.output;
    match command {
        Cluster::List => {
            let all = context.client().await?.get_clusters(None).await?;
            output.list(&["NAME", "STATUS", "BUCKET", "SUSPENDED AFTER", "DELETED AFTER", "ID"], &all, |info| {
                vec![
                    info.name.clone(),
                    info.status.name().to_owned(),
                    info.s3_bucket_name.clone().unwrap_or_else(|| "-".to_owned()),
                    minutes(info.suspend_after_inactive_min),
                    minutes(info.delete_after_inactive_min),
                    info.id.clone(),
                ]
            })
        }
        Cluster::Show { cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            let info = context.client().await?.get_cluster_info(&id, None).await?;
            output.one(&info, &fields(&info))
        }
        Cluster::Wake { cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            context.client().await?.wake_up_cluster(&id, None).await?;
            output.say("starting the cluster")
        }
        Cluster::SuspendAfter { after, cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            let client = context.client().await?;
            let info = match after {
                After::Never => client.remove_cluster_suspend_time(&id, None).await?,
                After::Minutes(minutes) => client.set_cluster_suspend_time(&id, minutes, None).await?,
            };
            output.one(&info, &fields(&info))
        }
        Cluster::DeleteAfter { after, cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            let client = context.client().await?;
            let info = match after {
                After::Never => client.remove_cluster_delete_time(&id, None).await?,
                After::Minutes(minutes) => client.set_cluster_delete_time(&id, minutes, None).await?,
            };
            output.one(&info, &fields(&info))
        }
    }
}

fn minutes(after: Option<i64>) -> String {
    after.map_or_else(|| "never".to_owned(), |minutes| format!("{minutes}m"))
}

fn fields(info: &ClusterInfo) -> Vec<(&'static str, String)> {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        ("name", info.name.clone()),
        ("id", info.id.clone()),
        ("status", info.status.name().to_owned()),
        ("reason", or(&info.status_reason)),
        ("bucket", or(&info.s3_bucket_name)),
        ("inactive", minutes(Some(info.inactive_min))),
        ("suspended after", minutes(info.suspend_after_inactive_min)),
        ("deleted after", minutes(info.delete_after_inactive_min)),
        ("history", or(&info.history_server_url)),
    ]
}
