//! Sessions: short-lived credentials of the API (exchange) and of browsers (sign-in).

pub mod exchange;
pub mod sign_in;
