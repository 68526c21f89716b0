//! Admission control: how many requests are worked on at once, and how many bytes of bodies and answers are held, in all
//! and of one client network. What does not fit is refused with 503 at once, so that memory has a bound.

use std::sync::Arc;

use mlplatform_protocol::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{
    concurrency::{ConcurrencyLimit, LimitReached, Permit},
    error::{Error, Result},
    limits::Limits,
    metrics::Metrics,
    request::RequestContext,
};

/// The limits of this process.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    clients: Arc<ConcurrencyLimit>,
    small_bodies: Arc<ConcurrencyLimit>,
    large_bodies: Arc<ConcurrencyLimit>,
    answers: Arc<ConcurrencyLimit>,
    /// For who reads a large body.
    reading: Semaphore,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(limits.requests)),
            clients: ConcurrencyLimit::new(limits.requests),
            small_bodies: ConcurrencyLimit::new(limits.small_bodies),
            large_bodies: ConcurrencyLimit::new(limits.large_bodies),
            answers: ConcurrencyLimit::new(limits.answers),
            reading: Semaphore::new(1),
        }
    }

    /// Shows the limits in the metrics.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        metrics.watch_limit("requests", &self.clients);
        metrics.watch_limit("small_bodies", &self.small_bodies);
        metrics.watch_limit("large_bodies", &self.large_bodies);
        metrics.watch_limit("answers", &self.answers);
    }

    /// The right to work on a request, as long as it is held.
    ///
    /// # Errors
    /// When as many are worked on as may be, in all or of that address.
    pub fn request(&self, context: &RequestContext) -> Result<RequestPermit> {
        const TEXT: &str = "the platform has too many requests at once: try again after the seconds in Retry-After";
        let client = self.clients.acquire(context.network()).map_err(|full| busy(context, full, TEXT))?;
        let permit =
            Arc::clone(&self.requests).try_acquire_owned().map_err(|_| busy(context, LimitReached::Total, TEXT))?;
        Ok(RequestPermit { _permit: permit, _client: client })
    }

    /// Room for a body of so many bytes, which no route takes unless it is `large`.
    ///
    /// # Errors
    /// When there is no room for it, in all or for that address.
    pub fn body(&self, context: &RequestContext, bytes: usize, large: bool) -> Result<Permit> {
        let bodies = if large { &self.large_bodies } else { &self.small_bodies };
        bodies.acquire_many(context.network(), bytes).map_err(|full| no_room_for_body(context, full))
    }

    /// The turn to read a large body: one after the other, so that those who bring several leave a processor to the others.
    pub async fn turn_to_read(&self) -> Option<SemaphorePermit<'_>> {
        self.reading.acquire().await.ok()
    }

    /// Room for an answer of so many bytes.
    ///
    /// # Errors
    /// When there is no room for it, in all or for that address.
    pub fn answer(&self, context: &RequestContext, bytes: usize) -> Result<Permit> {
        self.answers.acquire_many(context.network(), bytes).map_err(|full| {
            let text = "too many answers wait to be read: read those that you asked for, and try again after the seconds in Retry-After";
            busy(context, full, text)
        })
    }
}

/// What is said when there is no room for a body.
pub fn no_room_for_body(context: &RequestContext, full: LimitReached) -> Error {
    busy(context, full, "the platform reads too many large bodies at once: try again after the seconds in Retry-After")
}

/// Who took all of his share is told so late.
fn busy(context: &RequestContext, full: LimitReached, text: &str) -> Error {
    if full == LimitReached::PerNetwork {
        context.delay_response();
    }
    Error::refused(ErrorCode::ServiceUnavailable, text)
}

/// The right to work on a request.
pub struct RequestPermit {
    _permit: OwnedSemaphorePermit,
    _client: Permit,
}
