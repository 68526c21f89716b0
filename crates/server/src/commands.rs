//! Commands on the machine that work on the store directly, also beside a server that serves the same data directory.

use std::path::{Path, PathBuf};

use mlplatform_platform::{
    app::App,
    audit::{Audit, reader::Reader},
    clock::Clock,
    clusters::{form::Capacity, verbs},
    error::Result,
    limits::Limits,
    sessions::sign_in,
    store,
    tokens::admin,
};
use mlplatform_protocol::{ClusterInfo, PageRequest, Secret, page::MAX_LIMIT};
use mlplatform_spark_kubernetes::check::Finding;

use crate::{
    data_dir::DataDir,
    kubernetes::findings,
    local_jobs::{LocalSystem, no_jobs},
    start::StartError,
};

/// Opens the platform of a data directory.
///
/// # Errors
/// When it holds no store of this version.
pub async fn open(data_dir: &Path, clock: Clock) -> Result<App, StartError> {
    open_in(&DataDir::existing(data_dir)?, clock).await
}

async fn open_in(dir: &DataDir, clock: Clock) -> Result<App, StartError> {
    let store = store::open_as_it_is(&dir.database()).await?;
    let audit = Audit::open(&dir.audit_key(), &dir.audit_head(), false)?;
    let jobs = no_jobs(dir, &store);
    Ok(App::new(dir.secrets_key(), store, audit, clock, Limits::default(), jobs, LocalSystem::new(dir)))
}

/// `mlplatform-server admin-token`: replaces the token, also while a server runs on the directory. Gives the file.
///
/// # Errors
/// When the directory holds no store of this version, or it cannot be written.
pub async fn admin_token(data_dir: &Path, clock: Clock) -> Result<PathBuf, StartError> {
    let dir = DataDir::existing(data_dir)?;
    let app = open_in(&dir, clock).await?;
    let replaced = admin::replace(&app, |value| dir.keep_admin_token(value)).await;
    app.store().close().await;
    replaced?;
    Ok(dir.admin_token())
}

/// `mlplatform-server cluster add`: a running cluster of that capacity, also while a server runs on the directory.
///
/// # Errors
/// When the directory holds no store of this version, the name breaks its rule or is taken.
pub async fn cluster_add(
    data_dir: &Path,
    clock: Clock,
    name: &str,
    capacity: Capacity,
    kubernetes: Option<String>,
) -> Result<ClusterInfo, StartError> {
    let app = open(data_dir, clock).await?;
    let added = verbs::add(&app, name, capacity, kubernetes).await;
    app.store().close().await;
    Ok(added?)
}

/// `mlplatform-server cluster check`: what works of a cluster on Kubernetes, and what is missing. `None`: it is this machine.
///
/// # Errors
/// When the directory holds no store of this version, or no such cluster.
pub async fn cluster_check(data_dir: &Path, clock: Clock, name: &str) -> Result<Option<Vec<Finding>>, StartError> {
    let app = open(data_dir, clock).await?;
    let settings = verbs::kubernetes_of(&app, name).await;
    app.store().close().await;
    Ok(match settings? {
        Some(settings) => Some(findings(data_dir, &settings).await),
        None => None,
    })
}

/// `mlplatform-server cluster list`, also while a server runs on the directory.
///
/// # Errors
/// When the directory holds no store of this version.
pub async fn cluster_list(data_dir: &Path, clock: Clock) -> Result<Vec<ClusterInfo>, StartError> {
    let app = open(data_dir, clock).await?;
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

/// `mlplatform-server open`: the address of a page that signs in, once and within minutes, as the Administrator token
/// that was last made on this machine. Whoever may run it on the directory may read that token's file too.
///
/// # Errors
/// When no server works on the directory, its file holds no living token, or it cannot be written.
pub async fn sign_in_link(data_dir: &Path, clock: Clock) -> Result<String, StartError> {
    let dir = DataDir::existing(data_dir)?;
    let url = dir.served_at()?;
    let value = std::fs::read_to_string(dir.admin_token()).map(|text| Secret::from_pasted(&text));
    let app = open_in(&dir, clock).await?;
    let code = match value {
        Ok(value) => sign_in::make_code(&app, &value).await,
        Err(_) => Ok(None),
    };
    app.store().close().await;
    match code? {
        Some(code) => Ok(format!("{url}/open?code={}", code.expose())),
        None => Err(StartError::NoAdministrator { path: dir.admin_token() }),
    }
}

/// `mlplatform-server audit`: the audit of a data directory, to be read and proved.
///
/// # Errors
/// When there is no store of this version, or the key cannot be read.
pub async fn audit_reader(data_dir: &Path) -> Result<Reader, StartError> {
    let dir = DataDir::existing(data_dir)?;
    let audit = Audit::open(&dir.audit_key(), &dir.audit_head(), false)?;
    Ok(Reader::new(store::open_as_it_is(&dir.database()).await?, audit))
}
