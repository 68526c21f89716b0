//! Registration tokens through their whole life: listed, withdrawn, redeemed, expired.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::Platform;
use mlplatform_protocol::routes::GetRegisterTokensInfo;
use serde_json::{Value, json};

/// The newest one.
async fn newest(platform: &Platform, session: &str) -> Value {
    platform.register_tokens(session).await.pop().unwrap()
}

#[tokio::test]
async fn what_became_of_each_is_listed() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    assert_eq!(platform.register_tokens(&admin).await, Vec::<Value>::new());

    let register_token = platform.registered_with(&admin, "anna", json!({"refresh_ttl": "36h"})).await;
    let waiting = newest(&platform, &admin).await;
    assert_eq!(waiting["state"], "WAITING");
    assert_eq!((&waiting["client_name"], &waiting["type"]), (&json!("anna"), &json!("USER")));
    assert_eq!((&waiting["issuer_name"], &waiting["refresh_ttl"]), (&json!("admin"), &json!("36h")));
    for unset in [
        "redeemed_at",
        "redeemed_address",
        "redeemed_token_id",
        "redeemed_token_name",
        "withdrawn_at",
        "last_replay_at",
    ] {
        assert_eq!(waiting[unset], Value::Null, "{unset}");
    }
    assert!(!common::holds_token(waiting.to_string().as_bytes()));

    // A lost answer: the access token that stands is shown, not the one that was withdrawn.
    platform.redeem(&register_token).key("k", 1).send().await;
    let info = platform.redeem(&register_token).key("k", 2).send().await.body["info"].clone();
    platform.redeem(&register_token).send().await;
    platform.clock.advance(Duration::from_secs(5));
    platform.redeem(&register_token).send().await;
    let redeemed = newest(&platform, &admin).await;
    assert_eq!((&redeemed["state"], &redeemed["redeemed_address"]), (&json!("REDEEMED"), &json!("127.0.0.1")));
    assert_eq!((&redeemed["redeemed_token_id"], &redeemed["redeemed_token_name"]), (&info["id"], &json!("anna")));
    assert_eq!(redeemed["replay_count"], 2);
    assert!(redeemed["last_replay_at"].as_str() > redeemed["redeemed_at"].as_str());
    platform.delete(&admin, "anna").send().await;
    assert_eq!(newest(&platform, &admin).await["redeemed_token_id"], info["id"], "also when that is gone");

    platform.registered_with(&admin, "late", json!({"access_ttl": "1s"})).await;
    platform.clock.advance(Duration::from_secs(1));
    assert_eq!(newest(&platform, &admin).await["state"], "EXPIRED");
    let states: Vec<_> = platform.register_tokens(&admin).await.iter().map(|info| info["state"].clone()).collect();
    assert_eq!(states, ["REDEEMED", "EXPIRED"]);
    platform.verify_audit().await;
}

#[tokio::test]
async fn withdrawing() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let register_token = platform.registered(&admin, "anna").await;
    let id = newest(&platform, &admin).await["id"].as_str().unwrap().to_owned();
    let user = platform.session(&platform.token(&admin, "user", json!({})).await).await;
    assert_eq!(platform.delete_register_token(&user, &id).send().await.status, 403);
    assert_eq!(platform.ask::<GetRegisterTokensInfo>(json!({})).session(&user).send().await.status, 403);

    assert_eq!(platform.delete_register_token(&admin, &id).send().await.status, 204);
    assert_eq!(platform.redeem(&register_token).send().await.field(), "Forbidden");
    let withdrawn = platform.register_tokens(&admin).await.remove(0);
    assert_eq!(withdrawn["state"], "WITHDRAWN");
    platform.clock.advance(Duration::from_secs(10));
    assert_eq!(platform.delete_register_token(&admin, &id).send().await.status, 204, "a repeated request");
    assert_eq!(platform.register_tokens(&admin).await.remove(0), withdrawn, "changes nothing");
    let audited = "SELECT count(*) FROM audit WHERE action = 'delete_register_token' AND outcome = 'done'";
    assert_eq!(platform.rows(audited).await, ["1"]);

    let unknown = platform.delete_register_token(&admin, "tok_nobody").send().await;
    assert_eq!((unknown.status, &unknown.body["errorCode"]), (404, &json!("NotFoundException")));
    assert!(unknown.field().contains("'tok_nobody'") && unknown.field().contains("get_register_tokens_info"));
    let value = platform.delete_register_token(&admin, &register_token).send().await;
    assert_eq!(value.status, 400);
    assert!(value.field().contains("this is the value of a token") && !value.body.to_string().contains("mlpx_"));

    let redeemed = platform.registered(&admin, "boris").await;
    platform.redeem(&redeemed).send().await;
    let id = newest(&platform, &admin).await["id"].as_str().unwrap().to_owned();
    let refused = platform.delete_register_token(&admin, &id).send().await;
    assert_eq!((refused.status, &refused.body["errorCode"]), (409, &json!("ConflictException")));
    assert!(refused.field().contains("was redeemed at 2") && refused.field().contains("'boris'"), "{refused:?}");

    // One that has expired is withdrawn for good.
    platform.registered_with(&admin, "late", json!({"access_ttl": "1s"})).await;
    platform.clock.advance(Duration::from_secs(1));
    let id = newest(&platform, &admin).await["id"].as_str().unwrap().to_owned();
    assert_eq!(platform.delete_register_token(&admin, &id).send().await.status, 204);
    assert_eq!(newest(&platform, &admin).await["state"], "WITHDRAWN");
    platform.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn withdrawing_and_redeeming_at_once() {
    let platform = Arc::new(Platform::start().await);
    let admin = platform.admin_session().await;
    for round in 0..10 {
        let register_token = platform.registered(&admin, &format!("anna {round}")).await;
        let id = newest(&platform, &admin).await["id"].as_str().unwrap().to_owned();
        let redeem = tokio::spawn({
            let platform = platform.clone();
            async move { platform.redeem(&register_token).send().await.status }
        });
        let withdraw = platform.delete_register_token(&admin, &id).send().await.status;
        let outcome = (redeem.await.unwrap(), withdraw);
        assert!(outcome == (201, 409) || outcome == (403, 204), "{outcome:?}");
    }
    platform.verify_audit().await;
}

#[tokio::test]
async fn with_the_issuer_and_with_a_lost_answer() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "boris", json!({"token_type": "ADMIN"})).await;
    let boris = platform.session(&token).await;
    platform.register(&boris, "door", json!({})).key("k", 1).send().await;
    platform.register(&boris, "door", json!({})).key("k", 2).send().await;
    platform.delete(&admin, "boris").send().await;
    let doors = "SELECT withdraw_reason, withdrawn_by IS NOT NULL FROM register_tokens WHERE client_name = 'door'";
    assert_eq!(platform.rows(doors).await, ["superseded|1", "issuer_deleted|1"]);
    let list = platform.register_tokens(&admin).await;
    let doors: Vec<_> = list.iter().filter(|info| info["client_name"] == "door").collect();
    assert!(doors.iter().all(|info| info["state"] == "WITHDRAWN" && info["issuer_name"] == "boris"), "{doors:?}");
    assert_eq!(doors.len(), 2);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for n in 0..5 {
        platform.registered(&admin, &format!("t{n}")).await;
    }
    let page = |request| platform.ask::<GetRegisterTokensInfo>(request).session(&admin).send();
    let first = page(json!({"limit": 3})).await;
    let second = page(json!({"limit": 3, "cursor": first.text("next_cursor")})).await;
    let names = |answer: &common::Answer| {
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|item| item["client_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["t0".into(), "t1".into(), "t2".into()], vec!["t3".into(), "t4".into()])
    );
    assert!(second.body.get("next_cursor").is_none());
    assert_eq!(page(json!({"limit": 0})).await.status, 400);
}
