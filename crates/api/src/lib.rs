//! The HTTP API of the platform: from a request to a method of `mlplatform-platform`, and back.
//!
//! ```text
//! router, endpoint, handlers   the routes of the contract and what answers them
//! layers                       what holds for all requests: context, log line, headers, panics
//! credential, header, input    what is read of a request; json, merged, query: its fields
//! oauth, basic                 the token endpoint for client credentials
//! outgoing, connection         answers on their way out, and connections that do not take them
//! refusal                      errors as responses
//! proxies                      whose X-Forwarded-For is believed
//! ```

mod basic;
pub mod connection;
pub mod context;
mod credential;
mod endpoint;
#[cfg(test)]
mod fuzz;
mod handlers;
mod header;
pub mod input;
pub mod job_handlers;
mod json;
pub mod layers;
mod merged;
mod oauth;
pub mod outgoing;
pub mod proxies;
mod query;
pub mod refusal;
pub mod router;
