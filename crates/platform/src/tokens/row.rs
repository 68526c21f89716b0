//! The row of an access token in the table `tokens`, its columns, and the words that the table holds.

use mlplatform_protocol::{Open, Role, TokenInfo};
use mlplatform_store::FromRow;

use crate::{
    clock::timestamp,
    error::{Error, Result},
};

/// What the audit calls it when a registration token ends with something else: the answer that carried it, its issuer.
pub(crate) const WITHDRAW: &str = "withdraw_register_token";

/// What a [`TokenInfo`] is made of.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct TokenRow {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) issuer_id: Option<String>,
    pub(crate) issuer_name: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) last_used_address: Option<String>,
}

/// The columns of a [`TokenRow`], of the table `tokens` as `t`.
macro_rules! columns {
    () => {
        "t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, \
         t.last_used_at, t.last_used_address"
    };
}

pub(crate) use columns;

impl From<TokenRow> for TokenInfo {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: Role::from_name(&row.role).map_or(Open::Unknown(row.role), Open::Known),
            issuer_name: row.issuer_name,
            exp: row.expires_at.map(timestamp),
            created_at: timestamp(row.created_at),
            issuer_id: row.issuer_id,
            last_used_at: row.last_used_at.map(timestamp),
            last_used_address: row.last_used_address,
        }
    }
}

/// The issuer's name of tokens that the platform itself makes.
pub(crate) const PLATFORM: &str = "mlplatform-server";

/// Why a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An Administrator deleted it.
    Deleted,
    /// Its lifetime was over, and another token needed its name.
    Expired,
    /// A command on the machine made a new one of that name.
    Replaced,
    /// The answer that carried it was lost, and another was issued.
    Superseded,
}

impl End {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
        }
    }
}

/// The role column of a row that we wrote ourselves.
pub(crate) fn role(name: &str) -> Result<Role> {
    Role::from_name(name).ok_or(Error::Fault("the store holds a role that this version does not know"))
}
