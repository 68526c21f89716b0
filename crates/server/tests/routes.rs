//! Every route, every refusal, over a real socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{Answer, Platform};
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::{
    Access, Endpoint, ROUTES,
    routes::{CreateRegisterToken, GetProjectTokensInfo, Healthz, WhoAmI},
    token::{Shape, TokenKind, shape},
};
use serde_json::{Value, json};

#[tokio::test]
async fn the_story_of_two_people() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;

    let health = platform.ask::<Healthz>(json!({})).send().await;
    assert_eq!((health.status, health.body["status"].as_str()), (200, Some("ok")));

    let lifetimes = json!({"access_ttl": "2h45m30s", "refresh_ttl": "2h"});
    let made = platform.register(&admin, "anna", lifetimes).send().await;
    assert_eq!(made.status, 201);
    let register_token = made.text("register_token");
    assert_eq!(shape(&register_token), Shape::Whole(TokenKind::Registration));
    assert!(made.text("id").starts_with("tok_"));
    let exp: jiff::Timestamp = made.text("exp").parse().unwrap();
    assert!((9_900..=9_930).contains(&exp.duration_since(platform.clock.now()).as_secs()));

    let redeemed = platform.redeem(&register_token).send().await;
    assert_eq!(redeemed.status, 201);
    let token = redeemed.text("refresh_token");
    assert_eq!(shape(&token), Shape::Whole(TokenKind::Access));
    let info = &redeemed.body["info"];
    assert_eq!((&info["name"], &info["type"], &info["issuer_name"]), (&json!("anna"), &json!("USER"), &json!("admin")));

    let anna = platform.session(&token).await;
    assert_eq!(shape(&anna), Shape::Whole(TokenKind::Session));
    let mut known = platform.who_am_i(&anna).await.body;
    // The exchange was a use.
    assert!(known["last_used_at"].is_string() && info["last_used_at"].is_null());
    for field in ["last_used_at", "last_used_address"] {
        known[field] = Value::Null;
    }
    assert_eq!(known, *info, "the same, to the last digit of the times");

    let list = platform.ask::<GetProjectTokensInfo>(json!({})).session(&admin).send().await;
    let names: Vec<_> = list.body["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!((list.status, names), (200, vec![json!("admin"), json!("anna")]));
    assert!(list.body.get("next_cursor").is_none());

    let refused = platform.delete(&anna, "admin").send().await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.field(), "anna token does not contain the following scopes: ['ml-platform:Manage']");

    let deleted = platform.delete(&admin, "anna").send().await;
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
    assert_eq!(platform.who_am_i(&anna).await.status, 401, "nothing is cached");
    assert_eq!(platform.exchange(&token).await.field(), "Forbidden");

    let audit = platform.rows("SELECT actor IS NOT NULL, action, outcome, address FROM audit ORDER BY seq").await;
    assert_eq!(
        audit,
        [
            "0|first_start|done|local",
            "0|add_cluster|done|local",
            "1|create_register_token|done|127.0.0.1",
            "0|create_refresh_token|done|127.0.0.1",
            "1|delete_token|refused|127.0.0.1",
            "1|delete_token|done|127.0.0.1",
            "0|create_session|refused|127.0.0.1",
        ]
    );
    assert_eq!(platform.verify_audit().await.rows, 7);
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let platform = Platform::start().await;
    let mut ids = Vec::new();
    for path in ["/healthz", "/nothing", "/v1_0/tokens"] {
        let response = platform.http.get(format!("{}{path}", platform.url)).header("x-request-id", "mine").send().await;
        let answer = Answer::of(response.unwrap()).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| id.starts_with("req_") && id.len() == 24), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let head = platform.http.head(format!("{}/healthz", platform.url)).send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn unknown_routes_and_methods_wear_the_envelope() {
    let platform = Platform::start().await;
    for path in
        ["/nothing", "/v1_0/tokens/", "/v1_0/tokens/self/x", "/v1_0//tokens", "/V1_0/tokens", "/%2e%2e/etc/passwd"]
    {
        let answer = Answer::of(platform.http.get(format!("{}{path}", platform.url)).send().await.unwrap()).await;
        assert_eq!(answer.body["errorCode"], "NotFoundException", "{path}");
        assert!(answer.field().contains("GET /"), "{path}");
    }
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = platform.http.request(method, format!("{}{}", platform.url, WhoAmI::ROUTE.path));
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.body["errorCode"], "MethodNotAllowedException");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
}

#[tokio::test]
async fn no_route_that_is_not_public_lets_a_stranger_in() {
    let platform = Platform::start().await;
    let strange = "mlpa_0123456789ABCDEFGHIJKLMNOPQRSTUV000000";
    for route in ROUTES {
        let url = format!("{}{}", platform.url, route.path);
        let request = || platform.http.request(route.method.clone(), &url).header("content-type", "text/plain");
        let missing = Answer::of(request().body("x").send().await.unwrap()).await;
        let wrong = Answer::of(request().bearer_auth(strange).body("x").send().await.unwrap()).await;
        if route.access == Access::Public {
            assert_ne!(missing.status, 401, "{}", route.name);
            continue;
        }
        // Before a byte of the request is looked at.
        assert_eq!((missing.status, wrong.status), (401, 401), "{}", route.name);
        assert!(missing.field().contains("a session token is missing"), "{}", missing.field());
        assert!(wrong.field().contains("exchange your access token again"), "{}", wrong.field());
        assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn credentials() {
    let platform = Platform::start().await;
    let session = platform.admin_session().await;
    let who = |name: &'static str, value: String| platform.ask::<WhoAmI>(json!({})).header(name, &value).send();
    assert_eq!(who("x-auth-token", session.clone()).await.status, 200);
    assert_eq!(who("authorization", format!("bearer {session}")).await.status, 200);
    let direct = who("authorization", format!("Bearer {}", platform.admin)).await;
    assert_eq!(direct.status, 401);
    assert!(direct.field().contains("access token") && direct.field().contains("create_session"), "{}", direct.field());
    assert!(!direct.body.to_string().contains("mlpr_"), "{direct:?}");
    for bad in ["Basic YTpi", "Bearer", "Bearer ", "", "\u{1f980}"] {
        assert_eq!(who("authorization", bad.to_owned()).await.status, 401, "{bad}");
    }
    let two = platform.ask::<WhoAmI>(json!({})).header("x-auth-token", "other").session(&session).send().await;
    assert_eq!(two.status, 401);
}

#[tokio::test]
async fn requests_that_cannot_be_understood() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let url = format!("{}{}", platform.url, CreateRegisterToken::ROUTE.path);
    let post = |kind: &'static str, body: Vec<u8>| {
        platform.http.post(&url).bearer_auth(&admin).header("content-type", kind).body(body).send()
    };
    let table: [(&str, &[u8], u16, &str); 9] = [
        ("application/json", b"{", 400, "the body is not JSON"),
        ("application/json", b"", 400, "the body is not JSON"),
        ("application/json", b"\xff\xfe", 400, "the body is not JSON"),
        ("application/json", b"[1]", 400, "not an object"),
        ("application/json", br#"{"nmae": 1}"#, 400, "unknown field `nmae`"),
        ("application/json", br#"{"client_name": "\u202e"}"#, 400, "client_name: the token's name"),
        ("application/json; charset=utf-8", b"{}", 400, "missing field `client_name`"),
        ("text/plain", b"{}", 415, "application/json"),
        ("application/x-www-form-urlencoded", b"a=b", 415, "application/json"),
    ];
    for (kind, body, status, text) in table {
        let answer = Answer::of(post(kind, body.to_vec()).await.unwrap()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.field().contains(text), "{answer:?}");
    }
    let deep = Answer::of(post("application/json", b"[".repeat(60_000)).await.unwrap()).await;
    assert_eq!(deep.status, 400);
    let large = Answer::of(post("application/json", vec![b' '; 65 * 1024]).await.unwrap()).await;
    assert_eq!((large.status, &large.body["errorCode"]), (413, &json!("PayloadTooLargeException")));
    for (fields, text) in [
        (json!({"access_ttl": "2"}), "access_ttl: '2' is not a lifetime"),
        (json!({"refresh_ttl": "0s"}), "refresh_ttl: a lifetime of '0s' is too short"),
        (json!({"refresh_ttl": 5}), "refresh_ttl: invalid type: integer `5`"),
        (json!({"token_type": "ROOT"}), "unknown variant `ROOT`, expected `USER` or `ADMIN`"),
        (json!({"client_name": "a\u{1b}[31m"}), "U+001B"),
        (json!({"client_name": platform.admin}), "this is the value of a token"),
    ] {
        let answer = platform.register(&admin, "x", fields).send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains(text), "{answer:?}");
        assert!(!common::holds_token(answer.body.to_string().as_bytes()));
    }
    for (fields, text) in [
        (json!({"limit": 0}), "limit: 0"),
        (json!({"limit": 1001}), "limit: 1001"),
        (json!({"limit": "ten"}), "limit: 'ten' is not a whole number"),
        (json!({"cursor": "x"}), "cursor: 'x'"),
        (json!({"offset": 1}), "unknown field `offset`"),
    ] {
        let answer = platform.ask::<GetProjectTokensInfo>(fields).session(&admin).send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains(text), "{answer:?}");
    }
}

#[tokio::test]
async fn unknown_expired_and_deleted_have_one_answer() {
    let mut platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let expired = platform.token(&admin, "short", json!({"refresh_ttl": "1h"})).await;
    let deleted = platform.token(&admin, "gone", json!({})).await;
    platform.delete(&admin, "gone").send().await;
    platform.clock.advance(Duration::from_secs(3_600));
    let mut bodies = Vec::new();
    for (token, header) in
        [("nobody's", None), (&admin, None), ("", None), (&deleted, None), (expired.as_str(), Some("expired"))]
    {
        let answer = platform.exchange(token).await;
        assert_eq!((answer.status, answer.field()), (403, "Forbidden"));
        assert_eq!(answer.header("x-token-refusal"), header);
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    let reasons = platform.rows("SELECT detail FROM audit WHERE action = 'create_session' ORDER BY seq").await;
    let reason = |reason: &str| format!(r#"{{"reason":"{reason}"}}"#);
    assert_eq!(reasons, ["unknown", "deleted", "expired"].map(reason));
    // Those that followed the first of their kind were counted.
    platform.stop().await;
    let counted = platform.rows("SELECT detail FROM audit ORDER BY seq DESC LIMIT 1").await;
    assert_eq!(counted, [r#"{"reason":"unknown","count":2}"#]);
}

#[tokio::test]
async fn sessions_end_in_time_and_not_after_their_token() {
    let platform = Platform::start().await;
    let answer = platform.exchange(&platform.admin).await;
    assert_eq!(answer.body["expires_in"], 600);
    let session = answer.text("session_token");
    let short = platform.token(&session, "short", json!({"refresh_ttl": "90s"})).await;
    let soon = platform.exchange(&short).await;
    assert!((89..=90).contains(&soon.body["expires_in"].as_u64().unwrap()), "{soon:?}");
    platform.clock.advance(Duration::from_millis(89_500));
    // The last half second counts as one: zero would make a client exchange for ever.
    assert_eq!(platform.exchange(&short).await.body["expires_in"], 1);
    platform.clock.advance(Duration::from_secs(1));
    assert_eq!(platform.who_am_i(&soon.text("session_token")).await.status, 401);
    assert_eq!(platform.who_am_i(&session).await.status, 200);
    platform.clock.advance(Duration::from_secs(510));
    assert_eq!(platform.who_am_i(&session).await.status, 401);
    platform.admin_session().await;
    assert_eq!(platform.rows("SELECT count(*) FROM sessions").await, ["1"], "the expired ones were removed");
}

#[tokio::test]
async fn a_deleted_administrator_keeps_no_door() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let token = platform.token(&admin, "boris", json!({"token_type": "ADMIN"})).await;
    let boris = platform.session(&token).await;
    let open = platform.registered(&boris, "door").await;
    let friend = platform.token(&boris, "friend", json!({})).await;
    assert_eq!(platform.delete(&admin, "boris").send().await.status, 204);
    assert_eq!(platform.redeem(&open).send().await.field(), "Forbidden");
    assert_eq!(platform.register(&boris, "x", json!({})).send().await.status, 401);
    assert_eq!(platform.exchange(&friend).await.status, 201, "what was redeemed stands");
    assert_eq!(
        platform
            .rows("SELECT count(*) FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE t.name = 'boris'")
            .await,
        ["0"]
    );
    // The last Administrator may go too.
    assert_eq!(platform.delete(&admin, "admin").send().await.status, 204);
    assert_eq!(platform.delete(&admin, "friend").send().await.status, 401);
    platform.verify_audit().await;
}

#[tokio::test]
async fn deleting_what_is_not_there() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    platform.token(&admin, "short", json!({"refresh_ttl": "60s"})).await;
    platform.clock.advance(Duration::from_secs(60));
    for name in ["nobody", "short"] {
        let answer = platform.delete(&admin, name).send().await;
        assert_eq!((answer.status, &answer.body["errorCode"]), (404, &json!("NotFoundException")));
        assert!(answer.field().contains(&format!("'{name}'")), "{answer:?}");
    }
}

#[tokio::test]
async fn names_of_any_script_come_back_as_they_went() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for name in ["..", "a/b?c=d&e#f%20", "Анна", "नमस्ते", "'; DROP TABLE tokens; --", "<script>", "🙂"]
    {
        let session = platform.session(&platform.token(&admin, name, json!({})).await).await;
        assert_eq!(platform.who_am_i(&session).await.text("name"), name);
        let refused = platform.delete(&session, "admin").send().await;
        assert!(refused.field().starts_with(&format!("{name} token does not contain")), "{refused:?}");
        assert_eq!(platform.delete(&admin, name).send().await.status, 204, "{name}");
        assert_eq!(platform.who_am_i(&session).await.status, 401);
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for n in 0..7 {
        platform.token(&admin, &format!("t{n}"), json!({})).await;
    }
    platform.delete(&admin, "t2").send().await;
    let (mut names, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let request = json!({"limit": 3});
        let mut request = request.as_object().unwrap().clone();
        request.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let page = platform.ask::<GetProjectTokensInfo>(Value::Object(request)).session(&admin).send().await;
        names.extend(
            page.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        // Made between two pages: it belongs to the last one, and moves none of the others.
        if pages == 1 {
            platform.token(&admin, "late", json!({})).await;
        }
        cursor = page.body.get("next_cursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["admin", "t0", "t1", "t3", "t4", "t5", "t6", "late"]);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut platform = Platform::start().await;
    let session = platform.admin_session().await;
    let register_token = platform.registered(&session, "anna").await;
    platform.stop().await;
    let log = platform.folder.path().join("platform.sqlite3-wal");
    assert!(!log.exists(), "SQLite's log was written back");
    let again = Platform::start_in(platform.folder.clone(), Limits::default(), None).await;
    assert_eq!(again.admin, platform.admin);
    assert_eq!(again.who_am_i(&session).await.status, 200);
    assert_eq!(again.redeem(&register_token).send().await.status, 201);
    assert_eq!(common::tokens_in(again.folder.path()), Vec::<std::path::PathBuf>::new());
}
