//! Living access tokens as a person looks for them: the newest first, by name, by when they end.

use jiff::Timestamp;
use mlplatform_protocol::{RegisterTokenInfo, TokenInfo};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    register_tokens::{Known, known},
    tokens::{TokenRow, columns},
};
use crate::{Result, app::App, clock::timestamp};

/// A living [`TokenRow`]; what it is living at follows.
const SELECT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > "
);
/// The index of names knows parts of this many characters.
const SHORTEST_PART: usize = 3;
/// Counting stops here: more is as good as many.
pub const COUNTED: i64 = 1000;

/// Which part of a list, by the numbers that [`Found`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The newest.
    #[default]
    Newest,
    /// Those older than that one.
    OlderThan(i64),
    /// Those newer than that one, the nearest of them.
    NewerThan(i64),
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Search<K> {
    /// A part of the name, or a whole id; empty: all.
    pub text: String,
    /// Which of them.
    pub only: K,
    /// Which page.
    pub place: Place,
    /// Its size.
    pub limit: usize,
}

/// Which access tokens.
#[derive(Clone, Copy, Debug, Default)]
pub enum Only {
    /// All that live.
    #[default]
    Living,
    /// Those that end before.
    EndingBefore(Timestamp),
}

/// Which registration tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnlyRegister {
    /// Whatever became of them.
    #[default]
    All,
    /// Those that can be redeemed.
    Waiting,
    /// Those that somebody tried to redeem again.
    Replayed,
}

/// One page, the newest first.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// There are newer ones: than this.
    pub newer: Option<i64>,
    /// There are older ones: than this.
    pub older: Option<i64>,
}

/// Looks for living access tokens.
///
/// # Errors
/// When the store fails.
pub async fn search_tokens(app: &App, search: &Search<Only>) -> Result<Found<TokenInfo>> {
    let now = app.clock().now().as_microsecond();
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push_bind(now).push(")");
    if let Only::EndingBefore(end) = search.only {
        query.push(" AND t.expires_at <= ").push_bind(end.as_microsecond());
    }
    by_name(&mut query, "t", ["token_names", "name FROM tokens INDEXED BY tokens_name"], search);
    let found: Found<TokenRow> =
        page(app, query, "t.seq", search.place, search.limit, |row: &TokenRow| row.seq).await?;
    let items = found.items.into_iter().map(|row| app.last_used().over(row).into()).collect();
    Ok(Found { items, newer: found.newer, older: found.older })
}

/// Looks for registration tokens.
///
/// # Errors
/// When the store fails.
pub async fn search_register_tokens(app: &App, search: &Search<OnlyRegister>) -> Result<Found<RegisterTokenInfo>> {
    let now = app.clock().now().as_microsecond();
    let mut query = QueryBuilder::<Sqlite>::new("WITH clock (now) AS (SELECT ");
    query.push_bind(now).push(") ").push(known!("(SELECT now FROM clock)"));
    query.push(match search.only {
        OnlyRegister::All => " WHERE true",
        OnlyRegister::Waiting => " WHERE r.redeemed_at IS NULL AND r.withdrawn_at IS NULL",
        OnlyRegister::Replayed => " WHERE r.replay_count > 0",
    });
    if search.only == OnlyRegister::Waiting {
        query.push(" AND r.expires_at > (SELECT now FROM clock)");
    }
    let names =
        ["register_token_names", "client_name AS name FROM register_tokens INDEXED BY register_tokens_client_name"];
    by_name(&mut query, "r", names, search);
    page(app, query, "r.seq", search.place, search.limit, |row: &Known| row.seq).await
}

/// How many registration tokens somebody tried to redeem again after that time, up to [`COUNTED`].
///
/// # Errors
/// When the store fails.
pub async fn count_replayed(app: &App, since: Timestamp) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM register_tokens WHERE replay_count > 0 AND last_replay_at > ? LIMIT ?)",
    )
    .bind(since.as_microsecond())
    .bind(COUNTED)
    .fetch_one(&mut *app.read().await?)
    .await?;
    Ok(count)
}

/// A registration token by its id.
///
/// # Errors
/// When the store fails.
pub async fn register_token(app: &App, id: &str) -> Result<Option<RegisterTokenInfo>> {
    let row: Option<Known> = sqlx::query_as(concat!(known!("?"), " WHERE r.id = ?"))
        .bind(app.clock().now().as_microsecond())
        .bind(id)
        .fetch_optional(&mut *app.read().await?)
        .await?;
    Ok(row.map(RegisterTokenInfo::from))
}

/// Narrows to an id or to a part of the name. `names` are the table that knows parts, and where whole names are read.
fn by_name<K>(
    query: &mut QueryBuilder<Sqlite>,
    table: &'static str,
    [parts, whole]: [&'static str; 2],
    search: &Search<K>,
) {
    let text = search.text.as_str();
    if text.is_empty() {
        return;
    }
    if text.starts_with("tok_") {
        query.push(" AND ").push(table).push(".id = ").push_bind(text.to_owned());
        return;
    }
    query.push(" AND ").push(table).push(".seq IN (SELECT ");
    if text.chars().count() >= SHORTEST_PART {
        query.push("rowid FROM ").push(parts).push(" WHERE ").push(parts).push(" MATCH ");
        query.push_bind(format!("\"{}\"", text.replace('"', "\"\"")));
        // The search need not look at what is not on the page.
        match search.place {
            Place::Newest => query.push(" ORDER BY rowid DESC"),
            Place::OlderThan(than) => query.push(" AND rowid < ").push_bind(than).push(" ORDER BY rowid DESC"),
            Place::NewerThan(than) => query.push(" AND rowid > ").push_bind(than).push(" ORDER BY rowid"),
        };
    } else {
        query.push("seq FROM (SELECT seq, ").push(whole).push(") WHERE ");
        for (place, spelling) in spellings(text).into_iter().enumerate() {
            query.push(if place == 0 { "" } else { " OR " }).push("instr(name, ").push_bind(spelling).push(") > 0");
        }
    }
    query.push(")");
}

/// Runs a query for one page of rows that have a `seq`.
pub(crate) async fn page<R, T>(
    app: &App,
    mut query: QueryBuilder<Sqlite>,
    column: &'static str,
    place: Place,
    limit: usize,
    seq: impl Fn(&R) -> i64,
) -> Result<Found<T>>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    T: From<R>,
{
    if let Place::OlderThan(than) | Place::NewerThan(than) = place {
        let compare = if matches!(place, Place::NewerThan(_)) { " > " } else { " < " };
        query.push(" AND ").push(column).push(compare).push_bind(than);
    }
    query.push(" ORDER BY ").push(column).push(if matches!(place, Place::NewerThan(_)) { "" } else { " DESC" });
    // One more than asked for tells whether there is a next page.
    query.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows: Vec<R> = query.build_query_as().fetch_all(&mut *app.read().await?).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let backwards = matches!(place, Place::NewerThan(_));
    if backwards {
        rows.reverse();
    }
    let (first, last) = (rows.first().map(&seq), rows.last().map(&seq));
    Ok(Found {
        newer: first.filter(|_| if backwards { more } else { place != Place::Newest }),
        older: last.filter(|_| backwards || more),
        items: rows.into_iter().map(T::from).collect(),
    })
}

/// How many living access tokens end before that time, up to [`COUNTED`].
///
/// # Errors
/// When the store fails.
pub async fn count_ending(app: &App, before: Timestamp) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM tokens WHERE deleted_at IS NULL AND expires_at > ? AND expires_at <= ? \
         LIMIT ?)",
    )
    .bind(app.clock().now().as_microsecond())
    .bind(before.as_microsecond())
    .bind(COUNTED)
    .fetch_one(&mut *app.read().await?)
    .await?;
    Ok(count)
}

/// A living access token by its id.
///
/// # Errors
/// When the store fails.
pub async fn living_token(app: &App, id: &str) -> Result<Option<TokenInfo>> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push_bind(app.clock().now().as_microsecond()).push(") AND t.id = ").push_bind(id.to_owned());
    let row: Option<TokenRow> = query.build_query_as().fetch_optional(&mut *app.read().await?).await?;
    Ok(row.map(TokenInfo::from))
}

/// Whether a living access token has that name.
///
/// # Errors
/// When the store fails.
pub async fn is_living_name(app: &App, name: &str) -> Result<bool> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push_bind(app.clock().now().as_microsecond()).push(") AND t.name = ").push_bind(name.to_owned());
    let row: Option<TokenRow> = query.build_query_as().fetch_optional(&mut *app.read().await?).await?;
    Ok(row.is_some())
}

/// The name of a token that was deleted.
///
/// # Errors
/// When the store fails.
pub async fn deleted_name(app: &App, id: &str) -> Result<Option<String>> {
    let mut connection = app.read().await?;
    let name = sqlx::query_scalar("SELECT name FROM tokens WHERE id = ? AND delete_reason = 'deleted'");
    Ok(name.bind(id).fetch_optional(&mut *connection).await?)
}

/// Ways to write a part of a name that is too short to be looked up.
fn spellings(text: &str) -> Vec<String> {
    let (lower, upper) = (text.to_lowercase(), text.to_uppercase());
    let mut rest = lower.chars();
    let title: String = rest.next().into_iter().flat_map(char::to_uppercase).chain(rest.clone()).collect();
    let mut texts = vec![text.to_owned(), lower.clone(), upper, title];
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// The end of the span of so many days from now.
#[must_use]
pub fn in_days(app: &App, days: i64) -> Timestamp {
    timestamp(app.clock().now().as_microsecond().saturating_add(days.saturating_mul(86_400_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_parts_are_looked_for_in_upper_and_lower_case() {
        assert_eq!(spellings("аН"), ["АН", "Ан", "аН", "ан"]);
        assert_eq!(spellings("7"), ["7"]);
    }
}
