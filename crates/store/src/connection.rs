//! A connection that reads, or a transaction: what functions that ask the database take.

use std::mem;

use sqlx::{Postgres, Sqlite, Transaction, pool::PoolConnection};

use tokio::time::timeout;

use crate::{
    failure::Failure,
    postgres::session::{SILENCE, Session},
    query::{FromRows, Query, query},
    topics::{CHANNEL, Topics},
};

/// A pooled connection that sees what was last committed, or a transaction. One that is dropped without
/// [`commit`](Self::commit) has changed nothing.
pub struct Connection {
    kind: Kind,
    /// What [`notify`](Self::notify) was called with, and whom to tell in this process once it is committed.
    told: Vec<&'static str>,
    topics: Topics,
    /// A statement failed: what came before it may be undone.
    failed: bool,
}

enum Kind {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteChange(Transaction<'static, Sqlite>),
    PgRead(Session),
    PgChange(Session),
}

/// Runs `$body` with the connection of whichever database.
macro_rules! on {
    ($self:ident, $query:ident, $c:ident => $body:expr) => {{
        let answer: Result<_, Failure> = match &mut $self.kind {
            Kind::SqliteRead(c) => {
                let ($c, $query) = (&mut **c, $query.raw::<Sqlite>(false));
                $body.map_err(Failure::from)
            }
            Kind::SqliteChange(c) => {
                let ($c, $query) = (&mut **c, $query.raw::<Sqlite>(false));
                $body.map_err(Failure::from)
            }
            Kind::PgRead(session) | Kind::PgChange(session) => {
                let ($c, $query) = (session.lend()?, $query.raw::<Postgres>(true));
                let answer = timeout(SILENCE, async { $body }).await;
                session.settle(answer)
            }
        };
        $self.failed |= answer.is_err();
        answer
    }};
}

impl Connection {
    pub(crate) fn sqlite_read(connection: PoolConnection<Sqlite>, topics: Topics) -> Self {
        Self { kind: Kind::SqliteRead(connection), told: Vec::new(), topics, failed: false }
    }

    pub(crate) fn sqlite_change(transaction: Transaction<'static, Sqlite>, topics: Topics) -> Self {
        Self { kind: Kind::SqliteChange(transaction), told: Vec::new(), topics, failed: false }
    }

    pub(crate) fn pg_read(session: Session, topics: Topics) -> Self {
        Self { kind: Kind::PgRead(session), told: Vec::new(), topics, failed: false }
    }

    pub(crate) fn pg_change(session: Session, topics: Topics) -> Self {
        Self { kind: Kind::PgChange(session), told: Vec::new(), topics, failed: false }
    }

    /// For a statement that has to be put together differently for each of them.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::PgRead(_) | Kind::PgChange(_))
    }

    fn is_change(&self) -> bool {
        matches!(self.kind, Kind::SqliteChange(_) | Kind::PgChange(_))
    }

    /// Makes what was done permanent. A connection that reads is just given back.
    ///
    /// # Errors
    /// When the database fails: nothing was changed then, unless it is [`Failure::Unavailable`], which leaves that open.
    pub async fn commit(mut self) -> Result<(), Failure> {
        if self.failed && self.is_change() {
            // PostgreSQL has undone it all at the first statement that failed, and would answer COMMIT without an error.
            self.rollback().await?;
            return Err(Failure::fault("a statement failed in a transaction that was to be committed all the same"));
        }
        match self.kind {
            Kind::SqliteChange(transaction) => transaction.commit().await?,
            Kind::PgChange(session) => session.commit().await?,
            Kind::SqliteRead(_) | Kind::PgRead(_) => return Ok(()),
        }
        for topic in mem::take(&mut self.told) {
            self.topics.tell(topic);
        }
        Ok(())
    }

    /// Undoes what was done, and waits for that; dropping the connection does it beside what comes next.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rollback(self) -> Result<(), Failure> {
        match self.kind {
            Kind::SqliteChange(transaction) => Ok(transaction.rollback().await?),
            Kind::PgChange(session) => session.rollback().await,
            Kind::SqliteRead(_) | Kind::PgRead(_) => Ok(()),
        }
    }

    /// Marks the point that [`rollback_to_savepoint`](Self::rollback_to_savepoint) goes back to. A later one takes its place.
    ///
    /// # Errors
    /// When this is no transaction, or the database fails.
    pub async fn savepoint(&mut self) -> Result<(), Failure> {
        self.must_be_change()?;
        query("SAVEPOINT attempt").execute(self).await.map(drop)
    }

    /// Undoes what was done since the savepoint. In PostgreSQL, too, statements work again after one that failed.
    ///
    /// # Errors
    /// When there is no savepoint, or the database fails.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), Failure> {
        self.must_be_change()?;
        query("ROLLBACK TO SAVEPOINT attempt").execute(self).await?;
        self.failed = false;
        Ok(())
    }

    /// Wakes those that [subscribed](crate::Store::subscribe) to the topic, on all servers, once this is committed.
    ///
    /// # Errors
    /// When this is no transaction, or the database fails.
    pub async fn notify(&mut self, topic: &'static str) -> Result<(), Failure> {
        self.must_be_change()?;
        if self.told.contains(&topic) {
            return Ok(());
        }
        if self.is_postgres() {
            query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(topic).execute(self).await?;
        }
        self.told.push(topic);
        Ok(())
    }

    pub(crate) fn must_be_change(&self) -> Result<(), Failure> {
        if self.is_change() { Ok(()) } else { Err(Failure::fault("a connection that only reads was asked to change")) }
    }

    pub(crate) async fn execute(&mut self, query: Query) -> Result<u64, Failure> {
        on!(self, query, c => query.execute(c).await.map(|done| done.rows_affected()))
    }

    pub(crate) async fn all<T: FromRows>(&mut self, query: Query) -> Result<Vec<T>, Failure> {
        on!(self, query, c => match query.fetch_all(c).await {
            Ok(rows) => rows.iter().map(T::from_row).collect(),
            Err(error) => Err(error),
        })
    }

    pub(crate) async fn optional<T: FromRows>(&mut self, query: Query) -> Result<Option<T>, Failure> {
        on!(self, query, c => match query.fetch_optional(c).await {
            Ok(row) => row.as_ref().map(T::from_row).transpose(),
            Err(error) => Err(error),
        })
    }
}

/// Running a statement.
impl Query {
    /// Runs it, and tells how many rows it has inserted, changed or deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn execute(self, connection: &mut Connection) -> Result<u64, Failure> {
        connection.execute(self.checked()?).await
    }

    /// All rows.
    ///
    /// # Errors
    /// When the database fails, or a row is not of that form.
    pub async fn all<T: FromRows>(self, connection: &mut Connection) -> Result<Vec<T>, Failure> {
        connection.all(self.checked()?).await
    }

    /// The first row, if there is any.
    ///
    /// # Errors
    /// When the database fails, or the row is not of that form.
    pub async fn optional<T: FromRows>(self, connection: &mut Connection) -> Result<Option<T>, Failure> {
        connection.optional(self.checked()?).await
    }

    /// The first row.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when there is none; when the database fails, or the row is not of that form.
    pub async fn one<T: FromRows>(self, connection: &mut Connection) -> Result<T, Failure> {
        self.optional(connection).await?.ok_or(Failure::NotFound)
    }

    /// The first row's only column.
    ///
    /// # Errors
    /// As [`one`](Self::one).
    pub async fn scalar<T>(self, connection: &mut Connection) -> Result<T, Failure>
    where
        (T,): FromRows,
    {
        Ok(self.one::<(T,)>(connection).await?.0)
    }

    /// The first row's only column, if there is any row.
    ///
    /// # Errors
    /// As [`optional`](Self::optional).
    pub async fn optional_scalar<T>(self, connection: &mut Connection) -> Result<Option<T>, Failure>
    where
        (T,): FromRows,
    {
        Ok(self.optional::<(T,)>(connection).await?.map(|row| row.0))
    }

    /// The only column of all rows.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn scalars<T>(self, connection: &mut Connection) -> Result<Vec<T>, Failure>
    where
        (T,): FromRows,
    {
        Ok(self.all::<(T,)>(connection).await?.into_iter().map(|row| row.0).collect())
    }
}
