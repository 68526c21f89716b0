//! [`Client`]: what the verbs are called on.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mlplatform_protocol::{Access, Endpoint, Page, PageRequest, page::MAX_LIMIT};
use reqwest::Response;
use tokio::sync::watch;

use crate::{
    config::Config,
    deadline::Deadline,
    error::Error,
    expiry::Expiry,
    session::Sessions,
    transport::{Attempts, Head, Received, Streamed, Transport},
    upload::OnSent,
    watch::Watches,
};

/// The most items of one list that are held, page after page …
const MOST_ITEMS: usize = 1_000_000;
/// … and the most bytes of JSON that they came in: what a page holds beside its items counts, too.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// The longest cursor that is sent back: it stands in the address of the next page.
const LONGEST_CURSOR: usize = 4096;

/// What came of one list so far.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    cursors: HashSet<String>,
    items: usize,
    bytes: usize,
}

/// Connections and a session for one platform and one access token.
pub struct Client {
    transport: Arc<Transport>,
    sessions: Option<Sessions>,
    timeout: Duration,
    stopped: watch::Sender<bool>,
    pub(crate) watches: Watches,
}

impl Client {
    /// Reads the authorities and makes the connection pool; nothing is sent.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] when the authorities cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let transport = Arc::new(Transport::new(config)?);
        let sessions = config.refresh_token.clone().map(|token| Sessions::new(Arc::clone(&transport), token));
        Ok(Self {
            transport,
            sessions,
            timeout: config.timeout,
            stopped: watch::Sender::new(false),
            watches: Watches::default(),
        })
    }

    /// Ends every call that is under way with [`crate::Kind::Closed`], and refuses new ones.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// The end of the access token, if it is near: what the user should be told, once.
    #[must_use]
    pub fn expiry(&self) -> Option<Expiry> {
        self.sessions.as_ref()?.expiry()
    }

    /// When a call that begins now has to end: after `timeout`, or after the configured time.
    pub(crate) fn deadline(&self, timeout: Option<Duration>) -> Deadline {
        Deadline::after(timeout.unwrap_or(self.timeout))
    }

    /// All items of a list, page after page; the deadline holds for all of them together. `request` says what is asked
    /// besides the page.
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
        let mut followed = Followed::default();
        loop {
            let answer = self.sized::<E>(&request(page.clone()), deadline).await?;
            page.cursor = self.follow(&mut followed, &mut all, answer)?;
            if page.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Adds a page to the list; gives the cursor of the next one, if there is one. One that was followed before would turn
    /// in a circle for ever, and what came so far is no list that anybody should rely on.
    pub(crate) fn follow<T>(
        &self,
        followed: &mut Followed,
        all: &mut Vec<T>,
        Received { answer: page, bytes }: Received<Page<T>>,
    ) -> Result<Option<String>, Error> {
        followed.items = followed.items.saturating_add(page.items.len());
        followed.bytes = followed.bytes.saturating_add(bytes);
        if followed.items > MOST_ITEMS || followed.bytes > MOST_BYTES {
            return Err(Error::too_many_items(MOST_ITEMS, MOST_BYTES));
        }
        all.extend(page.items);
        match page.next_cursor {
            Some(cursor) if cursor.len() > LONGEST_CURSOR => Err(self.transport.no_cursor(cursor.len())),
            Some(cursor) if !followed.cursors.insert(cursor.clone()) => Err(self.transport.circling()),
            next => Ok(next),
        }
    }

    /// One call, from the session to the answer.
    pub(crate) async fn call<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
    ) -> Result<E::Response, Error> {
        Ok(self.sized::<E>(request, deadline).await?.answer)
    }

    /// The same, for whoever adds answers up.
    pub(crate) async fn sized<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
    ) -> Result<Received<E::Response>, Error> {
        self.unless_stopped(self.authorized::<E>(request, deadline, None)).await
    }

    /// The same for a large request; `on_sent` is called while its body is sent.
    pub(crate) async fn upload<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
        on_sent: Option<OnSent>,
    ) -> Result<E::Response, Error> {
        Ok(self.unless_stopped(self.authorized::<E>(request, deadline, on_sent)).await?.answer)
    }

    /// One call whose answer is a stream; see [`Transport::stream`].
    pub(crate) async fn stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        self.unless_stopped(self.authorized_stream::<E>(request, deadline, into)).await
    }

    /// Begins an answer that is a stream; see [`Transport::open`].
    pub(crate) async fn open<E: Endpoint>(
        &self,
        request: &E::Request,
        asked: Option<u64>,
        deadline: Deadline,
    ) -> Result<(Response, Head), Error> {
        let mut attempts = Attempts::of(&E::ROUTE)?;
        let sessions = self.sessions.as_ref().ok_or_else(|| Error::token_missing(&E::ROUTE))?;
        let session = sessions.get(deadline).await?;
        let first = self.transport.open::<E>(request, asked, Some(&session.token), &mut attempts, deadline).await;
        match first {
            Err(error) if error.is_unknown_session() => {
                sessions.invalidate(&session);
                let session = sessions.get(deadline).await?;
                self.transport.open::<E>(request, asked, Some(&session.token), &mut attempts, deadline).await
            }
            result => result,
        }
    }

    /// A stream that broke.
    pub(crate) fn lost(&self, problem: reqwest::Error) -> Error {
        self.transport.lost(problem)
    }

    /// What it does, unless `stop()` or `close()` ends it.
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
        let first = self.transport.stream::<E>(&request, Some(&session.token), &mut attempts, deadline, into).await;
        match first {
            Err(error) if error.is_unknown_session() => {
                sessions.invalidate(&session);
                let session = sessions.get(deadline).await?;
                self.transport.stream::<E>(&request, Some(&session.token), &mut attempts, deadline, into).await
            }
            result => result,
        }
    }

    async fn authorized<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
        on_sent: Option<OnSent>,
    ) -> Result<Received<E::Response>, Error> {
        let mut attempts = Attempts::of(&E::ROUTE)?;
        attempts.on_sent = on_sent;
        if E::ROUTE.access == Access::Public {
            return self.transport.call::<E>(request, None, &mut attempts, deadline).await;
        }
        let sessions = self.sessions.as_ref().ok_or_else(|| Error::token_missing(&E::ROUTE))?;
        let session = sessions.get(deadline).await?;
        let first = self.transport.call::<E>(request, Some(&session.token), &mut attempts, deadline).await;
        match first {
            Err(error) if error.is_unknown_session() => {
                sessions.invalidate(&session);
                let session = sessions.get(deadline).await?;
                self.transport.call::<E>(request, Some(&session.token), &mut attempts, deadline).await
            }
            result => result,
        }
    }
}
