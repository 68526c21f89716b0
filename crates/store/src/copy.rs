//! Moving a SQLite store to PostgreSQL: all rows of all tables, in one transaction, read back and compared before the commit.
//!
//! Rows travel in the text format of `COPY`, in the order of the primary key. PostgreSQL gives them back in the same format
//! and order, so equal digests mean equal tables. A database that already holds the same rows is left as it is: a copy whose
//! answer was lost is simply repeated.

use std::fmt::Write as _;

use futures_util::{TryStreamExt as _, pin_mut};
use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Connection as _, Decode, Executor as _, PgConnection, Row as _, Sqlite,
    SqliteConnection, Type, postgres::PgRow, sqlite::SqliteRow,
};

use crate::{
    failure::{Failure, OpenError},
    postgres,
    store::Store,
    url::DatabaseUrl,
};

/// Bytes that are sent at once.
const PIECE: usize = 1 << 20;

/// What belongs to one database and is not copied: the state of servers, the marks of keys, what `COPY` cannot know.
const NOT_COPIED: [&str; 4] = ["_sqlx_migrations", "keys", "leases", "readiness"];

/// A table that both databases now hold alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// The result of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// All tables, in the order of their names.
    pub tables: Vec<CopiedTable>,
    /// The database held these rows already, and nothing was written.
    pub was_there: bool,
}

/// A store cannot be copied. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The other database cannot be used.
    #[error(transparent)]
    Target(#[from] OpenError),
    /// The database holds rows of its own.
    #[error(
        "the database is not empty: its table {0} holds other rows than this store. Give an empty database; one that was \
         served has to be dropped and made anew before it can take a copy"
    )]
    NotEmpty(String),
    /// A value that PostgreSQL cannot hold.
    #[error("row {row} of the table {table} cannot be copied: its column {column} {problem}")]
    Value {
        /// The table.
        table: String,
        /// Which row, counted from 1 in the order of the primary key.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong with its value.
        problem: &'static str,
    },
    /// What was read back is not what was written.
    #[error(
        "the table {0} came back changed: nothing was committed. This is a bug, or a fault of the database's machine"
    )]
    Changed(String),
    /// One of the databases failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Store {
    /// Copies all rows to a database of PostgreSQL, which has to be empty or to hold the same rows. It is brought to this
    /// version's form first. Nobody may write to this store meanwhile.
    ///
    /// # Errors
    /// When the database is not suitable or holds anything else, a value cannot be stored there, or either database fails.
    /// Nothing was copied then.
    pub async fn copy_to_postgres(&self, url: &DatabaseUrl) -> Result<Copied, CopyError> {
        let mut from = self.sqlite_snapshot().await?;
        Self::init_postgres(url).await?.close().await;
        let mut to = PgConnection::connect_with(&postgres::options(url)?).await?;
        // Until the end of the transaction: as long as the rows take.
        to.execute(postgres::BEGIN_EXCLUSIVE).await?;
        to.execute(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET CONSTRAINTS ALL DEFERRED",
        )
        .await?;
        let tables = tables(&mut to).await?;
        let was_there = any_row(&tables, &mut to).await?;
        let mut copied = Vec::new();
        for table in tables {
            let sent = if was_there {
                read(&table, &mut from, async |_| Ok(())).await?
            } else {
                let mut copy = to.copy_in_raw(&table.copy_in()).await?;
                let sent = read(&table, &mut from, async |piece: Vec<u8>| copy.send(piece).await.map(drop)).await?;
                copy.finish().await?;
                sent
            };
            if digest_of(&table, &mut to).await? != sent.digest {
                return Err(if was_there { CopyError::NotEmpty(table.name) } else { CopyError::Changed(table.name) });
            }
            if !was_there {
                continue_numbers(&table, &mut to).await?;
            }
            copied.push(CopiedTable { name: table.name, rows: sent.rows });
        }
        to.execute("COMMIT").await?;
        to.close().await?;
        Ok(Copied { tables: copied, was_there })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    Bool,
    Text,
    Bytes,
}

struct Column {
    name: String,
    kind: Kind,
    is_identity: bool,
}

struct Table {
    name: String,
    columns: Vec<Column>,
    /// Its columns, separated by commas.
    key: String,
}

/// The names come from the migrations, and need no quotes but these: `key`, `position` and `at` are plain names in both.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl Table {
    fn list(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM {} ORDER BY {}", self.list(), quoted(&self.name), self.key)
    }

    fn copy_in(&self) -> String {
        format!("COPY {} ({}) FROM STDIN", quoted(&self.name), self.list())
    }

    fn copy_out(&self) -> String {
        format!("COPY ({}) TO STDOUT", self.select())
    }
}

/// The tables of this version, as PostgreSQL knows them.
async fn tables(to: &mut PgConnection) -> Result<Vec<Table>, CopyError> {
    let mut tables: Vec<Table> = Vec::new();
    let columns = "SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_identity = 'YES', \
                   (SELECT string_agg(format('%I', a.attname), ', ' ORDER BY array_position(i.indkey::int2[], a.attnum)) \
                    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
                    WHERE i.indisprimary AND i.indrelid = format('%I.%I', c.table_schema, c.table_name)::regclass) \
                   FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) \
                   WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
                   ORDER BY c.table_name, c.ordinal_position";
    let rows: Vec<(String, String, String, bool, Option<String>)> = sqlx::query_as(columns).fetch_all(to).await?;
    for (table, name, kind, is_identity, key) in rows {
        if NOT_COPIED.contains(&table.as_str()) {
            continue;
        }
        let kind = match kind.as_str() {
            "bigint" => Kind::Int,
            "boolean" => Kind::Bool,
            "text" => Kind::Text,
            "bytea" => Kind::Bytes,
            _ => return Err(Failure::fault("a column has a type that cannot be copied").into()),
        };
        let column = Column { name, kind, is_identity };
        match tables.last_mut().filter(|last| last.name == table) {
            Some(last) => last.columns.push(column),
            None => tables.push(Table { name: table, columns: vec![column], key: key.unwrap_or_default() }),
        }
    }
    Ok(tables)
}

async fn any_row(tables: &[Table], to: &mut PgConnection) -> Result<bool, CopyError> {
    let any: Vec<_> = tables.iter().map(|table| format!("EXISTS (SELECT 1 FROM {})", quoted(&table.name))).collect();
    let any = format!("SELECT {}", any.join(" OR "));
    Ok(sqlx::query_scalar(AssertSqlSafe(any)).fetch_one(to).await?)
}

struct Sent {
    rows: u64,
    digest: [u8; 32],
}

/// Reads a table of SQLite, and hands it over in pieces.
async fn read(
    table: &Table,
    from: &mut SqliteConnection,
    mut send: impl AsyncFnMut(Vec<u8>) -> sqlx::Result<()>,
) -> Result<Sent, CopyError> {
    let (mut text, mut hash, mut rows) = (String::new(), Sha256::new(), 0_u64);
    let found = sqlx::query(AssertSqlSafe(table.select())).fetch(from);
    pin_mut!(found);
    while let Some(row) = found.try_next().await? {
        rows = rows.saturating_add(1);
        write_row(table, &row, &mut text).map_err(|(column, problem)| CopyError::Value {
            table: table.name.clone(),
            row: rows,
            column,
            problem,
        })?;
        if text.len() >= PIECE {
            hash.update(&text);
            send(std::mem::take(&mut text).into_bytes()).await?;
        }
    }
    hash.update(&text);
    send(text.into_bytes()).await?;
    Ok(Sent { rows, digest: hash.finalize().into() })
}

/// One line of `COPY`: <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format".
fn write_row(table: &Table, row: &SqliteRow, text: &mut String) -> Result<(), (String, &'static str)> {
    for (index, column) in table.columns.iter().enumerate() {
        let problem = |problem| (column.name.clone(), problem);
        if index > 0 {
            text.push('\t');
        }
        let wrong = |_| problem("is not of the column's type");
        match column.kind {
            Kind::Int => value::<i64>(row, index).map_err(wrong)?.map(|number| _ = write!(text, "{number}")),
            Kind::Bool => {
                value::<bool>(row, index).map_err(wrong)?.map(|truth| text.push(if truth { 't' } else { 'f' }))
            }
            Kind::Text => match value::<String>(row, index).map_err(wrong)? {
                Some(value) if value.contains('\0') => {
                    return Err(problem("holds a NUL character, which PostgreSQL cannot store"));
                }
                value => value.map(|value| write_text(&value, text)),
            },
            Kind::Bytes => value::<Vec<u8>>(row, index).map_err(wrong)?.map(|bytes| {
                text.push_str("\\\\x");
                bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
            }),
        }
        .unwrap_or_else(|| text.push_str("\\N"));
    }
    text.push('\n');
    Ok(())
}

fn value<T>(row: &SqliteRow, index: usize) -> sqlx::Result<Option<T>>
where
    usize: ColumnIndex<SqliteRow>,
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(index)
}

fn write_text(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{b}' => text.push_str("\\v"),
            character => text.push(character),
        }
    }
}

/// Of what PostgreSQL holds, in the same format and order.
async fn digest_of(table: &Table, to: &mut PgConnection) -> Result<[u8; 32], CopyError> {
    let mut hash = Sha256::new();
    let found = to.copy_out_raw(&table.copy_out()).await?;
    pin_mut!(found);
    while let Some(piece) = found.try_next().await? {
        hash.update(&piece);
    }
    Ok(hash.finalize().into())
}

/// The next row gets the number after the last one.
async fn continue_numbers(table: &Table, to: &mut PgConnection) -> Result<(), CopyError> {
    for column in table.columns.iter().filter(|column| column.is_identity) {
        let (name, column) = (quoted(&table.name), &column.name);
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name} HAVING count(*) > 0"
        );
        let _: Option<PgRow> = sqlx::query(AssertSqlSafe(next)).fetch_optional(&mut *to).await?;
    }
    Ok(())
}
