//! The session: created by exchanging the credential, shared by all calls until it expires.

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
    oauth::OauthToken,
    routes::{CreateOauthToken, CreateSession},
    token,
    tokens::{CreateSessionRequest, Session},
};
use tokio::time::Instant;

use crate::{
    config::Config,
    credential::Credential,
    deadline::Deadline,
    error::{Error, Kind},
    expiry::{self, Expiry},
    transport::{Attempts, Transport, fields},
};

/// A session is renewed when less than a tenth of its lifetime, or less than this, is left, so that it does not expire during
/// a call.
const MARGIN: Duration = Duration::from_secs(30);
/// The longest lifetime of a session: the platform's answer may contain any number, and a clock cannot represent all.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A session. Its expiry is on the monotonic clock, so that changes of the wall clock do not matter.
pub(crate) struct Live {
    /// The value of the header `Authorization`.
    pub(crate) authorization: Secret,
    /// The expiry of the access token, if it is near.
    expiry: Option<Expiry>,
    /// `None`: it cannot be renewed.
    renew_at: Option<Instant>,
}

impl Live {
    fn new(token: &Secret, expires_in: Option<u64>, asked_at: Instant, expiry: Option<Expiry>) -> Self {
        let renew_at = expires_in.map(|seconds| {
            let life = Duration::from_secs(seconds).min(LONGEST_LIFE);
            asked_at + life.saturating_sub(MARGIN.min(life / 10))
        });
        Self { authorization: Secret::from_pasted(&format!("Bearer {}", token.expose())), expiry, renew_at }
    }
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
    credential: Credential,
    current: Mutex<Current>,
}

impl Sessions {
    /// `None`: the configuration has no credential. `platform` is the transport to the platform.
    pub(crate) fn of(config: &Config, platform: &Arc<Transport>) -> Result<Option<Self>, Error> {
        let Some(credential) = config.credential.clone() else { return Ok(None) };
        let transport = match &credential {
            Credential::ServiceUser { issuer: Some(issuer), .. } => Arc::new(Transport::new(&config.at(issuer))?),
            _ => Arc::clone(platform),
        };
        Ok(Some(Self { transport, credential, current: Mutex::default() }))
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

    /// The session after one that the server does not know, as `error` says. A newer one than that is kept.
    pub(crate) async fn replace(&self, dead: &Arc<Live>, error: Error, deadline: Deadline) -> Result<Arc<Live>, Error> {
        if matches!(self.credential, Credential::Session(_)) {
            return Err(error.with_hint(
                "the platform does not know ciam_access_token, or it has expired: get a new one; \
                 with client_id and client_secret instead, the client gets and renews it by itself",
            ));
        }
        {
            let mut current = self.lock();
            if matches!(&*current, Current::There(live) if Arc::ptr_eq(live, dead)) {
                *current = Current::Nothing;
            }
        }
        self.get(deadline).await
    }

    /// The current session, or the exchange that creates one.
    fn current_or_start(&self, deadline: Deadline) -> Result<Result<Arc<Live>, Exchange>, Error> {
        match &self.credential {
            Credential::AccessToken(token) => check_shape("refresh_token", token)?,
            Credential::ServiceUser { user, .. } => check_shape("password or client_secret", &user.secret)?,
            Credential::Session(_) => {}
        }
        let mut current = self.lock();
        match &*current {
            Current::There(live) if live.renew_at.is_none_or(|at| Instant::now() < at) => {
                return Ok(Ok(Arc::clone(live)));
            }
            Current::Coming(coming) => {
                let coming = coming.upgrade().filter(|exchange| !matches!(exchange.peek(), Some(Err(_))));
                if let Some(exchange) = coming {
                    return Ok(Err(exchange));
                }
            }
            Current::There(_) | Current::Nothing => {}
        }
        let exchange = exchange(Arc::clone(&self.transport), self.credential.clone(), deadline).boxed().shared();
        *current = exchange.downgrade().map_or(Current::Nothing, Current::Coming);
        Ok(Err(exchange))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // No operation under the lock leaves an inconsistent state.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(transport: Arc<Transport>, credential: Credential, deadline: Deadline) -> Result<Arc<Live>, Error> {
    let asked_at = Instant::now();
    let live = match credential {
        Credential::AccessToken(refresh_token) => {
            let request = fields(&CreateSessionRequest { refresh_token })?;
            let mut attempts = Attempts::of(&CreateSession::ROUTE)?;
            let raw = transport.call(&CreateSession::ROUTE, request, None, &mut attempts, deadline).await?;
            let session: Session = transport.parse(&raw)?;
            let expiry = session.token.zip(session.now).and_then(|(token, now)| expiry::near(&token, now));
            Live::new(&session.session_token, Some(session.expires_in), asked_at, expiry)
        }
        Credential::ServiceUser { user, .. } => {
            let request = fields(&user.request())?;
            let mut attempts = Attempts::of(&CreateOauthToken::ROUTE)?;
            let raw =
                transport.call(&CreateOauthToken::ROUTE, request, Some(&user.basic()), &mut attempts, deadline).await;
            let token: OauthToken = transport.parse(&raw.map_err(|error| user.explain(error))?)?;
            Live::new(&token.access_token, token.expires_in, asked_at, None)
        }
        Credential::Session(token) => Live::new(&token, None, asked_at, None),
    };
    Ok(Arc::new(live))
}

/// Refuses a mistyped token or one of another kind before it is sent. Other formats are passed on unchanged.
fn check_shape(name: &str, refresh_token: &Secret) -> Result<(), Error> {
    let problem = match token::shape(refresh_token.expose()) {
        token::Shape::Whole(TokenKind::Access) | token::Shape::Opaque => return Ok(()),
        token::Shape::Damaged(kind) => damaged(kind),
        token::Shape::Whole(TokenKind::Registration) => {
            "this is a registration token: redeem it with create_refresh_token(), and use the access token that it returns".to_owned()
        }
        token::Shape::Whole(TokenKind::Session) => "this is a session token, which only the library uses: give the access token (it begins with 'mlpr_')".to_owned(),
    };
    Err(Error::argument(name, problem))
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
