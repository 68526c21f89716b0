//! `mlp job`: Spark jobs.

use std::{fs::OpenOptions, path::Path, sync::Arc};

use mlplatform_client::{
    Client, Kind,
    follow::LogStream,
    waits::{self, Until, Waited},
};
use mlplatform_protocol::{
    JobInfo,
    manifest::{Manifest, ManifestError},
    yaml::{Mapping, Node},
};

use crate::{
    args::{Job, Submit},
    context::Context,
    failure::{Code, Failure},
    manifest,
    output::moment,
};

pub(crate) async fn run(context: &Context, command: Job) -> Result<(), Failure> {
    let output = context.output;
    if let Job::Submit(submit) = command {
        return self::submit(context, submit).await;
    }
    let id = context.cluster(command.cluster()).await?;
    let client = context.client().await?;
    match command {
        Job::Submit(_) => Ok(()),
        Job::List { .. } => {
            let jobs = client.spark_jobs_list(&id, None).await?;
            output.list(&["NAME", "STATUS", "SUBMITTED"], &jobs, |job| {
                vec![job.job_name.clone(), job.status.name().to_owned(), moment(job.created_at)]
            })
        }
        Job::Show { name, .. } => {
            let job = client.spark_job_info(&id, &name, None).await?;
            let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let fields = [
                ("name", job.info.job_name.clone()),
                ("status", job.info.status.name().to_owned()),
                ("submitted", moment(job.info.created_at)),
                ("pod", or(&job.pod_status)),
                ("pod state", or(&job.pod_state)),
                ("reason", or(&job.pod_state_reason.clone().or_else(|| job.pod_status_reason.clone()))),
                ("message", or(&job.pod_state_reason_message)),
                ("page", job.info.ui_url.clone()),
            ];
            output.one(&job, &fields)
        }
        Job::Logs { name, tail, follow, output: None, .. } => {
            let stream = LogStream::new(Arc::clone(client), &id, &name, tail, follow, context.wait_timeout()?)?;
            show(context, &name, stream).await
        }
        Job::Logs { name, follow, output: Some(path), .. } => {
            let failed = |error: std::io::Error| Failure::failed(format!("'{}': {error}", path.display()));
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
            let client = Arc::clone(client);
            let size = client
                .save_spark_job_logs(&id, &name, file, follow, context.wait_timeout()?, |_| ())
                .await?
                .map_err(failed)?;
            output.say(&format!("saved to '{}': {size} bytes", path.display()))
        }
        Job::Wait { name, until, .. } => {
            let info = wait(context, client, &id, &name, until.into()).await?;
            if output.is_json() { output.json(&info) } else { Ok(()) }
        }
        Job::Explain { name, .. } => {
            let told = client.spark_job_explain(&id, &name, None).await?;
            let mut fields = vec![
                ("status", told.status.name().to_owned()),
                ("cause", told.cause.clone()),
                ("why", told.sentence.clone()),
            ];
            fields.extend(told.evidence.iter().map(|line| ("evidence", line.clone())));
            fields.push(("remedy", told.remedy.clone()));
            output.one(&told, &fields)
        }
        Job::Describe { name, .. } => output.json(&client.describe_spark_job(&id, &name, None).await?),
        Job::Events { name, .. } => {
            let mut events = client.spark_events(&id, None).await?;
            events.retain(|event| name.as_ref().is_none_or(|name| event.job_name == *name));
            output.list(&["AT", "TYPE", "REASON", "JOB", "MESSAGE"], &events, |event| {
                vec![
                    moment(event.at),
                    event.kind.name().to_owned(),
                    event.reason.clone(),
                    event.job_name.clone(),
                    event.message.clone(),
                ]
            })
        }
        Job::Delete { name, .. } => {
            client.spark_delete_job(&id, &name, None).await?;
            output.say(&format!("deleted the job '{name}'; its log is kept"))
        }
    }
}

async fn submit(context: &Context, submit: Submit) -> Result<(), Failure> {
    let mut manifest = match &submit.manifest {
        Some(path) => manifest::read(path)?,
        None => manifest::default_for(None)?,
    };
    fill(&mut manifest, &submit)?;
    manifest::check(&manifest, context)?;
    let id = context.cluster(submit.cluster.cluster.as_deref()).await?;
    let client = context.client().await?;
    let json = manifest::to_json(&manifest);
    let job = client.spark_submit_job(&id, json, submit.program.as_deref(), None, None).await?;
    context.output.say(&format!("submitted the job '{}': {}", job.job_name, job.ui_url))?;
    if submit.follow {
        let stream = LogStream::new(Arc::clone(client), &id, &job.job_name, None, true, context.wait_timeout()?)?;
        show(context, &job.job_name, stream).await?;
        return wait(context, client, &id, &job.job_name, Until::Completed).await.map(drop);
    }
    if context.output.is_json() { context.output.json(&job) } else { context.output.value("job_name", &job.job_name) }
}

/// Prints the output of a job unchanged.
async fn show(context: &Context, name: &str, mut stream: LogStream) -> Result<(), Failure> {
    loop {
        match stream.next().await {
            Ok(Some(bytes)) => context.output.bytes(&bytes)?,
            Ok(None) => return Ok(()),
            // The timeout of the follow itself, not of a request.
            Err(error) if matches!(error.kind(), Kind::Timeout) && context.global.timeout.is_some() => {
                let text = format!("timed out (--timeout); the job '{name}' continues");
                return Err(
                    Failure::new(Code::Timeout, text).hint(format!("mlp job logs {name} -f, or mlp job wait {name}"))
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a job and prints each change.
async fn wait(
    context: &Context,
    client: &Arc<Client>,
    cluster: &str,
    name: &str,
    until: Until,
) -> Result<JobInfo, Failure> {
    let output = context.output;
    // An error here cannot be reported: the output is closed.
    let told = |info: &JobInfo| drop(output.say(&format!("{}: {}", info.job_name, info.status.name())));
    let waited = Arc::clone(client).wait_for_spark_job(cluster, name, until, context.wait_timeout()?, told).await?;
    match waited {
        Waited::Reached(info) => Ok(info),
        Waited::Failed(failure) => Err(failed(&failure)),
    }
}

fn failed(failure: &waits::Failure) -> Failure {
    let mut text = vec![format!("the job '{}' failed", failure.info.job_name)];
    let Some(told) = &failure.explanation else {
        text.extend(failure.events.iter().map(|event| format!("  | {event}")));
        return Failure::failed(text.join("\n"));
    };
    text.clear();
    text.push(told.sentence.clone());
    text.extend(told.evidence.iter().map(|line| format!("  | {line}")));
    Failure::failed(text.join("\n")).hint(told.remedy.clone())
}

/// Applies the command line to the manifest.
fn fill(manifest: &mut Manifest, submit: &Submit) -> Result<(), Failure> {
    let wrong = |error: ManifestError| Failure::usage(error.to_string());
    if let Some(name) = &submit.name {
        manifest.set_text("metadata", "name", Some(name)).map_err(wrong)?;
    } else if manifest.job_name().is_none() {
        let name = Manifest::new_job_name().map_err(|error| Failure::failed(error.to_string()))?;
        manifest.set_text("metadata", "name", Some(&name)).map_err(wrong)?;
    }
    if !submit.conf.is_empty() {
        let mut conf = Mapping::default();
        for (key, value) in &submit.conf {
            conf.set(key, Node::text(value));
        }
        manifest.set_spark_conf(&conf).map_err(wrong)?;
    }
    if !submit.arguments.is_empty() {
        manifest.set_arguments(&submit.arguments).map_err(wrong)?;
    }
    let default = submit.manifest.is_none() && submit.program.as_deref().is_none_or(|path| path == Path::new(""));
    if default {
        return Err(Failure::usage("nothing to run: give a program, or a manifest with --manifest"));
    }
    Ok(())
}
