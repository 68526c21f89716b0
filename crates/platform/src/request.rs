//! The context of one request: its id, where it comes from, who makes it.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{audit::AuditOrigin, network::Network};

/// One request, as the log and the audit know it.
#[derive(Debug)]
pub struct RequestContext {
    request_id: String,
    address: String,
    network: Network,
    caller: OnceLock<String>,
    delayed: AtomicBool,
}

impl RequestContext {
    /// From an address.
    #[must_use]
    pub fn new(address: String) -> Self {
        let network = Network::of(&address);
        Self { request_id: request_id(), address, network, caller: OnceLock::new(), delayed: AtomicBool::new(false) }
    }

    /// From a command on the machine.
    #[must_use]
    pub fn local() -> Self {
        Self::new("local".to_owned())
    }

    /// Made by us, never taken from the request: two requests never share one.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn origin(&self) -> AuditOrigin<'_> {
        AuditOrigin { address: &self.address, request_id: &self.request_id }
    }

    /// Where it came from.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whom limits by address count it to.
    pub(crate) fn network(&self) -> Network {
        self.network
    }

    /// Its answer is held back for a while, when all work is done and nobody waits for it.
    pub(crate) fn delay_response(&self) {
        self.delayed.store(true, Ordering::Relaxed);
    }

    /// Whether its answer is held back.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        self.delayed.load(Ordering::Relaxed)
    }

    /// The token that the request was made with, once it is known.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(String::as_str)
    }

    pub(crate) fn identify(&self, token_id: &str) {
        let _ = self.caller.set(token_id.to_owned());
    }
}

fn request_id() -> String {
    let mut bytes = [0_u8; 10];
    // An id that repeats because the system has no random bytes is the least of that system's troubles.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().fold("req_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}
