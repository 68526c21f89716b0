//! The machine's clock steps over the end of tokens and back: what had ended by the clock lives again, what was ended
//! by a decision does not, and nothing is lost.
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
use mlplatform_protocol::routes::RotateToken;
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn an_access_token_lives_and_ends_with_the_clock() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "anna", json!({"refresh_ttl": "1h"})).await;
    let session = platform.session(&token).await;
    for _ in 0..3 {
        assert_eq!(platform.who_am_i(&session).await.status, 200);
        platform.clock.advance(2 * HOUR);
        assert_eq!(platform.who_am_i(&session).await.status, 401);
        let refused = platform.exchange(&token).await;
        assert_eq!((refused.status, refused.field()), (403, "Forbidden"));
        platform.clock.step_back(2 * HOUR);
        assert_eq!(platform.exchange(&token).await.status, 201);
    }
    // A session that was made while the clock was ahead has no more rights than its token, and ends with it.
    platform.clock.advance(HOUR / 2);
    let ahead = platform.session(&token).await;
    platform.clock.step_back(HOUR / 2);
    assert_eq!(platform.who_am_i(&ahead).await.status, 200);
    let admin = platform.admin_session().await;
    assert_eq!(platform.delete(&admin, "anna").send().await.status, 204);
    assert_eq!(platform.who_am_i(&ahead).await.status, 401);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_registration_token_works_once_whatever_the_clock_does() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    platform.clock.advance(3 * HOUR);
    assert_eq!(platform.redeem(&register_token).send().await.status, 403);
    platform.clock.step_back(3 * HOUR);
    assert_eq!(platform.redeem(&register_token).send().await.status, 201);
    platform.clock.step_back(HOUR);
    let again = platform.redeem(&register_token).send().await;
    assert!(again.field().starts_with("registration token was already redeemed at "), "{again:?}");
    platform.verify_audit().await;
}

#[tokio::test]
async fn who_lost_the_name_stays_ended() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let first = platform.token(&admin, "anna", json!({"refresh_ttl": "1h"})).await;
    platform.clock.advance(2 * HOUR);
    let admin = platform.admin_session().await;
    let second = platform.token(&admin, "anna", json!({})).await;
    platform.clock.step_back(2 * HOUR);
    // By the clock the first would live again, but its name is another's now.
    assert_eq!(platform.exchange(&first).await.status, 403);
    assert_eq!(platform.exchange(&second).await.status, 201);
    assert_eq!(platform.rows("SELECT count(*) FROM tokens WHERE name = 'anna' AND deleted_at IS NULL").await, ["1"]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_after_a_step_back() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let lost = platform.redeem(&register_token).key("k", 1).send().await.text("refresh_token");
    platform.clock.step_back(HOUR);
    let token = platform.redeem(&register_token).key("k", 2).send().await.text("refresh_token");
    assert_eq!(platform.exchange(&lost).await.status, 403);
    assert_eq!(platform.exchange(&token).await.status, 201);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_value_that_was_rotated_away_stays_ended() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let leaked = platform.token(&admin, "anna", json!({})).await;
    let rotate = || platform.ask::<RotateToken>(json!({"token_name": "anna"})).session(&admin);
    let lost = rotate().key("k", 1).send().await.text("refresh_token");
    let owners = rotate().key("k", 2).send().await.text("refresh_token");
    for back in [Duration::from_secs(5), HOUR] {
        platform.clock.step_back(back);
        for dead in [&leaked, &lost] {
            assert_eq!(platform.exchange(dead).await.status, 403);
        }
        assert_eq!(platform.exchange(&owners).await.status, 201);
    }
    platform.verify_audit().await;
}
