//! The secret `s3-secret` that every cluster has from its start: published scripts delete it before they make their own.
//!
//! Its values are random and open nothing: the cluster's bucket is a folder, which asks for no key.

use mlplatform_protocol::objects::DEFAULT_NAMESPACE;
use mlplatform_store::{Connection, query};

use crate::{
    app::App,
    error::Result,
    request::RequestContext,
    secret::uuid,
    transaction::Transaction,
    vault::{ValueId, Vault},
};

pub(crate) const NAME: &str = "s3-secret";
const KEYS: [&str; 2] = ["S3_ACCESS_KEY", "S3_SECRET_KEY"];

/// Makes that of a new cluster.
pub(super) async fn make(app: &App, tx: &mut Transaction<'_>, cluster: &str) -> Result<()> {
    let vault = app.vault()?;
    let now = tx.now().as_microsecond();
    let object: i64 = query(
        "INSERT INTO objects (cluster_id, kind, namespace, name, type, created_at) VALUES ($1, 'Secret', $2, $3, 'Opaque', $4) RETURNING seq",
    )
    .bind(cluster)
    .bind(DEFAULT_NAMESPACE)
    .bind(NAME)
    .bind(now)
    .scalar(tx.connection())
    .await?;
    write(tx.connection(), &vault, cluster, object).await
}

/// Gives those that are there new values: the key of the old ones is lost. (Of a user's secret it would not be replaced.)
pub async fn renew(app: &App) -> Result<()> {
    let vault = app.vault()?;
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let living: Vec<(i64, String)> = query(
        "SELECT seq, cluster_id FROM objects WHERE kind = 'Secret' AND created_by IS NULL AND deleted_at IS NULL",
    )
    .all(tx.connection())
    .await?;
    for (object, cluster) in living {
        query("DELETE FROM object_values WHERE object = $1").bind(object).execute(tx.connection()).await?;
        write(tx.connection(), &vault, &cluster, object).await?;
    }
    tx.commit().await
}

async fn write(connection: &mut Connection, vault: &Vault, cluster: &str, object: i64) -> Result<()> {
    for (position, key) in (0_i64..).zip(KEYS) {
        let id = ValueId { cluster, namespace: DEFAULT_NAMESPACE, secret: NAME, key };
        let value = vault.seal(id, uuid()?.replace('-', "").as_bytes())?;
        query("INSERT INTO object_values (object, position, key, value) VALUES ($1, $2, $3, $4)")
            .bind(object)
            .bind(position)
            .bind(key)
            .bind(value)
            .execute(connection)
            .await?;
    }
    Ok(())
}
