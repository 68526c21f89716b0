//! The session: created by exchanging the access token, shared by all calls until it expires.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use mlplatform_protocol::{
    Endpoint, Secret, TokenKind,
    routes::CreateSession,
    token,
    tokens::{CreateSessionRequest, Session},
};
use tokio::time::Instant;

use crate::{
    deadline::Deadline,
    error::{Error, Kind},
    expiry::{self, Expiry},
    transport::{Attempts, Transport, fields, received},
};

/// A session is renewed when less than a tenth of its lifetime, or less than this, is left, so that it does not expire during
/// a call.
const MARGIN: Duration = Duration::from_secs(30);
/// The longest lifetime of a session: the platform's answer may contain any number, and a clock cannot represent all.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A session. Its expiry is on the monotonic clock, so that changes of the wall clock do not matter.
pub(crate) struct Live {
    pub(crate) token: Secret,
    /// The expiry of the access token, if it is near.
    expiry: Option<Expiry>,
    renew_at: Instant,
}

type Exchanging = BoxFuture<'static, Result<Arc<Live>, Error>>;
type Exchange = Shared<Exchanging>;

/// The current session.
#[derive(Default)]
enum Current {
    #[default]
    Nothing,
    /// An exchange is pending; when its last waiting caller is cancelled, so is the request.
    Coming(WeakShared<Exchanging>),
    There(Arc<Live>),
}

impl Current {
    fn is(&self, exchange: &Exchange) -> bool {
        matches!(self, Self::Coming(coming) if coming.upgrade().is_some_and(|coming| coming.ptr_eq(exchange)))
    }
}

/// Creates sessions. Calls that need one at the same time share one exchange and its result.
pub(crate) struct Sessions {
    transport: Arc<Transport>,
    refresh_token: Secret,
    current: Mutex<Current>,
}

impl Sessions {
    pub(crate) fn new(transport: Arc<Transport>, refresh_token: Secret) -> Self {
        Self { transport, refresh_token, current: Mutex::default() }
    }

    /// The current session, or a new one.
    pub(crate) async fn get(&self, deadline: Deadline) -> Result<Arc<Live>, Error> {
        loop {
            let exchange = match self.current_or_start(deadline)? {
                Ok(live) => return Ok(live),
                Err(exchange) => exchange,
            };
            let waited = tokio::time::timeout_at(deadline.at(), exchange.clone()).await;
            let result = waited.unwrap_or_else(|_| Err(deadline.passed("waiting for a session")));
            let next = result.as_ref().map_or(Current::Nothing, |live| Current::There(Arc::clone(live)));
            let mut current = self.lock();
            if current.is(&exchange) {
                *current = next;
            }
            drop(current);
            match result {
                // The exchange reached the deadline of another call; this call may have time left.
                Err(error) if *error.kind() == Kind::Timeout && !deadline.left().is_zero() => {}
                result => return result,
            }
        }
    }

    /// The expiry of the access token, if it is near.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        match &*self.lock() {
            Current::There(live) => live.expiry.clone(),
            Current::Nothing | Current::Coming(_) => None,
        }
    }

    /// Drops a session that the server does not know, so that the next call creates another. A newer one is kept.
    pub(crate) fn invalidate(&self, dead: &Arc<Live>) {
        let mut current = self.lock();
        if matches!(&*current, Current::There(live) if Arc::ptr_eq(live, dead)) {
            *current = Current::Nothing;
        }
    }

    /// The current session, or the exchange that creates one.
    fn current_or_start(&self, deadline: Deadline) -> Result<Result<Arc<Live>, Exchange>, Error> {
        check_shape(&self.refresh_token)?;
        let mut current = self.lock();
        match &*current {
            Current::There(live) if Instant::now() < live.renew_at => return Ok(Ok(Arc::clone(live))),
            Current::Coming(coming) => {
                let coming = coming.upgrade().filter(|exchange| !matches!(exchange.peek(), Some(Err(_))));
                if let Some(exchange) = coming {
                    return Ok(Err(exchange));
                }
            }
            Current::There(_) | Current::Nothing => {}
        }
        let exchange = exchange(Arc::clone(&self.transport), self.refresh_token.clone(), deadline).boxed().shared();
        *current = exchange.downgrade().map_or(Current::Nothing, Current::Coming);
        Ok(Err(exchange))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // No operation under the lock leaves an inconsistent state.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(transport: Arc<Transport>, refresh_token: Secret, deadline: Deadline) -> Result<Arc<Live>, Error> {
    let asked_at = Instant::now();
    let mut attempts = Attempts::of(&CreateSession::ROUTE)?;
    let request = CreateSessionRequest { refresh_token };
    let mut answer: Option<Session> = None;
    let mut accept = |body: &[u8]| {
        answer = serde_json::from_slice(body).ok();
        answer.is_some()
    };
    transport.call(&CreateSession::ROUTE, &|| fields(&request), None, &mut attempts, deadline, &mut accept).await?;
    let session = received(answer, 0)?.answer;
    let life = Duration::from_secs(session.expires_in).min(LONGEST_LIFE);
    let margin = MARGIN.min(life / 10);
    let expiry = session.token.zip(session.now).and_then(|(token, now)| expiry::near(&token, now));
    Ok(Arc::new(Live { token: session.session_token, expiry, renew_at: asked_at + life.saturating_sub(margin) }))
}

/// Refuses a mistyped token or one of another kind before it is sent. Other formats are passed on unchanged.
fn check_shape(refresh_token: &Secret) -> Result<(), Error> {
    let problem = match token::shape(refresh_token.expose()) {
        token::Shape::Whole(TokenKind::Access) | token::Shape::Opaque => return Ok(()),
        token::Shape::Damaged(kind) => damaged(kind),
        token::Shape::Whole(TokenKind::Registration) => {
            "this is a registration token: redeem it with create_refresh_token(), and use the access token that it returns".to_owned()
        }
        token::Shape::Whole(TokenKind::Session) => "this is a session token, which only the library uses: give the access token (it begins with 'mlpr_')".to_owned(),
    };
    Err(Error::argument("refresh_token", problem))
}

/// The message for a text with a token's prefix that is not a valid token.
pub(crate) fn damaged(kind: TokenKind) -> String {
    format!(
        "this is not a valid token: it begins like {} ({}…), but at least one character is wrong or missing; copy it again completely",
        match kind {
            TokenKind::Access => "an access token",
            TokenKind::Registration => "a registration token",
            TokenKind::Session => "a session token",
        },
        kind.prefix()
    )
}
