//! A platform on a real socket, and a way to ask it that knows the contract and nothing else.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mlplatform_platform::{audit::VerifiedChain, clock::Clock, limits::Limits};
use mlplatform_protocol::{
    Endpoint, headers,
    routes::{
        CreateRefreshToken, CreateRegisterToken, CreateSession, DeleteRegisterToken, DeleteToken,
        GetRegisterTokensInfo, WhoAmI,
    },
};
use mlplatform_server::{
    commands::{audit_reader, init},
    listen::bind,
    server::{Config, Server},
    storage::{self, Storage},
    tls::TlsFiles,
};
use mlplatform_store::testing::{self, Database, WriterHeld};
use reqwest::{Client, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// Started, and stopped when dropped.
pub struct Platform {
    pub url: String,
    /// The first Administrator token.
    pub admin: String,
    pub clock: Clock,
    pub http: Client,
    pub folder: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Self { status, headers, body }
    }

    /// The text of a refusal, whose envelope must be whole.
    pub fn field(&self) -> &str {
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert!(self.body["errorCode"].as_str().unwrap().ends_with("Exception"), "{self:?}");
        self.body["errorParams"]["field"].as_str().unwrap()
    }

    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// One request in the making.
pub struct Ask {
    request: RequestBuilder,
}

impl Ask {
    pub fn session(self, session: &str) -> Self {
        Self { request: self.request.bearer_auth(session) }
    }

    pub fn key(self, key: &str, attempt: u32) -> Self {
        let request = self.request.header(headers::IDEMPOTENCY_KEY, key);
        Self { request: request.header(headers::IDEMPOTENCY_ATTEMPT, attempt) }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value) }
    }

    /// The answer as it comes.
    pub async fn response(self) -> Response {
        self.request.send().await.unwrap()
    }

    pub async fn send(self) -> Answer {
        Answer::of(self.request.send().await.unwrap()).await
    }
}

pub fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), limits, None).await
    }

    pub async fn start_in(folder: Arc<TempDir>, limits: Limits, tls: Option<TlsFiles>) -> Self {
        let config = Config { limits, tls, ..Config::new(folder.path()) };
        Self::start_as(folder, config).await
    }

    pub async fn start_as(folder: Arc<TempDir>, config: Config) -> Self {
        let clock = config.clock.clone();
        prepare(folder.path()).await;
        let config = Config { database: storage_in(folder.path()).database, ..config };
        let listener = bind("127.0.0.1:0", config.tls.is_some()).unwrap();
        let server = Server::start(listener, config).await.unwrap();
        let ready = server.ready().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move { server.run(async { drop(stopped.await) }).await.unwrap() });
        let admin = std::fs::read_to_string(ready.admin_token_file.unwrap()).unwrap().trim().to_owned();
        let (stop, running) = (Some(stop), Some(running));
        Self { url: ready.url, admin, clock, http: client(), folder, stop, running }
    }

    /// Lets requests in flight finish.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
    }

    /// Tells it to stop, and does not wait.
    pub fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn ask<E: Endpoint>(&self, request: Value) -> Ask {
        let Value::Object(fields) = request else { panic!("a request is an object") };
        let (path, rest) = E::ROUTE.fill(fields);
        let url = format!("{}{path}", self.url);
        let builder = self.http.request(E::ROUTE.method, url);
        let request = if E::ROUTE.method == "POST" {
            builder.json(&rest)
        } else {
            builder.query(&rest.into_iter().map(|(k, v)| (k, plain(v))).collect::<Vec<_>>())
        };
        Ask { request }
    }

    pub async fn exchange(&self, token: &str) -> Answer {
        self.ask::<CreateSession>(json!({"refresh_token": token})).send().await
    }

    /// A session of that access token.
    pub async fn session(&self, token: &str) -> String {
        let answer = self.exchange(token).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("session_token")
    }

    pub async fn admin_session(&self) -> String {
        self.session(&self.admin).await
    }

    pub fn register(&self, session: &str, name: &str, more: Value) -> Ask {
        let mut request = json!({"client_name": name, "access_ttl": "2h", "token_type": "USER"});
        let fields: &mut Map<String, Value> = request.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        self.ask::<CreateRegisterToken>(request).session(session)
    }

    /// A registration token for a User.
    pub async fn registered(&self, session: &str, name: &str) -> String {
        self.registered_with(session, name, json!({})).await
    }

    pub async fn registered_with(&self, session: &str, name: &str, more: Value) -> String {
        let answer = self.register(session, name, more).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("register_token")
    }

    pub fn redeem(&self, register_token: &str) -> Ask {
        self.ask::<CreateRefreshToken>(json!({"register_token": register_token}))
    }

    /// An access token of that name.
    pub async fn token(&self, session: &str, name: &str, more: Value) -> String {
        let register_token = self.registered_with(session, name, more).await;
        let answer = self.redeem(&register_token).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("refresh_token")
    }

    pub fn delete(&self, session: &str, name: &str) -> Ask {
        self.ask::<DeleteToken>(json!({"token_name": name})).session(session)
    }

    /// Every registration token, as an Administrator sees it.
    pub async fn register_tokens(&self, session: &str) -> Vec<Value> {
        let list = self.ask::<GetRegisterTokensInfo>(json!({"limit": 1000})).session(session).send().await;
        assert_eq!((list.status, list.body.get("next_cursor")), (200, None));
        list.body["items"].as_array().unwrap().clone()
    }

    pub fn delete_register_token(&self, session: &str, id: &str) -> Ask {
        self.ask::<DeleteRegisterToken>(json!({"token_id": id})).session(session)
    }

    pub async fn who_am_i(&self, session: &str) -> Answer {
        self.ask::<WhoAmI>(json!({})).session(session).send().await
    }

    /// Of commands beside it.
    pub fn storage(&self) -> Storage {
        storage_in(self.folder.path())
    }

    /// Rows of the store, each as `column|column`.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        self.database().rows(query).await
    }

    /// Nobody writes, until that is dropped. (The platform waits for 10 seconds.)
    pub async fn hold_the_writer(&self) -> WriterHeld {
        self.database().hold_the_writer().await
    }

    /// To look into.
    pub fn database(&self) -> Database {
        database_in(self.folder.path())
    }

    pub async fn verify_audit(&self) -> VerifiedChain {
        verify_audit(self.folder.path()).await
    }
}

/// Where the state of the platform of that folder is: on the store that `MLP_TEST_STORE` names.
pub fn storage_in(folder: &Path) -> Storage {
    let url = std::fs::read_to_string(url_file(folder)).ok();
    let database = url.map(|url| storage::Database { url: url.parse().unwrap(), keys_dir: None, audit_mark: None });
    Storage { data_dir: folder.to_owned(), database }
}

/// The file with the URL of its database on PostgreSQL.
fn url_file(folder: &Path) -> PathBuf {
    folder.join("database-url")
}

/// Its database, to look into.
pub fn database_in(folder: &Path) -> Database {
    std::fs::read_to_string(url_file(folder))
        .map_or_else(|_| Database::Sqlite(folder.join("platform.sqlite3")), Database::Postgres)
}

/// A folder with a platform that nobody has served yet, and whom it belongs to on PostgreSQL.
async fn prepare(folder: &Path) {
    if testing::on_postgres() && !url_file(folder).exists() {
        std::fs::write(url_file(folder), testing::migrated_database().await).unwrap();
        init(&storage_in(folder), Clock::default(), None).await.unwrap();
    }
}

pub async fn verify_audit(folder: &Path) -> VerifiedChain {
    audit_reader(&storage_in(folder), None).await.unwrap().verify().await.unwrap().unwrap().chain
}

fn plain(value: Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Every place of a folder's files, `admin-token` apart, where a token stands.
pub fn tokens_in(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file() && !path.ends_with("admin-token") && holds_token(&std::fs::read(path).unwrap()))
        .collect()
}

/// By the published pattern, `mlp[xra]_[0-9A-Za-z]{38}`.
pub fn holds_token(bytes: &[u8]) -> bool {
    bytes.windows(43).any(|window| {
        window.starts_with(b"mlp")
            && b"xra".contains(&window[3])
            && window[4] == b'_'
            && window[5..].iter().all(u8::is_ascii_alphanumeric)
    })
}
