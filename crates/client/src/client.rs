//! [`Client`]: what the verbs are called on.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mlplatform_protocol::{Access, Endpoint, Page, PageRequest, page::MAX_LIMIT};
use tokio::sync::watch;

use crate::{
    config::Config,
    error::Error,
    expiry::Expiry,
    session::Sessions,
    transport::{Attempts, Deadline, Streamed, Transport},
};

/// The cursors of one list that were followed.
#[derive(Debug, Default)]
pub(crate) struct Followed(HashSet<String>);

/// Connections and a session for one platform and one access token.
pub struct Client {
    transport: Arc<Transport>,
    sessions: Option<Sessions>,
    timeout: Duration,
    stopped: watch::Sender<bool>,
}

impl Client {
    /// Reads the authorities and makes the connection pool; nothing is sent.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] when the authorities cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let transport = Arc::new(Transport::new(config)?);
        let sessions = config.refresh_token.clone().map(|token| Sessions::new(Arc::clone(&transport), token));
        Ok(Self { transport, sessions, timeout: config.timeout, stopped: watch::Sender::new(false) })
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
            let answer = self.call::<E>(&request(page.clone()), deadline).await?;
            all.extend(answer.items);
            page.cursor = self.follow(&mut followed, answer.next_cursor)?;
            if page.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// The cursor of the next page, if there is one. One that was followed before would turn in a circle for ever, and
    /// what came so far is no list that anybody should rely on.
    pub(crate) fn follow(&self, followed: &mut Followed, next: Option<String>) -> Result<Option<String>, Error> {
        match next {
            Some(cursor) if !followed.0.insert(cursor.clone()) => Err(self.transport.circling()),
            next => Ok(next),
        }
    }

    /// One call, from the session to the answer.
    pub(crate) async fn call<E: Endpoint>(
        &self,
        request: &E::Request,
        deadline: Deadline,
    ) -> Result<E::Response, Error> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::closed("the call was ended by stop() or close()")),
            result = self.authorized::<E>(request, deadline) => result,
        }
    }

    /// One call whose answer is a stream; see [`Transport::stream`].
    pub(crate) async fn stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::closed("the call was ended by stop() or close()")),
            result = self.authorized_stream::<E>(request, deadline, into) => result,
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

    async fn authorized<E: Endpoint>(&self, request: &E::Request, deadline: Deadline) -> Result<E::Response, Error> {
        let mut attempts = Attempts::of(&E::ROUTE)?;
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
