//! Why a job is where it is: one sentence, what it follows from, what to do.
//!
//! What the platform knows for certain comes first (it waits, it was killed, it was never started); then the log's own
//! last error speaks. A warning further up must not: programs go on after most of them.

use mlplatform_protocol::{EventKind, Explanation, JobEvent, JobState, Open};

use super::{
    disk::EVICTED,
    end,
    findings::{Finding, RULES},
    run::End,
};
use crate::service::job_rows::JobRow;

/// Lines of a log that are shown as evidence, and how much of each.
const LINES: usize = 4;
const WIDTH: usize = 300;

/// Explains.
pub(crate) fn explain(job: &JobRow, bucket: &str, events: &[JobEvent], log: &str) -> Explanation {
    let Told { cause, sentence, mut evidence, remedy } = told(job, bucket, events, log);
    if evidence.is_empty() {
        evidence.extend(events.last().map(|event| event.message.clone()));
    }
    Explanation { job_name: job.name.clone(), status: job.state(), cause: cause.to_owned(), sentence, evidence, remedy }
}

struct Told {
    cause: &'static str,
    sentence: String,
    evidence: Vec<String>,
    remedy: String,
}

fn tell(cause: &'static str, sentence: impl Into<String>, evidence: Vec<String>, remedy: impl Into<String>) -> Told {
    Told { cause, sentence: sentence.into(), evidence, remedy: remedy.into() }
}

fn told(job: &JobRow, bucket: &str, events: &[JobEvent], log: &str) -> Told {
    let name = &job.name;
    let last = |reason: &str| {
        let found = events.iter().rev().find(|event| event.reason == reason);
        found.map(|event| event.message.clone()).into_iter().collect::<Vec<_>>()
    };
    if job.deleted_at.is_some() {
        let evidence = last("SparkApplicationDeleted");
        let sentence = format!("The job '{name}' was deleted.");
        return tell("deleted", sentence, evidence, "submit it again if it was deleted by mistake; its log is kept");
    }
    if job.alive && job.is(JobState::Running) {
        let sentence = format!("The job '{name}' runs.");
        return tell("running", sentence, last("Started"), "nothing: spark_job_logs shows what it has printed so far");
    }
    if job.is(JobState::Completed) {
        let sentence = format!("The job '{name}' ended well.");
        return tell(
            "completed",
            sentence,
            last("SparkDriverCompleted"),
            "nothing: spark_job_logs shows what it printed",
        );
    }
    if let Some(waits) = &job.waits_for {
        let reason = match waits.as_str() {
            "cluster" => "TriggeredScaleUp",
            "disk" => "DiskPressure",
            _ => "FailedScheduling",
        };
        return waiting(job, waits, last(reason));
    }
    let Some(end) = job.end() else {
        let sentence = format!("The job '{name}' was accepted a moment ago and is about to start.");
        return tell("submitted", sentence, Vec::new(), "nothing: ask again in a second");
    };
    let mut told = match &end.problem {
        Some(problem) if problem.starts_with(EVICTED) => tell(
            "evicted",
            format!("The platform ended the job '{name}' to save its disk: {problem}."),
            Vec::new(),
            "write less into the working folder and the temporary folder, and remove what is not needed any more; if the \
             job needs so much, ask the platform's administrator for room; then submit it again",
        ),
        Some(problem) if job.runs == 0 || job.failed_starts > 0 => not_started(problem),
        Some(problem) => {
            let sentence = format!("The platform lost the job '{name}': {problem}.");
            let remedy = "somebody or something killed a process of the platform (an operator, or the system because \
                          memory ran out): submit the job again, and look at the machine's own log if it happens again";
            tell("parent-killed", sentence, Vec::new(), remedy)
        }
        None => failed(job, bucket, &end, log),
    };
    if matches!(job.state(), Open::Known(state) if !state.is_final()) {
        told.sentence.push_str(" The restart policy will run it again.");
    }
    let bad = events.iter().rev().find(|event| event.kind == Open::Known(EventKind::Warning));
    told.evidence.extend(bad.map(|event| event.message.clone()));
    told
}

fn waiting(job: &JobRow, waits: &str, evidence: Vec<String>) -> Told {
    let name = &job.name;
    match waits {
        "size" => tell(
            "too-large",
            format!("The job '{name}' asks for more than the cluster has, and will never start."),
            evidence,
            "delete it, ask for fewer instances, cores or less memory (set_executor_settings, set_driver_settings), \
             and submit it again; or ask an Administrator for a larger cluster",
        ),
        "disk" => tell(
            "disk-full",
            format!("The job '{name}' waits because the platform's disk is nearly full."),
            evidence,
            "nothing, if other jobs end and free their room; else ask the platform's administrator to make room",
        ),
        "ids" => tell(
            "no-capacity",
            format!(
                "The job '{name}' waits because other jobs have all of the ids that jobs may have on this platform."
            ),
            evidence,
            "wait for them, delete one that is not needed (spark_jobs_list, spark_delete_job), or ask the platform's \
             administrator for a larger range of ids",
        ),
        "cluster" => tell(
            "cluster-starting",
            format!("The job '{name}' waits for its cluster, which is being started."),
            evidence,
            "nothing: it starts when the cluster runs",
        ),
        _ => tell(
            "no-capacity",
            format!("The job '{name}' waits because other jobs use the cluster's capacity."),
            evidence,
            "wait for them, delete one that is not needed (spark_jobs_list, spark_delete_job), or ask for less",
        ),
    }
}

fn not_started(problem: &str) -> Told {
    let (cause, remedy) = if problem.contains("the Secret '") || problem.contains("the ConfigMap '") {
        ("missing-secret", "make the object, or correct its name and key in env_from; then submit the job again")
    } else if problem.contains("does not exist") || problem.contains("only its own") {
        ("missing-file", "put the file where the manifest names it, or correct the manifest; then submit the job again")
    } else {
        ("not-started", "tell the platform's administrator what the sentence says; then submit the job again")
    };
    tell(cause, format!("The job could not be started: {problem}."), Vec::new(), remedy)
}

fn failed(job: &JobRow, bucket: &str, end: &End, log: &str) -> Told {
    let how = end::text(end);
    let lines: Vec<&str> = log.lines().collect();
    let core = core(&lines);
    if let Some(found) = about(&lines) {
        let Finding { cause, sentence, remedy } = (found.rule.tell)(found.line, bucket);
        return tell(cause, sentence, found.evidence(), remedy);
    }
    let name = &job.name;
    match (end.signal, end.exit_code) {
        (Some(9), _) | (_, Some(137)) => tell(
            "killed",
            format!("The driver of '{name}' was killed from outside (SIGKILL)."),
            Vec::new(),
            "if nobody did it, the system did because memory ran out: ask for less memory, or run fewer jobs at once; \
             then submit it again",
        ),
        (Some(_), _) | (_, Some(130 | 143)) => tell(
            "killed",
            format!("The driver of '{name}' was ended from outside: {how}."),
            Vec::new(),
            "submit it again; if it happens again, ask the platform's administrator who ends it",
        ),
        _ => {
            if let Some(line) = exception(core) {
                let sentence = format!("The program raised an error: {}.", shown(line).trim_end_matches('.'));
                let mut evidence: Vec<_> = place(core).into_iter().map(shown).collect();
                evidence.push(shown(line));
                return tell(
                    "program-error",
                    sentence,
                    evidence,
                    "correct the program at the line shown, and submit it again",
                );
            }
            let evidence: Vec<_> = lines.iter().rev().take(LINES).rev().map(|line| shown(line)).collect();
            let sentence = format!("The program of '{name}' ended by itself with {how}, and its log names no error.");
            tell("exit-code", sentence, evidence, "look at the end of the log (spark_job_logs) for what it did last")
        }
    }
}

/// From the last error to the end: what the program died of.
fn core<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let begins = |line: &str| {
        line.starts_with("Traceback (most recent call last)")
            || line.starts_with("Exception in thread")
            || line.contains("PythonException: Traceback")
            || is_syntax_error(line)
    };
    let begin = lines.iter().rposition(|line| begins(line)).map(|begin| {
        // Where it is stands above it; what else stands above an error may be a warning.
        let place = if lines.get(begin).is_some_and(|line| is_syntax_error(line)) { 3 } else { 0 };
        begin.saturating_sub(place)
    });
    begin.and_then(|begin| lines.get(begin..)).unwrap_or_default()
}

fn is_syntax_error(line: &str) -> bool {
    ["SyntaxError:", "IndentationError:", "TabError:"].iter().any(|name| line.starts_with(name))
}

/// The line that names what was raised: the last of its kind, because causes are printed first.
fn exception<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let is = |line: &&&str| {
        let name = line.split([':', ' ']).next().unwrap_or_default();
        let word = name.rsplit('.').next().unwrap_or_default();
        let fits = word.ends_with("Error") || word.ends_with("Exception") || word.ends_with("Warning");
        fits && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'))
    };
    let thrown = |line: &&&str| line.starts_with("Exception in thread");
    lines.iter().rfind(is).or_else(|| lines.iter().rfind(thrown)).copied()
}

/// Where in the program it happened.
fn place<'a>(lines: &[&'a str]) -> Option<&'a str> {
    lines.iter().rfind(|line| line.starts_with("  File \"") && !line.contains("site-packages")).copied()
}

struct Found<'a> {
    rule: &'static super::findings::Rule,
    line: &'a str,
    place: Option<&'a str>,
}

impl Found<'_> {
    fn evidence(&self) -> Vec<String> {
        self.place.into_iter().chain([self.line]).map(shown).collect()
    }
}

/// What a driver died of, if that is known. Further up only where there is no last error: programs go on after most.
fn about<'a>(lines: &'a [&'a str]) -> Option<Found<'a>> {
    let core = core(lines);
    find(core).or_else(|| exception(core).is_none().then(|| find_fatal(lines)).flatten())
}

/// What the last error is about: its own line first, then whatever it was caused by.
fn find<'a>(core: &[&'a str]) -> Option<Found<'a>> {
    let raised = exception(core);
    let place = place(core);
    let by_itself = raised.and_then(|line| RULES.iter().find(|rule| rule.fits(line)).map(|rule| (rule, line)));
    let by_cause = || {
        RULES.iter().find_map(|rule| {
            let line = core.iter().rfind(|line| !is_chatter(line) && rule.fits(line))?;
            Some((rule, *line))
        })
    };
    let (rule, line) = by_itself.or_else(by_cause)?;
    Some(Found { rule, line, place })
}

/// What ends a driver wherever it stands in the log.
fn find_fatal<'a>(lines: &[&'a str]) -> Option<Found<'a>> {
    let rules = RULES.iter().filter(|rule| rule.fatal);
    rules.clone().find_map(|rule| {
        let line = lines.iter().rfind(|line| rule.fits(line))?;
        Some(Found { rule, line, place: None })
    })
}

/// A line of Spark's own log below an error.
fn is_chatter(line: &str) -> bool {
    [" INFO ", " WARN ", " DEBUG "].iter().any(|level| line.get(..40).unwrap_or(line).contains(level))
        || line.trim_start().starts_with("at ")
}

fn shown(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests;
