//! [`Client`]: connections and session of one platform; each resource's file adds its methods.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mlplatform_protocol::{Access, Endpoint, Page, PageRequest, Route, Value, page::MAX_LIMIT};
use reqwest::Response;
use serde_json::Map;
use tokio::sync::watch;

use crate::{
    config::Config,
    deadline::Deadline,
    error::Error,
    expiry::Expiry,
    session::Sessions,
    transport::{Attempts, Head, Raw, Received, Streamed, Transport, fields},
    upload::OnSent,
    watch::Watches,
};

/// The most items of one list that are held in memory, all pages together.
const MOST_ITEMS: usize = 1_000_000;
/// The most bytes of JSON of one list, all pages together.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// The longest cursor that is accepted: it is part of the next request's address.
const LONGEST_CURSOR: usize = 4096;

/// The pages of one list so far, to enforce the limits.
#[derive(Debug, Default)]
pub(crate) struct PagesRead {
    cursors: HashSet<String>,
    items: usize,
    bytes: usize,
}

/// Connections and a session for one platform and one credential.
pub struct Client {
    transport: Arc<Transport>,
    sessions: Option<Sessions>,
    timeout: Duration,
    stopped: watch::Sender<bool>,
    pub(crate) watches: Watches,
}

impl Client {
    /// Reads the certificate authorities and creates the connection pool; sends nothing.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] when the authorities cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let transport = Arc::new(Transport::new(config)?);
        let sessions = Sessions::of(config, &transport)?;
        Ok(Self {
            transport,
            sessions,
            timeout: config.timeout,
            stopped: watch::Sender::new(false),
            watches: Watches::default(),
        })
    }

    /// Ends all pending calls with [`crate::Kind::Closed`], and refuses new ones.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// The expiry of the access token, if it is near: the caller warns the user once.
    #[must_use]
    pub fn expiry(&self) -> Option<Expiry> {
        self.sessions.as_ref()?.expiry()
    }

    /// The deadline of a call that begins now: `timeout`, or the configured one.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Deadline {
        Deadline::after(timeout.unwrap_or(self.timeout))
    }

    /// All items of a list, page after page, within one deadline. `request` makes the request for a page.
    pub(crate) async fn call_pages<E, T>(
        &self,
        request: impl Fn(PageRequest) -> E::Request,
        deadline: Deadline,
    ) -> Result<Vec<T>, Error>
    where
        E: Endpoint<Response = Page<T>>,
    {
        let mut all = Vec::new();
        let mut page = PageRequest { limit: Some(MAX_LIMIT), cursor: None };
        let mut pages_read = PagesRead::default();
        loop {
            let answer = self.sized::<E>(&request(page.clone()), deadline).await?;
            page.cursor = self.follow(&mut pages_read, &mut all, answer)?;
            if page.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Adds a page to the list and returns the cursor of the next one. A repeated cursor is an error: it would loop forever.
    pub(crate) fn follow<T>(
        &self,
        pages_read: &mut PagesRead,
        all: &mut Vec<T>,
        Received { answer: page, bytes }: Received<Page<T>>,
    ) -> Result<Option<String>, Error> {
        pages_read.items = pages_read.items.saturating_add(page.items.len());
        pages_read.bytes = pages_read.bytes.saturating_add(bytes);
        if pages_read.items > MOST_ITEMS || pages_read.bytes > MOST_BYTES {
            return Err(Error::too_many_items(MOST_ITEMS, MOST_BYTES));
        }
        all.extend(page.items);
        match page.next_cursor {
            Some(cursor) if cursor.len() > LONGEST_CURSOR => Err(self.transport.cursor_too_long(cursor.len())),
            Some(cursor) if !pages_read.cursors.insert(cursor.clone()) => Err(self.transport.repeated_cursor()),
            next => Ok(next),
        }
    }

    /// One call: session, request, answer.
    pub(crate) async fn call<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
    ) -> Result<E::Response, Error> {
        Ok(self.sized::<E>(request, deadline).await?.answer)
    }

    /// The same, with the size of the answer.
    pub(crate) async fn sized<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
    ) -> Result<Received<E::Response>, Error> {
        let raw = self.authorized(E::ROUTE, &|| fields(request), deadline, None).await?;
        Ok(Received { answer: self.transport.parse(&raw)?, bytes: raw.body.len() })
    }

    /// The same for a large request; `on_sent` is called while its body is sent.
    pub(crate) async fn upload<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
        on_sent: Option<OnSent>,
    ) -> Result<E::Response, Error> {
        let raw = self.authorized(E::ROUTE, &|| fields(request), deadline, on_sent).await?;
        self.transport.parse(&raw)
    }

    /// One call with a streamed answer; see [`Transport::stream`].
    pub(crate) async fn stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        self.unless_stopped(self.authorized_stream::<E>(request, deadline, into)).await
    }

    /// Begins a streamed answer; see [`Transport::open`].
    pub(crate) async fn open<E: Endpoint>(
        &self,
        request: &E::Request,
        asked: Option<u64>,
        deadline: Deadline,
    ) -> Result<(Response, Head), Error> {
        let mut attempts = Attempts::of(&E::ROUTE)?;
        let sessions = self.sessions.as_ref().ok_or_else(|| Error::token_missing(&E::ROUTE))?;
        let session = sessions.get(deadline).await?;
        let first =
            self.transport.open::<E>(request, asked, Some(&session.authorization), &mut attempts, deadline).await;
        match first {
            Err(error) if error.is_unknown_session() => {
                let session = sessions.replace(&session, error, deadline).await?;
                self.transport.open::<E>(request, asked, Some(&session.authorization), &mut attempts, deadline).await
            }
            result => result,
        }
    }

    /// The error of a broken stream.
    pub(crate) fn lost(&self, problem: reqwest::Error) -> Error {
        self.transport.lost(problem)
    }

    /// Runs `work` until it is done, or `stop()` or `close()` is called.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::closed("the call was ended by stop() or close()")),
            result = work => result,
        }
    }

    async fn authorized_stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        let mut attempts = Attempts::of(&E::ROUTE)?;
        let sessions = self.sessions.as_ref().ok_or_else(|| Error::token_missing(&E::ROUTE))?;
        let session = sessions.get(deadline).await?;
        let first =
            self.transport.stream::<E>(&request, Some(&session.authorization), &mut attempts, deadline, into).await;
        match first {
            Err(error) if error.is_unknown_session() => {
                let session = sessions.replace(&session, error, deadline).await?;
                self.transport.stream::<E>(&request, Some(&session.authorization), &mut attempts, deadline, into).await
            }
            result => result,
        }
    }

    /// One call whose answer is any JSON.
    pub(crate) async fn json<E: Endpoint>(&self, request: &E::Request, deadline: Deadline) -> Result<Value, Error> {
        let raw = self.authorized(E::ROUTE, &|| fields(request), deadline, None).await?;
        self.transport.parse(&raw)
    }

    async fn authorized(
        &self,
        route: Route,
        fields: &(dyn Fn() -> Result<Map<String, Value>, Error> + Sync),
        deadline: Deadline,
        on_sent: Option<OnSent>,
    ) -> Result<Raw, Error> {
        let mut attempts = Attempts::of(&route)?;
        attempts.on_sent = on_sent;
        let work = async {
            if route.access == Access::Public {
                return self.transport.call(&route, fields()?, None, &mut attempts, deadline).await;
            }
            let sessions = self.sessions.as_ref().ok_or_else(|| Error::token_missing(&route))?;
            let session = sessions.get(deadline).await?;
            let authorization = Some(&session.authorization);
            match self.transport.call(&route, fields()?, authorization, &mut attempts, deadline).await {
                Err(error) if error.is_unknown_session() => {
                    let session = sessions.replace(&session, error, deadline).await?;
                    self.transport.call(&route, fields()?, Some(&session.authorization), &mut attempts, deadline).await
                }
                result => result,
            }
        };
        self.unless_stopped(work).await
    }
}
