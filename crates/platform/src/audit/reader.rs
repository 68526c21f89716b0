//! Reading the audit: `get_audit` for Administrators, and what `mlplatform-server audit` shows and proves.

use mlplatform_protocol::{
    ErrorCode, Open, Page, PageRequest,
    audit::{AuditEntry, AuditRequest, Outcome},
};
use mlplatform_store::{Builder, Connection, FromRow, Store};

use super::{Audit, ChainError, GAP, VerifiedChain};
use crate::{
    app::App,
    clock::timestamp,
    error::{Error, Result},
    page::Window,
};

/// The longest filter: of a token's id or name, or an action.
const LONGEST: usize = 64;

/// From which row on, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newest first, only rows before this one.
    Before(i64),
    /// Oldest first, only rows after this one.
    After(i64),
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    at: i64,
    action: String,
    outcome: String,
    actor: Option<String>,
    actor_name: Option<String>,
    subject: Option<String>,
    subject_name: Option<String>,
    address: String,
    request_id: String,
    detail: String,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            seq: u64::try_from(row.seq).unwrap_or_default(),
            at: timestamp(row.at),
            action: row.action,
            outcome: Outcome::from_name(&row.outcome).map_or(Open::Unknown(row.outcome), Open::Known),
            actor: row.actor,
            actor_name: row.actor_name,
            subject: row.subject,
            subject_name: row.subject_name,
            address: row.address,
            request_id: row.request_id,
            // Ours is always an object; what somebody put in its place, `audit verify` tells.
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        }
    }
}

/// `get_audit`: who did what, newest first.
///
/// # Errors
/// When a filter or the page asked for is none, or the store fails.
pub async fn get_audit(app: &App, request: AuditRequest) -> Result<Page<AuditEntry>> {
    for (field, value) in [("token", &request.token), ("action", &request.action)] {
        if let Some(length) = value.as_ref().map(|value| value.chars().count()).filter(|length| *length > LONGEST) {
            let text = format!("{field}: it has {length} characters, and no {field} has more than {LONGEST}");
            return Err(Error::refused(ErrorCode::BadRequest, text));
        }
    }
    let page = PageRequest { limit: request.limit, cursor: request.cursor.clone() };
    let window = Window::read(&page)?;
    // Rows are numbered from 1: no number is before the newest.
    let before = if window.after == 0 { i64::MAX } else { window.after };
    let rows = rows(&mut app.read().await?, &request, Order::Before(before), window.rows()).await?;
    Ok(window.page(rows, |row| i64::try_from(row.seq).unwrap_or(i64::MAX)))
}

/// At most so many of the rows that the request's filters let through; its page is not looked at.
///
/// # Errors
/// When the store fails.
pub async fn rows(
    connection: &mut Connection,
    filter: &AuditRequest,
    order: Order,
    limit: i64,
) -> Result<Vec<AuditEntry>> {
    let mut query = Builder::new(
        "SELECT a.seq, a.at, a.action, a.outcome, a.actor, a.subject, a.address, a.request_id, a.detail, \
         coalesce(ta.name, ra.client_name) AS actor_name, coalesce(ts.name, rs.client_name) AS subject_name \
         FROM audit a LEFT JOIN tokens ta ON ta.id = a.actor LEFT JOIN register_tokens ra ON ra.id = a.actor \
         LEFT JOIN tokens ts ON ts.id = a.subject LEFT JOIN register_tokens rs ON rs.id = a.subject WHERE a.seq > 0 AND ",
    );
    match order {
        Order::Before(seq) => query.push("a.seq < ").push_bind(seq),
        Order::After(seq) => query.push("a.seq > ").push_bind(seq),
    };
    if let Some(token) = &filter.token {
        // Dead tokens stay in the store, so that a name leads to every token that ever had it.
        query.push(" AND (");
        for (column, or) in [("a.actor", " OR "), ("a.subject", "")] {
            query.push(column).push(" IN (SELECT ").push_bind(token);
            query.push(" UNION SELECT id FROM tokens WHERE name = ").push_bind(token);
            query.push(" UNION SELECT id FROM register_tokens WHERE client_name = ").push_bind(token);
            query.push(")").push(or);
        }
        query.push(")");
    }
    if let Some(action) = &filter.action {
        query.push(" AND a.action = ").push_bind(action);
    }
    if let Some(outcome) = filter.outcome {
        query.push(" AND a.outcome = ").push_bind(outcome.name());
    }
    if let Some(since) = filter.since {
        query.push(" AND a.at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        query.push(" AND a.at < ").push_bind(until.as_microsecond());
    }
    query.push(match order {
        Order::Before(_) => " ORDER BY a.seq DESC LIMIT ",
        Order::After(_) => " ORDER BY a.seq LIMIT ",
    });
    query.push_bind(limit);
    let rows: Vec<Row> = query.build().all(connection).await?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

/// The audit of a store, for a command on the machine; a server may be running on it.
pub struct Reader {
    store: Store,
    audit: Audit,
}

/// What a whole chain has to tell.
#[derive(Debug)]
pub struct Verification {
    /// How many rows it has.
    pub chain: VerifiedChain,
    /// Rows that say that others had been cut off before they were written.
    pub gaps: Vec<AuditEntry>,
}

impl Reader {
    /// Of that store, proved with that key.
    #[must_use]
    pub fn new(store: Store, audit: Audit) -> Self {
        Self { store, audit }
    }

    /// [`rows`] of it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rows(&self, filter: &AuditRequest, order: Order, limit: i64) -> Result<Vec<AuditEntry>> {
        rows(&mut self.store.read().await?, filter, order, limit).await
    }

    /// Proves the chain.
    ///
    /// # Errors
    /// The outer one when the store cannot be read, the inner one is the first thing that is wrong.
    pub async fn verify(&self) -> Result<Result<Verification, ChainError>> {
        let mut connection = self.store.read().await?;
        let whole = match self.audit.verify(&mut connection).await? {
            Ok(whole) => whole,
            Err(broken) => return Ok(Err(broken)),
        };
        let filter = AuditRequest { action: Some(GAP.to_owned()), ..AuditRequest::default() };
        let gaps = rows(&mut connection, &filter, Order::After(0), i64::MAX).await?;
        Ok(Ok(Verification { chain: whole, gaps }))
    }

    /// Closes the store.
    pub async fn close(self) {
        self.store.close().await;
    }
}
