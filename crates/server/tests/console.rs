//! The console, asked as a browser would: how long a session lives, which cookie it has, who may send a form. What
//! people do in it, `tests/test_console*.py` does in a browser.
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
use mlplatform_console::site::PublicUrl;
use mlplatform_platform::limits::Limits;
use mlplatform_server::server::Config;
use reqwest::{Client, Response, header, redirect::Policy};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A browser without a mind of its own: it keeps one cookie and follows nothing.
struct Browser {
    http: Client,
    url: String,
    /// As a browser would say where its page is from.
    origin: String,
    cookie: String,
}

impl Browser {
    fn new(platform: &Platform) -> Self {
        let http = Client::builder().no_proxy().tls_certs_only([]).redirect(Policy::none()).build().unwrap();
        Self { http, url: platform.url.clone(), origin: platform.url.clone(), cookie: String::new() }
    }

    async fn signed_in(platform: &Platform, token: &str) -> Self {
        let mut browser = Self::new(platform);
        let answer = browser.post("/sign-in", &format!("token={token}")).await;
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url)).header(header::COOKIE, &self.cookie);
        request.header(header::ACCEPT, "text/html").send().await.unwrap()
    }

    async fn post(&self, path: &str, form: &str) -> Response {
        let request = self.http.post(format!("{}{path}", self.url)).header(header::COOKIE, &self.cookie);
        let request = request.header(header::ORIGIN, &self.origin).header(header::ACCEPT, "text/html");
        let kind = "application/x-www-form-urlencoded";
        request.header(header::CONTENT_TYPE, kind).body(form.to_owned()).send().await.unwrap()
    }

    async fn is_signed_in(&self) -> bool {
        self.get("/me").await.status() == 200
    }

    /// What a page's forms hold.
    async fn form_token(&self) -> String {
        let page = self.get("/me").await.text().await.unwrap();
        page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_after_a_working_day() {
    let platform = Platform::start().await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    platform.clock.advance(MINUTE * 29);
    assert!(browser.is_signed_in().await);
    platform.clock.advance(MINUTE * 29);
    assert!(browser.is_signed_in().await, "it was used in between");
    platform.clock.advance(MINUTE * 31);
    assert!(!browser.is_signed_in().await);

    let browser = Browser::signed_in(&platform, &platform.admin).await;
    for _ in 0..28 {
        platform.clock.advance(MINUTE * 25);
        assert!(browser.is_signed_in().await);
    }
    platform.clock.advance(MINUTE * 25);
    assert!(!browser.is_signed_in().await, "twelve hours are over");
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let platform = Platform::start().await;
    let session = platform.admin_session().await;
    let short = platform.token(&session, "short", json!({"refresh_ttl": "10m"})).await;
    let browser = Browser::signed_in(&platform, &short).await;
    platform.clock.advance(MINUTE * 9);
    assert!(browser.is_signed_in().await);
    platform.clock.advance(MINUTE);
    assert!(!browser.is_signed_in().await);

    let session = platform.admin_session().await;
    let anna = platform.token(&session, "anna", json!({})).await;
    let browser = Browser::signed_in(&platform, &anna).await;
    assert_eq!(platform.delete(&platform.admin_session().await, "anna").send().await.status, 204);
    assert!(!browser.is_signed_in().await);
    platform.verify_audit().await;
}

#[tokio::test]
async fn who_signs_in_again_leaves_no_session_behind() {
    let platform = Platform::start().await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    let answer = browser.post("/sign-in", &format!("token={}", platform.admin)).await;
    assert_eq!(answer.status(), 303);
    assert!(!answer.headers()[header::SET_COOKIE].to_str().unwrap().starts_with(&browser.cookie));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_restart_ends_nobodys_session() {
    let mut platform = Platform::start().await;
    let mut browser = Browser::signed_in(&platform, &platform.admin).await;
    platform.stop().await;
    // The cookie of plain http is named after the port, which is another one now.
    let again = Platform::start_in(Arc::clone(&platform.folder), Limits::default(), None).await;
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    browser.cookie = browser.cookie.replace(&port(&platform.url), &port(&again.url));
    browser.url.clone_from(&again.url);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn sessions_of_the_console_and_of_the_api_are_no_good_for_each_other() {
    let platform = Platform::start().await;
    let mut browser = Browser::signed_in(&platform, &platform.admin).await;
    let (name, value) = browser.cookie.split_once('=').unwrap();
    assert_eq!(platform.who_am_i(value).await.status, 401);
    browser.cookie = format!("{name}={}", platform.admin_session().await);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn behind_a_proxy_the_cookie_is_for_https_and_the_host_for_the_public_name() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let public_url = Some(PublicUrl::new("https://ml.example").unwrap());
    let config = Config { public_url, ..Config::new(folder.path()) };
    let platform = Platform::start_as(folder, config).await;
    let mut browser = Browser::new(&platform);
    // Where the proxy passes on this machine's name, and where it passes on its own.
    for host in [None, Some("ml.example")] {
        browser.origin = "https://ml.example".to_owned();
        let request = browser.http.post(format!("{}/sign-in", browser.url)).header(header::ORIGIN, &browser.origin);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = host.into_iter().fold(request, |request, host| request.header(header::HOST, host));
        let answer = request.body(format!("token={}", platform.admin)).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("__Host-mlplatform=mlpa_"), "{}", cookie.split('=').next().unwrap());
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"));
        assert_eq!(answer.headers()[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000; includeSubDomains");
    }
    let stranger = browser.http.get(format!("{}/", browser.url)).header(header::HOST, "evil.example");
    assert_eq!(stranger.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_form_needs_the_right_origin_and_the_page_s_own_token() {
    let platform = Platform::start().await;
    let mut browser = Browser::signed_in(&platform, &platform.admin).await;
    let token = browser.form_token().await;
    let fields = "name=x&role=ADMIN&lifetime=unlimited&nonce=n";
    for wrong in ["", "0", "00000000000000000000000000000000"] {
        let answer = browser.post("/tokens/new", &format!("{fields}&form_token={wrong}")).await;
        assert_eq!(answer.status(), 403);
    }
    let right = format!("{fields}&form_token={token}");
    for origin in ["null", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1", ""] {
        browser.origin = origin.to_owned();
        assert_eq!(browser.post("/tokens/new", &right).await.status(), 403, "{origin}");
    }
    assert_eq!(platform.rows("SELECT count(*) FROM tokens").await, ["1"]);
    browser.origin.clone_from(&platform.url);
    assert_eq!(browser.post("/tokens/new", &right).await.status(), 201);
    // What a program sends is no form.
    let request = browser.http.post(format!("{}/tokens/new", browser.url)).header(header::COOKIE, &browser.cookie);
    let answer =
        request.header(header::ORIGIN, &platform.url).json(&json!({"form_token": token})).send().await.unwrap();
    assert_eq!(answer.status(), 415);
}

#[tokio::test]
async fn one_form_makes_one_token_also_when_it_is_sent_many_times_at_once() {
    let platform = Platform::start().await;
    let browser = Arc::new(Browser::signed_in(&platform, &platform.admin).await);
    let token = browser.form_token().await;
    for (path, table) in [("/tokens/new", "tokens"), ("/registration-tokens/new", "register_tokens")] {
        let form = format!(
            "name=same-{table}&role=USER&lifetime=chosen&number=1&unit=h&nonce={table}&form_token={token}\
             &redeem_number=1&redeem_unit=h"
        );
        let sent = (0..10).map(|_| {
            let (browser, form) = (Arc::clone(&browser), form.clone());
            tokio::spawn(async move {
                let answer = browser.post(path, &form).await;
                (answer.status().as_u16(), answer.text().await.unwrap().contains("mlp"))
            })
        });
        let mut statuses = Vec::new();
        for answer in sent.collect::<Vec<_>>() {
            statuses.push(answer.await.unwrap().0);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409, 409, 409]);
        let count = format!("SELECT count(*) FROM {table} WHERE create_key IS NOT NULL");
        assert_eq!(platform.rows(&count).await, ["1"]);
    }
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_code_signs_in_once_within_minutes() {
    let platform = Platform::start().await;
    let storage = platform.storage();
    let link = || mlplatform_server::commands::sign_in_link(&storage, platform.clock.clone(), None, None);
    let browser = Browser::new(&platform);
    let code = link().await.unwrap().split_once("code=").unwrap().1.to_owned();
    // Ten at once, and one of them is signed in.
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(browser.post("/open", &format!("code={code}")).await.status().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1);
    let late = link().await.unwrap().split_once("code=").unwrap().1.to_owned();
    platform.clock.advance(MINUTE * 5);
    assert_eq!(browser.post("/open", &format!("code={late}")).await.status(), 403);
    assert_eq!(platform.rows("SELECT count(*) FROM sign_in_codes").await, ["0"]);

    let session = platform.admin_session().await;
    assert_eq!(platform.delete(&session, "admin").send().await.status, 204);
    let problem = link().await.unwrap_err().to_string();
    assert!(problem.contains("admin-token"), "{problem}");
    platform.verify_audit().await;
}

#[tokio::test]
async fn what_is_no_form_is_a_page_that_says_so() {
    let platform = Platform::start().await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    let token = browser.form_token().await;
    let long = "x".repeat(20_000);
    let answers = [
        (browser.post("/tokens/new", &format!("form_token={token}&name={long}")).await, 413),
        (browser.post("/tokens/new", "form_token=%").await, 403),
        (browser.post("/tokens/tok_x/nothing", "").await, 404),
        (browser.post("/me", "").await, 405),
        (browser.get("/tokens?q=a&q=b").await, 400),
    ];
    for (answer, status) in answers {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{status}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert!(answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
    }
}

#[tokio::test]
async fn too_many_at_once_get_a_page_that_says_so() {
    let platform = Platform::start_with(Limits { requests: 0, ..Limits::default() }).await;
    let browser = Browser::new(&platform);
    for answer in [browser.get("/sign-in").await, browser.post("/sign-in", "token=x").await] {
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        assert!(answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
        let page = answer.text().await.unwrap();
        assert!(page.contains("<h1>The platform is busy</h1>"), "{page}");
        // What makes it readable is no request of that kind.
        let style = page.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert_eq!(browser.get(&style).await.status(), 200);
    }
}

#[tokio::test]
async fn slow_forms_keep_nobody_else_out() {
    let platform = Platform::start_with(Limits { requests: 1, ..Limits::default() }).await;
    let address = platform.url.strip_prefix("http://").unwrap();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /sign-in HTTP/1.1\r\nHost: {address}\r\nOrigin: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
            platform.url
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // It says so when it begins to read the form.
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 100");
        slow.push(stream);
    }
    assert!(Browser::signed_in(&platform, &platform.admin).await.is_signed_in().await);
}

/// A form with everything that one of the console holds.
fn form(token: &str, nonce: &str, value: &str) -> String {
    format!(
        "form_token={token}&nonce={nonce}&name=made-{nonce}&role=ADMIN&lifetime=unlimited&number=1&unit=h\
         &redeem_number=1&redeem_unit=h&token={value}"
    )
}

/// Every form that changes something, with the audit's word for it.
const SENSITIVE: [(&str, &str); 6] = [
    ("/tokens/new", "create_token"),
    ("/registration-tokens/new", "create_register_token"),
    ("/tokens/{token}/rotate", "rotate_token"),
    ("/tokens/{token}/delete", "delete_token"),
    ("/registration-tokens/{register}/withdraw", "delete_register_token"),
    ("/me/sign-out-others", "sign_out"),
];

/// A token and a registration token of somebody else's, for paths.
async fn victims(platform: &Platform) -> (String, String, String) {
    let session = platform.admin_session().await;
    let value = platform.token(&session, "victim", json!({})).await;
    platform.token(&session, "spare", json!({})).await;
    let token = platform.rows("SELECT id FROM tokens WHERE name = 'victim'").await.remove(0);
    platform.registered(&session, "waiting").await;
    let register = platform.rows("SELECT id FROM register_tokens WHERE client_name = 'waiting'").await.remove(0);
    (token, register, value)
}

/// What a stolen browser could change.
const STATE: &str = "SELECT (SELECT count(*) FROM tokens) || ' ' || (SELECT count(*) FROM token_secrets) || ' ' || \
     (SELECT count(*) FROM register_tokens) || ' ' || (SELECT count(*) FROM tokens WHERE deleted_at IS NOT NULL) || ' ' || \
     (SELECT count(*) FROM register_tokens WHERE withdrawn_at IS NOT NULL) || ' ' || \
     (SELECT count(*) FROM sessions WHERE last_seen_at IS NOT NULL)";

#[tokio::test]
async fn every_form_that_changes_something_asks_for_the_present_value() {
    let platform = Platform::start().await;
    let (token, register, others_value) = victims(&platform).await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    let _other = Browser::signed_in(&platform, &platform.admin).await;
    let form_token = browser.form_token().await;
    let paths =
        SENSITIVE.map(|(path, action)| (path.replace("{token}", &token).replace("{register}", &register), action));
    platform.clock.advance(MINUTE * 5);
    let before = platform.rows(STATE).await;
    for (path, _) in &paths {
        let page = browser.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert!(page.text().await.unwrap().contains("name=\"token\""), "{path} asks");
        for wrong in ["", "guessed", &others_value, &format!("{}x", platform.admin)] {
            let answer = browser.post(path, &form(&form_token, "n", wrong)).await;
            assert_eq!(answer.status(), 403, "{path}");
            let page = answer.text().await.unwrap();
            assert!(page.contains("name=\"token\"") && page.contains("aria-invalid=\"true\""), "{path}");
            assert!(!page.contains("mlpr_") && !page.contains("guessed"), "{path} shows what was given");
            if path.ends_with("/new") {
                assert!(
                    page.contains("value=\"made-n\"") && page.contains("name=\"nonce\" value=\"n\""),
                    "{path} keeps the rest"
                );
            }
        }
        // A field of that name in the address is not the form's.
        let answer = browser.post(&format!("{path}?token={}", platform.admin), &form(&form_token, "n", "")).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert_eq!(platform.rows(STATE).await, before, "nothing was changed");

    for (place, (path, _)) in paths.iter().enumerate() {
        platform.clock.advance(MINUTE * 5);
        let answer = browser.post(path, &form(&form_token, &format!("n{place}"), &platform.admin)).await;
        assert!(answer.status() == 201 || answer.status() == 303, "{path}: {}", answer.status());
    }
    let detail = |field| platform.database().detail(field);
    let done =
        format!("SELECT {} FROM audit WHERE action = 'confirm' AND outcome = 'done' ORDER BY seq", detail("for"));
    let done = platform.rows(&done).await;
    assert_eq!(done, paths.map(|(_, action)| action));
    let refused = format!(
        "SELECT {}, actor IS NOT NULL AND actor = subject FROM audit WHERE action = 'confirm' AND outcome = 'refused' \
         ORDER BY seq",
        detail("reason")
    );
    // A row each: the first of a minute are, of somebody who has signed in.
    let rows = platform.rows(&refused).await;
    assert_eq!(rows, ["unknown|1", "the value of another token|1"].repeat(SENSITIVE.len()));
    platform.verify_audit().await;
}

#[tokio::test]
async fn a_value_confirms_one_session_for_five_minutes() {
    let platform = Platform::start().await;
    let mut first = Browser::signed_in(&platform, &platform.admin).await;
    let second = Browser::signed_in(&platform, &platform.admin).await;
    let token = first.form_token().await;
    let create = async |browser: &Browser, nonce: &str, value: &str| {
        let token = browser.form_token().await;
        browser.post("/tokens/new", &form(&token, nonce, value)).await.status().as_u16()
    };
    // Signing in with the value is presenting it.
    assert_eq!(create(&first, "a", "").await, 201);
    // On a busy machine, the requests take some seconds of it.
    platform.clock.advance(MINUTE * 4);
    assert_eq!(create(&first, "b", "").await, 201);
    platform.clock.advance(MINUTE);
    assert_eq!(create(&first, "c", "").await, 403);
    assert_eq!(create(&first, "c", &platform.admin).await, 201);
    // The same form again makes nothing, with the value and without it.
    assert_eq!(create(&first, "c", "").await, 409);
    assert_eq!(create(&first, "c", &platform.admin).await, 409);
    // Another browser with the same token is another session.
    assert_eq!(create(&second, "d", "").await, 403);
    platform.clock.advance(MINUTE * 5);
    assert_eq!(create(&first, "d", "").await, 403, "it is counted from when the value was given");
    // What a form says confirms nothing.
    let sent = format!("{}&confirmed_at=9999999999999999&confirmed=true", form(&token, "d", ""));
    assert_eq!(first.post("/tokens/new", &sent).await.status(), 403);
    assert_eq!(create(&first, "d", &platform.admin).await, 201);
    // Signing out ends it: the cookie is nobody's.
    let cookie = first.cookie.clone();
    assert_eq!(first.post("/sign-out", &format!("form_token={token}")).await.status(), 303);
    first.cookie = cookie;
    assert_eq!(first.post("/tokens/new", &form(&token, "e", &platform.admin)).await.status(), 303);
    assert_eq!(platform.rows("SELECT count(*) FROM tokens").await, ["5"]);
}

#[tokio::test]
async fn a_link_and_a_rotation_confirm_nothing() {
    let platform = Platform::start().await;
    let mut browser = Browser::new(&platform);
    let link = mlplatform_server::commands::sign_in_link(&platform.storage(), platform.clock.clone(), None, None)
        .await
        .unwrap();
    let answer = browser.post("/open", &format!("code={}", link.split_once("code=").unwrap().1)).await;
    browser.cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let token = browser.form_token().await;
    let answer = browser.post("/tokens/new", &form(&token, "a", "")).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("<code>admin-token</code>"), "where the value is");
    assert_eq!(browser.post("/tokens/new", &form(&token, "a", &platform.admin)).await.status(), 201);
    assert_eq!(browser.post("/tokens/new", &form(&token, "b", "")).await.status(), 201);

    // With an overlap the session goes on, and is to be confirmed anew.
    let id = platform.rows("SELECT id FROM tokens WHERE name = 'admin'").await.remove(0);
    let rotate = format!("form_token={token}&nonce=r&lifetime=chosen&number=1&unit=h");
    assert_eq!(browser.post(&format!("/tokens/{id}/rotate"), &rotate).await.status(), 201);
    let answer = browser.post("/tokens/new", &form(&token, "c", "")).await;
    assert_eq!(answer.status(), 403);
    assert!(!answer.text().await.unwrap().contains("<code>admin-token</code>"));
    platform.verify_audit().await;
}

#[tokio::test]
async fn guesses_at_the_present_value_are_slowed_and_the_value_itself_is_not() {
    let limits =
        Limits { refusals: 3, refusals_every: MINUTE * 60, refusal_delay: Duration::ZERO, ..Limits::default() };
    let platform = Platform::start_with(limits).await;
    let browser = Browser::signed_in(&platform, &platform.admin).await;
    let token = browser.form_token().await;
    platform.clock.advance(MINUTE * 5);
    for guess in 0..3 {
        assert_eq!(browser.post("/tokens/new", &form(&token, "n", &format!("guess{guess}"))).await.status(), 403);
    }
    let answer = browser.post("/tokens/new", &form(&token, "n", "guess3")).await;
    assert_eq!(answer.status(), 429);
    assert!(answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert!(answer.text().await.unwrap().contains("value=\"made-n\""), "what was typed is kept");
    assert_eq!(browser.post("/tokens/new", &form(&token, "n", &platform.admin)).await.status(), 201);
}

#[tokio::test]
async fn many_forms_at_once_with_the_value_change_one_thing() {
    let platform = Platform::start().await;
    let browser = Arc::new(Browser::signed_in(&platform, &platform.admin).await);
    let token = browser.form_token().await;
    platform.clock.advance(MINUTE * 6);
    let sent = (0..10).map(|_| {
        let (browser, form) = (Arc::clone(&browser), form(&token, "once", &platform.admin));
        tokio::spawn(async move { browser.post("/tokens/new", &form).await.status().as_u16() })
    });
    let mut statuses = Vec::new();
    for answer in sent.collect::<Vec<_>>() {
        statuses.push(answer.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(platform.rows("SELECT count(*) FROM tokens").await, ["2"]);
}
