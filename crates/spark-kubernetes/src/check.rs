//! What works of a cluster and what is missing, each with its remedy.

use std::time::Duration;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Pod,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use mlplatform_runner::runner::RunnerError;
use tokio::time::timeout;

use crate::{errors::ask, settings::KubernetesConfig, shared::Shared};

/// The group of API, the resource, what is done with it.
const PERMISSIONS: &[(&str, &str, &[&str])] = &[
    (
        "sparkoperator.k8s.io",
        "sparkapplications",
        &["get", "list", "watch", "create", "patch", "delete", "deletecollection"],
    ),
    ("", "pods", &["get", "list", "watch", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list", "watch"]),
    ("", "configmaps", &["get", "list", "create", "patch", "deletecollection"]),
    ("", "secrets", &["list", "create", "patch", "deletecollection"]),
];
/// Until a question is answered.
const ANSWER: Duration = Duration::from_secs(10);

/// Something that has to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// Whether it works; `None`: that cannot be told with these credentials.
    pub works: Option<bool>,
    /// What was found, or what is wrong and what to do about it.
    pub text: String,
}

fn finding(subject: &str, works: Option<bool>, text: impl Into<String>) -> Finding {
    Finding { subject: subject.to_owned(), works, text: text.into() }
}

/// Checks a cluster, in order: what comes after a failure that makes it moot is left out.
pub async fn check(config: KubernetesConfig) -> Vec<Finding> {
    let (client, namespace) = match config.connect().await {
        Ok(connected) => connected,
        Err(error) => return vec![finding("credentials", Some(false), error.to_string())],
    };
    let mut found = vec![finding("credentials", Some(true), format!("namespace {namespace}"))];
    match timeout(ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => found.push(finding("API server", Some(true), version.git_version)),
        Ok(Err(error)) => {
            found.push(finding(
                "API server",
                Some(false),
                format!("{error}: check address and certificate in the kubeconfig"),
            ));
            return found;
        }
        Err(_) => {
            let text = format!("it does not answer within {} s: check address and network", ANSWER.as_secs());
            found.push(finding("API server", Some(false), text));
            return found;
        }
    }
    match Shared::new(config).await {
        Ok(shared) => {
            found.push(match ask("listing", shared.applications.list(&ListParams::default().limit(1))).await {
                Ok(_) => finding("SparkApplications", Some(true), "sparkoperator.k8s.io/v1beta2"),
                Err(error) => finding("SparkApplications", Some(false), with_cause(&error)),
            })
        }
        Err(error) => found.push(finding("SparkApplications", Some(false), error.to_string())),
    }
    found.push(operator(&client).await);
    for (group, resource, verbs) in PERMISSIONS {
        found.push(permission(&client, &namespace, group, resource, verbs).await);
    }
    found
}

fn with_cause(error: &RunnerError) -> String {
    match error {
        RunnerError::Transient { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

async fn permission(client: &Client, namespace: &str, group: &str, resource: &str, verbs: &[&str]) -> Finding {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (name, part) = resource.split_once('/').map_or((resource, None), |(name, part)| (name, Some(part.to_owned())));
    let mut missing = Vec::new();
    for verb in verbs {
        let asked = ResourceAttributes {
            group: Some(group.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource: Some(name.to_owned()),
            subresource: part.clone(),
            verb: Some((*verb).to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(asked), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        match ask("asking for permissions", reviews.create(&PostParams::default(), &review)).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => missing.push(*verb),
            Err(error) => return finding(resource, None, with_cause(&error)),
        }
    }
    if missing.is_empty() {
        return finding(resource, Some(true), verbs.join(", "));
    }
    let text = format!("not allowed: {}: grant it in a Role of the namespace {namespace}", missing.join(", "));
    finding(resource, Some(false), text)
}

/// Its pods are in a namespace of their own, which the platform may not be allowed to see.
async fn operator(client: &Client) -> Finding {
    const SUBJECT: &str = "Spark operator";
    let pods: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().labels("app.kubernetes.io/name=spark-operator");
    let found = match ask("looking for the operator", pods.list(&params)).await {
        Ok(found) => found,
        Err(_) => return finding(SUBJECT, None, "not known: the platform may not list pods of all namespaces"),
    };
    let runs = |pod: &&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    match found.iter().filter(runs).count() {
        0 => finding(SUBJECT, Some(false), "no pod of it runs: install it, or look at its Deployment"),
        running => finding(SUBJECT, Some(true), format!("{running} pods run")),
    }
}
