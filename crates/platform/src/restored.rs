//! What a platform that was restored from a backup cannot know is not pretended: sessions end, jobs that were not over have
//! failed, and a row of the audit says that the platform was restored.

use jiff::Timestamp;
use mlplatform_store::query;
use serde_json::json;

use crate::{
    app::App,
    audit::{Event, Outcome},
    error::Result,
    jobs::row,
    request::RequestContext,
};

/// The action of the audit row that says so.
const ACTION: &str = "restore";

/// What was restored.
#[derive(Clone, Copy, Debug)]
pub struct Backup<'a> {
    /// When it was made.
    pub made_at: Timestamp,
    /// Of which version of the program.
    pub version: &'a str,
}

/// Gives the number of jobs that have failed by it.
///
/// # Errors
/// When the store fails.
pub async fn end_what_was_open(app: &App, backup: &Backup<'_>) -> Result<usize> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now().as_microsecond();
    let sessions = query("DELETE FROM sessions").execute(tx.connection()).await?;
    query("DELETE FROM sign_in_codes").execute(tx.connection()).await?;
    let problem = format!(
        "the platform was restored from a backup of {}, which says nothing of what this job did since: look at what it \
         has written, and submit it again if need be",
        backup.made_at.strftime("%Y-%m-%d %H:%M UTC")
    );
    let jobs = row::open(tx.connection()).await?;
    for job in &jobs {
        row::fail(tx.connection(), job, now, "PlatformRestored", &problem).await?;
    }
    let detail = json!({
        "backup_of": backup.made_at,
        "version": backup.version,
        "sessions_ended": sessions,
        "jobs_failed": jobs.len(),
    });
    tx.record(Event { action: ACTION, actor: None, subject: None, outcome: Outcome::Done, detail }).await?;
    tx.commit().await?;
    Ok(jobs.len())
}
