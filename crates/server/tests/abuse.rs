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
use mlplatform_api::proxies::Proxies;
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::{
    Endpoint,
    routes::{CreateSession, GetProjectTokensInfo, Healthz, WhoAmI},
};
use mlplatform_server::server::Config;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const LONG: Duration = Duration::from_secs(3_600);
/// Far more than anything here takes.
const LATE: Duration = Duration::from_secs(60);

fn strict() -> Limits {
    Limits { refusals: 3, refusals_every: LONG, refusal_delay: Duration::ZERO, ..Limits::default() }
}

/// What `X-Forwarded-For` says is believed there.
async fn behind_a_proxy(limits: Limits) -> Platform {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let proxies = Proxies(vec!["127.0.0.0/8".parse().unwrap()]);
    let config = Config { limits, proxies, ..Config::new(folder.path()) };
    Platform::start_as(folder, config).await
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

/// An answer that is late comes long after this test.
#[tokio::test]
async fn who_comes_with_too_many_waits_and_takes_nobodys_place() {
    const AT_ONCE: u64 = 40;
    let limits = Limits { refusals: 0, refusal_delay: LONG, requests: 100, drain: Duration::ZERO, ..Limits::default() };
    let mut platform = Arc::new(Platform::start_with(limits).await);
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let anna = platform.redeem(&register_token).send().await.text("refresh_token");
    let gone = platform.token(&admin, "gone", json!({})).await;
    platform.delete(&admin, "gone").send().await;
    let mut late = JoinSet::new();
    let (one, other, third) = (platform.clone(), platform.clone(), platform.clone());
    late.spawn(async move { one.exchange("nobody's").await });
    late.spawn(async move { other.exchange(&gone).await });
    late.spawn(async move { third.who_am_i("nobody's").await });
    // More than there are places for this address, though never so many in the same moment.
    for wave in 1..=3 {
        for _ in 0..AT_ONCE {
            let (platform, register_token) = (platform.clone(), register_token.clone());
            late.spawn(async move { platform.redeem(&register_token).send().await });
        }
        timeout(LATE, async {
            while platform.register_tokens(&admin).await[0]["replay_count"] != wave * AT_ONCE {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("what is late is not done, or has taken all the places");
    }
    let refused = "SELECT count(DISTINCT detail) FROM audit WHERE outcome <> 'done'";
    assert_eq!(platform.rows(refused).await, ["3"]);
    // From the same address: whoever has a good one.
    for token in [&platform.admin, &anna].repeat(10) {
        assert_eq!(timeout(LATE, platform.exchange(token)).await.unwrap().status, 201);
    }
    assert_eq!(timeout(LATE, platform.who_am_i(&admin)).await.unwrap().status, 200);
    assert!(late.try_join_next().is_none());
    late.shutdown().await;
    Arc::get_mut(&mut platform).unwrap().stop().await;
}

/// Of which there are a few: held by refusals that wait for the writer, they would be nobody's.
#[tokio::test]
async fn refusals_that_wait_for_the_writer_keep_nobody_from_reading() {
    let platform = Arc::new(behind_a_proxy(Limits::default()).await);
    let admin = platform.admin_session().await;
    let gone = platform.token(&admin, "gone", json!({})).await;
    platform.delete(&admin, "gone").send().await;
    let writing = platform.hold_the_writer().await;
    let mut firsts: JoinSet<u16> = (0..16)
        .map(|n| {
            let (platform, token) = (platform.clone(), if n % 2 == 0 { gone.clone() } else { "nobody's".to_owned() });
            async move {
                let ask = platform.ask::<CreateSession>(json!({"refresh_token": token}));
                ask.header("x-forwarded-for", &format!("198.51.100.{n}")).send().await.status
            }
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(timeout(LATE, platform.who_am_i(&admin)).await.expect("nobody reads").status, 200);
    }
    assert!(firsts.try_join_next().is_none(), "the first of each waits, and is a row before it is answered");
    drop(writing);
    assert_eq!(firsts.join_all().await, [403; 16]);
    assert_eq!(platform.rows("SELECT count(*) FROM audit WHERE outcome = 'refused'").await, ["16"]);
}

/// The refusal of a secret that has ended, too, must cost no write: whoever has one, has one for ever.
#[tokio::test]
async fn refusals_do_not_wait_for_the_writer() {
    let mut platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    platform.redeem(&register_token).key("k", 1).send().await;
    let late = platform.registered_with(&admin, "late", json!({"access_ttl": "1s"})).await;
    let gone = platform.token(&admin, "gone", json!({})).await;
    platform.delete(&admin, "gone").send().await;
    platform.clock.advance(Duration::from_secs(61));
    let refused = async || {
        let exchanged = platform.exchange(&gone).await;
        assert_eq!((exchanged.status, exchanged.field()), (403, "Forbidden"));
        assert_eq!(platform.redeem(&late).send().await.header("x-token-refusal"), Some("expired"));
        // Even with the right key, after the minute in which a lost answer may be asked for again.
        for attempt in [1, 2] {
            let answer = platform.redeem(&register_token).key("k", attempt).send().await;
            assert_eq!(answer.status, if attempt == 1 { 409 } else { 403 }, "{answer:?}");
        }
        let replay = platform.redeem(&register_token).send().await;
        assert!(replay.field().contains("already redeemed at"), "{replay:?}");
    };
    // The first of each kind is a row.
    refused().await;
    let writing = platform.hold_the_writer().await;
    timeout(LATE, async {
        for _ in 0..10 {
            refused().await;
        }
    })
    .await
    .expect("a refusal waits for the writer");
    drop(writing);
    // The issuer need not wait until they are written.
    let shown = &platform.register_tokens(&admin).await[0];
    assert_eq!((&shown["client_name"], &shown["replay_count"]), (&json!("anna"), &json!(22)));
    let stored = "SELECT replay_count FROM register_tokens WHERE client_name = 'anna'";
    assert_eq!(platform.rows(stored).await, ["1"]);
    let last = async |platform: &Platform| platform.rows("SELECT max(last_replay_at) FROM register_tokens").await;
    let first = last(&platform).await;
    platform.stop().await;
    assert_eq!(platform.rows(stored).await, ["22"]);
    assert!(last(&platform).await > first);
    platform.verify_audit().await;
}

/// Of requests that take long, here because they wait for the writer.
#[tokio::test]
async fn one_address_leaves_half_of_the_places_to_the_others() {
    let platform = Arc::new(behind_a_proxy(Limits { requests: 8, ..Limits::default() }).await);
    let admin = platform.admin_session().await;
    let writing = platform.hold_the_writer().await;
    // Ten times as many as there are places for.
    let mut crowd: JoinSet<Answer> = (0..40)
        .map(|n| {
            let platform = platform.clone();
            async move {
                let ask = platform.ask::<CreateSession>(json!({"refresh_token": platform.admin}));
                // Another address of the same /64.
                ask.header("x-forwarded-for", &format!("2001:db8::{n}")).send().await
            }
        })
        .collect();
    for _ in 0..36 {
        let refused = timeout(LATE, crowd.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    let from = |address| platform.ask::<WhoAmI>(json!({})).session(&admin).header("x-forwarded-for", address).send();
    assert_eq!(from("2001:db8::7").await.status, 503);
    assert_eq!(from("2001:db8:0:1::7").await.status, 200);
    drop(writing);
    assert_eq!(crowd.join_all().await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201; 4]);
    for _ in 0..20 {
        assert_eq!(from("2001:db8::7").await.status, 200);
    }
}

#[tokio::test]
async fn retry_after_is_right() {
    let limits = Limits { refusals: 1, refusals_every: Duration::from_millis(1_500), ..strict() };
    let platform = Platform::start_with(limits).await;
    let refused = timeout(LATE, async {
        loop {
            // On a busy machine, one may take as long as the wait.
            let answer = platform.exchange("nobody's").await;
            if answer.status != 403 {
                break answer;
            }
        }
    });
    let refused = refused.await.expect("nobody is told to wait");
    is_told_to_wait(&refused, 1..=2);
    sleep(Duration::from_secs(refused.header("retry-after").unwrap().parse().unwrap())).await;
    assert_eq!(platform.exchange("nobody's").await.status, 403);
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit() {
    let mut platform = Platform::start_with(Limits { refusal_window: LONG, ..Limits::default() }).await;
    for _ in 0..300 {
        assert_eq!(platform.exchange("nobody's").await.status, 403);
    }
    let rows = "SELECT address, detail FROM audit WHERE action = 'create_session' ORDER BY seq";
    assert_eq!(platform.rows(rows).await, [r#"127.0.0.1|{"reason":"unknown"}"#]);
    platform.stop().await;
    assert_eq!(platform.rows(rows).await[1..], [r#"127.0.0.1|{"reason":"unknown","count":299}"#]);
    platform.verify_audit().await;
}

/// Nobody is a stranger with a token, but a program in a loop fills a disk all the same.
#[tokio::test]
async fn refusals_of_who_has_signed_in_do_not_fill_the_audit() {
    let mut platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let anna = platform.token(&admin, "anna", json!({})).await;
    let session = platform.session(&anna).await;
    let ask = async || platform.ask::<GetProjectTokensInfo>(json!({})).session(&session).send().await.status;
    for _ in 0..200 {
        assert_eq!(ask().await, 403);
    }
    // From here on it costs no write.
    let writing = platform.hold_the_writer().await;
    assert_eq!(timeout(LATE, ask()).await.expect("a refusal waits for the writer"), 403);
    drop(writing);
    // Another's are rows still.
    platform.delete(&admin, "nobody").send().await;
    let rows = "SELECT count(*) FROM audit WHERE action = 'get_project_tokens_info'";
    assert_eq!(platform.rows(rows).await, ["30"]);
    assert_eq!(platform.rows("SELECT count(*) FROM audit WHERE action = 'delete_token'").await, ["1"]);
    platform.stop().await;
    let last = "SELECT a.detail, t.name FROM audit a JOIN tokens t ON t.id = a.actor \
                WHERE action = 'get_project_tokens_info' ORDER BY a.seq DESC LIMIT 1";
    assert_eq!(platform.rows(last).await, [r#"{"reason":"role","count":171}|anna"#]);
    assert_eq!(platform.rows(rows).await, ["31"]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_count_is_written_when_its_time_is_over() {
    let platform =
        Platform::start_with(Limits { refusal_window: Duration::from_millis(200), ..Limits::default() }).await;
    for _ in 0..20 {
        platform.exchange("nobody's").await;
    }
    let count = platform.database().detail("count");
    let total = format!("SELECT sum(coalesce(CAST({count} AS BIGINT), 1)) FROM audit WHERE action = 'create_session'");
    timeout(LATE, async {
        while platform.rows(&total).await != ["20"] {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the count is never written");
}

#[tokio::test]
async fn behind_a_proxy_everybody_has_an_address_of_their_own() {
    let platform = behind_a_proxy(strict()).await;
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
