//! Secrets and config maps of a cluster: what its jobs are configured with. A secret's values go in, and come out for
//! a job alone ([`values`]); nobody is ever shown one.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use mlplatform_protocol::{
    ErrorCode, Page, PageRequest,
    objects::{
        ConfigmapInfo, ConfigmapRequest, CreateConfigmapRequest, CreateSecretRequest, DEFAULT_NAMESPACE,
        ListObjectsRequest, MASK, MAX_OBJECT, SecretInfo, SecretRequest,
    },
};
use mlplatform_store::{Connection, FromRow, query};
use serde_json::json;

use crate::{
    app::App,
    audit::Outcome,
    caller::Caller,
    clusters::{
        inactivity::settle,
        row::{self, event},
    },
    error::{Error, Result},
    idempotency::Key,
    page::Window,
    request::RequestContext,
    text::harmless,
    transaction::Transaction,
    vault::ValueId,
};

/// The longest type of a secret.
const LONGEST_TYPE: usize = 253;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its values are encrypted, and never shown.
    Secret,
    /// Its values are for everybody.
    Configmap,
}

impl Kind {
    /// As Kubernetes and the store name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Configmap => "ConfigMap",
        }
    }

    /// As a person would call it.
    const fn noun(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Configmap => "config map",
        }
    }

    /// The method that lists them.
    const fn list(self) -> &'static str {
        match self {
            Self::Secret => "list_secrets",
            Self::Configmap => "list_configmaps",
        }
    }
}

/// What stands under a key.
#[derive(Clone)]
pub struct Value {
    /// In the clear, or as it is stored.
    pub bytes: Vec<u8>,
    /// It stood under `binaryData` of a config map: as in Kubernetes, no job has it in its environment.
    pub is_binary: bool,
}

/// Of a secret, the bytes are nobody's business.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("is_binary", &self.is_binary).finish_non_exhaustive()
    }
}

impl Value {
    fn text(bytes: Vec<u8>) -> Self {
        Self { bytes, is_binary: false }
    }
}

/// Which object.
#[derive(Clone, Copy, Debug)]
struct Which<'a> {
    kind: Kind,
    cluster: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Which<'_> {
    fn value_id<'b>(&'b self, key: &'b str) -> ValueId<'b> {
        ValueId { cluster: self.cluster, namespace: self.namespace, secret: self.name, key }
    }

    fn unknown(&self) -> Error {
        let Self { kind, namespace, name, .. } = self;
        let (noun, list) = (kind.noun(), kind.list());
        let text =
            format!("there is no {noun} named '{name}' in the namespace '{namespace}': {list} lists those there are");
        Error::refused(ErrorCode::NotFound, text)
    }
}

/// `create_secret_from_yaml`.
///
/// # Errors
/// When there is no such cluster or namespace, the name is taken, or something breaks its rule.
pub async fn create_secret(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: CreateSecretRequest,
) -> Result<SecretInfo> {
    let kind = request.kind.as_str();
    if kind.is_empty() || kind.len() > LONGEST_TYPE || !kind.chars().all(|c| c.is_ascii_graphic()) {
        return Err(bad(format!("type: '{kind}' is not a type of a secret: give Opaque, or leave it out")));
    }
    let mut values = BTreeMap::new();
    for (key, value) in &request.data {
        // The value is not repeated, and neither is what is wrong with it.
        let value = BASE64_STANDARD.decode(value.expose());
        let value = value.map_err(|_| bad(format!("data.{key}: the value is not base64: encode it")))?;
        values.insert(key.as_str(), Value::text(value));
    }
    let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
    let which = Which { kind: Kind::Secret, cluster: &request.cluster_id, namespace, name };
    let vault = app.vault()?;
    let seal = |key: &str, value: &[u8]| vault.seal(which.value_id(key), value);
    create(app, context, caller, key, "create_secret_from_yaml", which, Some(kind), &values, seal).await?;
    let data = values.into_keys().map(masked).collect();
    Ok(SecretInfo { name: name.to_owned(), kind: kind.to_owned(), namespace: namespace.to_owned(), data })
}

/// `create_configmap_from_yaml`.
///
/// # Errors
/// As [`create_secret`].
pub async fn create_configmap(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: CreateConfigmapRequest,
) -> Result<ConfigmapInfo> {
    let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
    let which = Which { kind: Kind::Configmap, cluster: &request.cluster_id, namespace, name };
    let texts = request.data.iter().map(|(key, value)| (key.as_str(), Value::text(value.clone().into_bytes())));
    let mut values: BTreeMap<_, _> = texts.collect();
    for (key, value) in &request.binary_data {
        let bytes = BASE64_STANDARD.decode(value);
        let bytes = bytes.map_err(|_| bad(format!("binaryData.{key}: the value is not base64: encode it")))?;
        if values.insert(key.as_str(), Value { bytes, is_binary: true }).is_some() {
            return Err(bad(format!("binaryData.{key}: the key stands in data, too: remove one of the two")));
        }
    }
    let plain = |_: &str, value: &[u8]| Ok(value.to_vec());
    create(app, context, caller, key, "create_configmap_from_yaml", which, None, &values, plain).await?;
    Ok(shown(which, values.into_iter().map(|(key, value)| (key.to_owned(), value))))
}

/// `list_secrets`, `list_configmaps`: their names, in the order of their making.
///
/// # Errors
/// When there is no such cluster or namespace, or the page asked for is none.
pub async fn list(app: &App, kind: Kind, request: ListObjectsRequest) -> Result<Page<String>> {
    let window = Window::read(&PageRequest { limit: request.limit, cursor: request.cursor })?;
    settle(app).await?;
    let mut connection = app.read().await?;
    at_home(app, &mut connection, &request.cluster_id, &request.namespace).await?;
    let rows: Vec<Named> = query(
        "SELECT seq, name FROM objects WHERE seq > $1 AND cluster_id = $2 AND kind = $3 AND namespace = $4 \
         AND deleted_at IS NULL ORDER BY seq LIMIT $5",
    )
    .bind(window.after)
    .bind(&request.cluster_id)
    .bind(kind.name())
    .bind(&request.namespace)
    .bind(window.rows())
    .all(&mut connection)
    .await?;
    Ok(window.page(rows, |row| row.seq))
}

#[derive(FromRow)]
struct Named {
    seq: i64,
    name: String,
}

impl From<Named> for String {
    fn from(row: Named) -> Self {
        row.name
    }
}

/// `get_secret_detail`: its keys, and a mask in place of each value.
///
/// # Errors
/// When there is no such cluster, namespace or secret.
pub async fn get_secret_detail(app: &App, request: SecretRequest) -> Result<SecretInfo> {
    let SecretRequest { cluster_id, secret_name, namespace } = request;
    let which = Which { kind: Kind::Secret, cluster: &cluster_id, namespace: &namespace, name: &secret_name };
    let (kind, stored) = read(app, which).await?;
    let data = stored.iter().map(|(key, _)| masked(key)).collect();
    Ok(SecretInfo { name: secret_name, kind: kind.unwrap_or_default(), namespace, data })
}

/// `get_configmap_detail`.
///
/// # Errors
/// When there is no such cluster, namespace or config map.
pub async fn get_configmap_detail(app: &App, request: ConfigmapRequest) -> Result<ConfigmapInfo> {
    let ConfigmapRequest { cluster_id, configmap_name, namespace } = request;
    let which = Which { kind: Kind::Configmap, cluster: &cluster_id, namespace: &namespace, name: &configmap_name };
    let (_, stored) = read(app, which).await?;
    Ok(shown(which, stored.into_iter()))
}

/// A config map with its values.
fn shown(which: Which<'_>, values: impl Iterator<Item = (String, Value)>) -> ConfigmapInfo {
    let (name, namespace) = (which.name.to_owned(), which.namespace.to_owned());
    let mut info = ConfigmapInfo { data: BTreeMap::new(), binary_data: BTreeMap::new(), name, namespace };
    for (key, Value { bytes, is_binary }) in values {
        if is_binary {
            info.binary_data.insert(key, BASE64_STANDARD.encode(bytes));
        } else {
            info.data.insert(key, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    info
}

/// The values of an object in the clear: for a job that names it, and for nobody else.
///
/// # Errors
/// When there is no such cluster, namespace or object, or its values cannot be decrypted.
pub async fn values(
    app: &App,
    kind: Kind,
    cluster: &str,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Value>> {
    let which = Which { kind, cluster, namespace, name };
    let (_, stored) = read(app, which).await?;
    match kind {
        Kind::Configmap => Ok(stored.into_iter().collect()),
        Kind::Secret => {
            let vault = app.vault()?;
            let open = |(key, sealed): (String, Value)| {
                let bytes = vault.unseal(which.value_id(&key), &sealed.bytes)?;
                Ok((key, Value::text(bytes)))
            };
            stored.into_iter().map(open).collect()
        }
    }
}

/// `delete_secret`.
///
/// # Errors
/// When there is no such cluster, namespace or secret.
pub async fn delete_secret(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: SecretRequest,
) -> Result<()> {
    let SecretRequest { cluster_id, secret_name, namespace } = request;
    let which = Which { kind: Kind::Secret, cluster: &cluster_id, namespace: &namespace, name: &secret_name };
    delete(app, context, caller, key, "delete_secret", which).await
}

/// `delete_configmap`.
///
/// # Errors
/// When there is no such cluster, namespace or config map.
pub async fn delete_configmap(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: ConfigmapRequest,
) -> Result<()> {
    let ConfigmapRequest { cluster_id, configmap_name, namespace } = request;
    let which = Which { kind: Kind::Configmap, cluster: &cluster_id, namespace: &namespace, name: &configmap_name };
    delete(app, context, caller, key, "delete_configmap", which).await
}

/// Whether the store holds a user's value that only the key file opens; the platform's own can be made anew.
pub async fn any_secret(connection: &mut Connection) -> Result<bool> {
    let any = query(
        "SELECT EXISTS (SELECT 1 FROM objects WHERE kind = 'Secret' AND created_by IS NOT NULL AND deleted_at IS NULL)",
    );
    Ok(any.scalar(connection).await?)
}

fn masked(key: impl Into<String>) -> (String, String) {
    (key.into(), MASK.to_owned())
}

/// An object that a key made or deleted before: its row, and whether it is the one that is meant now.
async fn earlier(
    tx: &mut Transaction<'_>,
    statement: &'static str,
    caller: &Caller,
    key: &Key,
    which: Which<'_>,
) -> Result<Option<bool>> {
    let found: Option<(String, String, String, String)> =
        query(statement).bind(caller.id()).bind(&key.digest).optional(tx.connection()).await?;
    let meant = (which.cluster, which.kind.name(), which.namespace, which.name);
    Ok(found.map(|(cluster, kind, namespace, name)| (&*cluster, &*kind, &*namespace, &*name) == meant))
}

#[allow(clippy::too_many_arguments, reason = "two kinds, one way; each is said once")]
async fn create(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    action: &'static str,
    which: Which<'_>,
    kind: Option<&str>,
    values: &BTreeMap<&str, Value>,
    seal: impl Fn(&str, &[u8]) -> Result<Vec<u8>>,
) -> Result<()> {
    let size: usize = values.iter().map(|(key, value)| key.len() + value.bytes.len()).sum();
    if size > MAX_OBJECT {
        let text = format!("data: it holds {size} bytes altogether: at most {MAX_OBJECT} are kept in one object");
        return Err(bad(text));
    }
    // Before the transaction: encrypting a mebibyte takes longer than writing it.
    let sealed = values.iter().map(|(key, value)| Ok((*key, seal(key, &value.bytes)?, value.is_binary)));
    let sealed = sealed.collect::<Result<Vec<_>>>()?;
    settle(app).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let statement =
            "SELECT cluster_id, kind, namespace, name FROM objects WHERE created_by = $1 AND create_key = $2";
        match earlier(&mut tx, statement, caller, key, which).await? {
            // The answer was lost; what was made may have been deleted since.
            Some(true) => return Ok(()),
            Some(false) => return Err(other_object()),
            None => {}
        }
    }
    let mut tx = at_home_for_change(app, tx, caller, action, which).await?;
    let inserted: Option<i64> = query(
        "INSERT INTO objects (cluster_id, kind, namespace, name, type, created_at, created_by, create_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (cluster_id, kind, namespace, name) WHERE deleted_at IS NULL DO NOTHING RETURNING seq",
    )
    .bind(which.cluster)
    .bind(which.kind.name())
    .bind(which.namespace)
    .bind(which.name)
    .bind(kind)
    .bind(tx.now().as_microsecond())
    .bind(caller.id())
    .bind(key.map(|key| &key.digest))
    .optional_scalar(tx.connection())
    .await?;
    let Some(object) = inserted else {
        let (noun, name) = (which.kind.noun(), which.name);
        let text = format!(
            "a {noun} named '{name}' is in the namespace '{}' already: delete it first, or give another name",
            which.namespace
        );
        return Err(refuse(tx, caller, action, which, "name taken", Error::refused(ErrorCode::Conflict, text)).await);
    };
    for (position, (key, value, is_binary)) in (0_i64..).zip(sealed) {
        query("INSERT INTO object_values (object, position, key, value, is_binary) VALUES ($1, $2, $3, $4, $5)")
            .bind(object)
            .bind(position)
            .bind(key)
            .bind(value)
            .bind(is_binary)
            .execute(tx.connection())
            .await?;
    }
    let detail = json!({"namespace": which.namespace, "name": which.name, "keys": values.len()});
    tx.record(event(action, caller, Some(which.cluster), Outcome::Done, detail)).await?;
    tx.commit().await
}

async fn delete(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    action: &'static str,
    which: Which<'_>,
) -> Result<()> {
    settle(app).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let statement =
            "SELECT cluster_id, kind, namespace, name FROM objects WHERE deleted_by = $1 AND delete_key = $2";
        match earlier(&mut tx, statement, caller, key, which).await? {
            Some(true) => return Ok(()),
            Some(false) => return Err(other_object()),
            None => {}
        }
    }
    let mut tx = at_home_for_change(app, tx, caller, action, which).await?;
    let spent = Key::is_spent(key, &mut tx, caller).await?;
    let object: Option<i64> = query(
        "SELECT seq FROM objects WHERE cluster_id = $1 AND kind = $2 AND namespace = $3 AND name = $4 \
         AND deleted_at IS NULL",
    )
    .bind(which.cluster)
    .bind(which.kind.name())
    .bind(which.namespace)
    .bind(which.name)
    .optional_scalar(tx.connection())
    .await?;
    let Some(object) = object.filter(|_| !spent) else {
        Key::spend(key, &mut tx, caller).await?;
        return Err(refuse(tx, caller, action, which, "unknown name", which.unknown()).await);
    };
    query("UPDATE objects SET deleted_at = $1, deleted_by = $2, delete_key = $3 WHERE seq = $4")
        .bind(tx.now().as_microsecond())
        .bind(caller.id())
        .bind(key.map(|key| &key.digest))
        .bind(object)
        .execute(tx.connection())
        .await?;
    query("DELETE FROM object_values WHERE object = $1").bind(object).execute(tx.connection()).await?;
    let detail = json!({"namespace": which.namespace, "name": which.name});
    tx.record(event(action, caller, Some(which.cluster), Outcome::Done, detail)).await?;
    tx.commit().await
}

fn other_object() -> Error {
    let text = "this Idempotency-Key was sent with another object: send a new key";
    Error::refused(ErrorCode::Conflict, text)
}

/// An object with one of its values, if it has any.
#[derive(FromRow)]
struct Stored {
    r#type: Option<String>,
    key: Option<String>,
    value: Option<Vec<u8>>,
    is_binary: Option<bool>,
}

/// Its type, and its values as they are stored.
async fn read(app: &App, which: Which<'_>) -> Result<(Option<String>, Vec<(String, Value)>)> {
    settle(app).await?;
    let mut connection = app.read().await?;
    at_home(app, &mut connection, which.cluster, which.namespace).await?;
    // One statement, so that what a deleting takes away in between is not half there.
    let rows: Vec<Stored> = query(
        "SELECT o.type, v.key, v.value, v.is_binary FROM objects o LEFT JOIN object_values v ON v.object = o.seq \
         WHERE o.cluster_id = $1 AND o.kind = $2 AND o.namespace = $3 AND o.name = $4 AND o.deleted_at IS NULL \
         ORDER BY v.position",
    )
    .bind(which.cluster)
    .bind(which.kind.name())
    .bind(which.namespace)
    .bind(which.name)
    .all(&mut connection)
    .await?;
    let kind = rows.first().ok_or_else(|| which.unknown())?.r#type.clone();
    let value = |row: Stored| Some((row.key?, Value { bytes: row.value?, is_binary: row.is_binary? }));
    let values = rows.into_iter().filter_map(value).collect();
    Ok((kind, values))
}

/// The cluster must be there, and the namespace in it.
async fn at_home(app: &App, connection: &mut Connection, cluster: &str, namespace: &str) -> Result<()> {
    let now = app.clock().now().as_microsecond();
    let found = row::find(connection, cluster).await?.filter(|cluster| cluster.status(now).is_some());
    let Some(found) = found else { return Err(row::unknown(cluster)) };
    if namespace == DEFAULT_NAMESPACE {
        return Ok(());
    }
    let text = format!(
        "there is no namespace '{namespace}' in the cluster '{}': the one it has is '{DEFAULT_NAMESPACE}'",
        found.name
    );
    Err(Error::refused(ErrorCode::NotFound, text))
}

/// The same for a change, which leaves an audit row of the refusal; and nothing comes into a cluster that goes.
async fn at_home_for_change<'a>(
    app: &App,
    mut tx: Transaction<'a>,
    caller: &Caller,
    action: &'static str,
    which: Which<'_>,
) -> Result<Transaction<'a>> {
    let found = at_home(app, tx.connection(), which.cluster, which.namespace).await;
    let found = match found {
        Ok(()) => row::find(tx.connection(), which.cluster).await?,
        Err(error @ Error::Refused { .. }) => {
            return Err(refuse(tx, caller, action, which, "unknown cluster or namespace", error).await);
        }
        Err(error) => return Err(error),
    };
    if found.is_some_and(|cluster| cluster.is_being_deleted()) {
        let error = Error::refused(ErrorCode::Conflict, "the cluster is being deleted, and its objects with it");
        return Err(refuse(tx, caller, action, which, "being deleted", error).await);
    }
    Ok(tx)
}

async fn refuse(
    tx: Transaction<'_>,
    caller: &Caller,
    action: &'static str,
    which: Which<'_>,
    reason: &'static str,
    error: Error,
) -> Error {
    // Somebody may have pasted a token.
    let [cluster, namespace, name] = [which.cluster, which.namespace, which.name].map(harmless);
    let detail = json!({"reason": reason, "cluster": cluster, "namespace": namespace, "name": name});
    tx.refuse(event(action, caller, None, Outcome::Refused, detail), error).await
}

fn bad(text: String) -> Error {
    Error::refused(ErrorCode::BadRequest, text)
}
