//! How many of one address are here at once: who comes with hundreds keeps out nobody but those who share the address.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::strangers::Network;

/// Counts requests, or connections, by where they come from. There are no more entries than guests.
#[derive(Debug)]
pub(crate) struct Guests {
    most: usize,
    counts: Mutex<HashMap<Network, usize>>,
}

/// One that is here, until dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    of: Arc<Guests>,
    network: Network,
}

impl Guests {
    /// One address may have half of all, so that another always finds the other half.
    pub(crate) fn half(all: usize) -> Arc<Self> {
        Arc::new(Self { most: all.div_ceil(2), counts: Mutex::default() })
    }

    /// `None`: as many of that address are here as may be.
    pub(crate) fn arrive(self: &Arc<Self>, network: Network) -> Option<Guest> {
        let mut counts = self.counts();
        let here = counts.get(&network).copied().unwrap_or_default();
        if here >= self.most {
            return None;
        }
        counts.insert(network, here.saturating_add(1));
        Some(Guest { of: Arc::clone(self), network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Entry::Occupied(mut here) = self.of.counts().entry(self.network) {
            match here.get().saturating_sub(1) {
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
        let (guests, one, other) = (Guests::half(5), Network::of("192.0.2.1"), Network::of("192.0.2.2"));
        let here: Vec<_> = std::iter::from_fn(|| guests.arrive(one)).collect();
        assert_eq!(here.len(), 3);
        assert!(guests.arrive(other).is_some());
        drop(here);
        assert!(guests.arrive(one).is_some());
        assert!(guests.counts().is_empty());
        assert!(Guests::half(0).arrive(one).is_none());
    }
}
