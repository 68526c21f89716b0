//! The audit log.

use std::time::Duration;

use mlplatform_protocol::{
    audit::{AuditEntry, AuditRequest},
    page::MAX_LIMIT,
    routes::GetAudit,
};

use crate::{
    client::{Client, PagesRead},
    error::Error,
};

impl Client {
    /// The rows that match the filters, newest first, at most `limit` of them (`None`: all); `timeout` is for all pages
    /// together. The page of the request is ignored.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn get_audit(
        &self,
        mut request: AuditRequest,
        limit: Option<usize>,
        timeout: Option<Duration>,
    ) -> Result<Vec<AuditEntry>, Error> {
        let wanted = limit.unwrap_or(usize::MAX);
        let deadline = self.deadline(timeout);
        let mut all = Vec::new();
        let mut pages_read = PagesRead::default();
        request.cursor = None;
        while all.len() < wanted {
            let left = wanted.saturating_sub(all.len());
            request.limit = Some(u32::try_from(left).unwrap_or(MAX_LIMIT).min(MAX_LIMIT));
            let page = self.sized::<GetAudit>(&request, deadline).await?;
            request.cursor = self.follow(&mut pages_read, &mut all, page)?;
            if request.cursor.is_none() {
                break;
            }
        }
        all.truncate(wanted);
        Ok(all)
    }
}
