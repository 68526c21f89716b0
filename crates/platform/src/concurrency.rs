//! A concurrency limit, in all and for each client network: who comes with hundreds keeps out nobody but those who share
//! the network. Requests and connections are counted one by one, bodies and answers by their bytes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::network::Network;

/// Counts by where requests or connections come from. There are no more entries than permits.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    /// In all.
    all: usize,
    /// Of one address.
    most: usize,
    counts: Mutex<Counts>,
    /// How often somebody was refused for the first reason of [`LimitReached`], and for the second.
    refused: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<Network, usize>,
}

/// What one of them has, until dropped.
#[derive(Debug)]
pub struct Permit {
    of: Arc<ConcurrencyLimit>,
    network: Network,
    weight: usize,
}

/// Which limit there is no room within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// That network has its share.
    PerNetwork,
    /// All networks together have all.
    Total,
}

impl ConcurrencyLimit {
    /// One address may have half of all, so that another always finds the other half.
    pub fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, most: all.div_ceil(2), counts: Mutex::default(), refused: Default::default() })
    }

    /// One more.
    ///
    /// # Errors
    /// When as many are here as may be.
    pub fn acquire(self: &Arc<Self>, network: Network) -> Result<Permit, LimitReached> {
        self.acquire_many(network, 1)
    }

    /// So many at once.
    ///
    /// # Errors
    /// When there is no room for all of them.
    pub(crate) fn acquire_many(self: &Arc<Self>, network: Network, weight: usize) -> Result<Permit, LimitReached> {
        let mut permit = Permit { of: Arc::clone(self), network, weight: 0 };
        permit.grow(weight)?;
        Ok(permit)
    }

    /// What is in use now.
    pub fn in_use(&self) -> usize {
        self.counts().all
    }

    /// What there is in all.
    pub fn max(&self) -> usize {
        self.all
    }

    /// How often somebody was refused for that reason.
    pub fn refusals(&self, reached: LimitReached) -> u64 {
        let [share, all] = &self.refused;
        match reached {
            LimitReached::PerNetwork => share.load(Ordering::Relaxed),
            LimitReached::Total => all.load(Ordering::Relaxed),
        }
    }

    fn refuse(&self, reached: LimitReached) -> LimitReached {
        let [share, all] = &self.refused;
        match reached {
            LimitReached::PerNetwork => share.fetch_add(1, Ordering::Relaxed),
            LimitReached::Total => all.fetch_add(1, Ordering::Relaxed),
        };
        reached
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// So many more.
    ///
    /// # Errors
    /// When there is no room for them: what it had, it keeps.
    pub fn grow(&mut self, more: usize) -> Result<(), LimitReached> {
        let mut counts = self.of.counts();
        let own = counts.of.get(&self.network).copied().unwrap_or_default().saturating_add(more);
        let all = counts.all.saturating_add(more);
        if own > self.of.most {
            return Err(self.of.refuse(LimitReached::PerNetwork));
        }
        if all > self.of.all {
            return Err(self.of.refuse(LimitReached::Total));
        }
        if more > 0 {
            counts.of.insert(self.network, own);
            counts.all = all;
            self.weight = self.weight.saturating_add(more);
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        counts.all = counts.all.saturating_sub(self.weight);
        if let Entry::Occupied(mut here) = counts.of.entry(self.network) {
            match here.get().saturating_sub(self.weight) {
                0 => drop(here.remove()),
                left => *here.get_mut() = left,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_half_and_nothing_is_kept_of_who_left() {
        let (limit, one, other) = (ConcurrencyLimit::new(5), Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        let here: Vec<_> = std::iter::from_fn(|| limit.acquire(one).ok()).collect();
        assert_eq!(here.len(), 3);
        assert!(limit.acquire(other).is_ok());
        drop(here);
        assert!(limit.acquire(one).is_ok());
        assert!(limit.counts().of.is_empty());
        assert_eq!(ConcurrencyLimit::new(0).acquire(one).err(), Some(LimitReached::PerNetwork));
        assert_eq!((limit.in_use(), limit.max()), (0, 5));
        assert_eq!((limit.refusals(LimitReached::PerNetwork), limit.refusals(LimitReached::Total)), (1, 0));
    }

    #[test]
    fn bytes_are_counted_as_they_grow() {
        let (limit, one, other) = (ConcurrencyLimit::new(100), Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        let third = Network::of("192.0.2.3");
        let mut body = limit.acquire_many(one, 20).unwrap();
        body.grow(30).unwrap();
        assert_eq!(body.grow(1), Err(LimitReached::PerNetwork));
        let _other = limit.acquire_many(other, 45).unwrap();
        assert_eq!(limit.acquire_many(third, 6).err(), Some(LimitReached::Total));
        assert!(limit.acquire_many(third, 5).is_ok());
        drop(body);
        assert!(limit.acquire_many(third, 50).is_ok());
        let counts = limit.counts();
        assert_eq!((counts.all, counts.of.len()), (45, 1));
    }
}
