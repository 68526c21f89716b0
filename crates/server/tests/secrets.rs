//! Secrets and config maps: what comes out again, to whom, and what lies on the disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{path::Path, sync::Arc};

use common::{Ask, Platform};
use mlplatform_platform::{
    limits::Limits,
    objects::{Kind, values},
};
use mlplatform_protocol::routes::{
    CreateCluster, CreateConfigmapFromYaml, CreateSecretFromYaml, DeleteCluster, DeleteConfigmap, DeleteSecret,
    GetClusters, GetConfigmapDetail, GetSecretDetail, ListConfigmaps, ListSecrets,
};
use mlplatform_server::{
    commands::open,
    listen::bind,
    server::{Config, Server},
};
use serde_json::{Value, json};

/// `hunter2-hunter2`, and as it is sent.
const VALUE: &str = "hunter2-hunter2";
const ENCODED: &str = "aHVudGVyMi1odW50ZXIy";

/// A platform, an Administrator's session, a User's, and the id of `local`.
async fn set() -> (Platform, String, String, String) {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let anna = platform.session(&platform.token(&admin, "anna", json!({})).await).await;
    let list = platform.ask::<GetClusters>(json!({})).session(&anna).send().await;
    let id = list.body["items"][0]["id"].as_str().unwrap().to_owned();
    (platform, admin, anna, id)
}

fn secret(platform: &Platform, cluster: &str, name: &str) -> Ask {
    let data = json!({"password": ENCODED, "user": "YW5uYQ=="});
    platform.ask::<CreateSecretFromYaml>(json!({"cluster_id": cluster, "name": name, "data": data}))
}

/// Every file of a folder and of those in it that holds the text.
fn files_with(folder: &Path, text: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_secret_s_life() {
    let (mut platform, admin, anna, id) = set().await;
    let made = secret(&platform, &id, "s3").session(&admin).send().await;
    let masked = json!({"password": "********", "user": "********"});
    let whole = json!({"name": "s3", "type": "Opaque", "namespace": "default", "data": masked});
    assert_eq!((made.status, &made.body), (201, &whole));
    let list = || platform.ask::<ListSecrets>(json!({"cluster_id": id})).session(&anna).send();
    assert_eq!(list().await.body["items"], json!(["s3-secret", "s3"]));
    let which = json!({"cluster_id": id, "secret_name": "s3"});
    let detail = platform.ask::<GetSecretDetail>(which.clone()).session(&anna).send().await;
    assert_eq!((detail.status, &detail.body), (200, &whole));
    let again = secret(&platform, &id, "s3").session(&admin).send().await;
    assert_eq!(
        (again.status, again.field().contains("a secret named 's3' is in the namespace 'default'")),
        (409, true)
    );

    // In the clear for a job alone.
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    let opened = values(&app, Kind::Secret, &id, "default", "s3").await.unwrap();
    assert_eq!(opened["password"].bytes, VALUE.as_bytes());
    assert!(values(&app, Kind::Configmap, &id, "default", "s3").await.is_err());

    let folder = Arc::clone(&platform.folder);
    let kept = || [VALUE, ENCODED].map(|text| files_with(folder.path(), text.as_bytes()));
    assert_eq!(kept(), [Vec::<std::path::PathBuf>::new(), Vec::new()], "beside a running server, log and all");
    let deleted = platform.ask::<DeleteSecret>(which.clone()).session(&admin).send().await;
    assert_eq!(deleted.status, 204);
    assert_eq!(list().await.body["items"], json!(["s3-secret"]));
    let gone = platform.ask::<GetSecretDetail>(which).session(&anna).send().await;
    assert_eq!(gone.status, 404);
    assert_eq!(
        gone.field(),
        "there is no secret named 's3' in the namespace 'default': list_secrets lists those there are"
    );
    let left = "SELECT DISTINCT o.name FROM objects o JOIN object_values v ON v.object = o.seq";
    assert_eq!(platform.rows(left).await, ["s3-secret"]);
    assert_eq!(secret(&platform, &id, "s3").session(&admin).send().await.status, 201, "the name is free again");
    let audit = "SELECT action, outcome, detail FROM audit WHERE action LIKE '%secret%' ORDER BY seq";
    let audit = platform.rows(audit).await.join("\n");
    let seen: Vec<_> = audit.lines().map(|row| row.rsplit_once('|').unwrap().0).collect();
    let expected = [
        "create_secret_from_yaml|done",
        "create_secret_from_yaml|refused",
        "delete_secret|done",
        "create_secret_from_yaml|done",
    ];
    assert_eq!(seen, expected);
    platform.verify_audit().await;
    platform.stop().await;
    assert_eq!(kept(), [Vec::<std::path::PathBuf>::new(), Vec::new()], "and after it");
}

#[tokio::test]
async fn a_config_map_s_life() {
    let (platform, admin, anna, id) = set().await;
    let data = json!({"log4j.properties": "x=1\ny=2\n", "a": ""});
    let create = json!({"cluster_id": id, "name": "conf", "data": data});
    let made = platform.ask::<CreateConfigmapFromYaml>(create.clone()).session(&admin).send().await;
    let whole = json!({"data": data, "name": "conf", "namespace": "default"});
    assert_eq!((made.status, &made.body), (201, &whole));
    assert_eq!(platform.ask::<CreateConfigmapFromYaml>(create).session(&admin).send().await.status, 409);
    let which = json!({"cluster_id": id, "configmap_name": "conf", "namespace": "default"});
    let detail = platform.ask::<GetConfigmapDetail>(which.clone()).session(&anna).send().await;
    assert_eq!((detail.status, &detail.body), (200, &whole));
    let list = platform.ask::<ListConfigmaps>(json!({"cluster_id": id})).session(&anna).send().await;
    assert_eq!(list.body["items"], json!(["conf"]));
    let secrets = platform.ask::<ListSecrets>(json!({"cluster_id": id})).session(&anna).send().await;
    assert_eq!(secrets.body["items"], json!(["s3-secret"]), "kinds have names of their own");
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    assert_eq!(values(&app, Kind::Configmap, &id, "default", "conf").await.unwrap()["a"].bytes, b"");
    assert_eq!(platform.ask::<DeleteConfigmap>(which.clone()).session(&admin).send().await.status, 204);
    assert_eq!(platform.ask::<DeleteConfigmap>(which).session(&admin).send().await.status, 404);
}

#[tokio::test]
async fn a_config_map_with_values_that_are_no_text() {
    let (platform, admin, anna, id) = set().await;
    let create = |name: &str, data: serde_json::Value, binary: serde_json::Value| json!({"cluster_id": id, "name": name, "data": data, "binaryData": binary});
    let (data, binary) = (json!({"a": "text"}), json!({"key.jks": "/u3+7Q==", "text": "b25l"}));
    let ask = |request| platform.ask::<CreateConfigmapFromYaml>(request).session(&admin).send();
    let whole = json!({"data": data, "binaryData": binary, "name": "conf", "namespace": "default"});
    let made = ask(create("conf", data.clone(), binary)).await;
    assert_eq!((made.status, &made.body), (201, &whole));
    let which = json!({"cluster_id": id, "configmap_name": "conf"});
    let detail = platform.ask::<GetConfigmapDetail>(which).session(&anna).send().await;
    assert_eq!((detail.status, &detail.body), (200, &whole));
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    let stored = values(&app, Kind::Configmap, &id, "default", "conf").await.unwrap();
    let stored: Vec<_> = stored.iter().map(|(key, value)| (key.as_str(), &*value.bytes, value.is_binary)).collect();
    let bytes: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
    assert_eq!(stored, [("a", &b"text"[..], false), ("key.jks", bytes, true), ("text", &b"one"[..], true)]);
    for (binary, why) in [
        (json!({"b": "no!"}), "binaryData.b: the value is not base64"),
        (json!({"a": "b25l"}), "binaryData.a: the key stands in data, too"),
        (json!({"b": "QUFB".repeat(400_000)}), "at most 1048576 are kept"),
    ] {
        let refused = ask(create("other", data.clone(), binary)).await;
        assert_eq!(refused.status, 400);
        assert!(refused.field().contains(why), "{}", refused.field());
    }
}

#[tokio::test]
async fn a_user_looks_and_an_administrator_acts() {
    let (platform, admin, anna, id) = set().await;
    let conf = json!({"cluster_id": id, "name": "conf", "data": {}});
    let refused = [
        secret(&platform, &id, "s3"),
        platform.ask::<DeleteSecret>(json!({"cluster_id": id, "secret_name": "s3"})),
        platform.ask::<CreateConfigmapFromYaml>(conf),
        platform.ask::<DeleteConfigmap>(json!({"cluster_id": id, "configmap_name": "conf"})),
    ];
    for ask in refused {
        let answer = ask.session(&anna).send().await;
        assert_eq!(answer.field(), "anna token does not contain the following scopes: ['ml-platform:Manage']");
    }
    assert_eq!(secret(&platform, &id, "s3").session(&admin).send().await.status, 201);
    assert_eq!(platform.rows("SELECT count(*) FROM audit WHERE outcome = 'refused'").await, ["4"]);
}

#[tokio::test]
async fn an_unknown_home_is_told() {
    let (platform, admin, anna, id) = set().await;
    let elsewhere = |cluster: &str, namespace: &str| {
        let data = json!({"a": "YQ=="});
        json!({"cluster_id": cluster, "namespace": namespace, "name": "s", "data": data})
    };
    let asks = [
        (elsewhere(&id, "spark"), "there is no namespace 'spark' in the cluster 'local': the one it has is 'default'"),
        (elsewhere("nowhere", "default"), "there is no cluster with the id 'nowhere'"),
    ];
    for (request, why) in asks {
        let made = platform.ask::<CreateSecretFromYaml>(request.clone()).session(&admin).send().await;
        assert_eq!((made.status, made.field().contains(why)), (404, true), "{made:?}");
        let of = |field: &str| {
            let mut of = json!({"cluster_id": request["cluster_id"], "namespace": request["namespace"]});
            if !field.is_empty() {
                of[field] = json!("s");
            }
            of
        };
        let answers = [
            platform.ask::<ListSecrets>(of("")).session(&anna).send().await,
            platform.ask::<ListConfigmaps>(of("")).session(&anna).send().await,
            platform.ask::<GetSecretDetail>(of("secret_name")).session(&anna).send().await,
            platform.ask::<GetConfigmapDetail>(of("configmap_name")).session(&anna).send().await,
            platform.ask::<DeleteSecret>(of("secret_name")).session(&admin).send().await,
            platform.ask::<DeleteConfigmap>(of("configmap_name")).session(&admin).send().await,
        ];
        for answer in answers {
            assert_eq!((answer.status, answer.field().contains(why)), (404, true), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_without_the_value() {
    let (platform, admin, _, id) = set().await;
    let large = "YWFh".repeat((1 << 20) / 3 + 2);
    let table = [
        (json!({"name": "S3"}), 400, "name: 'S3' is not a name of a Kubernetes object"),
        (json!({"name": "s", "data": {"a b": "YQ=="}}), 400, "'a b' is not a key"),
        (json!({"name": "s", "data": {"a": "hunter2!"}}), 400, "data.a: the value is not base64"),
        (json!({"name": "s", "data": {"a": 5}}), 400, "expected a string"),
        (json!({"name": "s", "type": ""}), 400, "is not a type of a secret"),
        (json!({"name": "s", "stringData": {}}), 400, "unknown field `stringData`"),
        (json!({"name": "s", "data": {"a": large}}), 400, "at most 1048576 are kept in one object"),
        (json!({"name": "s", "data": {"a": large.repeat(3)}}), 413, "larger than"),
    ];
    for (mut request, status, why) in table {
        request["cluster_id"] = json!(id);
        let answer = platform.ask::<CreateSecretFromYaml>(request).session(&admin).send().await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
        assert!(answer.field().contains(why) && !answer.field().contains("hunter2"), "{why}: {}", answer.field());
    }
}

#[tokio::test]
async fn a_repeated_request_is_one() {
    let (platform, admin, _, id) = set().await;
    let create = |name: &'static str, attempt| secret(&platform, &id, name).session(&admin).key("k", attempt).send();
    let (first, second) = (create("s3", 1).await, create("s3", 2).await);
    assert_eq!((first.status, second.status, &first.body), (201, 201, &second.body));
    assert_eq!(create("s4", 3).await.status, 409, "the key's object is another");
    let delete = |key: &'static str| {
        let which = json!({"cluster_id": id, "secret_name": "s3"});
        platform.ask::<DeleteSecret>(which).session(&admin).key(key, 1).send()
    };
    let answers = [delete("d").await.status, delete("d").await.status, delete("e").await.status];
    assert_eq!(answers, [204, 204, 404]);
}

#[tokio::test]
async fn a_cluster_takes_its_objects_along() {
    let (platform, admin, _, _) = set().await;
    let made = platform.ask::<CreateCluster>(json!({"name": "brief"})).session(&admin).send().await;
    let id = made.text("id");
    assert_eq!(secret(&platform, &id, "s3").session(&admin).send().await.status, 201);
    assert_eq!(platform.ask::<DeleteCluster>(json!({"cluster_id": id})).session(&admin).send().await.status, 204);
    let left =
        format!("SELECT count(*) FROM object_values v JOIN objects o ON v.object = o.seq WHERE o.cluster_id = '{id}'");
    assert_eq!(platform.rows(&left).await, ["0"]);
    let late = secret(&platform, &id, "s4").session(&admin).send().await;
    assert_eq!((late.status, late.field().contains("is being deleted")), (409, true));
}

#[tokio::test]
async fn a_restart_keeps_them_and_a_lost_key_file_is_told() {
    let (mut platform, admin, _, id) = set().await;
    assert_eq!(secret(&platform, &id, "s3").session(&admin).send().await.status, 201);
    let folder = Arc::clone(&platform.folder);
    platform.stop().await;
    let mut platform = Platform::start_in(Arc::clone(&folder), Limits::default(), None).await;
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    assert_eq!(values(&app, Kind::Secret, &id, "default", "s3").await.unwrap()["password"].bytes, VALUE.as_bytes());
    drop(app);
    platform.stop().await;
    std::fs::remove_file(folder.path().join("secrets-key")).unwrap();
    let config = Config { database: platform.storage().database, ..Config::new(folder.path()) };
    let started = Server::start(bind("127.0.0.1:0", false).unwrap(), config).await;
    let message = started.err().unwrap().to_string();
    assert!(message.contains("secrets-key") && message.contains("backup"), "{message}");
}

/// Published scripts delete it before they make their own.
#[tokio::test]
async fn every_new_cluster_has_the_secret_of_its_bucket() {
    let (mut platform, admin, anna, local) = set().await;
    let made = platform.ask::<CreateCluster>(json!({"name": "second"})).session(&admin).send().await.text("id");
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    let mut seen = Vec::new();
    for id in [&local, &made] {
        let which = json!({"cluster_id": id, "secret_name": "s3-secret"});
        let detail = platform.ask::<GetSecretDetail>(which).session(&anna).send().await;
        assert_eq!(detail.body["data"], json!({"S3_ACCESS_KEY": "********", "S3_SECRET_KEY": "********"}));
        assert_eq!(detail.body["type"], json!("Opaque"));
        let opened = values(&app, Kind::Secret, id, "default", "s3-secret").await.unwrap();
        seen.extend(opened.into_values().map(|value| String::from_utf8(value.bytes).unwrap()));
    }
    assert!(seen.iter().all(|value| value.len() == 32), "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "no two are the same");
    let audit = "SELECT action, detail FROM audit WHERE action IN ('add_cluster', 'create_cluster') ORDER BY seq";
    let audit = platform.rows(audit).await;
    assert!(audit.len() == 2 && audit.iter().all(|row| row.contains("s3-secret")), "{audit:?}");
    let which = json!({"cluster_id": made, "secret_name": "s3-secret"});
    assert_eq!(platform.ask::<DeleteSecret>(which).session(&admin).send().await.status, 204);
    assert_eq!(secret(&platform, &made, "s3-secret").session(&admin).send().await.status, 201, "a user's own");
    let which = json!({"cluster_id": made, "secret_name": "s3-secret"});
    assert_eq!(platform.ask::<DeleteSecret>(which).session(&admin).send().await.status, 204);
    drop(app);

    // Without a user's secret nothing is lost with the key, and what was the platform's own is made anew: where one server
    // alone has the key.
    platform.stop().await;
    if platform.storage().database.is_some() {
        return;
    }
    let folder = Arc::clone(&platform.folder);
    std::fs::remove_file(folder.path().join("secrets-key")).unwrap();
    let platform = Platform::start_in(Arc::clone(&folder), Limits::default(), None).await;
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    let opened = values(&app, Kind::Secret, &local, "default", "s3-secret").await.unwrap();
    let opened: Vec<_> = opened.into_values().map(|value| String::from_utf8(value.bytes).unwrap()).collect();
    assert!(opened.len() == 2 && opened.iter().all(|value| !seen.contains(value)));
    assert!(values(&app, Kind::Secret, &made, "default", "s3-secret").await.is_err(), "a deleted one stays so");
}

/// Whoever can write the database cannot make one secret's value another's.
#[tokio::test]
async fn a_value_that_was_moved_is_not_opened() {
    let (platform, admin, _, id) = set().await;
    assert_eq!(secret(&platform, &id, "mine").session(&admin).send().await.status, 201);
    assert_eq!(secret(&platform, &id, "yours").session(&admin).send().await.status, 201);
    let swap = "UPDATE object_values SET value = (SELECT value FROM object_values o WHERE o.object = 2 AND o.key = \
                object_values.key) WHERE object = 3 RETURNING key";
    assert_eq!(platform.rows(swap).await.len(), 2);
    let app = open(&platform.storage(), platform.clock.clone()).await.unwrap();
    assert!(values(&app, Kind::Secret, &id, "default", "mine").await.is_ok());
    let error = values(&app, Kind::Secret, &id, "default", "yours").await.unwrap_err().to_string();
    assert!(error.contains("cannot be decrypted"), "{error}");
}

#[tokio::test]
async fn lists_are_paged() {
    let (platform, admin, anna, id) = set().await;
    for number in 0..5 {
        assert_eq!(secret(&platform, &id, &format!("s{number}")).session(&admin).send().await.status, 201);
    }
    let (mut names, mut request) = (Vec::<Value>::new(), json!({"cluster_id": id, "limit": 2}));
    loop {
        let page = platform.ask::<ListSecrets>(request.clone()).session(&anna).send().await;
        names.extend(page.body["items"].as_array().unwrap().iter().cloned());
        match page.body.get("next_cursor") {
            Some(next) => request["cursor"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(names, ["s3-secret", "s0", "s1", "s2", "s3", "s4"]);
}
