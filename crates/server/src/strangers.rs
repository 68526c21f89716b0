//! Callers whose secret is not good: how many of them one address may be; and how refusals stand in the audit.
//!
//! **A limit by address** ([`Strangers::charge`]). A secret cannot be guessed (190 bits), so this protects the platform's
//! work, not its tokens. Only secrets that are unknown or have ended count, and only they are answered late; a living
//! one is never slowed, whoever shares the address.
//!
//! **A tally** ([`Strangers::tally`]). Refusals of callers who have not signed in would fill the disk, one audit row
//! each. So the first of a kind (address, action, reason) is a row at once; those that follow are counted, and their
//! number becomes one row when the minute is over, or when the server stops. What a crash can lose is the count of one
//! minute, never that there was something.
//!
//! Who has signed in is no stranger, and each of his refusals is a row, up to [`ROWS`] in a minute of one token, whatever
//! they are. Those that follow are counted, too, by token, action and reason: no program that asks in a loop fills the disk.
//!
//! Both are bounded: when very many addresses take part, those that come late share one bucket, and one row.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Limits,
    app::RequestContext,
    audit::{Event, Outcome},
};

/// Addresses with a bucket of their own: half a megabyte.
const MOST_BUCKETS: usize = 10_000;
/// Buckets that are full again are forgotten at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Kinds of refusals with a row of their own: with one row a minute each, 150 MB a day if a whole botnet persists. As
/// many again for those who hold what is, or was, somebody's secret: a crowd without one must not hide them. (Beyond that,
/// a row for each registration token that is tried again.)
const MOST_KINDS: usize = 256;
/// Refusals of one token in a minute that are a row each: more than anybody gets who reads them.
const ROWS: u32 = 30;
/// The address of a row that counts the refusals of many.
const MANY: &str = "many";

/// Whom a limit is for: an IPv4 address, or the /64 that an IPv6 user has for himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// No address, or one of too many.
    Other,
}

impl Network {
    pub(crate) fn of(address: &str) -> Self {
        address.parse().map_or(Self::Other, IpAddr::into)
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// What is known of them; of this process alone, as it is only about this process's work.
#[derive(Debug)]
pub(crate) struct Strangers {
    burst: Duration,
    every: Duration,
    window: Duration,
    buckets: Mutex<Buckets>,
    kinds: Mutex<HashMap<Kind, Tally>>,
    /// By token: since when, and how many rows since then.
    rows: Mutex<HashMap<String, (Instant, u32)>>,
}

#[derive(Debug)]
struct Buckets {
    /// When the bucket would be full again; one refusal moves it by `every`.
    full_at: HashMap<Network, Instant>,
    swept: Instant,
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
struct Tally {
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

/// What is to be done about a refusal.
#[derive(Debug)]
pub(crate) enum Noted {
    /// The first of its kind: write its row; if that fails, [`forget`](Strangers::forget) it.
    First(Kind),
    /// One of the first of its token: write its row.
    Row,
    /// It was counted.
    Counted,
}

impl Strangers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            burst: limits.refusals_every.saturating_mul(limits.refusals),
            every: limits.refusals_every,
            window: limits.tally,
            buckets: Mutex::new(Buckets { full_at: HashMap::new(), swept: Instant::now() }),
            kinds: Mutex::default(),
            rows: Mutex::default(),
        }
    }

    /// Charges that network for a secret that is not good; if it has nothing left, says when it has again.
    pub(crate) fn charge(&self, network: Network) -> Result<(), Duration> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= MOST_BUCKETS && now.duration_since(buckets.swept) >= SWEEP_EVERY {
            buckets.full_at.retain(|_, full_at| *full_at > now);
            buckets.swept = now;
        }
        let own = buckets.full_at.len() < MOST_BUCKETS || buckets.full_at.contains_key(&network);
        let full_at = buckets.full_at.entry(if own { network } else { Network::Other }).or_insert(now);
        let next = (*full_at).max(now) + self.every;
        let wait = next.saturating_duration_since(now + self.burst);
        if wait.is_zero() {
            *full_at = next;
            return Ok(());
        }
        Err(wait)
    }

    /// Whether the next refusal of a token is a row of its own, which then counts.
    fn has_a_row(&self, actor: &str) -> bool {
        let now = Instant::now();
        let is_over = |since: Instant| now.duration_since(since) >= self.window;
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= MOST_BUCKETS {
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

    /// Notes a refusal.
    pub(crate) fn tally(&self, context: &RequestContext, event: &Event<'_>, now: Timestamp) -> Noted {
        let reason = event.detail.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        if event.actor.is_some_and(|actor| self.has_a_row(actor)) {
            return Noted::Row;
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
        if let Some(tally) = kinds.get_mut(&kind) {
            tally.more = tally.more.saturating_add(1);
            tally.latest = now;
            address.clone_into(&mut tally.address);
            context.request_id().clone_into(&mut tally.request_id);
            return Noted::Counted;
        }
        let (address, request_id) = (address.to_owned(), context.request_id().to_owned());
        let more = u64::from(signed_in);
        kinds.insert(kind.clone(), Tally { since: Instant::now(), more, latest: now, address, request_id });
        if signed_in { Noted::Counted } else { Noted::First(kind) }
    }

    /// The row of the first one was not written: the next of its kind is the first, unless some were counted meanwhile.
    pub(crate) fn forget(&self, kind: &Kind) {
        let mut kinds = self.kinds();
        if kinds.get(kind).is_some_and(|tally| tally.more == 0) {
            kinds.remove(kind);
        }
    }

    /// How often [`counted`](Self::counted) has something to tell.
    pub(crate) fn pace(&self) -> Duration {
        (self.window / 4).max(Duration::from_millis(10))
    }

    /// The counts of windows that are over, or of all; what had none since its row is forgotten.
    pub(crate) fn counted(&self, all: bool) -> Vec<Counted> {
        let now = Instant::now();
        let mut counted = Vec::new();
        self.kinds().retain(|kind, tally| {
            if !all && now.duration_since(tally.since) < self.window {
                return true;
            }
            if tally.more > 0 {
                let (kind, more, latest) = (kind.clone(), tally.more, tally.latest);
                let (address, request_id) = (tally.address.clone(), tally.request_id.clone());
                counted.push(Counted { kind, more, latest, address, request_id });
            }
            tally.more > 0
        });
        counted
    }

    /// Those are rows now, and a new window begins for each; until then they are counted still.
    pub(crate) fn written(&self, counted: &[Counted]) {
        let mut kinds = self.kinds();
        for one in counted {
            if let Some(tally) = kinds.get_mut(&one.kind) {
                tally.more = tally.more.saturating_sub(one.more);
                tally.since = Instant::now();
            }
        }
    }

    /// How often, and when last, registration tokens were tried again since that was last written; by their ids.
    pub(crate) fn replays(&self) -> HashMap<String, (u64, Timestamp)> {
        let mut replays = HashMap::new();
        for (kind, tally) in
            self.kinds().iter().filter(|(kind, tally)| kind.outcome == Outcome::Replay && tally.more > 0)
        {
            if let Some(id) = &kind.subject {
                let (count, latest) = replays.entry(id.clone()).or_insert((0_u64, tally.latest));
                *count = count.saturating_add(tally.more);
                *latest = tally.latest.max(*latest);
            }
        }
        replays
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Tally>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers() -> Strangers {
        let limits = Limits { refusals: 3, refusals_every: Duration::from_secs(2), ..Limits::default() };
        Strangers::new(&limits)
    }

    fn refusal(reason: &str) -> Event<'_> {
        let detail = json!({"reason": reason});
        Event { action: "create_session", actor: None, subject: None, outcome: Outcome::Refused, detail }
    }

    fn tally(strangers: &Strangers, context: &RequestContext, reason: &str) -> Noted {
        strangers.tally(context, &refusal(reason), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_ipv6_user_is_his_64() {
        assert_eq!(Network::of("2001:db8:1:2::1"), Network::of("2001:db8:1:2:ffff::9"));
        assert_ne!(Network::of("2001:db8:1:2::1"), Network::of("2001:db8:1:3::1"));
        assert_eq!(Network::of("::ffff:192.0.2.1"), Network::of("192.0.2.1"));
        assert_ne!(Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        assert_eq!(Network::of("local"), Network::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills_again_as_it_says() {
        let strangers = strangers();
        let (one, other) = (Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        for _ in 0..3 {
            assert_eq!(strangers.charge(one), Ok(()));
        }
        let wait = strangers.charge(one).unwrap_err();
        assert_eq!((wait, strangers.charge(other)), (Duration::from_secs(2), Ok(())));
        tokio::time::advance(wait - Duration::from_millis(1)).await;
        assert_eq!(strangers.charge(one), Err(Duration::from_millis(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(strangers.charge(one), Ok(()));
        assert!(strangers.charge(one).is_err(), "to be refused costs nothing, and gains nothing");
        tokio::time::advance(Duration::from_secs(3600)).await;
        for _ in 0..3 {
            assert_eq!(strangers.charge(one), Ok(()));
        }
        assert!(strangers.charge(one).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn very_many_addresses_share_one_bucket_and_cost_no_more_memory() {
        let strangers = strangers();
        let network = |n: u32| Network::V4(Ipv4Addr::from_bits(n));
        let admitted = (0..50_000).filter(|n| strangers.charge(network(*n)).is_ok()).count();
        assert_eq!(admitted, MOST_BUCKETS + 3);
        assert_eq!(strangers.buckets.lock().unwrap().full_at.len(), MOST_BUCKETS + 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(strangers.charge(network(60_000)), Ok(()));
        assert_eq!(strangers.buckets.lock().unwrap().full_at.len(), 2, "the full ones were forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_a_row_and_the_rest_a_number() {
        let strangers = strangers();
        let context = RequestContext::new("192.0.2.1".to_owned());
        assert!(matches!(tally(&strangers, &context, "unknown"), Noted::First(_)));
        for _ in 0..5 {
            assert!(matches!(tally(&strangers, &context, "unknown"), Noted::Counted));
        }
        assert!(matches!(tally(&strangers, &context, "deleted"), Noted::First(_)));
        assert!(strangers.counted(false).is_empty(), "the minute is not over");
        tokio::time::advance(Duration::from_secs(60)).await;
        let counted = strangers.counted(false);
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].event().detail, json!({"reason": "unknown", "count": 5}));
        // While they are written, another comes.
        assert!(matches!(tally(&strangers, &context, "unknown"), Noted::Counted));
        strangers.written(&counted);
        assert!(strangers.counted(false).is_empty(), "its minute has just begun");
        let counted = strangers.counted(true);
        assert_eq!(counted[0].event().detail["count"], 1);
        assert_eq!(strangers.counted(true)[0].event().detail["count"], 1, "not written: it waits");
        strangers.written(&counted);
        assert!(strangers.counted(true).is_empty());
        let Noted::First(kind) = tally(&strangers, &context, "unknown") else {
            panic!("not forgotten when it is quiet")
        };
        strangers.forget(&kind);
        assert!(matches!(tally(&strangers, &context, "unknown"), Noted::First(_)), "its row could not be written");
        assert!(matches!(tally(&strangers, &context, "unknown"), Noted::Counted));
        strangers.forget(&kind);
        assert_eq!(strangers.counted(true)[0].more, 1, "that one was told that it was refused");
    }

    #[tokio::test(start_paused = true)]
    async fn of_who_has_signed_in_the_first_are_rows_and_the_rest_a_number() {
        let strangers = strangers();
        let note = |actor: &str, n: u32| {
            let context = RequestContext::new(Ipv4Addr::from_bits(n).to_string());
            let (subject, reason) = (format!("cluster-{n}"), ["role", "unknown job"][n as usize % 2]);
            let event = Event { actor: Some(actor), subject: Some(&subject), ..refusal(reason) };
            matches!(strangers.tally(&context, &event, Timestamp::UNIX_EPOCH), Noted::Row)
        };
        assert_eq!((0..1_000).filter(|n| note("anna", *n)).count(), 30);
        assert!(note("otto", 1), "another's are rows");
        tokio::time::advance(Duration::from_secs(60)).await;
        let mut counted = strangers.counted(false);
        counted.sort_by_key(|one| one.event().detail["reason"].to_string());
        let shown: Vec<_> =
            counted.iter().map(|one| (one.event().actor.map(str::to_owned), one.event().detail)).collect();
        let row = |reason: &str| (Some("anna".to_owned()), json!({"reason": reason, "count": 485}));
        assert_eq!(shown, [row("role"), row("unknown job")]);
        strangers.written(&counted);
        assert_eq!((0..1_000).filter(|n| note("anna", *n)).count(), 30, "the next minute");
        for n in 0..20_000 {
            note(&n.to_string(), 1);
            if n % 9_000 == 0 {
                tokio::time::advance(Duration::from_secs(61)).await;
            }
        }
        assert!(strangers.rows.lock().unwrap().len() <= MOST_BUCKETS + 9_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_botnet_has_a_bounded_number_of_rows() {
        let strangers = strangers();
        let firsts = (0..5_000_u32).filter(|n| {
            let context = RequestContext::new(Ipv4Addr::from_bits(*n).to_string());
            matches!(tally(&strangers, &context, "unknown"), Noted::First(_))
        });
        assert_eq!(firsts.count(), MOST_KINDS + 1);
        let counted = strangers.counted(true);
        assert_eq!((counted.len(), counted[0].address.as_str(), counted[0].more), (1, MANY, 5_000 - 257));
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_real_secret_is_not_lost_in_a_botnet() {
        let strangers = strangers();
        for n in 0..5_000_u32 {
            tally(&strangers, &RequestContext::new(Ipv4Addr::from_bits(n).to_string()), "unknown");
        }
        for n in 0..5_000_u32 {
            let ended = Event { subject: Some("tok_0"), ..refusal("deleted") };
            strangers.tally(&RequestContext::new(Ipv4Addr::from_bits(n).to_string()), &ended, Timestamp::UNIX_EPOCH);
        }
        assert!(strangers.kinds().len() <= 2 * (MOST_KINDS + 1));
        let (context, at) =
            (RequestContext::new("192.0.2.1".to_owned()), |second| Timestamp::from_second(second).unwrap());
        let replay = || Event { subject: Some("tok_1"), outcome: Outcome::Replay, ..refusal("already redeemed") };
        assert!(matches!(strangers.tally(&context, &replay(), at(1)), Noted::First(_)));
        for n in 2..5 {
            assert!(matches!(strangers.tally(&context, &replay(), at(n)), Noted::Counted));
        }
        assert_eq!(strangers.replays(), HashMap::from([("tok_1".to_owned(), (3, at(4)))]));
    }
}
