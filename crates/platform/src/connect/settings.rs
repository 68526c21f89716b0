//! What a cluster's server loads, and the manifest that it is started with.

use mlplatform_store::{Connection, FromRow, query};
use serde_json::{Value, json};

use crate::{
    clusters::row::Cluster,
    error::{Error, Result},
    transaction::Transaction,
};

/// The name of the job that is a server, which no other job has.
pub(crate) const NAME: &str = "spark-connect";
/// Its main class.
const CLASS: &str = "org.apache.spark.sql.connect.service.SparkConnectServer";
/// The setting that says where a server listens.
pub(super) const PORT: &str = "spark.connect.grpc.binding.port";
/// What it has of the cluster's capacity: as much of this as the cluster has.
const MOST_CORES: i64 = 3;
const MOST_MEMORY_MIB: i64 = 3 * 1024;

/// The lists that an Administrator has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) jars: Vec<String>,
    pub(super) packages: Vec<String>,
    pub(super) repositories: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    jars: String,
    packages: String,
    repositories: String,
}

/// Those of a cluster.
pub(super) async fn read(connection: &mut Connection, cluster: &str) -> Result<Settings> {
    let row: Option<Row> = query("SELECT jars, packages, repositories FROM connect_servers WHERE cluster_id = $1")
        .bind(cluster)
        .optional(connection)
        .await?;
    let Some(row) = row else { return Ok(Settings::default()) };
    let list = |text: &str| {
        serde_json::from_str(text).map_err(|_| Error::Fault("the store holds a list of Spark Connect that is none"))
    };
    Ok(Settings { jars: list(&row.jars)?, packages: list(&row.packages)?, repositories: list(&row.repositories)? })
}

/// Keeps them: a server that runs is to be started again.
pub(super) async fn write(tx: &mut Transaction<'_>, cluster: &str, settings: &Settings) -> Result<()> {
    let list = |list: &[String]| json!(list).to_string();
    query(
        "INSERT INTO connect_servers (cluster_id, jars, packages, repositories) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (cluster_id) DO UPDATE SET jars = excluded.jars, packages = excluded.packages, \
         repositories = excluded.repositories, outdated = TRUE",
    )
    .bind(cluster)
    .bind(list(&settings.jars))
    .bind(list(&settings.packages))
    .bind(list(&settings.repositories))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The settings of Spark that a server has beside those of every job.
pub(super) fn conf(port: u16) -> [(&'static str, String); 4] {
    [
        ("spark.connect.grpc.binding.address", "127.0.0.1".to_owned()),
        (PORT, port.to_string()),
        // The gateway is given results piece by piece, and holds none.
        ("spark.driver.maxResultSize", "4g".to_owned()),
        // As the reference's clusters; a client in another time zone sets its own.
        ("spark.sql.session.timeZone", "UTC".to_owned()),
    ]
}

/// The server as a job.
pub(super) fn manifest(cluster: &Cluster, settings: &Settings, port: u16) -> Value {
    let cores = cluster.max_cores.clamp(1, MOST_CORES);
    let memory = (cluster.max_memory / 1_048_576).clamp(2, MOST_MEMORY_MIB);
    // The driver has a third, the executor the rest.
    let (driver_memory, threads) = (memory / 3, (cores - 1).max(1));
    let driver_request = if cores == 1 { "500m".to_owned() } else { "1".to_owned() };
    let executor_request = if cores == 1 { "500m".to_owned() } else { threads.to_string() };
    let conf: serde_json::Map<String, Value> =
        conf(port).into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    json!({
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "type": "Scala",
            "mode": "cluster",
            "sparkVersion": "4.0.0",
            "mainClass": CLASS,
            "mainApplicationFile": "spark-internal",
            "restartPolicy": {"type": "Never"},
            "sparkConf": conf,
            "deps": {"jars": settings.jars, "packages": settings.packages, "repositories": settings.repositories},
            "driver": {"cores": 1, "coreRequest": driver_request, "memory": memory_text(driver_memory),
                "memoryOverhead": "0m"},
            "executor": {"instances": 1, "cores": threads, "coreRequest": executor_request,
                "memory": memory_text(memory - driver_memory), "memoryOverhead": "0m"},
        },
    })
}

fn memory_text(mib: i64) -> String {
    format!("{mib}m")
}
