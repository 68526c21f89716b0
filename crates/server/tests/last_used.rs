//! When and from where a token was used: shown at once, written apart from requests, never lost at a clean stop.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::Platform;
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::routes::GetProjectTokensInfo;
use serde_json::{Value, json};

async fn stored(platform: &Platform) -> Vec<String> {
    platform.rows("SELECT name, last_used_at IS NOT NULL, last_used_address FROM tokens ORDER BY seq").await
}

async fn listed(platform: &Platform, session: &str, name: &str) -> Value {
    let list = platform.ask::<GetProjectTokensInfo>(json!({})).session(session).send().await;
    list.body["items"].as_array().unwrap().iter().find(|info| info["name"] == name).unwrap().clone()
}

fn time(info: &Value) -> jiff::Timestamp {
    info["last_used_at"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn shown_at_once_and_kept_at_a_clean_stop() {
    let mut platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "anna", json!({})).await;
    let unused = listed(&platform, &admin, "anna").await;
    assert_eq!((&unused["last_used_at"], &unused["last_used_address"]), (&Value::Null, &Value::Null));
    let before = platform.clock.now();
    let anna = platform.session(&token).await;
    let first = listed(&platform, &admin, "anna").await;
    assert!(time(&first) >= before);
    assert_eq!(first["last_used_address"], "127.0.0.1");
    platform.clock.advance(Duration::from_secs(5));
    platform.who_am_i(&anna).await;
    let second = listed(&platform, &admin, "anna").await;
    assert!(time(&second).duration_since(time(&first)).as_secs() >= 5);
    platform.stop().await;
    assert_eq!(stored(&platform).await, ["admin|1|127.0.0.1", "anna|1|127.0.0.1"]);

    let again = Platform::start_in(platform.folder.clone(), Limits::default(), None).await;
    let admin = again.admin_session().await;
    assert_eq!(listed(&again, &admin, "anna").await, second, "to the microsecond");
    again.verify_audit().await;
}

/// The store is read while the server runs: a hundred requests have changed no row.
#[tokio::test]
async fn requests_do_not_write_it() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    platform.registered(&admin, "a write of another kind").await;
    for _ in 0..100 {
        platform.who_am_i(&admin).await;
    }
    let changes = platform.rows("SELECT count(*) FROM tokens WHERE last_used_at IS NOT NULL").await;
    assert_eq!(changes, ["0"]);
}

/// However long a refused attempt takes, it is no use.
#[tokio::test]
async fn a_refusal_is_no_use() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "anna", json!({"refresh_ttl": "60s"})).await;
    let session = platform.session(&token).await;
    let used = listed(&platform, &admin, "anna").await;
    platform.delete(&admin, "anna").send().await;
    platform.clock.advance(Duration::from_secs(1));
    assert_eq!(platform.exchange(&token).await.status, 403);
    assert_eq!(platform.who_am_i(&session).await.status, 401);
    let mut platform = platform;
    platform.stop().await;
    let kept = "SELECT last_used_at FROM tokens WHERE name = 'anna'";
    assert_eq!(platform.rows(kept).await, [time(&used).as_microsecond().to_string()]);
}
