//! The handlers of jobs: from a call to its method of the platform.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, stream::TryStream};
use http::{HeaderName, HeaderValue, header};
use mlplatform_platform::{
    connect::verbs as connect,
    error::Result,
    jobs::{
        changes,
        logs::{self, LogAnswer},
        verbs,
    },
};
use mlplatform_protocol::{
    Explanation, JobDetail, JobEvent, JobInfo, Page,
    connect::{SparkConnectSettings, SparkSessions},
    headers,
    routes::{
        AddSparkConnectJars, CloseSparkSession, DescribeSparkJob, GetSparkSessions, SparkDeleteJob, SparkEvents,
        SparkJobExplain, SparkJobInfo, SparkJobLogs, SparkJobsList, SparkSubmitJob, WaitForSparkJob,
    },
};
use serde_json::Value;

use crate::endpoint::{Api, Call};

/// Their routes, added to the others.
pub(crate) fn mount(api: Api) -> Api {
    api.mount(spark_submit_job)
        .mount(spark_jobs_list)
        .mount(spark_job_info)
        .mount_stream(spark_job_logs)
        .mount(describe_spark_job)
        .mount(spark_delete_job)
        .mount(spark_events)
        .mount(spark_job_explain)
        .mount(get_spark_sessions)
        .mount(close_spark_session)
        .mount(add_spark_connect_jars)
        .mount_stream(wait_for_spark_job)
}

async fn spark_submit_job(call: Call<SparkSubmitJob>) -> Result<JobInfo> {
    let caller = call.caller()?.clone();
    verbs::spark_submit_job(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn spark_jobs_list(call: Call<SparkJobsList>) -> Result<Page<JobInfo>> {
    verbs::spark_jobs_list(&call.app, call.request).await
}

async fn spark_job_info(call: Call<SparkJobInfo>) -> Result<JobDetail> {
    verbs::spark_job_info(&call.app, call.request).await
}

async fn spark_job_logs(call: Call<SparkJobLogs>) -> Result<Response> {
    Ok(log_response(logs::spark_job_logs(&call.app, call.request).await?))
}

async fn describe_spark_job(call: Call<DescribeSparkJob>) -> Result<Value> {
    verbs::describe_spark_job(&call.app, call.request).await
}

async fn spark_delete_job(call: Call<SparkDeleteJob>) -> Result<()> {
    let caller = call.caller()?.clone();
    verbs::spark_delete_job(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn spark_events(call: Call<SparkEvents>) -> Result<Page<JobEvent>> {
    verbs::spark_events(&call.app, call.request).await
}

async fn spark_job_explain(call: Call<SparkJobExplain>) -> Result<Explanation> {
    verbs::spark_job_explain(&call.app, call.request).await
}

async fn get_spark_sessions(call: Call<GetSparkSessions>) -> Result<SparkSessions> {
    let caller = call.caller()?.clone();
    connect::get_spark_sessions(&call.app, &caller, call.request).await
}

async fn close_spark_session(call: Call<CloseSparkSession>) -> Result<()> {
    let caller = call.caller()?.clone();
    connect::close_spark_session(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn add_spark_connect_jars(call: Call<AddSparkConnectJars>) -> Result<SparkConnectSettings> {
    let caller = call.caller()?.clone();
    connect::add_spark_connect_jars(&call.app, &call.context, &caller, call.request).await
}

async fn wait_for_spark_job(call: Call<WaitForSparkJob>) -> Result<Response> {
    let json = changes::wait_for_spark_job(&call.app, call.request).await?;
    Ok(streamed(json.into_stream(), "application/json"))
}

/// A part of a log, and what the headers tell of it.
pub fn log_response(log: LogAnswer) -> Response {
    let mut response = streamed(log.body, "text/plain; charset=utf-8");
    let all = response.headers_mut();
    all.insert(HeaderName::from_static(headers::LOG_OFFSET), HeaderValue::from(log.from));
    if let Some(gap) = log.gap {
        all.insert(HeaderName::from_static(headers::LOG_GAP), HeaderValue::from(gap));
    }
    if let Some(dropped) = log.dropped {
        all.insert(HeaderName::from_static(headers::LOG_DROPPED), HeaderValue::from(dropped));
    }
    let last = HeaderValue::from_static(if log.is_final { "true" } else { "false" });
    all.insert(HeaderName::from_static(headers::LOG_FINAL), last);
    response
}

/// A response whose content comes later.
fn streamed<S>(content: S, kind: &'static str) -> Response
where
    S: TryStream<Ok = Vec<u8>, Error = std::io::Error> + Send + 'static,
{
    let mut response = Body::from_stream(content).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
