//! Clusters: the vendor's wire form, the states on the way, what happens to an inactive one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Answer, Platform, tokens_in};
use mlplatform_platform::{clusters::form::Capacity, limits::Limits};
use mlplatform_protocol::routes::{
    CreateCluster, CreateSecretFromYaml, DeleteCluster, GetClusterInfo, GetClusters, RemoveClusterDeleteTime,
    RemoveClusterSuspendTime, SetClusterDeleteTime, SetClusterSuspendTime, WakeUpCluster,
};
use mlplatform_server::commands::{cluster_add, cluster_list};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// All that the vendor's client may send, and something that it may learn to send.
fn body(name: &str) -> Value {
    json!({
        "name": name, "availability_zone": "GZ1", "network_id": "8b2c", "subnet_id": "77aa",
        "node_groups": [
            {"node_count": 1, "flavor_id": "f1", "autoscaling_enabled": false},
            {"flavor_id": "f2", "autoscaling_enabled": true, "min_nodes": 1, "max_nodes": 3},
        ],
        "cluster_mode": "DEV", "registry": {"existing_registry_id": "registry-1"}, "ip_pool": "298117ae",
        "keypair": "mine", "delete_after_delay": 7200, "suspend_after_delay": 1800,
        "spark_configuration": "c3Bhcms6IHt9Cg==", "environment_variables": "QTogYgo=", "new_in_2030": [1],
    })
}

async fn get(platform: &Platform, session: &str, id: &str) -> Answer {
    platform.ask::<GetClusterInfo>(json!({"cluster_id": id})).session(session).send().await
}

async fn status(platform: &Platform, session: &str, id: &str) -> String {
    let answer = get(platform, session, id).await;
    if answer.status == 404 { "gone".to_owned() } else { answer.text("status") }
}

/// The id of `local`.
async fn local(platform: &Platform, session: &str) -> String {
    let list = platform.ask::<GetClusters>(json!({})).session(session).send().await;
    list.body["items"].as_array().unwrap().iter().find(|cluster| cluster["name"] == "local").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// On PostgreSQL a server that runs no jobs leaves buckets to the one that does.
fn has_bucket(platform: &Platform) -> bool {
    mlplatform_store::testing::on_postgres() || platform.folder.path().join("buckets/spark-local").is_dir()
}

#[tokio::test]
async fn a_new_platform_has_one_running_cluster() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let anna = platform.session(&platform.token(&admin, "anna", json!({})).await).await;
    let list = platform.ask::<GetClusters>(json!({})).session(&anna).send().await;
    let [cluster] = list.body["items"].as_array().unwrap().as_slice() else { panic!("{list:?}") };
    assert_eq!((list.status, &cluster["name"], &cluster["status"]), (200, &json!("local"), &json!("RUNNING")));
    assert_eq!((&cluster["max_cores"], &cluster["max_memory"]), (&json!(8), &json!(16_u64 << 30)));
    assert_eq!(cluster["s3_bucket_name"], "spark-local");
    assert!(has_bucket(&platform));
    assert_eq!((&cluster["suspend_after_inactive_min"], &cluster["status_reason"]), (&Value::Null, &Value::Null));
    let id = cluster["id"].as_str().unwrap();
    assert_eq!(get(&platform, &anna, id).await.body, *cluster);
}

/// Exactly the vendor's requests: its header, its path with the slash, its codes.
#[tokio::test]
async fn the_vendor_s_client_creates_reads_and_deletes() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let at = |path: &str| format!("{}/v1_0/magnum/{path}", platform.url);
    let create = platform.http.post(at("")).header("X-Auth-Token", &admin).json(&body("tf")).send();
    let made = Answer::of(create.await.unwrap()).await;
    assert_eq!((made.status, made.text("status").as_str()), (201, "CREATING"));
    assert_eq!(made.body["info"], body("tf"), "as stored");
    assert_eq!(made.body["docker_registry_id"], "registry-1");
    let times = (&made.body["suspend_after_inactive_min"], &made.body["delete_after_inactive_min"]);
    assert_eq!(times, (&json!(30), &json!(120)));
    for field in ["history_server_url", "control_instance_id", "inactive_min", "s3_bucket_name"] {
        assert!(made.body.get(field).is_some(), "{field}");
    }
    let id = made.text("id");
    let read = || async {
        let request = platform.http.get(at(&id)).header("X-Auth-Token", &admin);
        let answer = Answer::of(request.send().await.unwrap()).await;
        if answer.status == 404 { "404".to_owned() } else { answer.text("status") }
    };
    let mut seen = vec![read().await];
    for _ in 0..3 {
        platform.clock.advance(SECOND);
        seen.push(read().await);
    }
    assert_eq!(seen, ["CREATING", "CREATING_REGISTRY", "INSTALL_SPARK_OPERATOR", "RUNNING"]);
    let delete = || platform.http.delete(at(&id)).header("X-Auth-Token", &admin).send();
    let deleted = Answer::of(delete().await.unwrap()).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    assert_eq!(read().await, "DELETING");
    assert_eq!(delete().await.unwrap().status(), 204, "once more, while it goes");
    platform.clock.advance(2 * SECOND);
    assert_eq!(read().await, "404");
    assert_eq!(delete().await.unwrap().status(), 404);
    let again = platform.http.post(at("")).header("X-Auth-Token", &admin).json(&body("tf")).send();
    let again = Answer::of(again.await.unwrap()).await;
    assert_eq!(again.status, 201, "the name is free again");
    assert_ne!(again.body["s3_bucket_name"], made.body["s3_bucket_name"], "and the old files are not its files");
}

/// The long-lived value crosses the wire for the exchange alone, also for a client that has one header only.
#[tokio::test]
async fn an_access_token_is_no_session_here_either() {
    let platform = Platform::start().await;
    let request = platform.http.get(format!("{}/v1_0/magnum/x", platform.url)).header("X-Auth-Token", &platform.admin);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 401);
    assert!(answer.field().contains("exchange an access token for a session token"), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_cannot_be_meant_is_refused_with_the_field() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let table = [
        (json!({"name": ""}), "name: '' is not a cluster's name"),
        (json!({"name": 5}), "name"),
        (json!({"name": "a", "cluster_mode": "BIG"}), "cluster_mode: unknown variant `BIG`"),
        (json!({"name": "a", "delete_after_delay": "1h"}), "delete_after_delay: invalid type"),
        (json!({"name": "a", "suspend_after_delay": 1_u64 << 40}), "suspend_after_delay: in minutes"),
        (json!({"name": "a", "environment_variables": "A: secret"}), "environment_variables: it is not text in base64"),
        (json!({"name": "a", "node_groups": {}}), "node_groups: invalid type"),
        (json!({}), "missing field `name`"),
    ];
    for (body, why) in table {
        let answer = platform.ask::<CreateCluster>(body.clone()).session(&admin).send().await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.field().contains(why) && !answer.field().contains("secret"), "{body}: {}", answer.field());
    }
    let taken = platform.ask::<CreateCluster>(json!({"name": "local"})).session(&admin).send().await;
    assert_eq!((taken.status, taken.field().contains("a cluster is named 'local'")), (409, true));
    let names = platform.rows("SELECT name FROM clusters").await;
    assert_eq!(names, ["local"]);
}

#[tokio::test]
async fn a_repeated_request_makes_and_ends_one_cluster() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let create = |attempt| platform.ask::<CreateCluster>(body("once")).session(&admin).key("k", attempt).send();
    let (first, second) = (create(1).await, create(2).await);
    assert_eq!((first.status, second.status, first.text("id")), (201, 201, second.text("id")));
    let other = platform.ask::<CreateCluster>(body("other")).session(&admin).key("k", 3).send().await;
    assert_eq!(other.status, 409);
    let id = first.text("id");
    let delete =
        |key: &'static str| platform.ask::<DeleteCluster>(json!({"cluster_id": id})).session(&admin).key(key, 1).send();
    assert_eq!(delete("d").await.status, 204);
    platform.clock.advance(MINUTE);
    assert_eq!((delete("d").await.status, delete("e").await.status), (204, 404), "the answer was lost, the work done");
}

#[tokio::test]
async fn times_are_set_and_removed() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let id = local(&platform, &admin).await;
    let with = |minutes: Value| json!({"cluster_id": id, "minutes": minutes});
    let without = || json!({"cluster_id": id});
    let set = platform.ask::<SetClusterDeleteTime>(with(json!(90))).session(&admin).send().await;
    assert_eq!((set.status, &set.body["delete_after_inactive_min"]), (200, &json!(90)));
    let set = platform.ask::<SetClusterSuspendTime>(with(json!(30))).session(&admin).send().await;
    let times = (&set.body["suspend_after_inactive_min"], &set.body["delete_after_inactive_min"]);
    assert_eq!(times, (&json!(30), &json!(90)));
    let removed = platform.ask::<RemoveClusterDeleteTime>(without()).session(&admin).send().await;
    let times = (&removed.body["suspend_after_inactive_min"], &removed.body["delete_after_inactive_min"]);
    assert_eq!((removed.status, times), (200, (&json!(30), &Value::Null)));
    let removed = platform.ask::<RemoveClusterSuspendTime>(without()).session(&admin).send().await;
    assert_eq!(removed.body["suspend_after_inactive_min"], Value::Null);
    for bad in [json!(0), json!(-1), json!(1.5), json!("30"), json!(10_u64.pow(9)), Value::Null] {
        let answer = platform.ask::<SetClusterDeleteTime>(with(bad.clone())).session(&admin).send().await;
        assert_eq!((answer.status, answer.field().contains("minutes")), (400, true), "{bad}: {answer:?}");
    }
    let nowhere = platform.ask::<SetClusterDeleteTime>(json!({"cluster_id": "x", "minutes": 1})).session(&admin);
    let nowhere = nowhere.send().await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.field(), "there is no cluster with the id 'x': get_clusters lists those there are");
}

#[tokio::test]
async fn an_inactive_cluster_is_suspended_woken_and_at_last_deleted() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let id = local(&platform, &admin).await;
    let wake = |key| platform.ask::<WakeUpCluster>(json!({"cluster_id": id})).session(&admin).key(key, 1).send();
    let early = wake("a").await;
    assert_eq!((early.status, early.field().contains("is RUNNING: only one that is SHUTOFF")), (409, true));
    let with = |minutes: u32| json!({"cluster_id": id, "minutes": minutes});
    assert_eq!(platform.ask::<SetClusterSuspendTime>(with(30)).session(&admin).send().await.status, 200);

    platform.clock.advance(29 * MINUTE);
    let admin = platform.admin_session().await;
    let wake = |key| platform.ask::<WakeUpCluster>(json!({"cluster_id": id})).session(&admin).key(key, 1).send();
    let idle = get(&platform, &admin, &id).await;
    assert_eq!((&idle.body["status"], &idle.body["inactive_min"]), (&json!("RUNNING"), &json!(29)));
    platform.clock.advance(MINUTE);
    assert_eq!(status(&platform, &admin, &id).await, "FREEZING");
    platform.clock.advance(SECOND);
    let asleep = get(&platform, &admin, &id).await;
    assert_eq!(asleep.text("status"), "SHUTOFF");
    assert_eq!(asleep.text("status_reason"), "30 minutes without a job");

    assert_eq!(wake("b").await.status, 204);
    assert_eq!(status(&platform, &admin, &id).await, "STARTING");
    assert_eq!(wake("b").await.status, 204, "the answer was lost");
    assert_eq!(wake("c").await.status, 409);
    platform.clock.advance(SECOND);
    let awake = get(&platform, &admin, &id).await;
    assert_eq!((&awake.body["status"], &awake.body["inactive_min"]), (&json!("RUNNING"), &json!(0)));

    assert_eq!(platform.ask::<SetClusterDeleteTime>(with(120)).session(&admin).send().await.status, 200);
    platform.clock.advance(119 * MINUTE);
    let admin = platform.admin_session().await;
    assert_eq!(status(&platform, &admin, &id).await, "FREEZING", "suspended on the way");
    platform.clock.advance(MINUTE);
    assert_eq!(status(&platform, &admin, &id).await, "DELETING");
    let late = platform.ask::<SetClusterDeleteTime>(with(5)).session(&admin).send().await;
    assert_eq!((late.status, late.field().contains("is being deleted")), (409, true));
    platform.clock.advance(2 * SECOND);
    assert_eq!(status(&platform, &admin, &id).await, "gone");
    assert!(has_bucket(&platform), "the files are the users' own");

    let audit = "SELECT action, outcome FROM audit WHERE subject = (SELECT id FROM clusters) ORDER BY seq";
    let expected = [
        "add_cluster|done",
        "wake_up_cluster|refused",
        "set_cluster_suspend_time|done",
        "suspend_inactive_cluster|done",
        "wake_up_cluster|done",
        "wake_up_cluster|refused",
        "set_cluster_delete_time|done",
        "suspend_inactive_cluster|done",
        "delete_inactive_cluster|done",
        "set_cluster_delete_time|refused",
    ];
    assert_eq!(platform.rows(audit).await, expected);
    platform.verify_audit().await;
}

/// The task of the server does it, and writes the same audit.
#[tokio::test]
async fn nobody_has_to_ask() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let id = local(&platform, &admin).await;
    let set = json!({"cluster_id": id, "minutes": 5});
    assert_eq!(platform.ask::<SetClusterSuspendTime>(set).session(&admin).send().await.status, 200);
    platform.clock.advance(5 * MINUTE);
    let rows = || platform.rows("SELECT phase FROM clusters");
    while rows().await != ["suspend"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_user_looks_and_an_administrator_acts() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let anna = platform.session(&platform.token(&admin, "anna", json!({})).await).await;
    let id = local(&platform, &admin).await;
    let one = || json!({"cluster_id": id});
    let timed = || json!({"cluster_id": id, "minutes": 5});
    let refused = [
        platform.ask::<CreateCluster>(body("x")),
        platform.ask::<DeleteCluster>(one()),
        platform.ask::<SetClusterDeleteTime>(timed()),
        platform.ask::<RemoveClusterDeleteTime>(one()),
        platform.ask::<SetClusterSuspendTime>(timed()),
        platform.ask::<RemoveClusterSuspendTime>(one()),
        platform.ask::<WakeUpCluster>(one()),
    ];
    for ask in refused {
        let answer = ask.session(&anna).send().await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.field(), "anna token does not contain the following scopes: ['ml-platform:Manage']");
    }
    assert_eq!(get(&platform, &anna, &id).await.status, 200);
    let audited = platform.rows("SELECT count(*) FROM audit WHERE outcome = 'refused'").await;
    assert_eq!(audited, ["7"]);
}

#[tokio::test]
async fn commands_work_beside_the_server_and_all_is_there_after_a_restart() {
    let mut platform = Platform::start().await;
    let folder = Arc::clone(&platform.folder);
    let capacity = Capacity { cores: 2, memory: 3 << 30 };
    let made = cluster_add(&platform.storage(), platform.clock.clone(), "big", capacity, None).await.unwrap();
    let admin = platform.admin_session().await;
    let seen = get(&platform, &admin, &made.id).await;
    assert_eq!((seen.text("status").as_str(), &seen.body["max_cores"]), ("RUNNING", &json!(2)));
    for (name, why) in [("big", "a cluster is named 'big'"), ("b g", "is not a cluster's name")] {
        let error = cluster_add(&platform.storage(), platform.clock.clone(), name, capacity, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
    }
    let listed = cluster_list(&platform.storage(), platform.clock.clone()).await.unwrap();
    assert_eq!(listed.iter().map(|cluster| cluster.name.as_str()).collect::<Vec<_>>(), ["local", "big"]);
    platform.stop().await;
    let platform = Platform::start_in(folder, Limits::default(), None).await;
    let admin = platform.admin_session().await;
    assert_eq!(get(&platform, &admin, &made.id).await.text("name"), "big");
    assert_eq!(platform.rows("SELECT count(*) FROM clusters").await, ["2"]);
}

/// What somebody pasted into the wrong place is neither stored nor logged.
#[tokio::test]
async fn a_token_in_a_wrong_place_is_not_kept() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let id = || json!({"cluster_id": platform.admin});
    let secret = json!({"cluster_id": platform.admin, "namespace": platform.admin, "name": "s"});
    let answers = [
        platform.ask::<DeleteCluster>(id()).session(&admin).send().await,
        platform.ask::<WakeUpCluster>(id()).session(&admin).send().await,
        platform.ask::<CreateSecretFromYaml>(secret).session(&admin).send().await,
        platform.ask::<CreateCluster>(json!({"name": platform.admin})).session(&admin).send().await,
    ];
    for answer in answers {
        assert!([400, 404].contains(&answer.status) && !answer.field().contains(&platform.admin), "{answer:?}");
    }
    assert_eq!(tokens_in(platform.folder.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn lists_are_paged() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    for number in 1..=4 {
        let made = platform.ask::<CreateCluster>(json!({"name": format!("c{number}")})).session(&admin).send().await;
        assert_eq!(made.status, 201);
    }
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let mut request = json!({"limit": 2});
        if let Some(cursor) = cursor {
            request["cursor"] = cursor;
        }
        let page = platform.ask::<GetClusters>(request).session(&admin).send().await;
        names.extend(page.body["items"].as_array().unwrap().iter().map(|cluster| cluster["name"].clone()));
        match page.body.get("next_cursor") {
            Some(next) => cursor = Some(next.clone()),
            None => break,
        }
    }
    assert_eq!(names, ["local", "c1", "c2", "c3", "c4"]);
}
