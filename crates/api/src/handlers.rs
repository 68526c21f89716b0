//! The handlers: from a call to its method of the platform, one for each.

use std::sync::LazyLock;

use axum::{
    Json,
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use mlplatform_platform::{
    audit::reader,
    clusters::{inactivity, verbs},
    error::Result,
    metrics::CONTENT_TYPE,
    objects,
    readiness::check as readiness,
    sessions::exchange,
    tokens::{access, issuer, redeem, registration, rotate},
};
use mlplatform_protocol::{
    ClusterInfo, ErrorBody, ErrorCode, Page, RegisterTokenInfo, TokenInfo,
    audit::AuditEntry,
    clusters::NodesUsage,
    objects::{ConfigmapInfo, SecretInfo},
    openapi,
    routes::*,
    tokens::{CreatedRefreshToken, CreatedRegisterToken, DeletedTokens, Health, Readiness, RotatedToken, Session},
};
use serde_json::{Map, Value};

use crate::{
    endpoint::{Api, Call},
    job_handlers,
    oauth::{self, create_oauth_token},
    outgoing,
};

/// Every route of the contract. Which one a handler is for is said by the type of its argument.
pub(crate) fn api() -> Api {
    job_handlers::mount(Api::default())
        .mount(healthz)
        .mount_stream(readyz)
        .mount_stream(metrics)
        .mount_stream(openapi)
        .mount(create_session)
        .mount_with(create_oauth_token, oauth::refusal)
        .mount(create_register_token)
        .mount(get_register_tokens_info)
        .mount(delete_register_token)
        .mount(create_refresh_token)
        .mount(delete_token)
        .mount(rotate_token)
        .mount(delete_issuer_tokens)
        .mount(who_am_i)
        .mount(get_project_tokens_info)
        .mount(create_cluster)
        .mount(get_clusters)
        .mount(get_cluster_info)
        .mount(delete_cluster)
        .mount(top_nodes_info)
        .mount(set_cluster_delete_time)
        .mount(remove_cluster_delete_time)
        .mount(set_cluster_suspend_time)
        .mount(remove_cluster_suspend_time)
        .mount(wake_up_cluster)
        .mount(create_secret_from_yaml)
        .mount(list_secrets)
        .mount(get_secret_detail)
        .mount(delete_secret)
        .mount(create_configmap_from_yaml)
        .mount(list_configmaps)
        .mount(get_configmap_detail)
        .mount(delete_configmap)
        .mount(get_audit)
}

async fn healthz(_: Call<Healthz>) -> Result<Health> {
    Ok(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

async fn readyz(call: Call<Readyz>) -> Result<Response> {
    let report = readiness::check(&call.app).await;
    let checks = report.checks().iter().map(|check| (check.name().to_owned(), check.problem().unwrap_or("ok").into()));
    let checks: Map<String, Value> = checks.collect();
    let jobs = call.app.jobs().role().name();
    let Some((check, problem)) = report.failed().and_then(|check| Some((check.name(), check.problem()?))) else {
        return Ok(Json(Readiness { status: "ready".to_owned(), checks, jobs: jobs.to_owned() }).into_response());
    };
    let mut body = ErrorBody::new(ErrorCode::ServiceUnavailable, format!("not ready: {check}: {problem}"));
    body.error_params.insert("checks".to_owned(), checks.into());
    body.error_params.insert("jobs".to_owned(), jobs.into());
    Ok((StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(body)).into_response())
}

async fn metrics(call: Call<Metrics>) -> Result<Response> {
    let text = call.app.metrics().scrape(&call.app).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

async fn openapi(_: Call<OpenApi>) -> Result<Response> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        // A map of texts and numbers: there is nothing in it that cannot be written.
        serde_json::to_vec(&openapi::document(env!("CARGO_PKG_VERSION"))).unwrap_or_default().into()
    });
    Ok(outgoing::shared([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()))
}

async fn create_session(call: Call<CreateSession>) -> Result<Session> {
    exchange::create_session(&call.app, &call.context, call.request).await
}

async fn create_register_token(call: Call<CreateRegisterToken>) -> Result<CreatedRegisterToken> {
    let caller = call.caller()?.clone();
    registration::create_register_token(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn get_register_tokens_info(call: Call<GetRegisterTokensInfo>) -> Result<Page<RegisterTokenInfo>> {
    registration::get_register_tokens_info(&call.app, call.request).await
}

async fn delete_register_token(call: Call<DeleteRegisterToken>) -> Result<()> {
    let caller = call.caller()?.clone();
    registration::delete_register_token(&call.app, &call.context, &caller, call.request).await
}

async fn create_refresh_token(call: Call<CreateRefreshToken>) -> Result<CreatedRefreshToken> {
    redeem::create_refresh_token(&call.app, &call.context, call.key.as_ref(), call.request).await
}

async fn delete_token(call: Call<DeleteToken>) -> Result<()> {
    let caller = call.caller()?.clone();
    access::delete_token(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn rotate_token(call: Call<RotateToken>) -> Result<RotatedToken> {
    let caller = call.caller()?.clone();
    rotate::rotate_token(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn delete_issuer_tokens(call: Call<DeleteIssuerTokens>) -> Result<DeletedTokens> {
    let caller = call.caller()?.clone();
    issuer::delete_issuer_tokens(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn who_am_i(call: Call<WhoAmI>) -> Result<TokenInfo> {
    // Read with the session a moment ago: there is nothing newer to ask.
    call.caller().map(|caller| caller.info().clone())
}

async fn get_project_tokens_info(call: Call<GetProjectTokensInfo>) -> Result<Page<TokenInfo>> {
    access::get_project_tokens_info(&call.app, call.request).await
}

async fn create_cluster(call: Call<CreateCluster>) -> Result<ClusterInfo> {
    let caller = call.caller()?.clone();
    verbs::create_cluster(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn get_clusters(call: Call<GetClusters>) -> Result<Page<ClusterInfo>> {
    verbs::get_clusters(&call.app, call.request).await
}

async fn get_cluster_info(call: Call<GetClusterInfo>) -> Result<ClusterInfo> {
    verbs::get_cluster_info(&call.app, call.request).await
}

async fn delete_cluster(call: Call<DeleteCluster>) -> Result<()> {
    let caller = call.caller()?.clone();
    verbs::delete_cluster(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn set_cluster_delete_time(call: Call<SetClusterDeleteTime>) -> Result<ClusterInfo> {
    let caller = call.caller()?.clone();
    inactivity::set_cluster_delete_time(&call.app, &call.context, &caller, call.request).await
}

async fn remove_cluster_delete_time(call: Call<RemoveClusterDeleteTime>) -> Result<ClusterInfo> {
    let caller = call.caller()?.clone();
    inactivity::remove_cluster_delete_time(&call.app, &call.context, &caller, call.request).await
}

async fn set_cluster_suspend_time(call: Call<SetClusterSuspendTime>) -> Result<ClusterInfo> {
    let caller = call.caller()?.clone();
    inactivity::set_cluster_suspend_time(&call.app, &call.context, &caller, call.request).await
}

async fn remove_cluster_suspend_time(call: Call<RemoveClusterSuspendTime>) -> Result<ClusterInfo> {
    let caller = call.caller()?.clone();
    inactivity::remove_cluster_suspend_time(&call.app, &call.context, &caller, call.request).await
}

async fn wake_up_cluster(call: Call<WakeUpCluster>) -> Result<()> {
    let caller = call.caller()?.clone();
    verbs::wake_up_cluster(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn top_nodes_info(call: Call<TopNodesInfo>) -> Result<NodesUsage> {
    verbs::top_nodes_info(&call.app, call.request).await
}

async fn create_secret_from_yaml(call: Call<CreateSecretFromYaml>) -> Result<SecretInfo> {
    let caller = call.caller()?.clone();
    objects::create_secret(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn list_secrets(call: Call<ListSecrets>) -> Result<Page<String>> {
    objects::list(&call.app, objects::Kind::Secret, call.request).await
}

async fn get_secret_detail(call: Call<GetSecretDetail>) -> Result<SecretInfo> {
    objects::get_secret_detail(&call.app, call.request).await
}

async fn delete_secret(call: Call<DeleteSecret>) -> Result<()> {
    let caller = call.caller()?.clone();
    objects::delete_secret(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn create_configmap_from_yaml(call: Call<CreateConfigmapFromYaml>) -> Result<ConfigmapInfo> {
    let caller = call.caller()?.clone();
    objects::create_configmap(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn list_configmaps(call: Call<ListConfigmaps>) -> Result<Page<String>> {
    objects::list(&call.app, objects::Kind::Configmap, call.request).await
}

async fn get_configmap_detail(call: Call<GetConfigmapDetail>) -> Result<ConfigmapInfo> {
    objects::get_configmap_detail(&call.app, call.request).await
}

async fn delete_configmap(call: Call<DeleteConfigmap>) -> Result<()> {
    let caller = call.caller()?.clone();
    objects::delete_configmap(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn get_audit(call: Call<GetAudit>) -> Result<Page<AuditEntry>> {
    reader::get_audit(&call.app, call.request).await
}
