//! Where the jobs of this server run, and whether it is the one that looks after them.

use tokio::sync::watch;

/// Where the jobs of a server run. Of interest only where several servers share a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Nowhere: others look after jobs.
    Nowhere,
    /// On this machine. Nobody else can look after them, so there is one such server.
    Here {
        /// Who that is, for people and for the lease. Never the same on two machines.
        holder: String,
        /// The last part of `holder`: of the data directory, which has all that is known of the jobs.
        id: String,
    },
    /// Where any server can look after them.
    Anywhere {
        /// Unique to this start of the server.
        holder: String,
    },
}

impl Placement {
    pub(super) fn holder(&self) -> Option<&str> {
        match self {
            Self::Nowhere => None,
            Self::Here { holder, .. } | Self::Anywhere { holder } => Some(holder),
        }
    }
}

/// What a server has to do with looking after jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it was started so, or it is not that far yet.
    #[default]
    Off,
    /// Another does it at present, or nobody can be asked.
    Standby,
    /// It does it.
    Active {
        /// The epoch of its lease; 0 with SQLite.
        epoch: i64,
    },
}

impl Role {
    /// One word, for `/readyz`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Standby => "standby",
            Self::Active { .. } => "active",
        }
    }
}

/// The role of this server, as it is shown.
#[derive(Debug, Default)]
pub(super) struct RoleCell(watch::Sender<Role>);

impl RoleCell {
    pub(super) fn get(&self) -> Role {
        *self.0.borrow()
    }

    pub(super) fn set(&self, role: Role) {
        self.0.send_replace(role);
    }
}
