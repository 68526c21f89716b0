//! The schema on PostgreSQL, where servers of two versions may work beside each other while one is replaced by the next.
//!
//! A migration is one that older servers can work beside (it adds a table, an index, a column with a default), unless its
//! name says that it is not: `0042_incompatible_….sql`. So a server works on a newer schema as long as nothing that came
//! since is incompatible, and an incompatible migration waits for a database on which no server runs. Each server holds
//! [`SERVERS`] for that, shared, on the connection that listens.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::requirements::{check_rights, check_server, extension, scalar};
use crate::failure::{Failure, OpenError};

static MIGRATIONS: Migrator = {
    let mut migrations = sqlx::migrate!("./migrations/postgres");
    // Whether those that are not known here are in the way is ours to say.
    migrations.ignore_missing = true;
    migrations
};

/// The advisory lock that running servers share.
pub(crate) const SERVERS: i64 = 7_741_302_957_118_206;
const INCOMPATIBLE: &str = "incompatible ";

/// Whether servers of a version work on a database: given the newest migration that they know.
const SUITS: &str = "SELECT coalesce(max(version) >= $1, FALSE) \
     AND NOT coalesce(bool_or(version > $1 AND starts_with(description, 'incompatible ')), FALSE) \
     FROM _sqlx_migrations WHERE success";

/// The statement of [`Store::suits`](crate::Store::suits), and what it is asked with.
pub(crate) fn suits() -> (&'static str, Option<i64>) {
    (SUITS, newest(&MIGRATIONS))
}

fn newest(migrations: &Migrator) -> Option<i64> {
    migrations.iter().map(|migration| migration.version).max()
}

pub(super) async fn is_made(connection: &mut PgConnection) -> Result<bool, OpenError> {
    scalar(connection, "SELECT to_regclass('_sqlx_migrations') IS NOT NULL").await
}

/// Brings a database to this version's form, if it is older.
pub(super) async fn migrate(connection: PgConnection) -> Result<(), OpenError> {
    migrate_with(connection, &MIGRATIONS).await
}

async fn migrate_with(mut connection: PgConnection, migrations: &Migrator) -> Result<(), OpenError> {
    check_server(&mut connection).await?;
    check_rights(&mut connection).await?;
    extension(&mut connection).await?;
    // Another server may be at it; and an index over many rows takes its time.
    sqlx::query("SET lock_timeout = '60s'").execute(&mut connection).await?;
    sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
    if is_made(&mut connection).await? {
        let applied = applied(&mut connection).await?;
        let known = newest(migrations).unwrap_or_default();
        if applied.iter().any(|(version, name)| *version > known && name.starts_with(INCOMPATIBLE)) {
            return Err(OpenError::Newer);
        }
        let is_pending = |version: i64| applied.iter().all(|(applied, _)| *applied != version);
        if migrations.iter().any(|one| is_pending(one.version) && one.description.starts_with(INCOMPATIBLE)) {
            stop_others(&mut connection).await?;
        }
    }
    // Not `run`: its future would not be `Send`.
    migrations.run_direct(None, &mut connection, false).await?;
    Ok(connection.close().await?)
}

/// Keeps servers from working on the database for as long as this connection lives; another that starts, and makes the same
/// change, is waited for.
async fn stop_others(connection: &mut PgConnection) -> Result<(), OpenError> {
    sqlx::query("SET lock_timeout = '10s'").execute(&mut *connection).await?;
    let sql = format!("SELECT pg_advisory_lock({SERVERS})");
    match sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await.map_err(Failure::from) {
        Err(Failure::Busy(_)) => return Err(OpenError::InUse),
        locked => locked?,
    };
    sqlx::query("SET lock_timeout = '60s'").execute(connection).await?;
    Ok(())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, String)>, OpenError> {
    Ok(sqlx::query_as("SELECT version, description FROM _sqlx_migrations WHERE success").fetch_all(connection).await?)
}

/// Whether this version works on the database as it is: `None`, it is [`is_made`] by nobody.
pub(super) async fn check(options: &PgConnectOptions) -> Result<(), OpenError> {
    let mut connection = PgConnection::connect_with(options).await?;
    check_server(&mut connection).await?;
    if !is_made(&mut connection).await? {
        return Err(OpenError::Empty);
    }
    let suits: bool = sqlx::query_scalar(SUITS).bind(newest(&MIGRATIONS)).fetch_one(&mut connection).await?;
    connection.close().await?;
    if suits { Ok(()) } else { Err(OpenError::OtherVersion) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::borrow::Cow;

    use sqlx::{
        SqlSafeStr,
        migrate::{Migration, MigrationType},
    };

    use super::*;
    use crate::{store::Store, testing, url::DatabaseUrl};

    /// This version's migrations and the next one's.
    fn next(description: &'static str) -> Migrator {
        let sql = "CREATE TABLE of_the_next (id BIGINT PRIMARY KEY)".into_sql_str();
        let mut migrations = MIGRATIONS.migrations.to_vec();
        migrations.push(Migration::new(9_000, Cow::Borrowed(description), MigrationType::Simple, sql, false));
        let mut migrator = Migrator::with_migrations(migrations);
        migrator.set_ignore_missing(true);
        migrator
    }

    async fn connect(url: &str) -> PgConnection {
        PgConnection::connect(url).await.unwrap()
    }

    /// A server, once it can be seen.
    async fn serve(url: &str) -> Store {
        let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
        let seen = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND (classid::bigint << 32) + objid::bigint = {SERVERS}"
        );
        let mut connection = connect(url).await;
        for _ in 0..1_000 {
            let seen: i64 = sqlx::query_scalar(AssertSqlSafe(seen.clone())).fetch_one(&mut connection).await.unwrap();
            if seen > 0 {
                return store;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        unreachable!("a server does not hold the lock of servers");
    }

    #[tokio::test]
    async fn a_compatible_migration_is_made_beside_older_servers() {
        let url = testing::database().await;
        let parsed: DatabaseUrl = url.parse().unwrap();
        let old = serve(&url).await;
        migrate_with(connect(&url).await, &next("adds a table")).await.unwrap();
        assert!(old.suits().await.unwrap());
        let another = Store::open_postgres(&parsed).await.unwrap();
        assert!(another.suits().await.unwrap());
        Store::open_postgres_as_it_is(&parsed).await.unwrap().close().await;
        another.close().await;
        old.close().await;
    }

    #[tokio::test]
    async fn an_incompatible_migration_waits_for_older_servers_to_stop() {
        let url = testing::database().await;
        let parsed: DatabaseUrl = url.parse().unwrap();
        let old = serve(&url).await;
        let error = migrate_with(connect(&url).await, &next("incompatible change")).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse), "{error}");
        assert!(old.suits().await.unwrap(), "nothing was changed");
        old.close().await;
        migrate_with(connect(&url).await, &next("incompatible change")).await.unwrap();
        assert!(matches!(Store::open_postgres(&parsed).await, Err(OpenError::Newer)));
        assert!(matches!(Store::open_postgres_as_it_is(&parsed).await, Err(OpenError::OtherVersion)));
        // Again, by the next version itself.
        migrate_with(connect(&url).await, &next("incompatible change")).await.unwrap();
    }
}
