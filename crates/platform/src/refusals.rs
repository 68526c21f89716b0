//! Aggregation of refusals in the audit: the first of a kind is a row at once, the rest of a time window are one row with
//! a count.
//!
//! Refusals of callers who have not signed in would fill the disk, one audit row each. So the first of a kind (address,
//! action, reason) is a row at once; those that follow are counted, and their number becomes one row when the window is
//! over, or when the server stops. What a crash can lose is the count of one window, never that there was something.
//!
//! Of a caller who has signed in each refusal is a row, up to [`ROWS`] in a window of one token, whatever they are. Those
//! that follow are counted, too, by token, action and reason: no program that asks in a loop fills the disk.
//!
//! The number of kinds is bounded: when very many addresses take part, those that come late share one row.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    audit::{Event, Outcome},
    limits::Limits,
    network::Network,
    request::RequestContext,
};

/// Tokens whose rows are counted; beyond that, those whose window is over are forgotten.
const MOST_TOKENS: usize = 10_000;
/// Kinds of refusals with a row of their own: with one row a minute each, 150 MB a day if a whole botnet persists. As
/// many again for those who hold what is, or was, somebody's secret: a crowd without one must not hide them. (Beyond that,
/// a row for each registration token that is tried again.)
const MOST_KINDS: usize = 256;
/// Refusals of one token in a minute that are a row each: more than anybody gets who reads them.
const ROWS: u32 = 30;
/// The address of a row that counts the refusals of many.
const MANY: &str = "many";

/// Counts of refusals; of this process alone: each writes its own.
#[derive(Debug)]
pub struct Refusals {
    window: Duration,
    kinds: Mutex<HashMap<Kind, Count>>,
    /// By token: since when, and how many rows since then.
    rows: Mutex<HashMap<String, (Instant, u32)>>,
}

/// Refusals that share a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    network: Network,
    /// Who had signed in.
    actor: Option<String>,
    action: &'static str,
    outcome: Outcome,
    subject: Option<String>,
    reason: String,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    more: u64,
    /// Of the latest of them.
    latest: Timestamp,
    address: String,
    request_id: String,
}

/// Refusals that were counted, to be written as one row.
#[derive(Debug)]
pub(crate) struct Counted {
    kind: Kind,
    pub(crate) more: u64,
    pub(crate) latest: Timestamp,
    pub(crate) address: String,
    pub(crate) request_id: String,
}

impl Counted {
    pub(crate) fn event(&self) -> Event<'_> {
        Event {
            action: self.kind.action,
            actor: self.kind.actor.as_deref(),
            subject: self.kind.subject.as_deref(),
            outcome: self.kind.outcome,
            detail: json!({"reason": self.kind.reason, "count": self.more}),
        }
    }
}

/// How a refusal enters the audit.
#[derive(Debug)]
pub(crate) enum Recording {
    /// The first of its kind: write its row; if that fails, [`forget`](Refusals::forget) it.
    First(Kind),
    /// One of the first of its token: write its row.
    Row,
    /// It was counted.
    Counted,
}

impl Refusals {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { window: limits.refusal_window, kinds: Mutex::default(), rows: Mutex::default() }
    }

    /// Whether the next refusal of a token is a row of its own, which then counts.
    fn has_own_row(&self, actor: &str) -> bool {
        let now = Instant::now();
        let is_over = |since: Instant| now.duration_since(since) >= self.window;
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= MOST_TOKENS {
            rows.retain(|_, (since, _)| !is_over(*since));
        }
        let (since, count) = rows.entry(actor.to_owned()).or_insert((now, 0));
        if is_over(*since) {
            (*since, *count) = (now, 0);
        }
        let has = *count < ROWS;
        *count = count.saturating_add(u32::from(has));
        has
    }

    /// Decides how a refusal enters the audit, and counts it.
    pub(crate) fn record(&self, context: &RequestContext, event: &Event<'_>, now: Timestamp) -> Recording {
        let reason = event.detail.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        if event.actor.is_some_and(|actor| self.has_own_row(actor)) {
            return Recording::Row;
        }
        let signed_in = event.actor.is_some();
        let mut kind = Kind {
            // Of one token, wherever it asks from and whatever it asks for.
            network: if signed_in { Network::Other } else { context.network() },
            actor: event.actor.map(str::to_owned),
            action: event.action,
            outcome: event.outcome,
            subject: event.subject.filter(|_| !signed_in).map(str::to_owned),
            reason,
        };
        let mut address = context.address();
        let mut kinds = self.kinds();
        let class = |kind: &Kind| (kind.subject.is_some(), kind.actor.is_some());
        let alike = |other: &&Kind| class(other) == class(&kind);
        if kinds.len() >= MOST_KINDS && !kinds.contains_key(&kind) && kinds.keys().filter(alike).count() >= MOST_KINDS {
            // Except whose token was tried again: the issuer is shown that, and a crowd must not hide it.
            let subject = kind.subject.filter(|_| kind.outcome == Outcome::Replay);
            kind = Kind { network: Network::Other, actor: None, subject, ..kind };
            address = MANY;
        }
        if let Some(count) = kinds.get_mut(&kind) {
            count.more = count.more.saturating_add(1);
            count.latest = now;
            address.clone_into(&mut count.address);
            context.request_id().clone_into(&mut count.request_id);
            return Recording::Counted;
        }
        let (address, request_id) = (address.to_owned(), context.request_id().to_owned());
        let more = u64::from(signed_in);
        kinds.insert(kind.clone(), Count { since: Instant::now(), more, latest: now, address, request_id });
        if signed_in { Recording::Counted } else { Recording::First(kind) }
    }

    /// The row of the first one was not written: the next of its kind is the first, unless some were counted meanwhile.
    pub(crate) fn forget(&self, kind: &Kind) {
        let mut kinds = self.kinds();
        if kinds.get(kind).is_some_and(|count| count.more == 0) {
            kinds.remove(kind);
        }
    }

    /// How often [`due`](Self::due) may have something to write.
    pub fn flush_interval(&self) -> Duration {
        (self.window / 4).max(Duration::from_millis(10))
    }

    /// The counts of windows that are over, or of all; what had none since its row is forgotten.
    pub(crate) fn due(&self, all: bool) -> Vec<Counted> {
        let now = Instant::now();
        let mut counted = Vec::new();
        self.kinds().retain(|kind, count| {
            if !all && now.duration_since(count.since) < self.window {
                return true;
            }
            if count.more > 0 {
                let (kind, more, latest) = (kind.clone(), count.more, count.latest);
                let (address, request_id) = (count.address.clone(), count.request_id.clone());
                counted.push(Counted { kind, more, latest, address, request_id });
            }
            count.more > 0
        });
        counted
    }

    /// Those are rows now, and a new window begins for each; until then they are counted still.
    pub(crate) fn flushed(&self, counted: &[Counted]) {
        let mut kinds = self.kinds();
        for one in counted {
            if let Some(count) = kinds.get_mut(&one.kind) {
                count.more = count.more.saturating_sub(one.more);
                count.since = Instant::now();
            }
        }
    }

    /// How often, and when last, registration tokens were tried again since that was last written; by their ids.
    pub(crate) fn replays(&self) -> HashMap<String, (u64, Timestamp)> {
        let mut replays = HashMap::new();
        for (kind, counted) in
            self.kinds().iter().filter(|(kind, counted)| kind.outcome == Outcome::Replay && counted.more > 0)
        {
            if let Some(id) = &kind.subject {
                let (count, latest) = replays.entry(id.clone()).or_insert((0_u64, counted.latest));
                *count = count.saturating_add(counted.more);
                *latest = counted.latest.max(*latest);
            }
        }
        replays
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Count>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn refusals() -> Refusals {
        Refusals::new(&Limits::default())
    }

    fn refusal(reason: &str) -> Event<'_> {
        let detail = json!({"reason": reason});
        Event { action: "create_session", actor: None, subject: None, outcome: Outcome::Refused, detail }
    }

    fn record(refusals: &Refusals, context: &RequestContext, reason: &str) -> Recording {
        refusals.record(context, &refusal(reason), Timestamp::UNIX_EPOCH)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_a_row_and_the_rest_a_number() {
        let refusals = refusals();
        let context = RequestContext::new("192.0.2.1".to_owned());
        assert!(matches!(record(&refusals, &context, "unknown"), Recording::First(_)));
        for _ in 0..5 {
            assert!(matches!(record(&refusals, &context, "unknown"), Recording::Counted));
        }
        assert!(matches!(record(&refusals, &context, "deleted"), Recording::First(_)));
        assert!(refusals.due(false).is_empty(), "the minute is not over");
        tokio::time::advance(Duration::from_secs(60)).await;
        let counted = refusals.due(false);
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].event().detail, json!({"reason": "unknown", "count": 5}));
        // While they are written, another comes.
        assert!(matches!(record(&refusals, &context, "unknown"), Recording::Counted));
        refusals.flushed(&counted);
        assert!(refusals.due(false).is_empty(), "its minute has just begun");
        let counted = refusals.due(true);
        assert_eq!(counted[0].event().detail["count"], 1);
        assert_eq!(refusals.due(true)[0].event().detail["count"], 1, "not written: it waits");
        refusals.flushed(&counted);
        assert!(refusals.due(true).is_empty());
        let Recording::First(kind) = record(&refusals, &context, "unknown") else {
            panic!("not forgotten when it is quiet")
        };
        refusals.forget(&kind);
        assert!(matches!(record(&refusals, &context, "unknown"), Recording::First(_)), "its row could not be written");
        assert!(matches!(record(&refusals, &context, "unknown"), Recording::Counted));
        refusals.forget(&kind);
        assert_eq!(refusals.due(true)[0].more, 1, "that one was told that it was refused");
    }

    #[tokio::test(start_paused = true)]
    async fn of_who_has_signed_in_the_first_are_rows_and_the_rest_a_number() {
        let refusals = refusals();
        let note = |actor: &str, n: u32| {
            let context = RequestContext::new(Ipv4Addr::from_bits(n).to_string());
            let (subject, reason) = (format!("cluster-{n}"), ["role", "unknown job"][n as usize % 2]);
            let event = Event { actor: Some(actor), subject: Some(&subject), ..refusal(reason) };
            matches!(refusals.record(&context, &event, Timestamp::UNIX_EPOCH), Recording::Row)
        };
        assert_eq!((0..1_000).filter(|n| note("anna", *n)).count(), 30);
        assert!(note("otto", 1), "another's are rows");
        tokio::time::advance(Duration::from_secs(60)).await;
        let mut counted = refusals.due(false);
        counted.sort_by_key(|one| one.event().detail["reason"].to_string());
        let shown: Vec<_> =
            counted.iter().map(|one| (one.event().actor.map(str::to_owned), one.event().detail)).collect();
        let row = |reason: &str| (Some("anna".to_owned()), json!({"reason": reason, "count": 485}));
        assert_eq!(shown, [row("role"), row("unknown job")]);
        refusals.flushed(&counted);
        assert_eq!((0..1_000).filter(|n| note("anna", *n)).count(), 30, "the next minute");
        for n in 0..20_000 {
            note(&n.to_string(), 1);
            if n % 9_000 == 0 {
                tokio::time::advance(Duration::from_secs(61)).await;
            }
        }
        assert!(refusals.rows.lock().unwrap().len() <= MOST_TOKENS + 9_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_botnet_has_a_bounded_number_of_rows() {
        let refusals = refusals();
        let firsts = (0..5_000_u32).filter(|n| {
            let context = RequestContext::new(Ipv4Addr::from_bits(*n).to_string());
            matches!(record(&refusals, &context, "unknown"), Recording::First(_))
        });
        assert_eq!(firsts.count(), MOST_KINDS + 1);
        let counted = refusals.due(true);
        assert_eq!((counted.len(), counted[0].address.as_str(), counted[0].more), (1, MANY, 5_000 - 257));
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_real_secret_is_not_lost_in_a_botnet() {
        let refusals = refusals();
        for n in 0..5_000_u32 {
            record(&refusals, &RequestContext::new(Ipv4Addr::from_bits(n).to_string()), "unknown");
        }
        for n in 0..5_000_u32 {
            let ended = Event { subject: Some("tok_0"), ..refusal("deleted") };
            refusals.record(&RequestContext::new(Ipv4Addr::from_bits(n).to_string()), &ended, Timestamp::UNIX_EPOCH);
        }
        assert!(refusals.kinds().len() <= 2 * (MOST_KINDS + 1));
        let (context, at) =
            (RequestContext::new("192.0.2.1".to_owned()), |second| Timestamp::from_second(second).unwrap());
        let replay = || Event { subject: Some("tok_1"), outcome: Outcome::Replay, ..refusal("already redeemed") };
        assert!(matches!(refusals.record(&context, &replay(), at(1)), Recording::First(_)));
        for n in 2..5 {
            assert!(matches!(refusals.record(&context, &replay(), at(n)), Recording::Counted));
        }
        assert_eq!(refusals.replays(), HashMap::from([("tok_1".to_owned(), (3, at(4)))]));
    }
}
