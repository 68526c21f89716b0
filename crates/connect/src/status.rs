//! gRPC's status codes, as responses and trailers.

use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What gRPC's messages are.
pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What `grpc-message` may not hold as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
/// Bytes of a message: a client's headers have a limit, and a text is for people.
const LONGEST_MESSAGE: usize = 2000;

/// The codes that the gateway gives itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// What was sent is none of the protocol's messages.
    InvalidArgument = 3,
    /// The cluster or session is not there.
    NotFound = 5,
    /// The caller may not.
    PermissionDenied = 7,
    /// Too much of something.
    ResourceExhausted = 8,
    /// It cannot work here until somebody changes something.
    FailedPrecondition = 9,
    /// A method or an encoding that is not known.
    Unimplemented = 12,
    /// A failure of the platform.
    Internal = 13,
    /// The server is not there; a later try may find it.
    Unavailable = 14,
    /// No token, or one that is not good.
    Unauthenticated = 16,
}

/// How a call ended, where the gateway ends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The code.
    pub code: Code,
    /// For people: what happened, and what to do.
    pub message: String,
}

impl Status {
    /// With a text for people.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// As headers of a response without messages, or as the trailers of one.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let mut text = self.message.as_str();
        while text.len() > LONGEST_MESSAGE {
            text = text.char_indices().next_back().map_or("", |(at, _)| text.get(..at).unwrap_or_default());
        }
        let text = utf8_percent_encode(text, ESCAPED).to_string();
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code as u16));
        trailers.insert(GRPC_MESSAGE, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")));
        trailers
    }

    /// A whole response.
    pub(crate) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.headers_mut() = self.trailers();
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_fits_a_header() {
        let long = "ü".repeat(10_000);
        for text in ["plain", "100 %\r\nset-cookie: x", "ключ", long.as_str(), ""] {
            let trailers = Status::new(Code::Unauthenticated, text).trailers();
            assert_eq!(trailers[GRPC_STATUS], "16");
            let sent = trailers[GRPC_MESSAGE].to_str().unwrap();
            assert!(sent.len() <= 3 * LONGEST_MESSAGE && !sent.contains(['\r', '\n']));
            let read = percent_encoding::percent_decode_str(sent).decode_utf8().unwrap();
            assert!(text.starts_with(&*read) && (text == read || read.len() > LONGEST_MESSAGE - 2), "{read}");
        }
    }
}
