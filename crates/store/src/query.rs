//! A statement with its values, run on either database.

use sqlx::{
    AssertSqlSafe, Database, Encode, FromRow, IntoArguments, Type, postgres::PgRow, query::Query as Raw,
    sqlite::SqliteRow,
};

use crate::failure::Failure;

/// A value that is bound to a placeholder. NULL has a type, too: PostgreSQL wants one for `$1 IS NULL`.
#[derive(Clone)]
pub enum Value {
    /// `BIGINT`, or SQLite's `INTEGER`.
    Int(Option<i64>),
    /// `BOOLEAN`, or SQLite's `INTEGER` of 0 and 1.
    Bool(Option<bool>),
    /// `TEXT`, without NUL characters.
    Text(Option<String>),
    /// `BYTEA`, or SQLite's `BLOB`.
    Bytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($variant:ident($x:ident: $from:ty) => $to:expr;)*) => { $(
        impl From<$from> for Value {
            fn from($x: $from) -> Self {
                Self::$variant(Some($to))
            }
        }
        impl From<Option<$from>> for Value {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(|$x| $to))
            }
        }
    )* };
}

values! {
    Int(x: i64) => x;
    Int(x: i32) => i64::from(x);
    Int(x: u32) => i64::from(x);
    Int(x: &i64) => *x;
    Bool(x: bool) => x;
    Text(x: &str) => x.to_owned();
    Text(x: &String) => x.clone();
    Text(x: String) => x;
    Bytes(x: &[u8]) => x.to_vec();
    Bytes(x: &Vec<u8>) => x.clone();
    Bytes(x: Vec<u8>) => x;
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<[u8; N]>> for Value {
    fn from(bytes: Option<[u8; N]>) -> Self {
        Self::Bytes(bytes.map(|bytes| bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<&[u8; N]>> for Value {
    fn from(bytes: Option<&[u8; N]>) -> Self {
        Self::Bytes(bytes.map(|bytes| bytes.to_vec()))
    }
}

macro_rules! borrowed_options {
    ($($from:ty => $variant:ident),*) => { $(
        impl From<&Option<$from>> for Value {
            fn from(value: &Option<$from>) -> Self {
                Self::$variant(value.clone())
            }
        }
    )* };
}

borrowed_options!(i64 => Int, bool => Bool, String => Text, Vec<u8> => Bytes);

/// A row that both databases can give: everything that derives [`FromRow`], and tuples.
pub trait FromRows: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> FromRows for T {}

enum Text {
    Same(&'static str),
    Either { sqlite: &'static str, postgres: &'static str },
    Built(String),
}

/// A statement and its values.
#[must_use = "a query does nothing until it is run"]
pub struct Query {
    text: Text,
    values: Vec<Value>,
}

/// A statement that both databases prepare, with `$1`, `$2` … in place of values.
pub fn query(sql: &'static str) -> Query {
    Query { text: Text::Same(sql), values: Vec::new() }
}

/// A statement whose text differs between the databases. Both take the same values.
pub fn either(sqlite: &'static str, postgres: &'static str) -> Query {
    Query { text: Text::Either { sqlite, postgres }, values: Vec::new() }
}

/// A statement whose text is several constants one after the other. Placeholders are numbered through.
pub fn joined(parts: &[&'static str]) -> Query {
    Query { text: Text::Built(parts.concat()), values: Vec::new() }
}

/// A statement that is put together of constants; what is not one goes through [`Builder::push_bind`].
pub struct Builder {
    sql: String,
    values: Vec<Value>,
}

impl Builder {
    /// Begins with a constant.
    #[must_use]
    pub fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds a constant.
    pub fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a placeholder, and the value for it.
    pub fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// The finished statement.
    pub fn build(self) -> Query {
        Query { text: Text::Built(self.sql), values: self.values }
    }
}

impl Query {
    /// Gives the next placeholder its value.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// PostgreSQL would refuse a NUL character, too, but only by ending the transaction.
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        let has_nul = |value: &Value| matches!(value, Value::Text(Some(text)) if text.contains('\0'));
        if self.values.iter().any(has_nul) { Err(Failure::Nul) } else { Ok(self) }
    }

    pub(crate) fn raw<'q, DB: Database>(self, postgres: bool) -> Raw<'q, DB, DB::Arguments>
    where
        DB::Arguments: IntoArguments<DB>,
        Option<i64>: Encode<'q, DB> + Type<DB>,
        Option<bool>: Encode<'q, DB> + Type<DB>,
        Option<String>: Encode<'q, DB> + Type<DB>,
        Option<Vec<u8>>: Encode<'q, DB> + Type<DB>,
    {
        let query = match self.text {
            Text::Same(sql) => sqlx::query::<DB>(sql),
            Text::Either { postgres: sql, .. } if postgres => sqlx::query::<DB>(sql),
            Text::Either { sqlite: sql, .. } => sqlx::query::<DB>(sql),
            // Made of constants by `Builder` and `joined`.
            Text::Built(sql) => sqlx::query::<DB>(AssertSqlSafe(sql)),
        };
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Bool(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}
