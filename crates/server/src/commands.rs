//! Commands on the machine that work on the store directly, also beside a server that serves the same data directory.

use std::path::{Path, PathBuf};

use mlplatform_console::site::PublicUrl;
use mlplatform_platform::{
    app::App,
    audit::{Audit, Mark, reader::Reader},
    clock::Clock,
    clusters::{form::Capacity, verbs},
    keys,
    limits::Limits,
    sessions::sign_in,
    store,
    tokens::admin,
};
use mlplatform_protocol::{ClusterInfo, PageRequest, Secret, page::MAX_LIMIT};
use mlplatform_spark_kubernetes::check::Finding;

use crate::{
    data_dir::{DataDir, keep_admin_token},
    kubernetes::findings,
    local_jobs::{LocalSystem, no_jobs},
    safe_path,
    start::StartError,
    storage::{Opened, Storage},
};

/// Opens the platform for a command.
///
/// # Errors
/// When there is no store of this version, or it has other keys.
pub async fn open(storage: &Storage, clock: Clock) -> Result<App, StartError> {
    let dir = storage.dir()?;
    let Opened { store, audit, secrets_key, .. } = storage.open(&dir, None).await?;
    let jobs = no_jobs(&dir, &store);
    Ok(App::new(secrets_key, store, audit, clock, Limits::default(), jobs, LocalSystem::new(&dir)))
}

/// What `mlplatform-server init` found and did.
#[derive(Debug)]
pub struct Initialised {
    /// The file of the first Administrator token; `None`: there was one already.
    pub admin_token: Option<PathBuf>,
    /// The folder of the keys.
    pub keys_dir: PathBuf,
}

/// `mlplatform-server init`: makes what several servers share: the tables, the keys and the first Administrator token, whose
/// value goes to `out`. What is there already stays as it is, so that it can be run again after it was cut off.
///
/// # Errors
/// When the database or the files cannot be used, or the keys are not those of the database.
pub async fn init(storage: &Storage, clock: Clock, out: Option<&Path>) -> Result<Initialised, StartError> {
    let Some(database) = &storage.database else {
        return Err(StartError::Database(
            "`mlplatform-server init` is for PostgreSQL: name the database with --database-url-file; with SQLite, `serve` makes what it needs"
                .to_owned(),
        ));
    };
    let (dir, out) = token_file(storage, out)?;
    let files = database.keys(&dir)?;
    let keys_dir = match &database.keys_dir {
        Some(keys_dir) => keys_dir.clone(),
        None => DataDir::create(dir.path())?.path().to_owned(),
    };
    let store = store::init_shared(&database.url).await?;
    keys::init(&store, &files).await?;
    let audit = Audit::open_shared(&files.audit, None)?;
    let jobs = no_jobs(&dir, &store);
    let app = App::new(files.secrets, store, audit, clock, Limits::default(), jobs, LocalSystem::new(&dir));
    let made = admin::bootstrap(&app, |value| keep_admin_token(&out, value)).await;
    app.store().close().await;
    Ok(Initialised { admin_token: made?.then_some(out), keys_dir })
}

/// Where an Administrator token goes: to that file, or into the data directory.
fn token_file(storage: &Storage, out: Option<&Path>) -> Result<(DataDir, PathBuf), StartError> {
    let Some(out) = out else {
        let dir = match storage.database {
            Some(_) => DataDir::create(&storage.data_dir)?,
            None => storage.dir()?,
        };
        let out = dir.admin_token();
        return Ok((dir, out));
    };
    safe_path::check(out)?;
    let out = std::path::absolute(out).map_err(|error| StartError::System("--out cannot be found", error))?;
    Ok((storage.dir()?, out))
}

/// `mlplatform-server admin-token`: replaces the token, also while servers run. Gives the file.
///
/// # Errors
/// When there is no store of this version, or the file cannot be written.
pub async fn admin_token(storage: &Storage, clock: Clock, out: Option<&Path>) -> Result<PathBuf, StartError> {
    let (_, out) = token_file(storage, out)?;
    let app = open(storage, clock).await?;
    let replaced = admin::replace(&app, |value| keep_admin_token(&out, value)).await;
    app.store().close().await;
    replaced?;
    Ok(out)
}

/// `mlplatform-server cluster add`: a running cluster of that capacity, also while a server runs.
///
/// # Errors
/// When there is no store of this version, the name breaks its rule or is taken.
pub async fn cluster_add(
    storage: &Storage,
    clock: Clock,
    name: &str,
    capacity: Capacity,
    kubernetes: Option<String>,
) -> Result<ClusterInfo, StartError> {
    if storage.database.is_some() {
        // The runner of this machine makes the cluster's bucket in it.
        DataDir::create(&storage.data_dir)?;
    }
    let app = open(storage, clock).await?;
    let added = verbs::add(&app, name, capacity, kubernetes).await;
    app.store().close().await;
    Ok(added?)
}

/// `mlplatform-server cluster check`: what works of a cluster on Kubernetes, and what is missing. `None`: it is this machine.
///
/// # Errors
/// When there is no store of this version, or no such cluster.
pub async fn cluster_check(storage: &Storage, clock: Clock, name: &str) -> Result<Option<Vec<Finding>>, StartError> {
    let app = open(storage, clock).await?;
    let settings = verbs::kubernetes_of(&app, name).await;
    app.store().close().await;
    Ok(match settings? {
        Some(settings) => Some(findings(&storage.data_dir, &settings).await),
        None => None,
    })
}

/// `mlplatform-server cluster list`, also while a server runs.
///
/// # Errors
/// When there is no store of this version.
pub async fn cluster_list(storage: &Storage, clock: Clock) -> Result<Vec<ClusterInfo>, StartError> {
    let app = open(storage, clock).await?;
    let mut request = PageRequest { limit: Some(MAX_LIMIT), cursor: None };
    let mut all = Vec::new();
    let listed = loop {
        match verbs::get_clusters(&app, request.clone()).await {
            Err(error) => break Err(error),
            Ok(page) => {
                all.extend(page.items);
                if page.next_cursor.is_none() {
                    break Ok(());
                }
                request.cursor = page.next_cursor;
            }
        }
    };
    app.store().close().await;
    listed?;
    Ok(all)
}

/// `mlplatform-server open`: the address of a page that signs in, once and within minutes, as an Administrator: the token in
/// `token_file`, else the one that was last made on this machine. Whoever may read the store and the keys may do more.
/// `url`: where the platform is reached, else where the server of the data directory is.
///
/// # Errors
/// When no server works on the directory and no URL is given, the file holds no living token, or the store cannot be written.
pub async fn sign_in_link(
    storage: &Storage,
    clock: Clock,
    url: Option<&PublicUrl>,
    token_file: Option<&Path>,
) -> Result<String, StartError> {
    let dir = storage.dir()?;
    let url = url.map_or_else(|| dir.served_at(), |url| Ok(url.as_str().to_owned()))?;
    let path = token_file.map_or_else(|| dir.admin_token(), Path::to_owned);
    let value = std::fs::read_to_string(&path).map(|text| Secret::from_pasted(&text));
    let app = open(storage, clock).await?;
    let code = match value {
        Ok(value) => sign_in::make_code(&app, &value).await,
        Err(_) => Ok(None),
    };
    app.store().close().await;
    match code? {
        Some(code) => Ok(format!("{url}/open?code={}", code.expose())),
        None => Err(StartError::NoAdministrator { path }),
    }
}

/// `mlplatform-server audit`: the audit, to be read, and to be proved against that mark or the one that is kept.
///
/// # Errors
/// When there is no store of this version, or the key cannot be read.
pub async fn audit_reader(storage: &Storage, mark: Option<Mark>) -> Result<Reader, StartError> {
    let Opened { store, audit, .. } = storage.open(&storage.dir()?, mark).await?;
    Ok(Reader::new(store, audit))
}
