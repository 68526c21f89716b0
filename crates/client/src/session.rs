//! The session: made from the access token by one exchange, shared by every call until it ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use mlplatform_protocol::{Endpoint, Secret, TokenKind, routes::CreateSession, token, tokens::CreateSessionRequest};
use tokio::time::Instant;

use crate::{
    deadline::Deadline,
    error::{Error, Kind},
    expiry::{self, Expiry},
    transport::{Attempts, Transport},
};

/// A session is renewed when less than a tenth of its life, or less than this, is left: a call that starts now
/// shall not meet its end on the way.
const MARGIN: Duration = Duration::from_secs(30);
/// However long a session is said to live, another is made by then: what came over the wire may be any number, and a
/// clock cannot count to all of them.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A session, kept on this process' monotonic clock: whatever the wall clock does, it ends in time.
pub(crate) struct Live {
    pub(crate) token: Secret,
    /// Of the access token, if it is near.
    expiry: Option<Expiry>,
    renew_at: Instant,
}

type Exchanging = BoxFuture<'static, Result<Arc<Live>, Error>>;
type Exchange = Shared<Exchanging>;

/// What there is of a session.
#[derive(Default)]
enum Current {
    #[default]
    Nothing,
    /// One is being made, as long as somebody waits for it: when the last caller is gone, so is the request.
    Coming(WeakShared<Exchanging>),
    There(Arc<Live>),
}

impl Current {
    fn is(&self, exchange: &Exchange) -> bool {
        matches!(self, Self::Coming(coming) if coming.upgrade().is_some_and(|coming| coming.ptr_eq(exchange)))
    }
}

/// Makes sessions. However many calls need one at the same time, one exchange is under way; who waits for it gets
/// its result, good or bad.
pub(crate) struct Sessions {
    transport: Arc<Transport>,
    refresh_token: Secret,
    current: Mutex<Current>,
}

impl Sessions {
    pub(crate) fn new(transport: Arc<Transport>, refresh_token: Secret) -> Self {
        Self { transport, refresh_token, current: Mutex::default() }
    }

    /// The present session, or a new one.
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
                // Somebody else's exchange ran out of somebody else's time: there may be more of ours.
                Err(error) if *error.kind() == Kind::Timeout && !deadline.left().is_zero() => {}
                result => return result,
            }
        }
    }

    /// The end of the access token, if the present session was told that it is near.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        match &*self.lock() {
            Current::There(live) => live.expiry.clone(),
            Current::Nothing | Current::Coming(_) => None,
        }
    }

    /// The server does not know this session: the next call makes another. A newer one is left alone.
    pub(crate) fn invalidate(&self, dead: &Arc<Live>) {
        let mut current = self.lock();
        if matches!(&*current, Current::There(live) if Arc::ptr_eq(live, dead)) {
            *current = Current::Nothing;
        }
    }

    /// The present session, or else the exchange that makes one.
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
        // Nothing that is done under the lock can leave it half done.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(transport: Arc<Transport>, refresh_token: Secret, deadline: Deadline) -> Result<Arc<Live>, Error> {
    let asked_at = Instant::now();
    let mut attempts = Attempts::of(&CreateSession::ROUTE)?;
    let request = CreateSessionRequest { refresh_token };
    let session = transport.call::<CreateSession>(&request, None, &mut attempts, deadline).await?.answer;
    let life = Duration::from_secs(session.expires_in).min(LONGEST_LIFE);
    let margin = MARGIN.min(life / 10);
    let expiry = session.token.zip(session.now).and_then(|(token, now)| expiry::near(&token, now));
    Ok(Arc::new(Live { token: session.session_token, expiry, renew_at: asked_at + life.saturating_sub(margin) }))
}

/// A mistyped or wrong kind of token is told before it is sent. What is not of our format is passed on as it is.
fn check_shape(refresh_token: &Secret) -> Result<(), Error> {
    let problem = match token::shape(refresh_token.expose()) {
        token::Shape::Whole(TokenKind::Access) | token::Shape::Opaque => return Ok(()),
        token::Shape::Damaged(kind) => damaged(kind),
        token::Shape::Whole(TokenKind::Registration) => {
            "this is a registration token; redeem it with create_refresh_token(), and use the access token that it returns".to_owned()
        }
        token::Shape::Whole(TokenKind::Session) => "this is a session token, which only the library itself uses; give the access token (it begins with 'mlpr_')".to_owned(),
    };
    Err(Error::argument("refresh_token", problem))
}

/// What is said of a text that begins like a token, but is none.
pub(crate) fn damaged(kind: TokenKind) -> String {
    format!(
        "this does not look like a token: it begins like {} ({}…), but at least one character is wrong or missing; copy it again, whole",
        match kind {
            TokenKind::Access => "an access token",
            TokenKind::Registration => "a registration token",
            TokenKind::Session => "a session token",
        },
        kind.prefix()
    )
}
