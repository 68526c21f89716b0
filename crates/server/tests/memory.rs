//! What one client may take of a platform's memory: bodies, and answers that it asks for and does not read.
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
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request};
use mlplatform_api::proxies::Proxies;
use mlplatform_platform::limits::Limits;
use mlplatform_protocol::{
    Endpoint,
    routes::{GetClusters, Healthz, OpenApi, SparkDeleteJob, SparkSubmitJob, WhoAmI},
};
use mlplatform_server::server::Config;
use mlplatform_spark_local::{JobsAs, SparkConfig};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

const SOON: Duration = Duration::from_millis(300);
/// Far more than anything here takes.
const LATE: Duration = Duration::from_secs(30);
const MIB: usize = 1024 * 1024;

/// What `X-Forwarded-For` says is believed there.
async fn behind_a_proxy(limits: Limits) -> Platform {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let proxies = Proxies(vec!["127.0.0.0/8".parse().unwrap()]);
    Platform::start_as(folder.clone(), Config { limits, proxies, ..Config::new(folder.path()) }).await
}

fn address(platform: &Platform) -> &str {
    platform.url.strip_prefix("http://").unwrap()
}

/// A connection of HTTP/2 that leaves so much room for each answer, and its end.
async fn http2(platform: &Platform, window: u32) -> (SendRequest<&'static [u8]>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address(platform)).await.unwrap();
    let builder = h2::client::Builder::new().initial_window_size(window).handshake(stream);
    let (client, connection) = builder.await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(
    client: &mut SendRequest<&'static [u8]>,
    platform: &Platform,
    path: &str,
    headers: &[(&str, &str)],
) -> ResponseFuture {
    let request = Request::builder().method(Method::GET).uri(format!("{}{path}", platform.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send_request(request.body(()).unwrap(), true).unwrap().0
}

async fn is_refused(platform: &Platform, from: &str) -> bool {
    let answer = platform.ask::<Healthz>(json!({})).header("x-forwarded-for", from).send().await;
    assert!(answer.status == 200 || (answer.status == 503 && answer.header("retry-after") == Some("1")), "{answer:?}");
    answer.status == 503
}

#[tokio::test]
async fn an_answer_is_work_until_it_was_taken() {
    let limits = Limits { requests: 8, refusal_delay: Duration::ZERO, ..Limits::default() };
    let platform = behind_a_proxy(limits).await;
    let (client, _connection) = http2(&platform, 0).await;
    let mut client = client.ready().await.unwrap();
    let mut answers = Vec::new();
    for n in 0..4 {
        let answer =
            get(&mut client, &platform, OpenApi::ROUTE.path, &[("x-forwarded-for", "192.0.2.1")]).await.unwrap();
        assert_eq!(answer.status(), 200, "{n}");
        answers.push(answer);
    }
    assert!(is_refused(&platform, "192.0.2.1").await, "it holds all places of its address");
    assert!(!is_refused(&platform, "192.0.2.2").await, "and those of nobody else");
    // Taken at last.
    let mut body = answers.pop().unwrap().into_body();
    body.flow_control().release_capacity(0).unwrap();
    drop((answers, body));
    timeout(LATE, async {
        while is_refused(&platform, "192.0.2.1").await {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("a place is held for somebody who has gone");
}

#[tokio::test]
async fn answers_that_wait_are_bounded_by_their_bytes() {
    // An answer costs four KiB beside its own bytes: of one address, four of these.
    let limits = Limits { answers: 36 * 1024, refusal_delay: Duration::ZERO, ..Limits::default() };
    let platform = behind_a_proxy(limits).await;
    let admin = format!("Bearer {}", platform.admin_session().await);
    let headers = [("x-forwarded-for", "192.0.2.1"), ("authorization", admin.as_str())];
    let (client, _connection) = http2(&platform, 0).await;
    let mut client = client.ready().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(get(&mut client, &platform, WhoAmI::ROUTE.path, &headers).await.unwrap());
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 503, 503, 503, 503]);
    assert!(!is_refused(&platform, "192.0.2.2").await);
    drop(answers);
    timeout(LATE, async {
        while is_refused(&platform, "192.0.2.1").await {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("what has gone is counted still");
}

#[tokio::test]
async fn a_connection_of_http2_that_takes_nothing_is_closed() {
    for window in [0, 1] {
        let platform = Platform::start_with(Limits { stall: SOON, ..Limits::default() }).await;
        let (client, connection) = http2(&platform, window).await;
        let mut client = client.ready().await.unwrap();
        let answer = get(&mut client, &platform, OpenApi::ROUTE.path, &[]).await.unwrap();
        assert_eq!(answer.status(), 200);
        let closed = timeout(LATE, connection).await.expect("it is never closed").unwrap();
        assert!(closed.is_err() || client.ready().await.is_err(), "{window}");
    }
}

/// Asks so often for a document that no buffer between holds all answers.
async fn asked_in_a_row(platform: &Platform, times: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address(platform).parse().unwrap()).await.unwrap();
    let ask = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", OpenApi::ROUTE.path);
    stream.write_all(ask.repeat(times).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_connection_of_http1_that_takes_nothing_is_closed() {
    let platform = Platform::start_with(Limits { stall: SOON, ..Limits::default() }).await;
    let mut stream = asked_in_a_row(&platform, 200).await;
    timeout(LATE, async {
        while stream.write_all(b"GET").await.is_ok() {
            sleep(SOON).await
        }
    })
    .await
    .expect("it is never closed");
}

#[tokio::test]
async fn who_takes_slowly_gets_all() {
    let stall = Duration::from_secs(2);
    let platform = Platform::start_with(Limits { stall, ..Limits::default() }).await;
    let mut stream = asked_in_a_row(&platform, 20).await;
    let (mut taken, mut piece, mut searched, mut answers) = (Vec::new(), vec![0; 8192], 0, 0);
    let began = std::time::Instant::now();
    while answers < 20 {
        let length = timeout(LATE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(length > 0, "it was closed after {} bytes", taken.len());
        taken.extend_from_slice(&piece[..length]);
        // Only what is new: to search all of it each time would be slower than this client means to be.
        answers += taken[searched..].windows(9).filter(|text| text == b"HTTP/1.1 ").count();
        searched = taken.len().saturating_sub(8);
        sleep(Duration::from_millis(25)).await;
    }
    assert!(began.elapsed() > stall, "that was not slow");
}

#[tokio::test]
async fn who_waits_for_a_log_is_not_taken_for_deaf() {
    let platform = Platform::start_with(Limits { stall: SOON, ..Limits::default() }).await;
    let mut idle = TcpStream::connect(address(&platform)).await.unwrap();
    let ask = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", Healthz::ROUTE.path);
    for _ in 0..3 {
        idle.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        assert!(timeout(LATE, idle.read(&mut answer)).await.unwrap().unwrap() > 0);
        // It took its answer, and has all the time in the world.
        sleep(SOON * 2).await;
    }
}

async fn submit(platform: &Platform, session: &str, from: &str, length: usize) -> TcpStream {
    let clusters = platform.ask::<GetClusters>(json!({})).session(session).send().await;
    let cluster = clusters.body["items"][0]["id"].as_str().unwrap().to_owned();
    let path = SparkSubmitJob::ROUTE.path.replace("{cluster_id}", &cluster);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\nAuthorization: Bearer {session}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address(platform)).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let length = timeout(LATE, stream.read(&mut answer)).await.expect("no answer").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn bodies_are_counted_before_they_are_read() {
    let platform =
        behind_a_proxy(Limits { large_bodies: 60 * MIB, refusal_delay: Duration::ZERO, ..Limits::default() }).await;
    let admin = platform.admin_session().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(submit(&platform, &admin, "192.0.2.1", 14 * MIB).await);
    }
    sleep(SOON).await;
    let refused = answer(&mut submit(&platform, &admin, "192.0.2.1", 14 * MIB).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("too many large bodies"), "{refused}");
    // Nobody else is told so, and small ones of the same address are read as ever.
    let body = r#"{"manifest":{}}"#;
    for from in ["192.0.2.1", "192.0.2.2"] {
        let mut stream = submit(&platform, &admin, from, body.len()).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let told = answer(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    }
    let mut other = submit(&platform, &admin, "192.0.2.2", 14 * MIB).await;
    other.write_all(&vec![b' '; 14 * MIB]).await.unwrap();
    assert!(answer(&mut other).await.contains("the body is not JSON"));
    drop(held);
    timeout(LATE, async {
        loop {
            let mut again = submit(&platform, &admin, "192.0.2.1", 14 * MIB).await;
            if again.write_all(&vec![b' '; 14 * MIB]).await.is_ok()
                && answer(&mut again).await.starts_with("HTTP/1.1 400 ")
            {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the room of a body that has gone is never free");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted_as_it_grows() {
    let platform = Platform::start_with(Limits {
        small_bodies: 2 * 40 * 1024,
        refusal_delay: Duration::ZERO,
        ..Limits::default()
    })
    .await;
    let head = "POST /v1_0/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(address(&platform)).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        let _ = stream.write_all(format!("4000\r\n{}\r\n", " ".repeat(0x4000)).as_bytes()).await;
    }
    let refused = answer(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("too many large bodies"), "{refused}");
}

/// Lists and logs look at a job without its manifest; who looks after all open jobs cannot.
#[tokio::test]
async fn a_token_has_a_bounded_number_of_open_jobs() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let spark = SparkConfig { jobs: JobsAs::Myself, submit: Some("/bin/true".into()), ..SparkConfig::default() };
    let platform = Platform::start_as(folder.clone(), Config { spark, ..Config::new(folder.path()) }).await;
    let admin = platform.admin_session().await;
    let clusters = platform.ask::<GetClusters>(json!({})).session(&admin).send().await;
    let cluster = clusters.body["items"][0]["id"].as_str().unwrap();
    let submit = async |n: usize| {
        // More than the cluster has: it waits.
        let pod = json!({"cores": 1, "memory": "4000g"});
        let manifest = json!({
            "apiVersion": "sparkoperator.k8s.io/v1beta2",
            "kind": "SparkApplication",
            "metadata": {"name": format!("job-{n}"), "annotations": {"a": "x".repeat(250 * 1024)}},
            "spec": {
                "type": "Scala", "sparkVersion": "4.0.0", "mainClass": "None", "mainApplicationFile": "local:///dev/null",
                "driver": pod, "executor": pod,
            },
        });
        let ask = platform.ask::<SparkSubmitJob>(json!({"cluster_id": cluster, "manifest": manifest}));
        ask.session(&admin).send().await
    };
    for n in 0..65 {
        let answer = submit(n).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let refused = submit(65).await;
    assert!(
        refused.status == 409 && refused.field().contains("this token has 65 jobs that have not ended"),
        "{refused:?}"
    );
    let deletion = json!({"cluster_id": cluster, "job_name": "job-1"});
    assert_eq!(platform.ask::<SparkDeleteJob>(deletion).session(&admin).send().await.status, 204);
    assert_eq!(submit(65).await.status, 201);
}

#[tokio::test]
async fn a_manifest_has_limits_of_its_own() {
    let platform = Platform::start().await;
    let admin = platform.admin_session().await;
    let clusters = platform.ask::<GetClusters>(json!({})).session(&admin).send().await;
    let cluster = clusters.body["items"][0]["id"].as_str().unwrap();
    let told = async |manifest: serde_json::Value| {
        let ask = platform.ask::<SparkSubmitJob>(json!({"cluster_id": cluster, "manifest": manifest}));
        let answer = ask.session(&admin).send().await;
        (answer.status, answer.field().to_owned())
    };
    let (status, text) = told(json!(vec![0; 7 * MIB])).await;
    assert!(status == 400 && text.contains("and at most 10000 are read"), "{status} {text}");
    let (status, text) = told(json!({"spec": {"arguments": ["x".repeat(2 * MIB)]}})).await;
    assert!(
        status == 413 && text.contains("has 2097179 bytes as JSON, and at most 262144 are taken"),
        "{status} {text}"
    );
}
