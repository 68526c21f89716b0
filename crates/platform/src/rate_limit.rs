//! Rate limit of failed authentications: a token bucket (GCRA) for each client network.
//!
//! A secret cannot be guessed (190 bits), so this protects the platform's work, not its tokens. Only secrets that are
//! unknown or have ended count, and only they are answered late; a living one is never slowed, whoever shares the address.
//!
//! The number of buckets is bounded: when very many addresses take part, those that come late share one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{limits::Limits, network::Network};

/// Addresses with a bucket of their own: half a megabyte.
const MOST_BUCKETS: usize = 10_000;
/// Buckets that are full again are forgotten at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Buckets by network; of this process alone, as it is only about this process's work.
#[derive(Debug)]
pub(crate) struct FailureRateLimit {
    burst: Duration,
    every: Duration,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// When the bucket would be full again; one refusal moves it by `every`.
    full_at: HashMap<Network, Instant>,
    swept: Instant,
}

impl FailureRateLimit {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            burst: limits.refusals_every.saturating_mul(limits.refusals),
            every: limits.refusals_every,
            buckets: Mutex::new(Buckets { full_at: HashMap::new(), swept: Instant::now() }),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn limit() -> FailureRateLimit {
        FailureRateLimit::new(&Limits { refusals: 3, refusals_every: Duration::from_secs(2), ..Limits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills_again_as_it_says() {
        let limit = limit();
        let (one, other) = (Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        for _ in 0..3 {
            assert_eq!(limit.charge(one), Ok(()));
        }
        let wait = limit.charge(one).unwrap_err();
        assert_eq!((wait, limit.charge(other)), (Duration::from_secs(2), Ok(())));
        tokio::time::advance(wait - Duration::from_millis(1)).await;
        assert_eq!(limit.charge(one), Err(Duration::from_millis(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(limit.charge(one), Ok(()));
        assert!(limit.charge(one).is_err(), "to be refused costs nothing, and gains nothing");
        tokio::time::advance(Duration::from_secs(3600)).await;
        for _ in 0..3 {
            assert_eq!(limit.charge(one), Ok(()));
        }
        assert!(limit.charge(one).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn very_many_addresses_share_one_bucket_and_cost_no_more_memory() {
        let limit = limit();
        let network = |n: u32| Network::V4(Ipv4Addr::from_bits(n));
        let admitted = (0..50_000).filter(|n| limit.charge(network(*n)).is_ok()).count();
        assert_eq!(admitted, MOST_BUCKETS + 3);
        assert_eq!(limit.buckets.lock().unwrap().full_at.len(), MOST_BUCKETS + 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(limit.charge(network(60_000)), Ok(()));
        assert_eq!(limit.buckets.lock().unwrap().full_at.len(), 2, "the full ones were forgotten");
    }
}
