//! Re-authentication before a change: whoever changes something with a browser gives the value of its token once more,
//! unless that was just done.
//!
//! A session that is found in a browser left open, or whose cookie was stolen, reads; it must not become a token that
//! lasts, nor end anybody else's. So forms that make, rotate, delete or withdraw a token, and the one that signs out
//! other browsers, are taken as a [`Sensitive`], which gives out its fields only once the session is confirmed: the
//! value came with the form, or in one a few minutes before. When that was is in the store, beside the session.

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use mlplatform_platform::{
    error::Error,
    sessions::sign_in::{self, Confirmation},
};
use mlplatform_protocol::{ErrorCode, Secret};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    fields::field_problem,
    layout,
    prompt::ConfirmationPrompt,
    sign_in::unlike_access_token,
    state::Console,
    texts::{T, fill, plural},
    visitor::{Failure, Form, Visitor},
};

/// The field for the value, where one is asked for.
pub(crate) fn field(visitor: &Visitor) -> Markup {
    let ConfirmationPrompt { confirmed, problem } = visitor.prompt;
    if !visitor.prompt.is_due() {
        return html! {};
    }
    let minutes = visitor.app.limits().console_confirmed.as_secs().div_ceil(60);
    let lasts = plural(T.minute_one, T.minutes_many, i64::try_from(minutes).unwrap_or(i64::MAX));
    html! {
        // What password managers file the token under.
        input type="text" name="username" value=(T.product) autocomplete="username" hidden;
        div.field {
            label for="token" { (T.present_value) }
            p.hint #token-hint {
                (fill(T.present_value_hint, "{time}", &lasts))
                @if confirmed == Confirmation::Never { " " (layout::with_code(T.present_value_where)) }
            }
            (field_problem("token", problem))
            input #token type="password" name="token" autocomplete="current-password" spellcheck="false"
                autocapitalize="none" required autofocus[problem.is_some()] aria-invalid=[problem.map(|_| "true")]
                aria-describedby=(if problem.is_some() { "token-problem token-hint" } else { "token-hint" });
        }
    }
}

/// A form that changes something. Its fields are had from [`Sensitive::confirmed`] alone.
pub(crate) struct Sensitive<T> {
    fields: T,
    value: Secret,
}

#[derive(Deserialize)]
struct WithValue<T> {
    #[serde(default)]
    token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<Console> for Sensitive<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Failure> {
        let Form(WithValue { token, fields }) = Form::from_request(request, console).await?;
        Ok(Self { fields, value: Secret::from_pasted(&token) })
    }
}

/// The form has to be shown once more, with the question in it.
pub(crate) struct Unconfirmed<T> {
    /// What was typed, without the value.
    pub(crate) fields: T,
    status: StatusCode,
    retry_after: Option<u64>,
}

impl<T> Unconfirmed<T> {
    /// That page, as the answer.
    pub(crate) fn on(self, page: Response) -> Response {
        let mut response = (self.status, page).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl<T> Sensitive<T> {
    /// What was sent, once the session is confirmed. `what_for`: as the audit calls what is done.
    pub(crate) async fn confirmed(
        self,
        visitor: &mut Visitor,
        what_for: &'static str,
    ) -> Result<Result<T, Unconfirmed<T>>, Failure> {
        let Self { fields, value } = self;
        if !visitor.prompt.is_due() {
            return Ok(Ok(fields));
        }
        let mut unconfirmed = Unconfirmed { fields, status: StatusCode::FORBIDDEN, retry_after: None };
        let problem = if value.expose().is_empty() {
            // No attempt: a page from a few minutes before had no such field.
            T.present_value_missing
        } else if let Some(text) = unlike_access_token(&value) {
            text
        } else {
            match sign_in::confirm(&visitor.app, &visitor.context, &visitor.caller, &value, what_for).await {
                Ok(()) => {
                    visitor.prompt = ConfirmationPrompt::new(Confirmation::Recent);
                    return Ok(Ok(unconfirmed.fields));
                }
                Err(Error::Refused { code: ErrorCode::Forbidden, .. }) => T.present_value_wrong,
                Err(Error::TooMany { retry_after }) => {
                    unconfirmed.status = StatusCode::TOO_MANY_REQUESTS;
                    unconfirmed.retry_after = Some(retry_after);
                    T.error_too_many_text
                }
                Err(error) => return Err(error.into()),
            }
        };
        visitor.prompt.problem = Some(problem);
        Ok(Err(unconfirmed))
    }
}
