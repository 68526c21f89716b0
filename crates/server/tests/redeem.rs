//! Once and only once: races, lost answers, names.
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
use serde_json::{Value, json};

async fn audited(platform: &Platform) -> Vec<String> {
    platform.rows("SELECT action, outcome, detail FROM audit ORDER BY seq DESC LIMIT 1").await
}

#[track_caller]
fn is_replay(answer: &Answer) {
    assert_eq!(answer.status, 403, "{answer:?}");
    let time = answer.field().strip_prefix("registration token was already redeemed at ").unwrap();
    time.parse::<jiff::Timestamp>().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_succeeds() {
    const RACERS: usize = 300;
    let platform = Arc::new(Platform::start().await);
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let racers: Vec<_> = (0..RACERS)
        .map(|n| {
            let (platform, register_token) = (platform.clone(), register_token.clone());
            tokio::spawn(async move { platform.redeem(&register_token).key(&format!("key-{n}"), 1).send().await })
        })
        .collect();
    let mut tokens = Vec::new();
    for racer in racers {
        let answer = racer.await.unwrap();
        if answer.status == 201 {
            tokens.push(answer.text("refresh_token"));
        } else {
            is_replay(&answer);
        }
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(platform.exchange(&tokens[0]).await.status, 201);
    assert_eq!(platform.rows("SELECT count(*) FROM tokens WHERE name = 'anna'").await, ["1"]);
    assert_eq!(platform.register_tokens(&admin).await[0]["replay_count"], RACERS - 1);
    let mut platform = Arc::into_inner(platform).unwrap();
    platform.stop().await;
    let count = "SELECT replay_count, last_replay_at > redeemed_at FROM register_tokens";
    assert_eq!(platform.rows(count).await, [format!("{}|1", RACERS - 1)]);
    // The first is a row of its own, a row for the rest says how many.
    let replays = format!(
        "SELECT sum(coalesce(CAST({} AS BIGINT), 1)), count(*) <= 3 FROM audit \
         WHERE action = 'create_refresh_token' AND outcome = 'replay'",
        platform.database().detail("count")
    );
    assert_eq!(platform.rows(&replays).await, [format!("{}|1", RACERS - 1)]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_lost_answer_is_issued_anew() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let first = platform.redeem(&register_token).key("k", 1).send().await.text("refresh_token");
    let second = platform.redeem(&register_token).key("k", 2).send().await;
    assert_eq!(second.status, 201);
    platform.clock.advance(Duration::from_secs(55));
    let third = platform.redeem(&register_token).key("k", 7).send().await;
    assert_eq!(third.status, 201);
    let (second, third) = (second.text("refresh_token"), third.text("refresh_token"));
    assert!(first != second && second != third);
    assert_eq!(platform.exchange(&first).await.field(), "Forbidden");
    assert_eq!(platform.exchange(&second).await.field(), "Forbidden");
    assert_eq!(platform.exchange(&third).await.status, 201);
    assert_eq!(
        platform.rows("SELECT delete_reason FROM tokens WHERE name = 'anna'").await,
        ["superseded", "superseded", ""]
    );
    platform.verify_audit().await;
}

#[tokio::test]
async fn the_lost_answer_of_a_token_that_was_used_is_a_replay() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let token = platform.redeem(&register_token).key("k", 1).send().await.text("refresh_token");
    let session = platform.session(&token).await;
    is_replay(&platform.redeem(&register_token).key("k", 2).send().await);
    assert_eq!(platform.who_am_i(&session).await.status, 200, "the first stands");
    let expected = r#"create_refresh_token|replay|{"reason":"already redeemed"}"#;
    assert_eq!(audited(&platform).await, [expected]);
}

#[tokio::test]
async fn after_a_minute_a_lost_answer_is_a_replay() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let token = platform.redeem(&register_token).key("k", 1).send().await.text("refresh_token");
    // The minute is counted from the redeeming, not from the latest retry.
    platform.clock.advance(Duration::from_secs(50));
    let token_of_retry = platform.redeem(&register_token).key("k", 2).send().await.text("refresh_token");
    platform.clock.advance(Duration::from_secs(11));
    is_replay(&platform.redeem(&register_token).key("k", 3).send().await);
    assert_eq!(platform.exchange(&token).await.status, 403);
    assert_eq!(platform.exchange(&token_of_retry).await.status, 201);
}

#[tokio::test]
async fn a_retry_does_not_bring_a_deleted_token_back() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    platform.redeem(&register_token).key("k", 1).send().await;
    assert_eq!(platform.delete(&admin, "anna").send().await.status, 204);
    is_replay(&platform.redeem(&register_token).key("k", 2).send().await);
}

#[tokio::test]
async fn a_late_attempt_and_another_caller_are_refused() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let token = platform.redeem(&register_token).key("k", 2).send().await.text("refresh_token");
    for attempt in [1, 2] {
        let answer = platform.redeem(&register_token).key("k", attempt).send().await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (409, &json!("ConflictException")));
        assert!(answer.field().contains("higher Idempotency-Attempt"), "{answer:?}");
    }
    is_replay(&platform.redeem(&register_token).key("other", 3).send().await);
    is_replay(&platform.redeem(&register_token).send().await);
    assert_eq!(platform.exchange(&token).await.status, 201);

    let unkeyed = platform.registered(&admin, "boris").await;
    assert_eq!(platform.redeem(&unkeyed).send().await.status, 201);
    is_replay(&platform.redeem(&unkeyed).send().await);
    is_replay(&platform.redeem(&unkeyed).key("k", 1).send().await);
    // Keys belong to the registration token: another may use the same.
    let third = platform.registered(&admin, "clara").await;
    assert_eq!(platform.redeem(&third).key("k", 1).send().await.status, 201);
}

#[tokio::test]
async fn unknown_expired_and_withdrawn() {
    let mut platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let expired = platform.registered_with(&admin, "late", json!({"access_ttl": "1s"})).await;
    platform.clock.advance(Duration::from_secs(1));
    let unknown = platform.redeem("mlpx_whatever").key("k", 1).send().await;
    let expired = platform.redeem(&expired).key("k", 1).send().await;
    let other_kind = platform.redeem(&platform.admin).key("k", 1).send().await;
    for answer in [&unknown, &expired, &other_kind] {
        assert_eq!((answer.status, answer.field()), (403, "Forbidden"));
    }
    assert_eq!((unknown.header("x-token-refusal"), expired.header("x-token-refusal")), (None, Some("expired")));
    let reasons = platform.rows("SELECT detail FROM audit WHERE outcome = 'refused' ORDER BY seq").await;
    assert_eq!(reasons, [r#"{"reason":"unknown"}"#, r#"{"reason":"expired"}"#]);
    // The second of a kind was counted.
    platform.stop().await;
    let counted = platform.rows("SELECT detail FROM audit ORDER BY seq DESC LIMIT 1").await;
    assert_eq!(counted, [r#"{"reason":"unknown","count":1}"#]);
}

#[tokio::test]
async fn the_access_tokens_life_begins_when_it_is_made() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered_with(&admin, "anna", json!({"refresh_ttl": "1h"})).await;
    platform.clock.advance(Duration::from_secs(5_400));
    let before = platform.clock.now();
    let info = platform.redeem(&register_token).send().await.body["info"].clone();
    let exp: jiff::Timestamp = info["exp"].as_str().unwrap().parse().unwrap();
    assert!((3_599..=3_601).contains(&exp.duration_since(before).as_secs()));
}

#[tokio::test]
async fn a_name_belongs_to_one_living_token() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let (one, other) = (platform.registered(&admin, "anna").await, platform.registered(&admin, "anna").await);
    assert_eq!(platform.redeem(&one).send().await.status, 201);
    for answer in
        [platform.redeem(&other).key("k", 1).send().await, platform.register(&admin, "anna", json!({})).send().await]
    {
        assert_eq!((answer.status, &answer.body["errorCode"]), (409, &json!("ConflictException")));
        assert!(answer.field().contains("a living token is named 'anna'"), "{answer:?}");
    }
    assert_eq!(platform.delete(&admin, "anna").send().await.status, 204);
    assert_eq!(platform.redeem(&other).key("k", 2).send().await.status, 201, "it stayed redeemable");
    platform.verify_audit().await;
}

#[tokio::test]
async fn an_expired_token_gives_its_name_away() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({"refresh_ttl": "60s"})).await;
    platform.clock.advance(Duration::from_secs(60));
    let new = platform.token(&admin, "anna", json!({})).await;
    assert_eq!(platform.exchange(&new).await.status, 201);
    let refused = platform.exchange(&old).await;
    assert_eq!((refused.field(), refused.header("x-token-refusal")), ("Forbidden", Some("expired")));
    assert_eq!(
        platform.rows("SELECT delete_reason FROM tokens WHERE name = 'anna' ORDER BY seq").await,
        ["expired", ""]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_name_many_registration_tokens_at_once() {
    let platform = Arc::new(Platform::start().await);
    let admin = platform.admin_session().await;
    // All of them first: once one is redeemed, the name is taken and no other can be made.
    let mut register_tokens = Vec::new();
    for _ in 0..20 {
        register_tokens.push(platform.registered(&admin, "anna").await);
    }
    let racers: Vec<_> = register_tokens
        .into_iter()
        .map(|register_token| {
            let platform = platform.clone();
            tokio::spawn(async move { platform.redeem(&register_token).send().await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for racer in racers {
        statuses.push(racer.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, [409].repeat(19).as_slice()));
    assert_eq!(platform.rows("SELECT count(*) FROM register_tokens WHERE redeemed_at IS NULL").await, ["19"]);
}

#[tokio::test]
async fn the_lost_answer_of_a_registration_token() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let make = |attempt, fields: Value| platform.register(&admin, "anna", fields).key("k", attempt).send();
    let first = make(1, json!({})).await;
    let second = make(2, json!({})).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(platform.redeem(&first.text("register_token")).send().await.field(), "Forbidden", "it was withdrawn");
    for attempt in [1, 2] {
        let refused = make(attempt, json!({})).await;
        assert_eq!(refused.status, 409);
        assert!(refused.field().contains("higher Idempotency-Attempt"), "{refused:?}");
    }
    let another = make(3, json!({"token_type": "ADMIN"})).await;
    assert!(another.status == 409 && another.field().contains("another request"), "{another:?}");
    assert_eq!(platform.redeem(&second.text("register_token")).send().await.status, 201);
    let redeemed = make(3, json!({})).await;
    assert!(redeemed.status == 409 && redeemed.field().contains("redeemed already"), "{redeemed:?}");
    // The same text is another key in another caller's hand.
    let boris = platform.session(&platform.token(&admin, "boris", json!({"token_type": "ADMIN"})).await).await;
    assert_eq!(platform.register(&boris, "clara", json!({})).key("k", 1).send().await.status, 201);
    platform.verify_audit().await;
}

#[tokio::test]
async fn the_lost_answer_of_a_deletion() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    platform.token(&admin, "anna", json!({})).await;
    assert_eq!(platform.delete(&admin, "anna").key("k", 1).send().await.status, 204);
    let namesake = platform.token(&admin, "anna", json!({})).await;
    for attempt in [2, 2, 1] {
        assert_eq!(platform.delete(&admin, "anna").key("k", attempt).send().await.status, 204);
    }
    assert_eq!(platform.exchange(&namesake).await.status, 201, "the intention was about the first");
    let other_name = platform.delete(&admin, "admin").key("k", 3).send().await;
    assert!(other_name.status == 409 && other_name.field().contains("'anna'"), "{other_name:?}");
    assert_eq!(platform.delete(&admin, "anna").key("new", 1).send().await.status, 204);
    assert_eq!(platform.delete(&admin, "anna").send().await.status, 404);
}

#[tokio::test]
async fn bad_keys() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    for (name, value) in [
        ("idempotency-attempt", "0"),
        ("idempotency-attempt", "x"),
        ("idempotency-attempt", "4294967296"),
        ("idempotency-key", ""),
        ("idempotency-key", "a b"),
        ("idempotency-key", &"k".repeat(129)),
    ] {
        let answer = platform.redeem(&register_token).header(name, value).send().await;
        assert_eq!(answer.status, 400, "{name}: {value}");
        assert!(answer.field().to_lowercase().contains(name), "{answer:?}");
    }
    let twice = platform.redeem(&register_token).key("a", 1).header("idempotency-key", "b").send().await;
    assert_eq!(twice.status, 400);
    assert_eq!(platform.redeem(&register_token).header("idempotency-key", "a").send().await.status, 201);
}
