//! The ids that jobs and clusters hold, in the store: what a runner allocates outlives it.

use std::{collections::HashSet, io};

use futures_util::future::BoxFuture;
use mlplatform_runner::{
    ids::{ChooseGroup, IdStore},
    runner::RunId,
};
use mlplatform_store::{Connection, Mode, Store, query};

use super::row;
use crate::error::Result;

/// [`IdStore`] over the tables of jobs and clusters.
#[derive(Clone, Debug)]
pub struct JobIds {
    store: Store,
}

impl JobIds {
    /// In that store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn user(&self, job: &str) -> Result<Option<u32>> {
        let user: Option<Option<i64>> = query("SELECT user_id FROM jobs WHERE id = $1")
            .bind(job)
            .optional_scalar(&mut self.store.read().await?)
            .await?;
        user_id(user.flatten())
    }

    async fn keep_user(&self, job: &str, id: Option<u32>) -> Result<()> {
        let mut tx = self.store.begin(Mode::Exclusive).await?;
        query("UPDATE jobs SET user_id = $1 WHERE id = $2").bind(id).bind(job).execute(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    async fn claim(&self, cluster: &str, choose: ChooseGroup) -> Result<Option<u32>> {
        let mut tx = self.store.begin(Mode::Exclusive).await?;
        let held = group(&mut tx, cluster).await?;
        let chosen = choose(held, &row::ids_of_range(&mut tx).await?);
        if chosen.is_some() && chosen != held {
            query("UPDATE clusters SET job_group = $1 WHERE id = $2")
                .bind(chosen)
                .bind(cluster)
                .execute(&mut tx)
                .await?;
            tx.commit().await?;
        }
        Ok(chosen)
    }

    async fn finished(&self) -> Result<Vec<(RunId, u32)>> {
        let jobs = row::over_with_id(&mut self.store.read().await?).await?;
        Ok(jobs.into_iter().map(|(job, id)| (job.run_id(), id)).collect())
    }
}

async fn group(connection: &mut Connection, cluster: &str) -> Result<Option<u32>> {
    let group: Option<Option<i64>> =
        query("SELECT job_group FROM clusters WHERE id = $1").bind(cluster).optional_scalar(connection).await?;
    user_id(group.flatten())
}

/// The store has no type that is as narrow.
fn user_id(stored: Option<i64>) -> Result<Option<u32>> {
    stored.map(u32::try_from).transpose().map_err(|_| row::NO_USER_ID)
}

/// The future of a result, whose error the runner hands back as it is.
fn answer<'a, T>(result: impl Future<Output = Result<T>> + Send + 'a) -> BoxFuture<'a, io::Result<T>> {
    Box::pin(async move { result.await.map_err(io::Error::other) })
}

impl IdStore for JobIds {
    fn user_of<'a>(&'a self, job: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>> {
        answer(self.user(job))
    }

    fn set_user<'a>(&'a self, job: &'a str, id: Option<u32>) -> BoxFuture<'a, io::Result<()>> {
        answer(self.keep_user(job, id))
    }

    fn group_of<'a>(&'a self, cluster: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>> {
        answer(async move { group(&mut self.store.read().await?, cluster).await })
    }

    fn claim_group<'a>(&'a self, cluster: &'a str, choose: ChooseGroup) -> BoxFuture<'a, io::Result<Option<u32>>> {
        answer(self.claim(cluster, choose))
    }

    fn allocated(&self) -> BoxFuture<'_, io::Result<HashSet<u32>>> {
        answer(async move { row::ids_of_range(&mut self.store.read().await?).await })
    }

    fn held_by_finished(&self) -> BoxFuture<'_, io::Result<Vec<(RunId, u32)>>> {
        answer(self.finished())
    }
}
