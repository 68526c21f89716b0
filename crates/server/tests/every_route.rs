//! Every route and every page: who may ask for it, and what no text in any of its fields may do.
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
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::{Access, ROUTES, Route};
use reqwest::{Response, header, redirect::Policy};
use serde_json::{Value, json};

/// A request that is understood, of something that mostly is not there: it may be sent often.
fn example(route: &Route, cluster: &str) -> Value {
    let in_cluster = |more: Value| {
        let mut fields = json!({"cluster_id": cluster});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let page = json!({"limit": 1, "cursor": "00"});
    match route.name {
        "healthz" | "readyz" | "metrics" | "openapi" | "who_am_i" => json!({}),
        "create_oauth_token" => json!({"grant_type": "client_credentials", "client_id": "x", "audience": "x"}),
        "create_session" => json!({"refresh_token": "nobody's"}),
        "create_register_token" => {
            json!({"client_name": "x", "access_ttl": "1h", "refresh_ttl": "2h", "token_type": "USER"})
        }
        "get_register_tokens_info" | "get_project_tokens_info" | "get_clusters" => page,
        "delete_register_token" => json!({"token_id": "tok_none"}),
        "create_refresh_token" => json!({"register_token": "nobody's"}),
        "delete_token" => json!({"token_name": "nobody"}),
        "rotate_token" => json!({"token_name": "nobody", "overlap": "1h"}),
        "delete_issuer_tokens" => json!({"issuer_name": "nobody", "issuer_id": "tok_none"}),
        "create_cluster" => json!({"name": "x", "cluster_template_id": "t", "labels": {"a": "b"}}),
        "get_cluster_info"
        | "top_nodes_info"
        | "remove_cluster_delete_time"
        | "remove_cluster_suspend_time"
        | "wake_up_cluster" => in_cluster(json!({})),
        "delete_cluster" => json!({"cluster_id": "00000000-0000-4000-8000-000000000000"}),
        "set_cluster_delete_time" | "set_cluster_suspend_time" => in_cluster(json!({"minutes": 100_000})),
        "create_secret_from_yaml" => {
            in_cluster(json!({"namespace": "default", "name": "x", "type": "Opaque", "data": {"key": "dmFsdWU="}}))
        }
        "create_configmap_from_yaml" => {
            in_cluster(json!({"namespace": "default", "name": "x", "data": {"key": "value"}}))
        }
        "list_secrets" | "list_configmaps" => in_cluster(json!({"namespace": "default", "limit": 1, "cursor": "00"})),
        "get_secret_detail" | "delete_secret" => in_cluster(json!({"secret_name": "none", "namespace": "default"})),
        "get_configmap_detail" | "delete_configmap" => {
            in_cluster(json!({"configmap_name": "none", "namespace": "default"}))
        }
        "spark_submit_job" => in_cluster(json!({
            "manifest": {
                "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": "x"},
                "spec": {"type": "Python", "sparkVersion": "4.3.0", "mainApplicationFile": "s3a://none/x.py",
                         "driver": {"memory": "512m"}, "executor": {"instances": 1, "memory": "512m"}},
            },
            "pycode": {"name": "job.py", "sha256": "00", "content": "eA=="},
        })),
        "spark_jobs_list" | "spark_events" => in_cluster(page),
        "wait_for_spark_job" => in_cluster(json!({"since": 0, "wait_ms": 0})),
        "spark_job_logs" => in_cluster(json!({"job_name": "none", "offset": 0, "wait_ms": 0})),
        "spark_job_info" | "describe_spark_job" | "spark_delete_job" | "spark_job_explain" => {
            in_cluster(json!({"job_name": "none"}))
        }
        "get_spark_sessions" => in_cluster(json!({})),
        "close_spark_session" => in_cluster(json!({"session_id": "00000000-0000-4000-8000-000000000000"})),
        "add_spark_connect_jars" => {
            in_cluster(json!({"jars": ["s3a://none/x.jar"], "packages": ["a:b:1"], "repositories": []}))
        }
        "get_audit" => json!({
            "token": "nobody", "action": "open", "outcome": "done", "since": "2026-01-01T00:00:00Z",
            "until": "2027-01-01T00:00:00Z", "limit": 1, "cursor": "00",
        }),
        name => panic!("say what a request of {name} looks like"),
    }
}

/// Texts that programs stumble over, as they stand in JSON between quotes, and in an address.
const TEXTS: [(&str, &str); 17] = [
    ("\\u0000", "%00"),
    ("abc\\u0000def", "abc%00def"),
    ("\\u0001\\u001b[31m\\r\\n", "%01%1b[31m%0d%0a"),
    ("\\u007f\\u0085\\u009f", "%7f%c2%85%c2%9f"),
    ("\\u202e\\u2066\\ufeff", "%e2%80%ae%e2%81%a6%ef%bb%bf"),
    ("\\uffff\\udbff\\udfff", "%ef%bf%bf%f4%8f%bf%bf"),
    // Half a surrogate pair, as JSON and as bytes; what is no UTF-8 at all.
    ("\\ud800", "%ed%a0%80"),
    ("a\\udfffb", "a%ed%bf%bfb"),
    ("\\udfff\\ud800", "%ff%fe%80"),
    ("", ""),
    (" \\t ", "%20%09%20"),
    ("\\\"'`\\\\", "%22%27%60%5c"),
    ("%_*?[]^", "%25_*%3f%5b%5d%5e"),
    ("../../x", "..%2f..%2fx"),
    ("'; DROP TABLE tokens; --", "%27;%20DROP%20TABLE%20tokens;%20--"),
    ("\\\" OR NEAR(a b) *", "%22%20OR%20NEAR(a%20b)%20*"),
    ("-9223372036854775809", "-9223372036854775809"),
];

/// And one that is longer than anything has to be, in JSON and in an address.
fn texts(long: usize) -> Vec<(String, String)> {
    let mut texts: Vec<_> = TEXTS.iter().map(|(json, url)| ((*json).to_owned(), (*url).to_owned())).collect();
    texts.push(("x".repeat(50_000), "x".repeat(long)));
    texts.push(("🙂".repeat(10_000), "%f0%9f%99%82".repeat(long / 12)));
    texts
}

const MARK: &str = "MARKED";

/// The value with the mark in place of one of its texts, for each of them; keys, too.
fn marked(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, field) in fields {
                for changed in marked(field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    all.push(Value::Object(fields));
                }
                let mut renamed = fields.clone();
                renamed.remove(name);
                renamed.insert(MARK.to_owned(), field.clone());
                all.push(Value::Object(renamed));
            }
            all
        }
        _ => vec![json!(MARK)],
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(Policy::none()).build().unwrap()
}

async fn cluster(platform: &Platform) -> String {
    platform.rows("SELECT id FROM clusters LIMIT 1").await.remove(0)
}

/// No answer is a failure of the platform's, and each is one that it made.
async fn check(answer: Response, what: &str) {
    let status = answer.status().as_u16();
    let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    let body = answer.bytes().await.unwrap();
    let shown = String::from_utf8_lossy(&body).chars().take(300).collect::<String>();
    assert!(status < 500, "{what}: {status} {shown}");
    assert!(std::str::from_utf8(&body).is_ok(), "{what}: {shown}");
    if kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(status < 400 || body["errorCode"].is_string(), "{what}: {body}");
    }
}

#[tokio::test]
async fn no_text_in_any_field_of_a_request_is_a_failure() {
    let platform = Platform::start().await;
    let (admin, cluster, http) = (platform.admin_session().await, cluster(&platform).await, client());
    let texts = texts(20_000);
    for route in ROUTES {
        let request = example(route, &cluster);
        for marked in marked(&request) {
            let Value::Object(fields) = marked.clone() else { panic!("a request is an object") };
            let (path, rest) = route.fill(fields);
            for (in_json, in_url) in &texts {
                let what = format!("{} {marked} with {}", route.name, in_json.chars().take(40).collect::<String>());
                let address = format!("{}{}", platform.url, path.replace(MARK, in_url));
                let request = if route.method == "POST" {
                    let body = serde_json::to_string(&rest).unwrap().replace(MARK, in_json);
                    http.post(address).header(header::CONTENT_TYPE, "application/json").body(body)
                } else {
                    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let query: Vec<_> = rest.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
                    let query = query.join("&").replace(MARK, in_url);
                    http.request(route.method.clone(), format!("{address}?{query}"))
                };
                check(request.bearer_auth(&admin).send().await.unwrap(), &what).await;
            }
        }
    }
    platform.verify_audit().await;
}

/// The console's pages with the fields of their addresses.
const PAGES: [(&str, &[&str]); 16] = [
    ("/", &[]),
    ("/sign-in", &["next", "lost", "out"]),
    ("/open", &["code"]),
    ("/me", &["alone"]),
    ("/me/sign-out-others", &[]),
    ("/tokens", &["q", "ending", "newer", "older", "deleted"]),
    ("/tokens/new", &[]),
    ("/tokens/{id}/delete", &[]),
    ("/tokens/{id}/rotate", &[]),
    ("/registration-tokens", &["q", "show", "newer", "older", "withdrawn"]),
    ("/registration-tokens/new", &[]),
    ("/registration-tokens/{id}/withdraw", &[]),
    ("/audit", &["token", "action", "outcome", "since", "until", "cursor"]),
    ("/audit/export", &["token", "action", "outcome", "since", "until", "cursor", "format"]),
    ("/clusters/{id}/{id}/jobs/", &["refresh"]),
    ("/clusters/{id}/{id}/log", &[]),
];

/// Its forms with their fields.
const FORMS: [(&str, &[&str]); 9] = [
    ("/sign-in", &["token", "next"]),
    ("/open", &["code"]),
    ("/sign-out", &[]),
    ("/me/sign-out-others", &["token"]),
    ("/tokens/new", &["nonce", "name", "role", "lifetime", "number", "unit", "token"]),
    ("/tokens/{id}/delete", &["token"]),
    ("/tokens/{id}/rotate", &["nonce", "lifetime", "number", "unit", "token"]),
    (
        "/registration-tokens/new",
        &["nonce", "name", "role", "lifetime", "number", "unit", "redeem_number", "redeem_unit", "token"],
    ),
    ("/registration-tokens/{id}/withdraw", &["token"]),
];

/// What a form holds that is filled in well.
fn filled(field: &str) -> &str {
    match field {
        "role" => "USER",
        "lifetime" => "chosen",
        "number" | "redeem_number" => "1",
        "unit" | "redeem_unit" => "h",
        _ => "x",
    }
}

/// Somebody at the console.
struct Browser {
    http: reqwest::Client,
    url: String,
    cookie: String,
    form_token: String,
}

impl Browser {
    async fn signed_in(platform: &Platform, token: &str) -> Self {
        let mut browser =
            Self { http: client(), url: platform.url.clone(), cookie: String::new(), form_token: String::new() };
        let answer = browser.post("/sign-in", &format!("token={token}")).await;
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        let page = browser.get("/me").await.text().await.unwrap();
        let form_token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        form_token.clone_into(&mut browser.form_token);
        browser
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url)).header(header::COOKIE, &self.cookie);
        request.header(header::ACCEPT, "text/html").send().await.unwrap()
    }

    async fn post(&self, path: &str, fields: &str) -> Response {
        let request = self.http.post(format!("{}{path}", self.url)).header(header::COOKIE, &self.cookie);
        let request = request.header(header::ORIGIN, &self.url).header(header::ACCEPT, "text/html");
        let form = format!("form_token={}&{fields}", self.form_token);
        request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form).send().await.unwrap()
    }
}

#[tokio::test]
async fn no_text_in_any_field_of_the_console_is_a_failure() {
    // Of the wrong values that are sent here, none is slowed.
    let platform =
        Platform::start_with(Limits { refusals: 1_000_000, refusal_delay: Duration::ZERO, ..Limits::default() }).await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    let id = platform.rows("SELECT id FROM tokens").await.remove(0);
    for (_, text) in texts(12_000) {
        let shown = text.chars().take(40).collect::<String>();
        for (path, fields) in PAGES {
            check(browser.get(&path.replace("{id}", &text)).await, &format!("{path} with {shown}")).await;
            for field in fields {
                let path = format!("{}?{field}={text}", path.replace("{id}", &id));
                check(browser.get(&path).await, &format!("{path} with {shown}")).await;
            }
        }
        for (path, fields) in FORMS {
            if path == "/sign-out" {
                continue;
            }
            check(browser.post(&path.replace("{id}", &text), "").await, &format!("POST {path} with {shown}")).await;
            let path = path.replace("{id}", "tok_none");
            for field in fields {
                let value = |other: &&str| if other == field { text.clone() } else { filled(other).to_owned() };
                let form: Vec<_> = fields.iter().map(|other| format!("{other}={}", value(other))).collect();
                let what = format!("POST {path} {field} with {shown}");
                check(browser.post(&path, &form.join("&")).await, &what).await;
            }
        }
    }
    assert_eq!(browser.get("/me").await.status(), 200, "it has outlived all that");
    platform.verify_audit().await;
}

#[tokio::test]
async fn every_route_is_for_whom_the_table_says() {
    let platform = Platform::start().await;
    let cluster = cluster(&platform).await;
    let over = platform.admin_session().await;
    platform.clock.advance(Duration::from_secs(601));
    let admin = platform.admin_session().await;
    let user = platform.session(&platform.token(&admin, "anna", json!({})).await).await;
    let ended = platform.session(&platform.token(&admin, "gone", json!({})).await).await;
    assert_eq!(platform.delete(&admin, "gone").send().await.status, 204);
    let console = Browser::signed_in(&platform, &platform.admin).await.cookie;
    let of_console = console.split_once('=').unwrap().1;
    let http = client();
    for route in ROUTES {
        let Value::Object(fields) = example(route, &cluster) else { panic!("a request is an object") };
        let (path, rest) = route.fill(fields);
        let ask = async |credential: Option<&str>| {
            let request = http.request(route.method.clone(), format!("{}{path}", platform.url));
            let request = if route.method == "POST" { request.json(&rest) } else { request.query(&rest) };
            // A cookie of the console's is nothing to the API.
            let request = request.header(header::COOKIE, &console);
            let request = credential.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
            request.send().await.unwrap().status().as_u16()
        };
        if route.name == "create_oauth_token" {
            // It authenticates by itself, by HTTP basic and a form, and refuses JSON and any other way.
            for credential in [None, Some(user.as_str()), Some(&platform.admin)] {
                let status = ask(credential).await;
                assert!(matches!(status, 400 | 401 | 415), "{}: {status}", route.name);
            }
            continue;
        }
        let strangers = [None, Some(over.as_str()), Some(&ended), Some(of_console), Some(&platform.admin)];
        for (place, credential) in strangers.into_iter().enumerate() {
            let status = ask(credential).await;
            assert_eq!(status == 401, route.access != Access::Public, "{} as stranger {place}: {status}", route.name);
        }
        let status = ask(Some(&user)).await;
        // A User rotates its own token alone; what is presented to the public routes here is nobody's.
        let refused = route.access == Access::Administrator || route.name == "rotate_token";
        let refused = refused || route.name == "create_session" || route.name == "create_refresh_token";
        assert_eq!(status == 403, refused, "{} as a User: {status}", route.name);
        let status = ask(Some(&admin)).await;
        // The test has moved its own clock, and PostgreSQL has another.
        let not_ready = route.name == "readyz" && mlplatform_store::testing::on_postgres() && status == 503;
        assert!((status < 500 || not_ready) && status != 401, "{} as an Administrator: {status}", route.name);
        assert_eq!(status == 403, route.access == Access::Public && refused, "{} as an Administrator", route.name);
    }
    platform.verify_audit().await;
}

#[tokio::test]
async fn every_page_and_form_is_for_whom_it_is() {
    let platform = Platform::start().await;
    let session = platform.admin_session().await;
    let anna = platform.token(&session, "anna", json!({})).await;
    let gone = platform.token(&session, "gone", json!({})).await;
    platform.registered(&session, "waiting").await;
    let id = platform.rows("SELECT id FROM tokens WHERE name = 'admin'").await.remove(0);
    let register = platform.rows("SELECT id FROM register_tokens WHERE client_name = 'waiting'").await.remove(0);
    let of = |path: &str| {
        path.replace("/registration-tokens/{id}", &format!("/registration-tokens/{register}")).replace("{id}", &id)
    };
    let admin = Browser::signed_in(&platform, &platform.admin).await;
    let user = Browser::signed_in(&platform, &anna).await;
    let mut nobody = Browser::signed_in(&platform, &gone).await;
    assert_eq!(platform.delete(&session, "gone").send().await.status, 204);
    let public = |path: &str| ["/sign-in", "/open"].contains(&path);
    let anybody_s =
        |path: &str| public(path) || path == "/" || path.starts_with("/me") || path.starts_with("/clusters");
    let before = platform.rows("SELECT count(*), count(deleted_at) FROM tokens").await;
    let (name, _) = admin.cookie.split_once('=').unwrap();
    let of_api = format!("{name}={session}");
    for cookie in [String::new(), nobody.cookie.clone(), of_api, format!("{name}={}", platform.admin)] {
        nobody.cookie = cookie;
        for (path, _) in PAGES.iter().filter(|(path, _)| !public(path)) {
            let answer = nobody.get(&of(path)).await;
            assert_eq!(answer.status(), 303, "{path}");
            assert!(answer.headers()[header::LOCATION].to_str().unwrap().starts_with("/sign-in"), "{path}");
        }
        for (path, _) in FORMS.iter().filter(|(path, _)| !public(path)) {
            let answer = nobody.post(&of(path), &format!("token={}", platform.admin)).await;
            assert_eq!(answer.status(), 303, "{path}");
            assert!(answer.headers()[header::LOCATION].to_str().unwrap().starts_with("/sign-in"), "{path}");
        }
    }
    for (path, _) in PAGES {
        let status = user.get(&of(path)).await.status().as_u16();
        assert_eq!(status == 403, !anybody_s(path), "{path} as a User: {status}");
        let status = admin.get(&of(path)).await.status().as_u16();
        assert!(status < 400 || status == 404 && path.starts_with("/clusters"), "{path} as an Administrator: {status}");
    }
    for (path, fields) in FORMS.iter().filter(|(path, _)| !anybody_s(path) && *path != "/sign-out") {
        let form: Vec<_> = fields.iter().map(|field| format!("{field}={}", filled(field))).collect();
        // With what an Administrator's page would hold, and the value of a token that is not the User's own.
        let form = form.join("&").replace("token=x", &format!("token={}", platform.admin));
        assert_eq!(user.post(&of(path), &form).await.status(), 403, "{path} as a User");
    }
    assert_eq!(platform.rows("SELECT count(*), count(deleted_at) FROM tokens").await, before);
    assert_eq!(platform.rows("SELECT count(*) FROM register_tokens WHERE withdrawn_at IS NOT NULL").await, ["0"]);
    platform.verify_audit().await;
}
