//! The audit's route: filters, pages, who may ask.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Answer, Platform};
use mlplatform_protocol::routes::GetAudit;
use serde_json::{Value, json};

async fn audit(platform: &Platform, session: &str, request: Value) -> Answer {
    platform.ask::<GetAudit>(request).session(session).send().await
}

/// The rows' numbers, counted from the last one of the first start.
async fn numbers(platform: &Platform, answer: &Answer) -> Vec<u64> {
    let start = "SELECT max(seq) FROM audit WHERE address = 'local'";
    let start: u64 = platform.rows(start).await[0].parse().unwrap();
    answer.body["items"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap() - start).collect()
}

#[tokio::test]
async fn pages_come_newest_first_and_stand_still_while_rows_are_added() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for n in 0..6 {
        platform.registered(&admin, &format!("t{n}")).await;
    }
    let first = audit(&platform, &admin, json!({"limit": 3})).await;
    assert_eq!(numbers(&platform, &first).await, [6, 5, 4]);
    platform.registered(&admin, "late").await;
    let next = audit(&platform, &admin, json!({"limit": 3, "cursor": first.body["next_cursor"]})).await;
    assert_eq!(numbers(&platform, &next).await, [3, 2, 1]);
    let last = audit(&platform, &admin, json!({"limit": 1000, "cursor": next.body["next_cursor"]})).await;
    assert_eq!(last.body["items"].as_array().unwrap().last().unwrap()["seq"], 1);
    assert_eq!(last.body.get("next_cursor"), None);
}

#[tokio::test]
async fn filters_narrow_together() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let anna = platform.session(&platform.token(&admin, "anna", json!({})).await).await;
    platform.delete(&anna, "admin").send().await;
    platform.delete(&admin, "anna").send().await;
    // A second token of the name: a name means every token that ever had it.
    platform.token(&admin, "anna", json!({})).await;
    assert_eq!(numbers(&platform, &audit(&platform, &admin, json!({"token": "anna"})).await).await, [6, 5, 4, 3, 2, 1]);
    let refused = audit(&platform, &admin, json!({"token": "anna", "outcome": "refused"})).await;
    assert_eq!(numbers(&platform, &refused).await, [3]);
    let row = &refused.body["items"][0];
    assert_eq!(
        (&row["actor_name"], &row["subject"], &row["detail"]["reason"]),
        (&json!("anna"), &json!(null), &json!("role"))
    );
    assert_eq!(numbers(&platform, &audit(&platform, &admin, json!({"token": row["actor"]})).await).await, [4, 3, 2]);
    let since = row["at"].as_str().unwrap();
    assert_eq!(
        numbers(&platform, &audit(&platform, &admin, json!({"since": since, "action": "delete_token"})).await).await,
        [4, 3]
    );
    assert_eq!(
        numbers(&platform, &audit(&platform, &admin, json!({"until": since, "token": "anna"})).await).await,
        [2, 1]
    );
    for (request, text) in [
        (json!({"outcome": "fine"}), "outcome: unknown variant `fine`"),
        (json!({"since": "yesterday"}), "since: "),
        (json!({"token": "x".repeat(65)}), "token: it has 65 characters"),
        (json!({"limit": 0}), "limit: 0"),
        (json!({"cursor": "-1"}), "cursor: '-1'"),
    ] {
        let answer = audit(&platform, &admin, request).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains(text), "{answer:?}");
    }
}
