//! The platform's database: one set of SQL statements over SQLite (embedded, the default) and PostgreSQL (shared by
//! several servers).
//!
//! Nothing outside this crate names sqlx. Statements stand beside the code that needs them, in a form that both databases
//! prepare: `$1` placeholders, `TRUE`/`FALSE`, `RETURNING`, `ON CONFLICT`, `IS NOT DISTINCT FROM`, `NULLS FIRST`. Where one
//! text does not do, [`either`] holds both side by side. All numbers are 64-bit integers, times are microseconds since 1970.

mod connection;
mod copy;
mod failure;
mod lease;
mod pool;
mod postgres;
mod query;
mod sqlite;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod topics;
mod url;

pub use connection::Connection;
pub use copy::{Copied, CopiedTable, CopyError};
pub use failure::{Failure, OpenError};
pub use lease::{Holder, Lease, LeaseKeeper, Terms};
pub use pool::Connections;
pub use query::{Builder, FromRows, Query, Value, either, joined, query};
pub use sqlx::FromRow;
pub use store::{Mode, Store};
pub use topics::Subscription;
pub use url::DatabaseUrl;

// What `#[derive(FromRow)]` expands to names `::sqlx`. A crate that derives it says `extern crate mlplatform_store as sqlx;`
// and needs no dependency on sqlx itself.
#[doc(hidden)]
pub use sqlx::{ColumnIndex, Error, Result, Row, decode, types};
