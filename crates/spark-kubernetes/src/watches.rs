//! The watches: on applications, pods and events. Each is resumed where it was cut off; what is too old is listed again.

use std::{collections::HashSet, fmt::Debug, pin::pin};

use futures_util::{Stream, StreamExt, future::join4};
use k8s_openapi::api::core::v1::Event as CoreEvent;
use kube::{
    Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use mlplatform_protocol::EventKind;
use mlplatform_runner::runner::RunnerEvent;

use crate::{
    names::{self, possible_jobs},
    shared::Shared,
};

/// Events of a job that are kept.
const EVENTS: usize = 128;
/// What the platform notes itself, of whatever runner.
const KNOWN_REASONS: &[&str] = &[
    "Killing",
    "SparkApplicationAdded",
    "SparkApplicationCompleted",
    "SparkApplicationFailed",
    "SparkApplicationPendingRerun",
    "SparkApplicationSubmissionFailed",
    "SparkApplicationSubmitted",
    "SparkDriverCompleted",
    "SparkDriverFailed",
    "SparkDriverRunning",
];

/// Watches without end.
pub(crate) async fn watch(shared: &Shared) {
    let ours = || watcher::Config::default().labels(&format!("{}={}", names::PLATFORM, shared.config.platform));
    let applications = follow(
        "SparkApplications",
        watcher(shared.applications.clone(), ours()),
        |application| {
            shared.saw_application(application);
        },
        |application| {
            let uid = application.metadata.uid.clone().unwrap_or_default();
            lose_application(shared, |seen| *seen == uid);
        },
        |kept| lose_application(shared, |seen| !kept.contains(seen)),
    );
    let pods = follow(
        "pods",
        watcher(shared.pods.clone(), ours()),
        |pod| shared.saw_pod(pod, false),
        |pod| shared.saw_pod(pod, true),
        |kept| {
            for job in shared.jobs().values_mut() {
                job.pods.retain(|uid, _| kept.contains(uid));
            }
        },
    );
    let events = follow(
        "events",
        watcher(shared.events.clone(), watcher::Config::default()),
        |event| saw_event(shared, event),
        |_| {},
        |_| {},
    );
    join4(shared.logs.work(), applications, pods, events).await;
}

async fn follow<K: Resource + Clone + Debug>(
    what: &'static str,
    watch: impl Stream<Item = watcher::Result<Event<K>>>,
    saw: impl Fn(&K),
    lost: impl Fn(&K),
    keep_only: impl Fn(&HashSet<String>),
) {
    let mut watch = pin!(watch.default_backoff());
    let mut there = HashSet::new();
    while let Some(event) = watch.next().await {
        match event {
            Ok(Event::Apply(object)) => saw(&object),
            Ok(Event::Delete(object)) => lost(&object),
            Ok(Event::Init) => there.clear(),
            Ok(Event::InitApply(object)) => {
                there.extend(object.meta().uid.clone());
                saw(&object);
            }
            Ok(Event::InitDone) => keep_only(&there),
            Err(error) => tracing::warn!("the watch on {what} was cut off, and is resumed: {error}"),
        }
    }
}

/// What is gone for certain, a look at the API says.
fn lose_application(shared: &Shared, is_lost: impl Fn(&String) -> bool) {
    for job in shared.jobs().values_mut() {
        job.application.take_if(|application| is_lost(&application.uid));
    }
    shared.changed.notify_one();
}

fn saw_event(shared: &Shared, event: &CoreEvent) {
    let (object, reason) = (&event.involved_object, event.reason.as_deref().unwrap_or_default());
    let Some(name) = object.name.as_deref().filter(|_| !KNOWN_REASONS.contains(&reason)) else { return };
    let Some(uid) = event.metadata.uid.as_deref() else { return };
    let count = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
    let mut jobs = shared.jobs();
    let Some(job) = possible_jobs(name).find(|job| jobs.contains_key(*job)).and_then(|job| jobs.get_mut(job)) else {
        return;
    };
    let event = RunnerEvent {
        key: format!("{uid}.{count}"),
        kind: if event.type_.as_deref() == Some("Warning") { EventKind::Warning } else { EventKind::Normal },
        reason: reason.to_owned(),
        message: event.message.clone().unwrap_or_default(),
    };
    if !job.events.iter().any(|known| known.key == event.key) {
        job.events.push_back(event);
        if job.events.len() > EVENTS {
            job.events.pop_front();
        }
    }
    drop(jobs);
    shared.changed.notify_one();
}
