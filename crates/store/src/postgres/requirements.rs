//! What has to be true of a database before a platform is kept in it, each with what helps.

use sqlx::PgConnection;

use crate::failure::{Failure, OpenError};

/// The oldest version that this is tried with: 15.
const OLDEST: u32 = 15;

pub(super) async fn scalar<T>(connection: &mut PgConnection, sql: &'static str) -> Result<T, OpenError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    (T,): for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

fn unsuitable(text: impl Into<String>) -> OpenError {
    OpenError::Unsuitable(text.into())
}

/// What is wrong with a database for good, each with what helps.
pub(super) async fn check_server(connection: &mut PgConnection) -> Result<(), OpenError> {
    let version: i32 = scalar(connection, "SELECT current_setting('server_version_num')::int").await?;
    if version < i32::try_from(OLDEST).unwrap_or(i32::MAX).saturating_mul(10_000) {
        let version: String = scalar(connection, "SELECT current_setting('server_version')").await?;
        return Err(unsuitable(format!("is served by PostgreSQL {version}: {OLDEST} or later is needed")));
    }
    let encoding: String = scalar(connection, "SELECT current_setting('server_encoding')").await?;
    if encoding != "UTF8" {
        return Err(unsuitable(format!(
            "has the encoding {encoding}, which cannot hold every name: make one with \
             CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
        )));
    }
    // In both ways that the search folds.
    let folds: bool = scalar(connection, "SELECT 'АННА Ä' ILIKE '%анна ä%' AND lower('АННА Ä') = 'анна ä'").await?;
    if !folds {
        let locale: String =
            scalar(connection, "SELECT datctype::text FROM pg_database WHERE datname = current_database()").await?;
        return Err(unsuitable(format!(
            "has the locale {locale}, in which names are not found regardless of case: make one with \
             CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0, or another locale of UTF-8"
        )));
    }
    let standby: bool = scalar(connection, "SELECT pg_is_in_recovery()").await?;
    if standby {
        return Err(unsuitable("is a standby, which cannot be written: name the primary in the database URL"));
    }
    let durable: String = scalar(connection, "SELECT current_setting('synchronous_commit')").await?;
    if durable == "off" {
        return Err(unsuitable(
            "has synchronous_commit = off: what a caller was told is done could be lost. Set it to on, at least for this \
             database: ALTER DATABASE … SET synchronous_commit = on",
        ));
    }
    Ok(())
}

pub(super) async fn check_rights(connection: &mut PgConnection) -> Result<(), OpenError> {
    let schema: Option<String> = scalar(connection, "SELECT current_schema()::text").await?;
    let may: Option<bool> = scalar(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')").await?;
    if may == Some(true) {
        return Ok(());
    }
    let user: String = scalar(connection, "SELECT current_user::text").await?;
    Err(unsuitable(format!(
        "does not let the user {user} create tables in the schema {}: make that user the database's owner \
         (ALTER DATABASE … OWNER TO {user}), or GRANT CREATE, USAGE ON SCHEMA … TO {user}",
        schema.as_deref().unwrap_or("public"),
    )))
}

/// The index that finds parts of names. It is a trusted extension: who may create in the database may create it.
pub(super) async fn extension(connection: &mut PgConnection) -> Result<(), OpenError> {
    const THERE: &str = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm')";
    if scalar(connection, THERE).await? {
        return Ok(());
    }
    let Err(error) = sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_trgm").execute(&mut *connection).await else {
        return Ok(());
    };
    // Two servers that start beside each other: one of them was late.
    if scalar(connection, THERE).await? {
        return Ok(());
    }
    match Failure::from(error) {
        Failure::Other(text) => Err(unsuitable(format!(
            "lacks the extension pg_trgm, which could not be created ({text}): install it on the database's machine \
             (Debian: it is in the package postgresql, elsewhere in postgresql-contrib), and let an administrator of the \
             database say there: CREATE EXTENSION pg_trgm"
        ))),
        failure => Err(failure.into()),
    }
}
