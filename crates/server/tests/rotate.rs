//! Rotating: a new secret, the same token; what becomes of the old one, of sessions, and of lost answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Answer, Ask, Platform};
use mlplatform_protocol::{error::missing_scope, routes::RotateToken};
use serde_json::{Value, json};

trait Rotate {
    fn rotate(&self, session: &str, name: &str, more: Value) -> Ask;
}

impl Rotate for Platform {
    fn rotate(&self, session: &str, name: &str, more: Value) -> Ask {
        let mut request = json!({"token_name": name});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ask::<RotateToken>(request).session(session)
    }
}

fn secret(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.text("refresh_token")
}

#[tokio::test]
async fn a_new_secret_and_the_same_token() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({"refresh_ttl": "2h"})).await;
    let session = platform.session(&old).await;
    let before = platform.who_am_i(&session).await.body;
    let answer = platform.rotate(&admin, "anna", json!({})).send().await;
    let new = secret(&answer);
    assert_ne!(old, new);
    assert_eq!(platform.exchange(&old).await.field(), "Forbidden");
    assert_eq!(platform.who_am_i(&session).await.status, 401, "the old one's sessions end with it");
    let after = platform.who_am_i(&platform.session(&new).await).await.body;
    for field in ["id", "name", "type", "issuer_name", "issuer_id", "exp", "created_at"] {
        assert_eq!(before[field], after[field], "{field}");
        assert_eq!(before[field], answer.body["info"][field], "{field}");
    }
    let audit = "SELECT action, outcome, detail FROM audit ORDER BY seq DESC LIMIT 2";
    assert_eq!(
        platform.rows(audit).await,
        [
            r#"create_session|refused|{"reason":"rotated"}"#,
            r#"rotate_token|done|{"name":"anna","old_secrets_end":null,"sessions_ended":1}"#,
        ]
    );
    assert_eq!(common::tokens_in(platform.folder.path()), Vec::<std::path::PathBuf>::new());
    platform.verify_audit().await;
}

#[tokio::test]
async fn the_overlap_ends_by_the_clock() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({})).await;
    let session = platform.session(&old).await;
    let new = secret(&platform.rotate(&admin, "anna", json!({"overlap": "5m"})).send().await);
    platform.clock.advance(Duration::from_secs(290));
    let late = platform.exchange(&old).await;
    assert_eq!(late.status, 201);
    assert!((9..=10).contains(&late.body["expires_in"].as_u64().unwrap()), "not beyond the secret: {late:?}");
    assert_eq!(platform.who_am_i(&session).await.status, 200);
    platform.clock.advance(Duration::from_secs(10));
    assert_eq!(platform.exchange(&old).await.field(), "Forbidden");
    for session in [session, late.text("session_token")] {
        assert_eq!(platform.who_am_i(&session).await.status, 401);
    }
    assert_eq!(platform.exchange(&new).await.status, 201);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_rotation_without_overlap_ends_an_earlier_overlap() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let first = platform.token(&admin, "anna", json!({})).await;
    let second = secret(&platform.rotate(&admin, "anna", json!({"overlap": "1h"})).send().await);
    // A longer one later does not lengthen the first.
    let third = secret(&platform.rotate(&admin, "anna", json!({"overlap": "2h"})).send().await);
    for token in [&first, &second, &third] {
        assert_eq!(platform.exchange(token).await.status, 201);
    }
    platform.clock.advance(Duration::from_secs(3_600));
    assert_eq!(platform.exchange(&first).await.status, 403);
    assert_eq!(platform.exchange(&second).await.status, 201);
    let admin = platform.admin_session().await;
    let fourth = secret(&platform.rotate(&admin, "anna", json!({})).send().await);
    for token in [&first, &second, &third] {
        assert_eq!(platform.exchange(token).await.status, 403);
    }
    assert_eq!(platform.exchange(&fourth).await.status, 201);
}

#[tokio::test]
async fn the_end_of_the_token_is_the_end_of_all_its_secrets() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "short", json!({"refresh_ttl": "60s"})).await;
    let new = secret(&platform.rotate(&admin, "short", json!({"overlap": "1h"})).send().await);
    platform.clock.advance(Duration::from_secs(60));
    for token in [&old, &new] {
        assert_eq!(platform.exchange(token).await.header("x-token-refusal"), Some("expired"));
    }
    let old = platform.token(&admin, "gone", json!({})).await;
    let new = secret(&platform.rotate(&admin, "gone", json!({"overlap": "1h"})).send().await);
    let sessions = [platform.session(&old).await, platform.session(&new).await];
    assert_eq!(platform.delete(&admin, "gone").send().await.status, 204);
    for token in [&old, &new] {
        assert_eq!(platform.exchange(token).await.field(), "Forbidden");
    }
    for session in sessions {
        assert_eq!(platform.who_am_i(&session).await.status, 401);
    }
    for name in ["short", "gone", "nobody"] {
        assert_eq!(platform.rotate(&admin, name, json!({})).send().await.status, 404, "{name}");
    }
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_user_rotates_its_own_and_no_other() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "anna", json!({})).await;
    platform.token(&admin, "boris", json!({})).await;
    let anna = platform.session(&token).await;
    for name in ["boris", "admin", "nobody"] {
        let refused = platform.rotate(&anna, name, json!({})).send().await;
        assert_eq!((refused.status, refused.field()), (403, missing_scope("anna", "ml-platform:Manage").as_str()));
    }
    let new = secret(&platform.rotate(&anna, "anna", json!({})).send().await);
    assert_eq!(platform.exchange(&token).await.status, 403);
    let admin_again = secret(&platform.rotate(&admin, "admin", json!({})).send().await);
    assert_eq!(platform.exchange(&platform.admin).await.status, 403);
    assert_eq!(platform.who_am_i(&platform.session(&admin_again).await).await.text("name"), "admin");
    assert_eq!(platform.who_am_i(&platform.session(&new).await).await.text("name"), "anna");
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_lost_answer_is_issued_anew() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({})).await;
    let rotate = |attempt, more| platform.rotate(&admin, "anna", more).key("k", attempt).send();
    let overlap = || json!({"overlap": "1h"});
    let first = secret(&rotate(1, overlap()).await);
    platform.clock.advance(Duration::from_secs(300));
    let second = secret(&rotate(3, overlap()).await);
    for attempt in [1, 2, 3] {
        let refused = rotate(attempt, overlap()).await;
        assert_eq!(refused.status, 409);
        assert!(refused.field().contains("higher Idempotency-Attempt"), "{refused:?}");
    }
    for other in [json!({}), json!({"overlap": "2h"})] {
        let refused = rotate(4, other).await;
        assert!(refused.status == 409 && refused.field().contains("another request"), "{refused:?}");
    }
    assert_eq!(platform.exchange(&first).await.field(), "Forbidden");
    assert_eq!(platform.exchange(&second).await.status, 201);
    let used = rotate(4, overlap()).await;
    assert!(used.status == 409 && used.field().contains("in use already"), "{used:?}");
    // The overlap is counted from the first attempt.
    platform.clock.advance(Duration::from_secs(3_299));
    assert_eq!(platform.exchange(&old).await.status, 201);
    platform.clock.advance(Duration::from_secs(1));
    assert_eq!(platform.exchange(&old).await.status, 403);
    assert_eq!(platform.exchange(&second).await.status, 201);
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_late_attempt_does_not_undo_what_came_after() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    platform.token(&admin, "anna", json!({})).await;
    secret(&platform.rotate(&admin, "anna", json!({})).key("k", 1).send().await);
    let newer = secret(&platform.rotate(&admin, "anna", json!({})).key("other", 1).send().await);
    let late = platform.rotate(&admin, "anna", json!({})).key("k", 2).send().await;
    assert!(late.status == 409 && late.field().contains("rotated again or deleted"), "{late:?}");
    assert_eq!(platform.exchange(&newer).await.status, 201);
    platform.delete(&admin, "anna").send().await;
    platform.token(&admin, "anna", json!({})).await;
    let late = platform.rotate(&admin, "anna", json!({})).key("other", 2).send().await;
    assert_eq!(late.status, 409, "the namesake is another token: {late:?}");
    // Keys belong to whoever sends them.
    let token = platform.token(&admin, "boris", json!({"token_type": "ADMIN"})).await;
    let boris = platform.session(&token).await;
    assert_eq!(platform.rotate(&boris, "anna", json!({})).key("k", 1).send().await.status, 201);
}

/// Without an overlap the first attempt ends the session that asked; its repetition must get through all the same.
#[tokio::test]
async fn the_lost_answer_of_ones_own_rotation() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({})).await;
    let (session, other) = (platform.session(&old).await, platform.session(&old).await);
    let rotate =
        |session: &str, key: &str, attempt| platform.rotate(session, "anna", json!({})).key(key, attempt).send();
    let first = secret(&rotate(&session, "k", 1).await);
    // One door, and no other.
    assert_eq!(platform.who_am_i(&session).await.status, 401);
    assert_eq!(platform.rotate(&session, "anna", json!({})).send().await.status, 401);
    assert_eq!(rotate(&session, "another", 1).await.status, 401);
    assert_eq!(rotate(&other, "k", 2).await.status, 401, "a session that did not ask");
    platform.clock.advance(Duration::from_secs(30));
    let second = secret(&rotate(&session, "k", 2).await);
    assert_eq!(rotate(&session, "k", 2).await.status, 409);
    platform.clock.advance(Duration::from_secs(31));
    assert_eq!(rotate(&session, "k", 3).await.status, 401, "a minute after the first attempt it is shut");
    for (token, status) in [(&old, 403), (&first, 403), (&second, 201)] {
        assert_eq!(platform.exchange(token).await.status, status);
    }
    platform.verify_audit().await;
}

#[tokio::test]
async fn the_door_is_shut_by_the_first_use_and_by_deleting() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let old = platform.token(&admin, "anna", json!({})).await;
    let session = platform.session(&old).await;
    let new = secret(&platform.rotate(&session, "anna", json!({})).key("k", 1).send().await);
    platform.session(&new).await;
    let used = platform.rotate(&session, "anna", json!({})).key("k", 2).send().await;
    assert!(used.status == 409 && used.field().contains("in use already"), "{used:?}");
    let session = platform.session(&new).await;
    secret(&platform.rotate(&session, "anna", json!({})).key("l", 1).send().await);
    platform.delete(&admin, "anna").send().await;
    assert_eq!(platform.rotate(&session, "anna", json!({})).key("l", 2).send().await.status, 401);
}

#[tokio::test]
async fn a_rotated_token_is_not_withdrawn_by_a_late_redeem() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    platform.redeem(&register_token).key("k", 1).send().await;
    let new = secret(&platform.rotate(&admin, "anna", json!({})).send().await);
    let late = platform.redeem(&register_token).key("k", 2).send().await;
    assert!(late.field().starts_with("registration token was already redeemed at"), "{late:?}");
    assert_eq!(platform.exchange(&new).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_the_last_one_stands() {
    let platform = Arc::new(Platform::start().await);
    let admin = platform.admin_session().await;
    platform.token(&admin, "anna", json!({})).await;
    let racers: Vec<_> = (0..50)
        .map(|n| {
            let (platform, admin) = (platform.clone(), admin.clone());
            tokio::spawn(
                async move { platform.rotate(&admin, "anna", json!({})).key(&format!("key-{n}"), 1).send().await },
            )
        })
        .collect();
    let mut tokens = Vec::new();
    for racer in racers {
        tokens.push(secret(&racer.await.unwrap()));
    }
    // Only now: a value is good until the next one is made.
    let mut good = 0;
    for token in tokens {
        good += usize::from(platform.exchange(&token).await.status == 201);
    }
    assert_eq!(good, 1, "each ended the one before it");
    assert_eq!(platform.rows("SELECT count(*) FROM token_secrets WHERE ends_at IS NULL").await, ["2"]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn bad_overlaps() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for overlap in [json!("0s"), json!("soon"), json!(5), json!("-1h")] {
        let answer = platform.rotate(&admin, "admin", json!({"overlap": overlap})).send().await;
        assert_eq!(answer.status, 400, "{overlap}");
        assert!(answer.field().contains("overlap: "), "{answer:?}");
    }
    assert_eq!(platform.exchange(&platform.admin).await.status, 201);
}

#[tokio::test]
async fn a_token_has_ten_values_at_most() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let first = platform.token(&admin, "anna", json!({})).await;
    let overlapping = json!({"overlap": "1h"});
    for _ in 0..9 {
        secret(&platform.rotate(&admin, "anna", overlapping.clone()).send().await);
    }
    let refused = platform.rotate(&admin, "anna", overlapping.clone()).send().await;
    assert_eq!(refused.status, 409);
    assert!(refused.field().contains("10 values of the token 'anna' work"), "{refused:?}");
    assert_eq!(platform.exchange(&first).await.status, 201);
    // The remedies that it names.
    secret(&platform.rotate(&admin, "anna", json!({})).send().await);
    assert_eq!(platform.exchange(&first).await.status, 403);
    secret(&platform.rotate(&admin, "anna", overlapping).send().await);
    platform.verify_audit().await;
}

#[tokio::test]
async fn values_that_have_ended_do_not_fill_the_store() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    platform.token(&admin, "anna", json!({})).await;
    for _ in 0..110 {
        secret(&platform.rotate(&admin, "anna", json!({})).send().await);
    }
    let kept = "SELECT count(*) FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE t.name = 'anna'";
    assert_eq!(platform.rows(kept).await, ["101"]);
}

#[tokio::test]
async fn a_sign_in_link_ends_with_the_old_value() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    mlplatform_server::commands::sign_in_link(&platform.storage(), platform.clock.clone(), None, None).await.unwrap();
    let codes = "SELECT count(*) FROM sign_in_codes";
    assert_eq!(platform.rows(codes).await, ["1"]);
    secret(&platform.rotate(&admin, "admin", json!({})).send().await);
    assert_eq!(platform.rows(codes).await, ["0"]);
}
