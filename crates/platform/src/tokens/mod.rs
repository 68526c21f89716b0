//! Access tokens and registration tokens: one file per method, over the tables `tokens`, `token_secrets` and
//! `register_tokens`.

pub mod access;
pub mod admin;
pub mod create;
pub mod issuer;
pub(crate) mod queries;
pub mod redeem;
pub mod registration;
pub mod rotate;
pub(crate) mod row;
pub mod search;
