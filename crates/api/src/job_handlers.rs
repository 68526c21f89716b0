//! The handlers of jobs: from a call to its method of the platform.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, header};
use mlplatform_platform::{
    error::Result,
    service::{
        job_changes,
        job_logs::{self, LogAnswer},
        jobs,
    },
};
use mlplatform_protocol::{
    Explanation, JobDetail, JobEvent, JobInfo, Page, headers,
    routes::{
        DescribeSparkJob, SparkDeleteJob, SparkEvents, SparkJobExplain, SparkJobInfo, SparkJobLogs, SparkJobsList,
        SparkSubmitJob, WaitForSparkJob,
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
        .mount_stream(wait_for_spark_job)
}

async fn spark_submit_job(call: Call<SparkSubmitJob>) -> Result<JobInfo> {
    let caller = call.caller()?.clone();
    jobs::spark_submit_job(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn spark_jobs_list(call: Call<SparkJobsList>) -> Result<Page<JobInfo>> {
    jobs::spark_jobs_list(&call.app, call.request).await
}

async fn spark_job_info(call: Call<SparkJobInfo>) -> Result<JobDetail> {
    jobs::spark_job_info(&call.app, call.request).await
}

async fn spark_job_logs(call: Call<SparkJobLogs>) -> Result<Response> {
    Ok(log_response(job_logs::spark_job_logs(&call.app, call.request).await?))
}

async fn describe_spark_job(call: Call<DescribeSparkJob>) -> Result<Value> {
    jobs::describe_spark_job(&call.app, call.request).await
}

async fn spark_delete_job(call: Call<SparkDeleteJob>) -> Result<()> {
    let caller = call.caller()?.clone();
    jobs::spark_delete_job(&call.app, &call.context, &caller, call.key.as_ref(), call.request).await
}

async fn spark_events(call: Call<SparkEvents>) -> Result<Page<JobEvent>> {
    jobs::spark_events(&call.app, call.request).await
}

async fn spark_job_explain(call: Call<SparkJobExplain>) -> Result<Explanation> {
    jobs::spark_job_explain(&call.app, call.request).await
}

async fn wait_for_spark_job(call: Call<WaitForSparkJob>) -> Result<Response> {
    let content = job_changes::wait_for_spark_job(&call.app, call.request).await?;
    let mut response = Body::from_stream(content).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A part of a log as a response.
pub fn log_response(log: LogAnswer) -> Response {
    let mut response = Body::from_stream(log.body).into_response();
    let all = response.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
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
