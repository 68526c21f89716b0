//! The statements of the code itself, prepared on both databases: their names and their types are right on either. What is
//! put together while the program runs is left to the tests of the whole, which run on both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use mlplatform_store::testing;
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection,
    Statement as _, TypeInfo as _,
};
use syn::{
    Expr, ExprCall, ImplItemConst, ItemConst, Lit, Macro, Token, parse::Parser as _, punctuated::Punctuated,
    visit::Visit,
};

/// What a value of ours can be, and so what a column may be: nothing else is decoded, no integer of 32 bits either.
const TYPES: [&str; 4] = ["INT8", "TEXT", "BYTEA", "BOOL"];
/// Of a value that is compared with NULL before anything else. The program sends types with its values.
const NO_TYPE: &str = "could not determine data type of parameter";

struct Statement {
    place: String,
    sqlite: String,
    postgres: String,
}

/// The statements of one file: `query(…)`, `either(…, …)` and `joined(&[…])` of literals and of constants of that file.
struct Statements {
    file: String,
    constants: HashMap<String, String>,
    found: Vec<Statement>,
    /// Those with a part that is not known before the program runs.
    left_out: usize,
}

impl Statements {
    fn text(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            Expr::Path(path) => self.constants.get(&path.path.segments.last()?.ident.to_string()).cloned(),
            Expr::Macro(call) => self.concatenated(&call.mac),
            Expr::Reference(reference) => self.text(&reference.expr),
            Expr::Array(array) => array.elems.iter().map(|part| self.text(part)).collect(),
            _ => None,
        }
    }

    fn concatenated(&self, call: &Macro) -> Option<String> {
        if !call.path.is_ident("concat") {
            return None;
        }
        let parts = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(call.tokens.clone()).ok()?;
        parts.iter().map(|part| self.text(part)).collect()
    }

    fn constant(&mut self, name: &syn::Ident, value: &Expr) {
        if let Some(text) = self.text(value) {
            self.constants.insert(name.to_string(), text);
        }
    }
}

impl<'ast> Visit<'ast> for Statements {
    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.constant(&item.ident, &item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast ImplItemConst) {
        self.constant(&item.ident, &item.expr);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        syn::visit::visit_expr_call(self, call);
        let Expr::Path(function) = &*call.func else { return };
        let name = function.path.segments.last().unwrap().ident.to_string();
        let texts: Option<Vec<String>> = call.args.iter().map(|argument| self.text(argument)).collect();
        match (name.as_str(), call.args.len(), texts) {
            ("query" | "joined", 1, Some(texts)) | ("either", 2, Some(texts)) => {
                let place = format!("{}, statement {}", self.file, self.found.len() + 1);
                let (sqlite, postgres) = (texts[0].clone(), texts.last().unwrap().clone());
                self.found.push(Statement { place, sqlite, postgres });
            }
            ("query" | "joined", 1, None) | ("either", 2, None) => self.left_out += 1,
            _ => {}
        }
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            into.push(path);
        }
    }
}

fn all() -> Vec<Statement> {
    let mut files = Vec::new();
    // Of the store's own, most are for one database alone.
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    files.push(crates.join("store/src/lease.rs"));
    for name in ["platform", "server"] {
        sources(&crates.join(name).join("src"), &mut files);
    }
    files.sort();
    let (mut all, mut left_out) = (Vec::new(), 0);
    for path in files {
        let (file, constants) = (path.file_name().unwrap().to_string_lossy().into_owned(), HashMap::new());
        let mut statements = Statements { file, constants, found: Vec::new(), left_out: 0 };
        statements.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        left_out += statements.left_out;
        all.append(&mut statements.found);
    }
    assert!(all.len() >= 140 && left_out <= 40, "{} statements, {left_out} left out", all.len());
    all
}

#[tokio::test]
async fn sqlite_prepares_every_statement() {
    let folder = tempfile::tempdir().unwrap();
    testing::store(false, folder.path()).await.close().await;
    let path = folder.path().join("platform.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let mut failures = Vec::new();
    for Statement { place, sqlite, .. } in all() {
        if let Err(error) = (&mut connection).prepare(AssertSqlSafe(sqlite.clone()).into_sql_str()).await {
            failures.push(format!("{place}: {error}\n{sqlite}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn postgresql_prepares_every_statement_with_types_of_ours() {
    let url = testing::database().await;
    mlplatform_store::Store::init_postgres(&url.parse().unwrap()).await.unwrap().close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut failures = Vec::new();
    for Statement { place, postgres, .. } in all() {
        let sql = AssertSqlSafe(postgres.clone()).into_sql_str();
        match (&mut connection).prepare(sql).await {
            Err(sqlx::Error::Database(error)) if error.message().starts_with(NO_TYPE) => {}
            Err(error) => failures.push(format!("{place}: {error}\n{postgres}")),
            Ok(statement) => {
                let Some(Either::Left(values)) = statement.parameters() else { panic!("{place}: no types") };
                let columns = statement.columns().iter().map(sqlx::Column::type_info);
                for of in values.iter().chain(columns).map(|of| of.name().to_owned()) {
                    if !TYPES.contains(&of.as_str()) {
                        failures.push(format!("{place}: a value or a column of type {of}\n{postgres}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// SQLite uses a partial index for conditions that are written as its own, and for no others.
#[tokio::test]
async fn open_jobs_are_found_without_looking_at_all() {
    let folder = tempfile::tempdir().unwrap();
    testing::store(false, folder.path()).await.close().await;
    let path = folder.path().join("platform.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let is_open = |statement: &Statement| statement.sqlite.replace('\n', " ").contains("(alive = TRUE OR (deleted_at");
    let open: Vec<_> = all().into_iter().filter(is_open).collect();
    assert!(open.len() >= 4, "{}", open.len());
    let (mut with_index, mut of_all) = (0, 0);
    for Statement { sqlite, .. } in open {
        let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sqlite}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explained).fetch_all(&mut connection).await.unwrap();
        with_index += usize::from(plan.iter().any(|step| step.3.contains("jobs_open")));
        of_all += 1;
    }
    assert!(with_index >= 2, "{with_index} of {of_all}");
}
