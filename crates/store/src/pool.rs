//! How many connections a pool has.

use std::ops::Add;

use sqlx::{Database, Pool};

/// The connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// That are open.
    pub all: usize,
    /// Of these, those that nobody uses.
    pub idle: usize,
    /// That there may be.
    pub max: usize,
}

impl<D: Database> From<&Pool<D>> for Connections {
    fn from(pool: &Pool<D>) -> Self {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self { all: number(pool.size()), idle: pool.num_idle(), max: number(pool.options().get_max_connections()) }
    }
}

impl Add for Connections {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            idle: self.idle.saturating_add(other.idle),
            max: self.max.saturating_add(other.max),
        }
    }
}
