//! Strangers: they are slowed, they fill no disk, and nobody else notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Answer, Platform};
use mlplatform_protocol::{
    Endpoint,
    routes::{CreateSession, Healthz},
};
use mlplatform_server::{Config, Limits, Proxies};
use serde_json::json;

const LONG: Duration = Duration::from_secs(3_600);

fn strict() -> Limits {
    Limits { unknown: 3, unknown_every: LONG, ..Limits::default() }
}

#[track_caller]
fn is_told_to_wait(answer: &Answer, seconds: std::ops::RangeInclusive<u64>) {
    assert_eq!((answer.status, &answer.body["errorCode"]), (429, &json!("TooManyRequestsException")), "{answer:?}");
    assert!(answer.field().contains("Retry-After"));
    let told: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds.contains(&told), "{told}");
}

#[tokio::test]
async fn unknown_secrets_are_slowed_and_real_ones_are_not() {
    let platform = Platform::start_with(strict()).await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let gone = platform.token(&admin, "gone", json!({})).await;
    platform.delete(&admin, "gone").send().await;
    // Exchange and redeem draw on one bucket.
    assert_eq!(platform.exchange("nobody's").await.field(), "Forbidden");
    assert_eq!(platform.redeem("nobody's").send().await.field(), "Forbidden");
    assert_eq!(platform.exchange("nobody's").await.field(), "Forbidden");
    for _ in 0..3 {
        is_told_to_wait(&platform.exchange("nobody's").await, 3_590..=3_600);
        is_told_to_wait(&platform.redeem("mlpx_0123456789ABCDEFGHIJKLMNOPQRSTUV000000").send().await, 3_590..=3_600);
    }
    // From the same address: everybody who holds what is, or was, a real secret.
    for _ in 0..10 {
        assert_eq!(platform.exchange(&platform.admin).await.status, 201);
        assert_eq!(platform.exchange(&gone).await.field(), "Forbidden");
    }
    assert_eq!(platform.redeem(&register_token).send().await.status, 201);
    assert!(platform.redeem(&register_token).send().await.field().contains("already redeemed at"));
    assert_eq!(platform.who_am_i(&admin).await.status, 200);
}

#[tokio::test]
async fn retry_after_is_right() {
    let limits = Limits { unknown: 1, unknown_every: Duration::from_millis(1_500), ..Limits::default() };
    let platform = Platform::start_with(limits).await;
    assert_eq!(platform.exchange("nobody's").await.status, 403);
    let refused = platform.exchange("nobody's").await;
    is_told_to_wait(&refused, 1..=2);
    tokio::time::sleep(Duration::from_secs(refused.header("retry-after").unwrap().parse().unwrap())).await;
    assert_eq!(platform.exchange("nobody's").await.status, 403);
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit() {
    let mut platform = Platform::start().await;
    for _ in 0..300 {
        assert_eq!(platform.exchange("nobody's").await.status, 403);
    }
    let rows = "SELECT address, detail FROM audit WHERE action = 'create_session' ORDER BY seq";
    assert_eq!(platform.rows(rows).await, [r#"127.0.0.1|{"reason":"unknown"}"#]);
    platform.stop().await;
    assert_eq!(platform.rows(rows).await[1..], [r#"127.0.0.1|{"reason":"unknown","count":299}"#]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_count_is_written_when_its_time_is_over() {
    let platform = Platform::start_with(Limits { tally: Duration::from_millis(200), ..Limits::default() }).await;
    for _ in 0..20 {
        platform.exchange("nobody's").await;
    }
    let total = "SELECT sum(coalesce(detail ->> 'count', 1)) FROM audit WHERE action = 'create_session'";
    tokio::time::timeout(Duration::from_secs(20), async {
        while platform.rows(total).await != ["20"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the count is never written");
}

#[tokio::test]
async fn behind_a_proxy_everybody_has_an_address_of_their_own() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let proxies = Proxies(vec!["127.0.0.0/8".parse().unwrap()]);
    let config = Config { limits: strict(), proxies, ..Config::new(folder.path()) };
    let platform = Platform::start_as(folder, config).await;
    let from = |address: &'static str| {
        platform.ask::<CreateSession>(json!({"refresh_token": "nobody's"})).header("x-forwarded-for", address).send()
    };
    for _ in 0..3 {
        assert_eq!(from("203.0.113.66, 198.51.100.1").await.status, 403);
    }
    assert_eq!(from("203.0.113.67, 198.51.100.1").await.status, 429, "what stands before the last is anybody's word");
    assert_eq!(from("198.51.100.2").await.status, 403);
    let addresses = "SELECT address FROM audit WHERE action = 'create_session' ORDER BY seq";
    assert_eq!(platform.rows(addresses).await, ["198.51.100.1", "198.51.100.2"]);
}

#[tokio::test]
async fn nobody_is_believed_without_being_named() {
    let platform = Platform::start_with(strict()).await;
    for n in 0..4 {
        let ask = platform.ask::<CreateSession>(json!({"refresh_token": "nobody's"}));
        let answer = ask.header("x-forwarded-for", &format!("198.51.100.{n}")).send().await;
        assert_eq!(answer.status, if n < 3 { 403 } else { 429 });
    }
}

#[tokio::test]
async fn what_is_too_long_is_not_read() {
    let platform = Platform::start().await;
    let long = "x".repeat(8_193);
    for answer in [platform.exchange(&long).await, platform.redeem(&long).send().await] {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains("has 8193 bytes, and no token has more than 8192"), "{answer:?}");
    }
    assert_eq!(platform.exchange(&long[1..]).await.status, 403);
    let url = format!("{}{}", platform.url, Healthz::ROUTE.path);
    let head = platform.http.get(url).header("x-long", "x".repeat(40_000)).send().await.unwrap();
    assert_eq!(head.status(), 431);
}
