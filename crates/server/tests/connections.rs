//! Clients that are slow, silent, too many or gone, and a server that stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Answer, Platform};
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::{
    Endpoint,
    routes::{CreateSession, Healthz},
};
use mlplatform_server::{
    listen::bind,
    server::{Config, Server},
    tls::TlsFiles,
};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const SOON: Duration = Duration::from_millis(300);
/// Far more than anything here takes.
const LATE: Duration = Duration::from_secs(60);

fn impatient() -> Limits {
    Limits { head: SOON, body: SOON, ..Limits::default() }
}

async fn connect(platform: &Platform) -> TcpStream {
    TcpStream::connect(platform.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// What the server says until it closes.
async fn to_the_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(LATE, stream.read_to_end(&mut bytes)).await.expect("the connection is never closed");
    String::from_utf8(bytes).unwrap()
}

/// The head of an exchange with a body of that length.
fn head(length: usize) -> String {
    let path = CreateSession::ROUTE.path;
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn silence_and_half_a_head_are_not_waited_for() {
    let platform = Platform::start_with(impatient()).await;
    let (path, version) = (Healthz::ROUTE.path, "HTTP/1.1");
    let half = format!("GET {path} {version}\r\nHost: a-host-with-a-long-name\r\nX-Slow: ");
    for said in ["", "GET ", "PRI * HTTP/2.0\r\n", half.as_str()] {
        let mut stream = connect(&platform).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let answer = to_the_end(stream).await;
        assert!(!answer.contains("200 OK"), "{said}: {answer}");
    }
}

#[tokio::test]
async fn a_slow_body_is_told() {
    let platform = Platform::start_with(Limits { body: SOON, ..Limits::default() }).await;
    let mut stream = connect(&platform).await;
    stream.write_all(head(20).as_bytes()).await.unwrap();
    let answer = to_the_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeoutException"), "{answer}");
}

#[tokio::test]
async fn a_body_without_an_announced_length_has_the_same_limit() {
    let platform = Platform::start().await;
    let mut stream = connect(&platform).await;
    let head = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    for _ in 0..5 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 1024];
    let length = timeout(LATE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_again() {
    let platform = Platform::start_with(Limits { requests: 0, ..Limits::default() }).await;
    let refused = platform.ask::<Healthz>(json!({})).send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.body["errorCode"], "ServiceUnavailableException");
}

/// They need no credential to be slow.
#[tokio::test]
async fn slow_bodies_keep_nobody_else_out() {
    let platform = Platform::start_with(Limits { requests: 1, ..Limits::default() }).await;
    let body = json!({"refresh_token": platform.admin}).to_string();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&platform).await;
        stream.write_all(head(body.len()).as_bytes()).await.unwrap();
        slow.push(stream);
    }
    sleep(SOON).await;
    assert_eq!(platform.ask::<Healthz>(json!({})).send().await.status, 200);
    assert_eq!(platform.exchange(&platform.admin).await.status, 201);
    // And they are served when they are done at last.
    let mut last = slow.pop().unwrap();
    last.write_all(body.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = timeout(LATE, last.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_the_store_in_order() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let body = json!({"refresh_token": platform.admin}).to_string();
    for n in 0..60_u64 {
        let mut stream = connect(&platform).await;
        stream.write_all(format!("{}{body}", head(body.len())).as_bytes()).await.unwrap();
        sleep(Duration::from_micros(40 * n)).await;
        drop(stream);
    }
    let register_token = platform.registered(&admin, "anna").await;
    assert_eq!(platform.redeem(&register_token).send().await.status, 201);
    platform.verify_audit().await;
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let mut platform = Platform::start().await;
    let body = json!({"refresh_token": platform.admin}).to_string();
    let mut stream = connect(&platform).await;
    let head = head(body.len()).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // It is said when the body is wanted.
    let mut said = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    let _ = timeout(LATE, stream.read_exact(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&said));
    platform.begin_to_stop();
    let closed = async { while TcpStream::connect(platform.url.strip_prefix("http://").unwrap()).await.is_ok() {} };
    timeout(LATE, closed).await.expect("new ones are taken");
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = to_the_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    platform.stop().await;
}

#[tokio::test]
async fn nobody_is_waited_for_for_ever() {
    let mut platform = Platform::start_with(Limits { drain: SOON, ..Limits::default() }).await;
    let mut stream = connect(&platform).await;
    stream.write_all(head(20).as_bytes()).await.unwrap();
    sleep(SOON).await;
    timeout(LATE, platform.stop()).await.unwrap();
}

struct Certified {
    folder: tempfile::TempDir,
    authority: Certificate,
}

impl Certified {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { authority: Certificate::from_pem(made.cert.pem().as_bytes()).unwrap(), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.file("cert.pem"), key: self.file("key.pem") }
    }
}

#[tokio::test]
async fn https_with_both_versions_of_http() {
    let certified = Certified::new();
    let start = async |limits| {
        let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
        Platform::start_in(folder, limits, Some(certified.files())).await
    };
    let mut platform = start(Limits::default()).await;
    assert!(platform.url.starts_with("https://127.0.0.1:"));
    let builder = || Client::builder().no_proxy().tls_certs_only([certified.authority.clone()]);
    let body: Value = json!({"refresh_token": platform.admin});
    for (client, version) in [
        (builder().build().unwrap(), reqwest::Version::HTTP_2),
        (builder().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
    ] {
        let url = format!("{}{}", platform.url, CreateSession::ROUTE.path);
        let response = client.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(Answer::of(response).await.status, 201);
    }
    platform.stop().await;
    // Plain text, and a handshake that never comes.
    let mut platform = start(impatient()).await;
    let mut plain = TcpStream::connect(platform.url.strip_prefix("https://").unwrap()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(LATE, plain.read_to_end(&mut said)).await.unwrap();
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    let silent = TcpStream::connect(platform.url.strip_prefix("https://").unwrap()).await.unwrap();
    assert_eq!(to_the_end(silent).await, "");
    platform.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named() {
    let (certified, other) = (Certified::new(), Certified::new());
    let missing = TlsFiles { cert: certified.file("none.pem"), ..certified.files() };
    let swapped = TlsFiles { cert: certified.file("key.pem"), ..certified.files() };
    let no_key = TlsFiles { key: certified.file("cert.pem"), ..certified.files() };
    let mismatch = TlsFiles { key: other.file("key.pem"), ..certified.files() };
    let damaged = TlsFiles { key: certified.file("damaged.pem"), ..certified.files() };
    // Not base64, and no beginning of anything: both kinds of error would repeat what they stumble over.
    let body = "hunter2?".repeat(8);
    std::fs::write(&damaged.key, format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")).unwrap();
    let headless = TlsFiles { key: certified.file("headless.pem"), ..certified.files() };
    std::fs::write(&headless.key, format!("-----BEGIN {body}\n")).unwrap();
    for (tls, text) in [
        (missing, "none.pem"),
        (swapped, "no certificate in it"),
        (no_key, "no private key without a passphrase in it"),
        (mismatch, "--tls-key"),
        (damaged, "damaged.pem': it is damaged"),
        (headless, "headless.pem': it is damaged"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { tls: Some(tls), ..Config::new(folder.path()) };
        let error = Server::start(bind("127.0.0.1:0", true).unwrap(), config).await.err().unwrap().to_string();
        assert!(error.contains(text) && !error.contains("hunter2") && !error.contains("104, 117"), "{error}");
    }
}
