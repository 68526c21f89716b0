//! Making the checks of readiness.
//!
//! The checks are made when somebody asks, at most once in [`FRESH`] whoever asks: anybody may, and one of them writes.
//! What they find is told in words that give a stranger no numbers; the log has these, once for each change.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{Check, Report};
use crate::{
    app::App,
    clock::micros,
    error::{Result, causes},
};

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(1);
/// A store that takes longer is none to send requests to.
const PATIENCE: Duration = Duration::from_secs(2);
/// By how much the clock may be behind the newest time in the store, or off the database's: more, and times do not rise any
/// more with the order of changes.
const DRIFT: Duration = Duration::from_secs(1);

/// Makes the checks, unless that was done just now.
pub async fn check(app: &App) -> Report {
    let readiness = app.readiness();
    let mut last = readiness.last.lock().await;
    let mut report = match last.as_ref() {
        Some((at, report)) if at.elapsed() < FRESH => report.clone(),
        before => {
            let report = run_checks(app).await;
            log_change(before.map(|(_, report)| report), &report);
            *last = Some((Instant::now(), report.clone()));
            report
        }
    };
    // Known at once.
    let draining = readiness.draining.load(Ordering::SeqCst).then(String::new);
    report.0.push(Check::new("serving", draining, "the server is stopping"));
    report
}

async fn run_checks(app: &App) -> Report {
    let now = app.clock().now().as_microsecond();
    // At the same time: whoever asks waits for one of them.
    let (schema, written, newest, off, disk) = tokio::join!(
        with_timeout(async { Ok(app.store().suits().await?) }),
        with_timeout(async { Ok(app.store().touch(now).await?) }),
        with_timeout(app.audit_time()),
        with_timeout(async { Ok(app.store().clock_difference(|| app.clock().now().as_microsecond()).await?) }),
        disk(app),
    );
    // Later than what is compared with it.
    let now = app.clock().now().as_microsecond();
    let behind = newest.as_ref().map_or(0, |newest| newest.unwrap_or(now).saturating_sub(now));
    let off = off.as_ref().copied().unwrap_or_default();
    let store = schema.as_ref().err().or(written.err().as_ref()).or(newest.as_ref().err()).cloned();
    let clock = if off > micros(DRIFT).unsigned_abs() {
        (Some(format!("{} ms off", off / 1_000)), "the clock is not that of the database")
    } else {
        let behind = (behind > micros(DRIFT)).then(|| format!("{} s behind the newest audit row", behind / 1_000_000));
        (behind, "the clock is behind the times in the store")
    };
    Report(vec![
        Check::new("store", store, "the store cannot be read and written"),
        Check::new(
            "schema",
            schema.is_ok_and(|is| !is).then(|| "start this version on it alone, or install the newer one".to_owned()),
            "the store is of another version of mlplatform-server",
        ),
        Check::new("clock", clock.0, clock.1),
        Check::new("disk", disk, "the disk is nearly full"),
    ])
}

async fn disk(app: &App) -> Option<String> {
    let silent = || Some(format!("it did not answer within {} s", PATIENCE.as_secs()));
    let Ok(turn) = Arc::clone(&app.readiness().looking).try_lock_owned() else { return silent() };
    let app = app.clone();
    // A disk of the network may take its time.
    let looked = spawn_blocking(move || {
        let _turn = turn;
        let free = app.system().free().unwrap_or_default();
        app.system().is_low().then(|| format!("{} MiB are free", free >> 20))
    });
    match timeout(PATIENCE, looked).await {
        Ok(Ok(low)) => low,
        _ => silent(),
    }
}

/// What came of it, if it came in time.
async fn with_timeout<T>(work: impl Future<Output = Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| format!("{error}: {}", causes(&error).join(": "))),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Says in the log what has changed.
fn log_change(before: Option<&Report>, now: &Report) {
    let failing = |report: Option<&Report>| report.and_then(Report::failed).map(Check::name);
    match now.failed() {
        None if failing(before).is_some() => tracing::info!("ready again"),
        Some(Check { name, problem: Some((problem, detail)) }) if failing(before) != Some(name) => {
            tracing::warn!("not ready: {problem}: {detail}");
        }
        _ => {}
    }
}
