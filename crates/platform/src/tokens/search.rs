//! Searching and paging tokens as a person looks for them: the newest first, by name, by when they end.

use jiff::Timestamp;
use mlplatform_protocol::{RegisterTokenInfo, TokenInfo};
use mlplatform_store::{Builder, FromRows, query};

use super::{
    registration::{RegistrationRow, registration_columns, registration_join, registration_rows},
    row::{TokenRow, columns},
};
use crate::{app::App, clock::timestamp, error::Result};

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

/// Which part of a list, by the numbers that [`ResultPage`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PagePosition {
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
    pub place: PagePosition,
    /// Its size.
    pub limit: usize,
}

/// Which access tokens.
#[derive(Clone, Copy, Debug, Default)]
pub enum TokenFilter {
    /// All that live.
    #[default]
    Living,
    /// Those that end before.
    EndingBefore(Timestamp),
}

/// Which registration tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationFilter {
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
pub struct ResultPage<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// There are newer ones: than this.
    pub newer: Option<i64>,
    /// There are older ones: than this.
    pub older: Option<i64>,
}

/// Where a list is read, and by which of its columns.
struct List {
    table: &'static str,
    seq: &'static str,
    id: &'static str,
    name: &'static str,
    /// The table that knows parts of the names, and its number of a row.
    parts: &'static str,
    parts_seq: &'static str,
    /// The index that has the names in the order of the list.
    in_order: &'static str,
}

const TOKENS: List = List {
    table: "tokens t",
    seq: "t.seq",
    id: "t.id",
    name: "t.name",
    parts: "token_names",
    parts_seq: "token_names.rowid",
    in_order: "tokens_names_in_order",
};

const REGISTER_TOKENS: List = List {
    table: "register_tokens r",
    seq: "r.seq",
    id: "r.id",
    name: "r.client_name",
    parts: "register_token_names",
    parts_seq: "register_token_names.rowid",
    in_order: "register_tokens_names_in_order",
};

/// Looks for living access tokens.
///
/// # Errors
/// When the store fails.
pub async fn search_tokens(app: &App, search: &Search<TokenFilter>) -> Result<ResultPage<TokenInfo>> {
    let now = app.clock().now().as_microsecond();
    let mut query = Builder::new(concat!("SELECT ", columns!(), " FROM "));
    let seq = TOKENS.source(&mut query, &search.text, app.store().is_postgres());
    query.push(" WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ").push_bind(now).push(")");
    if let TokenFilter::EndingBefore(end) = search.only {
        query.push(" AND t.expires_at <= ").push_bind(end.as_microsecond());
    }
    TOKENS.narrow(&mut query, &search.text, app.store().is_postgres());
    let found: ResultPage<TokenRow> =
        page(app, query, seq, search.place, search.limit, |row: &TokenRow| row.seq).await?;
    let items = found.items.into_iter().map(|row| app.last_used().applied_to(row).into()).collect();
    Ok(ResultPage { items, newer: found.newer, older: found.older })
}

/// Looks for registration tokens.
///
/// # Errors
/// When the store fails.
pub async fn search_register_tokens(
    app: &App,
    search: &Search<RegistrationFilter>,
) -> Result<ResultPage<RegisterTokenInfo>> {
    let now = app.clock().now().as_microsecond();
    let mut query = Builder::new(registration_columns!());
    query.push_bind(now).push(" AS expired FROM ");
    let seq = REGISTER_TOKENS.source(&mut query, &search.text, app.store().is_postgres());
    query.push(registration_join!()).push(" WHERE true");
    match search.only {
        RegistrationFilter::All => {}
        RegistrationFilter::Waiting => {
            query.push(" AND r.redeemed_at IS NULL AND r.withdrawn_at IS NULL AND r.expires_at > ").push_bind(now);
        }
        RegistrationFilter::Replayed => {
            query.push(" AND r.replay_count > 0");
        }
    }
    REGISTER_TOKENS.narrow(&mut query, &search.text, app.store().is_postgres());
    let found: ResultPage<RegistrationRow> =
        page(app, query, seq, search.place, search.limit, |row: &RegistrationRow| row.seq).await?;
    let replays = app.transactions().refusals().replays();
    let items = found.items.into_iter().map(|row| row.with(&replays).into()).collect();
    Ok(ResultPage { items, newer: found.newer, older: found.older })
}

/// How many registration tokens somebody tried to redeem again after that time, up to [`COUNTED`].
///
/// # Errors
/// When the store fails.
pub async fn count_replayed(app: &App, since: Timestamp) -> Result<i64> {
    let count = query(
        "SELECT count(*) FROM (SELECT 1 FROM register_tokens WHERE replay_count > 0 AND last_replay_at > $1 LIMIT $2) counted",
    )
    .bind(since.as_microsecond())
    .bind(COUNTED).scalar(&mut app.read().await?)
    .await?;
    Ok(count)
}

/// A registration token by its id.
///
/// # Errors
/// When the store fails.
pub async fn register_token(app: &App, id: &str) -> Result<Option<RegisterTokenInfo>> {
    let row: Option<RegistrationRow> = query(concat!(registration_rows!("$1"), " WHERE r.id = $2"))
        .bind(app.clock().now().as_microsecond())
        .bind(id)
        .optional(&mut app.read().await?)
        .await?;
    Ok(row.map(|row| row.with(&app.transactions().refusals().replays()).into()))
}

/// How a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nothing,
    /// It cannot be found: no name and no id holds a control character. To SQLite's patterns, NUL is the end of a text.
    Never,
    Id,
    Part,
    ShortPart,
}

impl By {
    fn of(text: &str) -> Self {
        match text.chars().count() {
            0 => Self::Nothing,
            _ if text.chars().any(char::is_control) => Self::Never,
            _ if text.starts_with("tok_") => Self::Id,
            SHORTEST_PART.. => Self::Part,
            _ => Self::ShortPart,
        }
    }
}

impl List {
    /// Says where to read, such that rows come in the order of the list: then a page's worth of them is all that is
    /// read, however many there are. Gives the column of that order.
    fn source(&self, query: &mut Builder, text: &str, postgres: bool) -> &'static str {
        match By::of(text) {
            By::Part | By::ShortPart if postgres => query.push(self.table),
            By::Nothing | By::Never | By::Id => query.push(self.table),
            By::ShortPart => query.push(self.table).push(" INDEXED BY ").push(self.in_order),
            By::Part => {
                // CROSS: otherwise SQLite may sort all that have the part.
                query.push(self.parts).push(" CROSS JOIN ").push(self.table).push(" ON ");
                query.push(self.seq).push(" = ").push(self.parts_seq);
                return self.parts_seq;
            }
        };
        self.seq
    }

    /// Narrows to an id or to a part of the name.
    fn narrow(&self, query: &mut Builder, text: &str, postgres: bool) {
        match By::of(text) {
            // The columns have the collation "C", which folds ASCII alone; the index is on this expression.
            // Some characters become two in lower case.
            By::Part | By::ShortPart if postgres && text.to_lowercase().chars().count() >= SHORTEST_PART => {
                query.push(" AND ").push(self.name).push(" COLLATE \"default\" ILIKE ").push_bind(like(text));
            }
            By::Part | By::ShortPart if postgres => {
                query.push(" AND short_parts(").push(self.name).push(") @> ARRAY[lower(");
                // The names' own collation at the end: with another, the index is not used.
                query.push_bind(text.to_owned()).push(" COLLATE \"default\") COLLATE \"C\"]");
            }
            By::Nothing => {}
            By::Never => {
                query.push(" AND false");
            }
            By::Id => {
                query.push(" AND ").push(self.id).push(" = ").push_bind(text.to_owned());
            }
            By::Part => {
                query.push(" AND ").push(self.parts).push(" MATCH ");
                query.push_bind(format!("\"{}\"", text.replace('"', "\"\"")));
            }
            // In upper and lower case at once, and in a third of the time.
            By::ShortPart if text.is_ascii() => {
                query.push(" AND ").push(self.name).push(" LIKE ").push_bind(like(text)).push(" ESCAPE '\\'");
            }
            By::ShortPart => {
                let has = |query: &mut Builder, text: &str| {
                    query.push("instr(").push(self.name).push(", ").push_bind(text.to_owned()).push(") > 0");
                };
                // What begins alike is looked for together first: most names have none of it.
                let first = |text: &String| text.chars().next().unwrap_or_default();
                query.push(" AND (false");
                for alike in spellings(text).chunk_by(|one, other| first(one) == first(other)) {
                    query.push(" OR (");
                    let beginning = alike.first().map(first).unwrap_or_default();
                    has(query, &beginning.to_string());
                    query.push(" AND (false");
                    for spelling in alike {
                        query.push(" OR ");
                        has(query, spelling);
                    }
                    query.push("))");
                }
                query.push(")");
            }
        }
    }
}

/// A pattern for whatever holds that text.
fn like(text: &str) -> String {
    let escaped =
        text.chars().flat_map(|char| matches!(char, '%' | '_' | '\\').then_some('\\').into_iter().chain([char]));
    format!("%{}%", escaped.collect::<String>())
}

/// Runs a query for one page of rows that have a `seq`.
pub(crate) async fn page<R, T>(
    app: &App,
    mut query: Builder,
    column: &'static str,
    place: PagePosition,
    limit: usize,
    seq: impl Fn(&R) -> i64,
) -> Result<ResultPage<T>>
where
    R: FromRows,
    T: From<R>,
{
    if let PagePosition::OlderThan(than) | PagePosition::NewerThan(than) = place {
        let compare = if matches!(place, PagePosition::NewerThan(_)) { " > " } else { " < " };
        query.push(" AND ").push(column).push(compare).push_bind(than);
    }
    query.push(" ORDER BY ").push(column).push(if matches!(place, PagePosition::NewerThan(_)) { "" } else { " DESC" });
    // One more than asked for tells whether there is a next page.
    query.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows: Vec<R> = query.build().all(&mut app.read().await?).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let backwards = matches!(place, PagePosition::NewerThan(_));
    if backwards {
        rows.reverse();
    }
    let (first, last) = (rows.first().map(&seq), rows.last().map(&seq));
    Ok(ResultPage {
        newer: first.filter(|_| if backwards { more } else { place != PagePosition::Newest }),
        older: last.filter(|_| backwards || more),
        items: rows.into_iter().map(T::from).collect(),
    })
}

/// How many living access tokens end before that time, up to [`COUNTED`].
///
/// # Errors
/// When the store fails.
pub async fn count_ending(app: &App, before: Timestamp) -> Result<i64> {
    let count = query(
        "SELECT count(*) FROM (SELECT 1 FROM tokens WHERE deleted_at IS NULL AND expires_at > $1 AND expires_at <= $2 LIMIT $3) counted",
    )
    .bind(app.clock().now().as_microsecond())
    .bind(before.as_microsecond())
    .bind(COUNTED).scalar(&mut app.read().await?)
    .await?;
    Ok(count)
}

/// A living access token by its id.
///
/// # Errors
/// When the store fails.
pub async fn living_token(app: &App, id: &str) -> Result<Option<TokenInfo>> {
    let mut query = Builder::new(SELECT);
    query.push_bind(app.clock().now().as_microsecond()).push(") AND t.id = ").push_bind(id.to_owned());
    let row: Option<TokenRow> = query.build().optional(&mut app.read().await?).await?;
    Ok(row.map(TokenInfo::from))
}

/// Whether a living access token has that name.
///
/// # Errors
/// When the store fails.
pub async fn is_living_name(app: &App, name: &str) -> Result<bool> {
    let mut query = Builder::new(SELECT);
    query.push_bind(app.clock().now().as_microsecond()).push(") AND t.name = ").push_bind(name.to_owned());
    let row: Option<TokenRow> = query.build().optional(&mut app.read().await?).await?;
    Ok(row.is_some())
}

/// The name of a token that was deleted.
///
/// # Errors
/// When the store fails.
pub async fn deleted_name(app: &App, id: &str) -> Result<Option<String>> {
    let mut connection = app.read().await?;
    let name = query("SELECT name FROM tokens WHERE id = $1 AND delete_reason = 'deleted'");
    Ok(name.bind(id).optional_scalar(&mut connection).await?)
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
        assert_eq!(like("a"), "%a%");
        assert_eq!(like("%_"), "%\\%\\_%");
    }
}
