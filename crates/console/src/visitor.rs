//! Request extractors: who asks for a page, and what was sent in its form.
//!
//! A page takes a [`Visitor`] or an [`Administrator`] as its argument, so that it cannot forget to ask; a form takes a
//! [`Form`], which is only had with the token of the session that the page was made for. (`SameSite` and the check of
//! `Origin` forbid the same; a cookie that slips through a hole in one of them still does nothing.)

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, Method, header, request::Parts};
use mlplatform_api::{context::context, refusal::refusal};
use mlplatform_platform::{
    app::App,
    caller::Caller,
    error::Error,
    request::RequestContext,
    secret::digest,
    sessions::{exchange, sign_in},
};
use mlplatform_protocol::{Access, ErrorCode, Secret};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{guard::Origin, links, prompt::ConfirmationPrompt, site::Site, state::Console};

/// Why there is no page: a refusal, or another page to go to.
pub(crate) enum Failure {
    Refused(Error),
    Elsewhere(String),
}

pub(crate) type Answer = Result<Response, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(error) => refusal(error),
            Self::Elsewhere(path) => Redirect::to(&path).into_response(),
        }
    }
}

/// Whoever asks, signed in or not.
pub(crate) struct Anonymous {
    pub(crate) app: App,
    pub(crate) site: Arc<Site>,
    pub(crate) context: Arc<RequestContext>,
    pub(crate) session: Option<Secret>,
}

impl FromRequestParts<Console> for Anonymous {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Failure> {
        let context = context(&parts.extensions)?;
        let session = cookie(&console.site, &parts.headers);
        Ok(Self { app: console.app.clone(), site: Arc::clone(&console.site), context, session })
    }
}

/// Somebody who is signed in.
pub(crate) struct Visitor {
    pub(crate) app: App,
    pub(crate) context: Arc<RequestContext>,
    pub(crate) caller: Caller,
    /// What a form asks before it changes anything.
    pub(crate) prompt: ConfirmationPrompt,
    /// Stands in every form.
    pub(crate) form_token: String,
    /// Scheme and host that the platform is reached at.
    pub(crate) origin: String,
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Failure> {
        let Anonymous { app, context, session, .. } = Anonymous::from_request_parts(parts, console).await?;
        let origin = parts.extensions.get::<Origin>().ok_or(Error::Fault("a page was asked for around its guard"))?;
        let origin = origin.0.clone();
        let caller = match &session {
            Some(session) => sign_in::signed_in(&app, &context, session).await?,
            None => None,
        };
        let (Some((caller, confirmed)), Some(session)) = (caller, session) else {
            // Of a form, the page that it stands on: what was typed is lost, and the next page says so.
            let ended = if parts.method == Method::GET { "" } else { "&lost" };
            let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let next = links::escape_query(if ended.is_empty() { next } else { parts.uri.path() });
            return Err(Failure::Elsewhere(format!("/sign-in?next={next}{ended}")));
        };
        let prompt = ConfirmationPrompt::new(confirmed);
        Ok(Self { app, context, caller, prompt, form_token: form_token(&session), origin })
    }
}

/// Somebody who is signed in with the role Administrator.
pub(crate) struct Administrator(pub(crate) Visitor);

impl FromRequestParts<Console> for Administrator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Failure> {
        let visitor = Visitor::from_request_parts(parts, console).await?;
        let Visitor { app, context, caller, .. } = &visitor;
        let action = if parts.method == Method::GET { "open_page" } else { "send_form" };
        exchange::require(app, context, caller, Access::Administrator, action).await?;
        Ok(Self(visitor))
    }
}

/// What was sent in the form of somebody who is signed in.
pub(crate) struct Form<T>(pub(crate) T);

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    form_token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<Console> for Form<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Failure> {
        let expected = cookie(&console.site, request.headers()).map(|session| form_token(&session));
        let OpenForm(WithToken { form_token, fields }) = OpenForm::from_request(request, console).await?;
        // Digests, so that how long a comparison takes tells nothing of the secret.
        if expected.is_some_and(|expected| digest(&expected) == digest(&form_token)) {
            return Ok(Self(fields));
        }
        let text =
            "this form was made for another session, or damaged on its way: nothing was done; open the page again";
        Err(Error::refused(ErrorCode::Forbidden, text).into())
    }
}

/// What was sent in a form that anybody may send.
pub(crate) struct OpenForm<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Console> for OpenForm<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Console) -> Result<Self, Failure> {
        // Of a body that was read before, by [`guard::admit`](super::guard::admit).
        let read = axum::Form::<T>::from_request(request, &()).await;
        read.map(|form| Self(form.0)).map_err(|rejection| {
            let code = match rejection.status().as_u16() {
                415 => ErrorCode::UnsupportedMediaType,
                _ => ErrorCode::BadRequest,
            };
            Error::refused(code, format!("the form cannot be read: {}", rejection.body_text())).into()
        })
    }
}

/// Follows from the session's secret, so it need not be kept; tells nothing of it.
fn form_token(session: &Secret) -> String {
    let digest = digest(&format!("mlplatform console form {}", session.expose()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn cookie_name(site: &Site) -> String {
    if site.is_secure() { "__Host-mlplatform".to_owned() } else { format!("mlplatform-{}", site.port()) }
}

/// The session's secret, if the cookie came once.
fn cookie(site: &Site, headers: &HeaderMap) -> Option<Secret> {
    let name = cookie_name(site);
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    let value = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then(|| Secret::from_pasted(value))
}

/// The cookie that holds a session for as long as the browser is open; `None` removes it. Every other limit is the
/// server's to hold.
pub(crate) fn set_cookie(site: &Site, session: Option<&Secret>) -> String {
    let secure = if site.is_secure() { "; Secure" } else { "" };
    let age = if session.is_none() { "; Max-Age=0" } else { "" };
    let value = session.map_or("", Secret::expose);
    format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}", cookie_name(site))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn cookies() {
        let site = Site::new("127.0.0.1:80".parse().unwrap(), false, None);
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(text))]);
            cookie(&site, &headers).map(|secret| secret.expose().to_owned())
        };
        assert_eq!(read("a=b; mlplatform-80=x"), Some("x".to_owned()));
        assert_eq!(read("mlplatform-80=x; mlplatform-80=y"), None);
        assert_eq!(read("mlplatform-80="), None);
        assert_eq!(read("mlplatform-8=x"), None);
        let secret = Secret::from_pasted("s");
        assert_eq!(set_cookie(&site, Some(&secret)), "mlplatform-80=s; Path=/; HttpOnly; SameSite=Strict");
        let tls = Site::new("127.0.0.1:80".parse().unwrap(), true, None);
        assert_eq!(set_cookie(&tls, None), "__Host-mlplatform=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0");
    }
}
