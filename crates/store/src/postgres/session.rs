//! One pooled connection to PostgreSQL, which never goes back to the pool in the middle of something.
//!
//! sqlx gives a connection back as it is: a request whose client has gone away while it waited for the lock would leave one
//! that holds the lock, and one whose `BEGIN` was cancelled or timed out a transaction that nobody knows of. So what is not
//! over when it is dropped is ended beside what comes next, within a bound, or the connection is closed.

use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Postgres, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    time::{error::Elapsed, timeout},
};

use crate::failure::Failure;

/// No statement of ours takes a tenth of this; longer than a lock is waited for.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// The database ends a statement after [`STATEMENT_TIMEOUT`]. Without an answer for longer than this it, or the network to
/// it, is gone.
pub(crate) const SILENCE: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(2));

pub(crate) struct Session {
    /// `None`: it was closed, because it did not answer.
    connection: Option<PoolConnection<Postgres>>,
    /// A transaction was begun and is not over.
    open: bool,
    /// Something was sent whose answer has not come.
    waiting: bool,
}

impl Session {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection: Some(connection), open: false, waiting: false }
    }

    /// One round trip, also for several statements.
    pub(crate) async fn begin(mut self, statements: &'static str) -> Result<Self, Failure> {
        // Also when the answer is an error: what stands behind `BEGIN` may have failed.
        self.open = true;
        self.simple(statements).await?;
        Ok(self)
    }

    pub(crate) async fn commit(self) -> Result<(), Failure> {
        self.end("COMMIT").await
    }

    pub(crate) async fn rollback(self) -> Result<(), Failure> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), Failure> {
        self.simple(statement).await?;
        self.open = false;
        Ok(())
    }

    async fn simple(&mut self, statements: &'static str) -> Result<(), Failure> {
        let connection = self.lend()?;
        let answer = timeout(SILENCE, connection.execute(statements)).await;
        self.settle(answer).map(drop)
    }

    /// The connection, for one thing to ask within [`SILENCE`]. [`settle`](Self::settle) takes what came of it; without that
    /// call the answer is still due.
    pub(crate) fn lend(&mut self) -> Result<&mut PgConnection, Failure> {
        self.waiting = true;
        match &mut self.connection {
            Some(connection) => Ok(connection),
            None => Err(Failure::Unavailable("the connection was closed, because it did not answer".to_owned())),
        }
    }

    pub(crate) fn settle<T>(&mut self, answer: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, Failure> {
        if let Ok(answer) = answer {
            self.waiting = false;
            return Ok(answer?);
        }
        // Without a word to the other side, which may not listen.
        drop(self.connection.take().map(PoolConnection::detach));
        Err(Failure::Unavailable(format!("no answer for {} seconds", SILENCE.as_secs())))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.open && !self.waiting {
            return;
        }
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            drop(connection.detach());
            return;
        };
        runtime.spawn(async move {
            // Waits for the answer that is due, first. Where no transaction is open, PostgreSQL only warns.
            if !matches!(timeout(SILENCE, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                drop(connection.detach());
            }
        });
    }
}
