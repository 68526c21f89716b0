//! `mlp cluster`: Spark clusters.

use mlplatform_client::protocol::{Value, clusters::ClusterInfo};

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
        Cluster::Sessions { cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            let answer = context.client().await?.get_spark_sessions(&id, None).await?;
            let all = answer.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let columns = ["SESSION", "TOKEN", "OPENED", "LAST USED", "RUNNING", "OPERATIONS"];
            let keys = ["session_id", "token_name", "opened_at", "last_used_at", "running", "operations"];
            output.list(&columns, all, |session| keys.iter().map(|key| text(session.get(key))).collect())
        }
        Cluster::CloseSession { session, cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            context.client().await?.close_spark_session(&id, &session, None).await?;
            output.say(&format!("closed the session {session}"))
        }
        Cluster::ConnectJars { jars, packages, repositories, cluster } => {
            let id = context.cluster(cluster.cluster.as_deref()).await?;
            let client = context.client().await?;
            let list = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
            let answer =
                client.add_spark_connect_jars(&id, list(jars), list(packages), list(repositories), None).await?;
            let settings = answer.get("settings").and_then(Value::as_object);
            let fields: Vec<_> =
                settings.into_iter().flatten().map(|(key, value)| (key.as_str(), text(Some(value)))).collect();
            output.one(&answer, &fields)
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

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
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
