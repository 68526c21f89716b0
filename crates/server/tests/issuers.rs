//! What one issuer made: ended together, counted together, held to the operator's policy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{Answer, Ask, Platform};
use mlplatform_platform::{limits::Limits, policy::Policy};
use mlplatform_protocol::routes::{CreateRegisterToken, DeleteIssuerTokens, GetProjectTokensInfo, RotateToken};
use serde_json::{Value, json};

fn delete_issued(platform: &Platform, session: &str, request: Value) -> Ask {
    platform.ask::<DeleteIssuerTokens>(request).session(session)
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["items"].as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap().to_owned()).collect()
}

/// Another Administrator of that name: its session and its id.
async fn administrator(platform: &Platform, session: &str, name: &str) -> (String, String) {
    let token = platform.token(session, name, json!({"token_type": "ADMIN"})).await;
    let session = platform.session(&token).await;
    let id = platform.who_am_i(&session).await.text("id");
    (session, id)
}

async fn living(platform: &Platform, session: &str) -> Vec<String> {
    names(&platform.ask::<GetProjectTokensInfo>(json!({})).session(session).send().await)
}

#[tokio::test]
async fn all_of_one_issuer_at_once() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let (boris, _) = administrator(&platform, &admin, "boris").await;
    let anna = platform.token(&boris, "anna", json!({})).await;
    platform.token(&boris, "short", json!({"refresh_ttl": "1s"})).await;
    let (clara, _) = administrator(&platform, &boris, "clara").await;
    let doors = [platform.registered(&boris, "door").await, platform.registered(&clara, "door").await];
    platform.token(&clara, "friend", json!({})).await;
    platform.token(&admin, "other", json!({})).await;
    platform.clock.advance(Duration::from_secs(1));

    let request = || json!({"issuer_name": "boris"});
    assert_eq!(delete_issued(&platform, &boris, json!({"issuer_name": "nobody"})).send().await.status, 404);
    let user = platform.session(&anna).await;
    assert_eq!(delete_issued(&platform, &user, request()).send().await.status, 403);
    let deleted = delete_issued(&platform, &admin, request()).key("k", 1).send().await;
    assert_eq!(names(&deleted), ["anna", "clara"]);
    assert_eq!(deleted.body["items"][0]["issuer_name"], "boris");
    assert_eq!(living(&platform, &admin).await, ["admin", "boris", "friend", "other"]);
    assert_eq!(platform.exchange(&anna).await.field(), "Forbidden");
    assert_eq!(platform.who_am_i(&clara).await.status, 401);
    assert_eq!(platform.who_am_i(&boris).await.status, 200, "the issuer itself stays");
    for door in doors {
        assert_eq!(platform.redeem(&door).send().await.field(), "Forbidden");
    }
    // A lost answer: the same again; a new intention: nothing is left.
    let namesake = platform.token(&boris, "anna", json!({})).await;
    let again = delete_issued(&platform, &admin, request()).key("k", 2).send().await;
    assert_eq!(names(&again), ["anna", "clara"]);
    assert_eq!(platform.exchange(&namesake).await.status, 201);
    let other = delete_issued(&platform, &admin, json!({"issuer_name": "clara"})).key("k", 3).send().await;
    assert_eq!(other.status, 409, "{other:?}");
    assert_eq!(names(&delete_issued(&platform, &admin, request()).send().await), ["anna"]);
    assert_eq!(names(&delete_issued(&platform, &admin, request()).send().await), Vec::<String>::new());
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_name_that_several_issuers_have_had() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let (first, first_id) = administrator(&platform, &admin, "boris").await;
    platform.token(&first, "anna", json!({})).await;
    platform.delete(&admin, "boris").send().await;
    // As long as only one of them has something living, the name says which.
    let (second, second_id) = administrator(&platform, &admin, "boris").await;
    platform.token(&second, "clara", json!({})).await;
    let request = json!({"issuer_name": "boris"});
    let several = delete_issued(&platform, &admin, request.clone()).send().await;
    assert_eq!((several.status, &several.body["errorCode"]), (409, &json!("ConflictException")));
    assert!(several.field().contains(&first_id) && several.field().contains(&second_id), "{several:?}");
    let by_id = json!({"issuer_name": "boris", "issuer_id": first_id});
    assert_eq!(names(&delete_issued(&platform, &admin, by_id.clone()).send().await), ["anna"]);
    assert_eq!(names(&delete_issued(&platform, &admin, by_id).send().await), Vec::<String>::new());
    let neither = json!({"issuer_name": "boris", "issuer_id": "tok_nobody"});
    assert_eq!(delete_issued(&platform, &admin, neither).send().await.status, 404);
    assert_eq!(names(&delete_issued(&platform, &admin, request).send().await), ["clara"]);
    // The platform is an issuer too, and the last Administrator may go.
    let platforms = json!({"issuer_name": "mlplatform-server"});
    assert_eq!(names(&delete_issued(&platform, &second, platforms).send().await), ["admin"]);
    platform.verify_audit().await;
}

fn strict() -> Limits {
    let policy = Policy {
        longest_register_token: Some("2h".parse().unwrap()),
        longest_access_token: Some("24h".parse().unwrap()),
        tokens_per_issuer: 3,
        ..Policy::default()
    };
    Limits { policy, ..Limits::default() }
}

#[tokio::test]
async fn the_policy_is_held_at_creation_and_told() {
    let platform = Platform::start_with(strict()).await;
    let admin = platform.admin_session().await;
    for (fields, text) in [
        (json!({"refresh_ttl": "24h1s"}), "refresh_ttl: an access token of '24h1s' is not allowed"),
        (json!({}), "refresh_ttl: an access token that never expires is not allowed"),
        (json!({"access_ttl": "3h", "refresh_ttl": "1h"}), "access_ttl: a registration token of '3h'"),
    ] {
        let answer = platform.register(&admin, "anna", fields).send().await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (400, &json!("BadRequestException")));
        assert!(answer.field().contains(text), "{answer:?}");
    }
    let day = || json!({"refresh_ttl": "24h"});
    platform.token(&admin, "one", day()).await;
    platform.token(&admin, "two", day()).await;
    platform.registered_with(&admin, "three", day()).await;
    let fourth = platform.register(&admin, "four", day()).send().await;
    assert_eq!((fourth.status, &fourth.body["errorCode"]), (409, &json!("ConflictException")));
    assert!(fourth.field().contains("are 3, and this platform allows 3"), "{fourth:?}");
    platform.delete(&admin, "one").send().await;
    platform.registered_with(&admin, "four", day()).await;
    platform.clock.advance(Duration::from_secs(24 * 3_600));
    let admin = platform.admin_session().await;
    platform.registered_with(&admin, "what has expired does not count", day()).await;
    platform.verify_audit().await;
}

#[tokio::test]
async fn the_policy_of_today_holds_for_what_was_made_yesterday() {
    let mut generous = Platform::start().await;
    let admin = generous.admin_session().await;
    let endless = generous.registered(&admin, "endless").await;
    let short = generous.registered_with(&admin, "short", json!({"refresh_ttl": "1h"})).await;
    let old = generous.token(&admin, "old", json!({})).await;
    generous.stop().await;
    let platform = Platform::start_in(generous.folder.clone(), strict(), None).await;
    let refused = platform.redeem(&endless).key("k", 1).send().await;
    assert_eq!((refused.status, &refused.body["errorCode"]), (409, &json!("ConflictException")));
    assert!(refused.field().contains("that never expires") && refused.field().contains("ask an Administrator"));
    assert_eq!(platform.redeem(&short).send().await.status, 201);
    assert_eq!(platform.exchange(&old).await.status, 201, "it goes on working");
    let admin = platform.admin_session().await;
    let rotate = |request| platform.ask::<RotateToken>(request).session(&admin).send();
    let refused = rotate(json!({"token_name": "old"})).await;
    assert_eq!(refused.status, 409);
    assert!(refused.field().contains("'old' never expires"), "{refused:?}");
    assert_eq!(rotate(json!({"token_name": "short"})).await.status, 201);
    assert_eq!(rotate(json!({"token_name": "short", "overlap": "25h"})).await.status, 400);
    let again = platform.redeem(&endless).key("k", 2).send().await;
    assert_eq!(again.status, 409, "the refusal did not use it up: {again:?}");
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_first_attempt_that_comes_late_deletes_nothing_that_was_made_since() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let (boss, _) = administrator(&platform, &admin, "boss").await;
    let door = platform.registered(&boss, "door").await;
    let request = || delete_issued(&platform, &admin, json!({"issuer_name": "boss"}));
    // Nothing but a registration token went.
    assert_eq!(names(&request().key("k", 2).send().await), Vec::<String>::new());
    assert_eq!(platform.redeem(&door).send().await.status, 403);
    let fresh = platform.token(&boss, "fresh", json!({})).await;
    assert_eq!(names(&request().key("k", 1).send().await), Vec::<String>::new());
    assert_eq!(platform.exchange(&fresh).await.status, 201);
    // Who asks once more because an answer was lost is told the same.
    let unknown = || delete_issued(&platform, &admin, json!({"issuer_name": "nobody"}));
    for attempt in [1, 2] {
        assert_eq!(unknown().key("u", attempt).send().await.status, 404);
    }
    // The same of a deletion that found nothing.
    assert_eq!(platform.delete(&admin, "zed").key("z", 2).send().await.status, 404);
    let zed = platform.token(&admin, "zed", json!({})).await;
    assert_eq!(platform.delete(&admin, "zed").key("z", 1).send().await.status, 404);
    assert_eq!(platform.exchange(&zed).await.status, 201);
    assert_eq!(platform.delete(&admin, "zed").key("y", 1).send().await.status, 204);
    platform.verify_audit().await;
}

#[tokio::test]
async fn nobody_issues_in_the_platforms_name() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let request = json!({"client_name": "mlplatform-server", "access_ttl": "1h", "token_type": "ADMIN"});
    let refused = platform.ask::<CreateRegisterToken>(request).session(&admin).send().await;
    assert_eq!((refused.status, refused.field().contains("choose another")), (400, true), "{refused:?}");
}
