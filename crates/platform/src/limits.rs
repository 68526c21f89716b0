//! Limits: sizes, numbers and times that an operator or a test may set otherwise.

use std::time::Duration;

use crate::policy::Policy;

const MIB: usize = 1024 * 1024;

/// Numbers that a test or an operator may want otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a session lives, unless its token ends sooner.
    pub session: Duration,
    /// How long a session of the console lives at most …
    pub console_session: Duration,
    /// … and how long without a request.
    pub console_idle: Duration,
    /// For how long a session of the console may change something after its token's value was presented in it.
    pub console_confirmed: Duration,
    /// How long a code of `mlplatform-server open` is good.
    pub sign_in_code: Duration,
    /// Requests that are worked on at once, of one address half of them; more are told to come again.
    pub requests: usize,
    /// How long a connection may take over the head of a request, or be idle.
    pub head: Duration,
    /// How long the body of a request may take.
    pub body: Duration,
    /// Bytes of request bodies that are held at once, of one address half of them; more are told to come again. For the
    /// bodies that every route takes …
    pub small_bodies: usize,
    /// … and for those that only routes which upload something take.
    pub large_bodies: usize,
    /// Bytes of answers that were made and not taken yet, of one address half of them; whoever asks for more is told to
    /// take those first.
    pub answers: usize,
    /// How long a connection may take next to nothing of an answer that waits for it, before it is closed.
    pub stall: Duration,
    /// How long the server goes on answering after it was told to stop, while `/readyz` says so: until a balancer has seen
    /// that, it sends requests.
    pub drain_delay: Duration,
    /// How long requests in flight may take when the server stops.
    pub drain: Duration,
    /// What tokens may be made.
    pub policy: Policy,
    /// Secrets that are not good which one address (of IPv6: one /64) may present at once …
    pub refusals: u32,
    /// … and how long until it may present another.
    pub refusals_every: Duration,
    /// How late those are answered who came with too many requests or too many secrets that are not good: who waits for
    /// his answer and then asks again at once, whatever `Retry-After` says, costs the others less.
    pub refusal_delay: Duration,
    /// For how long refusals of one kind are counted before their number becomes an audit row.
    pub refusal_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(600),
            // A working day; half an hour away from the desk.
            console_session: Duration::from_secs(12 * 3_600),
            console_idle: Duration::from_secs(1_800),
            // Long enough to make a few tokens in a row, short enough that whoever goes for a coffee leaves no more than a
            // session that reads.
            console_confirmed: Duration::from_secs(300),
            sign_in_code: Duration::from_secs(300),
            // Every one of them waits for a core or for the writer: at a millisecond each, the last is served in a second.
            requests: 1024,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            small_bodies: 64 * MIB,
            // Of one address three programs of the largest size.
            large_bodies: 96 * MIB,
            answers: 128 * MIB,
            // Some hundred bytes a second are a slow client; what it holds meanwhile is bounded anyway.
            stall: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
            policy: Policy::default(),
            // A classroom behind one address mistypes less; a machine that tries costs us five reads a second.
            refusals: 500,
            refusals_every: Duration::from_millis(200),
            // Of ten times what can be served, each asking again at once: those who are refused must not take the processor
            // from those who are served. At three seconds these are ten times as many as at one.
            refusal_delay: Duration::from_secs(3),
            refusal_window: Duration::from_secs(60),
        }
    }
}
