//! The start of a run: what it needs is applied, then its application. Twice is once.

use std::{
    collections::BTreeMap,
    future::ready,
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use mlplatform_runner::{
    log::JobLog,
    plan::ObjectKind,
    runner::{JobRef, PreparedRun, Run, RunId, RunnerError},
    values::{ObjectData, Values},
};
use tokio::time::{sleep, timeout};

use crate::{
    application::{self, application, has_program, program_address},
    errors::{ask, ask_for},
    names::{self, FIELD_MANAGER, PROGRAM, PURPOSE, VALUES},
    policy,
    shared::Shared,
    view::ApplicationView,
};

/// What a config map holds at most.
const LONGEST_PROGRAM: usize = 1 << 20;
const LONGEST_NAME: usize = 200;
/// Until a run that was before is gone with its pods.
const GONE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn metadata(shared: &Shared, job: &JobRef, name: String, purpose: &str) -> ObjectMeta {
    let mut labels = names::labels(&shared.config.platform, job);
    labels.insert(PURPOSE.to_owned(), purpose.to_owned());
    ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() }
}

/// Stores a program, and gives its address.
pub(crate) async fn upload(shared: &Shared, job: JobRef, name: &str, content: Vec<u8>) -> Result<String, RunnerError> {
    if content.len() > LONGEST_PROGRAM {
        return Err(RunnerError::Job(format!(
            "the program has {} bytes, and a cluster on Kubernetes takes at most {LONGEST_PROGRAM}: put it into a bucket \
             or an image, and name its address in spec.mainApplicationFile",
            content.len()
        )));
    }
    // What a key of a config map may be made of.
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let excess = name.chars().count().saturating_sub(LONGEST_NAME);
    let key: String = name.chars().skip(excess).map(fits).collect();
    let address = program_address(&key);
    let program = ConfigMap {
        metadata: metadata(shared, &job, names::program(&job.id), PROGRAM),
        binary_data: Some([(key, ByteString(content))].into()),
        ..ConfigMap::default()
    };
    let name = names::program(&job.id);
    ask("storing a job's program", shared.config_maps.patch(&name, &params(), &Patch::Apply(&program))).await?;
    shared.removed_programs.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.id);
    Ok(address)
}

/// Refuses what surely fails.
pub(crate) async fn check(shared: &Shared, run: Run<'_>, values: &Values) -> Result<(), RunnerError> {
    policy::check(run.manifest).map_err(RunnerError::Job)?;
    if let Some(object) = values.missing() {
        return Err(RunnerError::Job(object.missing()));
    }
    application(run, &shared.config, &shared.namespace, 0).map_err(RunnerError::Job)?;
    if !has_program(run.plan) {
        return Ok(());
    }
    let job = &run.id.job.id;
    let is_removed = shared.removed_programs.lock().unwrap_or_else(PoisonError::into_inner).contains(job);
    let name = names::program(job);
    let found = ask_for("looking for a job's program", shared.config_maps.get(&name)).await?;
    let key = run.plan.main.as_deref().unwrap_or_default().strip_prefix(&program_address("")).unwrap_or_default();
    let has = |map: &ConfigMap| map.binary_data.as_ref().is_some_and(|data| data.contains_key(key));
    if is_removed || !found.as_ref().is_some_and(has) {
        return Err(RunnerError::Job(format!(
            "spec.mainApplicationFile: the program '{key}' did not come along with the job: submit it with its file"
        )));
    }
    Ok(())
}

pub(crate) async fn prepare<'a>(
    shared: &Arc<Shared>,
    run: Run<'_>,
    values: &Values,
) -> Result<PreparedRun<'a>, RunnerError> {
    let (job, number) = (&run.id.job, run.id.number);
    let begun = shared.record(&job.id, number).await?.map(|record| record.log_from);
    let before = if begun.is_some() { None } else { shared.find_application(&job.id).await? };
    let begun = begun.or_else(|| before.as_ref().filter(|seen| seen.run == number).map(|seen| seen.log_from));
    if let Some(log_from) = begun {
        return Ok(PreparedRun::new(log_from, Box::pin(ready(Ok(())))));
    }
    check(shared, run, values).await?;
    let log = shared.folder(&job.id).log();
    let size = move |_: &Shared| JobLog::open(&log)?.map_or(Ok(0), |log| log.size());
    let log_from = shared.on_disk("reading the size of a log", size).await?;
    let object = application(run, &shared.config, &shared.namespace, log_from).map_err(RunnerError::Job)?;
    let values: Vec<(usize, ObjectKind, ObjectData)> = application::objects(run.plan)
        .into_iter()
        .enumerate()
        .filter_map(|(index, named)| Some((index, named.kind, values.get(named)?.clone())))
        .collect();
    let (shared, id) = (Arc::clone(shared), run.id.clone());
    Ok(PreparedRun::new(log_from, Box::pin(async move { start(&shared, &id, &object, values).await })))
}

async fn start(
    shared: &Arc<Shared>,
    run: &RunId,
    object: &DynamicObject,
    values: Vec<(usize, ObjectKind, ObjectData)>,
) -> Result<(), RunnerError> {
    let job = &run.job.id;
    if shared.record(job, run.number).await?.is_some() {
        return Ok(());
    }
    match shared.find_application(job).await? {
        Some(seen) if seen.run == run.number => return note_started(shared, &seen).await,
        Some(before) => remove_before(shared, &before).await?,
        None => {}
    }
    for (index, kind, data) in values {
        apply_values(shared, &run.job, index, kind, data).await?;
    }
    let name = names::application(job);
    let (params, patch) = (params(), Patch::Apply(object));
    let applied = ask("applying a SparkApplication", shared.applications.patch(&name, &params, &patch)).await?;
    match shared.saw_application(&applied) {
        Some(seen) => note_started(shared, &seen).await,
        None => {
            Err(RunnerError::transient("applying a SparkApplication")(io::Error::other("it came back without labels")))
        }
    }
}

async fn note_started(shared: &Arc<Shared>, seen: &ApplicationView) -> Result<(), RunnerError> {
    let seen = seen.clone();
    let note = move |shared: &Shared| {
        let folder = shared.folder(&seen.job);
        folder.create()?;
        folder.note(seen.run, |record| record.log_from = seen.log_from)
    };
    shared.on_disk("noting the start of a run", note).await
}

/// The run before, with its pods: the next has the same names.
async fn remove_before(shared: &Shared, before: &ApplicationView) -> Result<(), RunnerError> {
    delete_application(shared, before).await?;
    let gone = async {
        loop {
            let there = shared.find_application(&before.job).await?;
            let pods = shared.find_pods(&before.job).await?;
            if there.is_none() && pods.is_empty() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    };
    timeout(GONE, gone).await.unwrap_or_else(|_| {
        let problem = io::Error::new(io::ErrorKind::TimedOut, "its SparkApplication or its pods are still there");
        Err(RunnerError::transient("removing the run before")(problem))
    })
}

pub(crate) async fn delete_application(shared: &Shared, seen: &ApplicationView) -> Result<(), RunnerError> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(seen.uid.clone()), ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    let name = names::application(&seen.job);
    ask_for("deleting a SparkApplication", shared.applications.delete(&name, &params)).await.map(drop)
}

async fn apply_values(
    shared: &Shared,
    job: &JobRef,
    index: usize,
    kind: ObjectKind,
    data: ObjectData,
) -> Result<(), RunnerError> {
    let name = names::values(&job.id, index);
    let metadata = metadata(shared, job, name.clone(), VALUES);
    if kind == ObjectKind::Secret {
        let data = data.into_iter().map(|(key, value)| (key, ByteString(value.bytes))).collect();
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        return ask("applying a secret", shared.secrets.patch(&name, &params(), &Patch::Apply(&secret)))
            .await
            .map(drop);
    }
    let (mut texts, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in data {
        match String::from_utf8(value.bytes) {
            Ok(text) if !value.is_binary => drop(texts.insert(key, text)),
            Ok(text) => drop(binary.insert(key, ByteString(text.into_bytes()))),
            Err(error) => drop(binary.insert(key, ByteString(error.into_bytes()))),
        }
    }
    let map = ConfigMap { metadata, data: Some(texts), binary_data: Some(binary), ..ConfigMap::default() };
    ask("applying a config map", shared.config_maps.patch(&name, &params(), &Patch::Apply(&map))).await.map(drop)
}
