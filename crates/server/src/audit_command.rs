//! `mlplatform-server audit`: shows and proves who did what. Works beside a running server.

use std::io::{self, BufWriter, Write};

use mlplatform_platform::{
    audit::{
        ChainError,
        reader::{Order, Reader, Verification},
    },
    clock::Clock,
    text::harmless,
};
use mlplatform_protocol::audit::{AuditEntry, AuditRequest, moment};
use mlplatform_server::{
    commands::audit_reader,
    start::StartError,
    storage::{Storage, mark_in},
};

use crate::cli::{AuditList, Verify};

/// Rows that are read at once.
const BATCH: i64 = 1000;
/// The chain does not hold.
const BROKEN: u8 = 1;
/// The chain holds, and tells that rows were cut off in the past.
const CUT_BEFORE: u8 = 3;

/// The rows, oldest first, as the newest belong beside the prompt.
pub(crate) async fn list(storage: &Storage, arguments: &AuditList) -> Result<(), StartError> {
    let since = arguments.since.as_deref().map(|text| moment(text, Clock::default().now())).transpose();
    let since = since.map_err(|problem| {
        StartError::System("--since cannot be read", io::Error::new(io::ErrorKind::InvalidInput, problem))
    })?;
    let filter = AuditRequest { token: arguments.token.clone(), since, ..AuditRequest::default() };
    let reader = audit_reader(storage, None).await?;
    let shown = show(&reader, &filter, arguments.json).await;
    reader.close().await;
    shown
}

async fn show(reader: &Reader, filter: &AuditRequest, json: bool) -> Result<(), StartError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut print = |line: String| match writeln!(out, "{line}").and_then(|()| out.flush()) {
        // `audit list | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true).map_err(|error| StartError::System("the rows cannot be printed", error)),
    };
    if !json && !print(heading())? {
        return Ok(());
    }
    let mut last = 0;
    loop {
        let rows = reader.rows(filter, Order::After(last), BATCH).await?;
        let Some(newest) = rows.last() else { return Ok(()) };
        last = i64::try_from(newest.seq).unwrap_or(i64::MAX);
        let lines: Vec<_> = rows.iter().map(|row| if json { as_json(row) } else { as_line(row) }).collect();
        if !print(lines.join("\n"))? {
            return Ok(());
        }
    }
}

/// Proves the chain; gives the exit code.
pub(crate) async fn verify(arguments: &Verify) -> Result<u8, StartError> {
    let storage = arguments.directory.storage()?;
    let mark = match (&arguments.mark, &arguments.audit_mark) {
        (Some(mark), _) => Some(*mark),
        (None, Some(file)) => mark_in(file)?,
        (None, None) => None,
    };
    let unmarked = storage.database.is_some() && mark.is_none();
    let reader = audit_reader(&storage, mark).await?;
    let proof = reader.verify().await;
    reader.close().await;
    let (code, mut text) = outcome(&proof?);
    if unmarked && code != BROKEN {
        text.push_str(
            "\nwhether rows were cut off its end was not proved: give --mark or --audit-mark, as a server wrote it",
        );
    }
    let printed = writeln!(io::stdout(), "{text}");
    printed.map(|()| code).map_err(|error| StartError::System("the outcome cannot be printed", error))
}

/// The exit code, and what to say.
pub(crate) fn outcome(proof: &Result<Verification, ChainError>) -> (u8, String) {
    match proof {
        Err(broken) => (BROKEN, format!("the audit is broken: {broken}")),
        Ok(proof) => {
            let whole = format!("the audit is whole: {} rows, each proved by the key", proof.chain.rows);
            let gaps = proof.gaps.iter().map(|gap| {
                format!(
                    "\nrow {} of {} says that rows had been cut off before it, or an old copy of the store put back: {}",
                    gap.seq,
                    time(gap),
                    detail(gap)
                )
            });
            (if proof.gaps.is_empty() { 0 } else { CUT_BEFORE }, gaps.fold(whole, |text, gap| text + &gap))
        }
    }
}

fn heading() -> String {
    line(&["ROW", "TIME (UTC)", "OUTCOME", "ACTION", "WHO", "WHOM", "FROM", "REQUEST", "DETAIL"].map(str::to_owned))
}

fn as_line(row: &AuditEntry) -> String {
    let whom = |name: &Option<String>, id: &Option<String>, nobody: &str| match (name, id) {
        (Some(name), Some(id)) => format!("{} ({id})", harmless(name)),
        (None, Some(id)) => harmless(id),
        (_, None) => nobody.to_owned(),
    };
    line(&[
        row.seq.to_string(),
        time(row),
        serde_json::to_value(&row.outcome).ok().and_then(|text| text.as_str().map(harmless)).unwrap_or_default(),
        harmless(&row.action),
        whom(&row.actor_name, &row.actor, "-"),
        whom(&row.subject_name, &row.subject, "-"),
        harmless(&row.address),
        harmless(&row.request_id),
        detail(row),
    ])
}

/// In columns wide enough for what is usual; what is wider moves the rest of its line.
fn line(cells: &[String; 9]) -> String {
    const WIDTHS: [usize; 9] = [6, 19, 7, 23, 32, 32, 15, 24, 0];
    let cells: Vec<_> = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

fn time(row: &AuditEntry) -> String {
    row.at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn detail(row: &AuditEntry) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs: Vec<_> = row.detail.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    harmless(&pairs.join(" "))
}

/// JSON escapes control characters, but not those that turn a terminal's text around.
fn as_json(row: &AuditEntry) -> String {
    let text = serde_json::to_string(row).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}
