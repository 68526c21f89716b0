//! The diagnosis of a job: why it is where it is, in one sentence, with its evidence and a remedy.
//!
//! What the platform knows for certain comes first (it waits, it was killed, it was never started); then the log's own
//! last error speaks. A warning further up must not: programs go on after most of them.

use mlplatform_protocol::{EventKind, Explanation, JobEvent, JobState, Open};

use crate::{
    findings::{Finding, RULES, Rule},
    termination::Termination,
};

/// Lines of a log that are shown as evidence, and how much of each.
const LINES: usize = 4;
const WIDTH: usize = 300;

/// The state of a job that is to be explained.
#[derive(Clone, Debug)]
pub struct JobSnapshot {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: Open<JobState>,
    /// A run of it is there.
    pub alive: bool,
    /// How many runs there were.
    pub runs: i64,
    /// How many starts failed in a row.
    pub failed_starts: i64,
    /// What it waits for: `cluster`, `disk`, `ids`, `size`, `capacity`.
    pub waits_for: Option<String>,
    /// It was deleted.
    pub deleted: bool,
    /// How its last run ended, or its last start failed.
    pub end: Option<Termination>,
}

impl JobSnapshot {
    fn is(&self, state: JobState) -> bool {
        self.state == Open::Known(state)
    }
}

/// Explains a job, given its cluster's bucket, its events (oldest first), and the end of its last run's log.
#[must_use]
pub fn explain(job: &JobSnapshot, bucket: &str, events: &[JobEvent], log: &str) -> Explanation {
    let Diagnosis { cause, sentence, mut evidence, remedy } = diagnose(job, bucket, events, log);
    if evidence.is_empty() {
        evidence.extend(events.last().map(|event| event.message.clone()));
    }
    let (job_name, status) = (job.name.clone(), job.state.clone());
    Explanation { job_name, status, cause: cause.to_owned(), sentence, evidence, remedy }
}

struct Diagnosis {
    cause: &'static str,
    sentence: String,
    evidence: Vec<String>,
    remedy: String,
}

fn diagnosis(
    cause: &'static str,
    sentence: impl Into<String>,
    evidence: Vec<String>,
    remedy: impl Into<String>,
) -> Diagnosis {
    Diagnosis { cause, sentence: sentence.into(), evidence, remedy: remedy.into() }
}

fn diagnose(job: &JobSnapshot, bucket: &str, events: &[JobEvent], log: &str) -> Diagnosis {
    let name = &job.name;
    let last = |reason: &str| {
        let found = events.iter().rev().find(|event| event.reason == reason);
        found.map(|event| event.message.clone()).into_iter().collect::<Vec<_>>()
    };
    if job.deleted {
        let evidence = last("SparkApplicationDeleted");
        let sentence = format!("The job '{name}' was deleted.");
        return diagnosis(
            "deleted",
            sentence,
            evidence,
            "submit it again if it was deleted by mistake; its log is kept",
        );
    }
    if job.alive && job.is(JobState::Running) {
        let sentence = format!("The job '{name}' runs.");
        return diagnosis(
            "running",
            sentence,
            last("Started"),
            "nothing: spark_job_logs shows what it has printed so far",
        );
    }
    if job.is(JobState::Completed) {
        let sentence = format!("The job '{name}' ended well.");
        return diagnosis(
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
    let Some(end) = &job.end else {
        let sentence = format!("The job '{name}' was accepted a moment ago and is about to start.");
        return diagnosis("submitted", sentence, Vec::new(), "nothing: ask again in a second");
    };
    let mut found = match &end.problem {
        Some(problem) if end.is_eviction() => diagnosis(
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
            diagnosis("parent-killed", sentence, Vec::new(), remedy)
        }
        None => failed(job, bucket, end, log),
    };
    if matches!(job.state, Open::Known(state) if !state.is_final()) {
        found.sentence.push_str(" The restart policy will run it again.");
    }
    let bad = events.iter().rev().find(|event| event.kind == Open::Known(EventKind::Warning));
    found.evidence.extend(bad.map(|event| event.message.clone()));
    found
}

fn waiting(job: &JobSnapshot, waits: &str, evidence: Vec<String>) -> Diagnosis {
    let name = &job.name;
    match waits {
        "size" => diagnosis(
            "too-large",
            format!("The job '{name}' asks for more than the cluster has, and will never start."),
            evidence,
            "delete it, ask for fewer instances, cores or less memory (set_executor_settings, set_driver_settings), \
             and submit it again; or ask an Administrator for a larger cluster",
        ),
        "disk" => diagnosis(
            "disk-full",
            format!("The job '{name}' waits because the platform's disk is nearly full."),
            evidence,
            "nothing, if other jobs end and free their room; else ask the platform's administrator to make room",
        ),
        "ids" => diagnosis(
            "no-capacity",
            format!(
                "The job '{name}' waits because other jobs have all of the ids that jobs may have on this platform."
            ),
            evidence,
            "wait for them, delete one that is not needed (spark_jobs_list, spark_delete_job), or ask the platform's \
             administrator for a larger range of ids",
        ),
        "cluster" => diagnosis(
            "cluster-starting",
            format!("The job '{name}' waits for its cluster, which is being started."),
            evidence,
            "nothing: it starts when the cluster runs",
        ),
        _ => diagnosis(
            "no-capacity",
            format!("The job '{name}' waits because other jobs use the cluster's capacity."),
            evidence,
            "wait for them, delete one that is not needed (spark_jobs_list, spark_delete_job), or ask for less",
        ),
    }
}

fn not_started(problem: &str) -> Diagnosis {
    let (cause, remedy) = if problem.contains("the Secret '") || problem.contains("the ConfigMap '") {
        ("missing-secret", "make the object, or correct its name and key in env_from; then submit the job again")
    } else if problem.contains("does not exist") || problem.contains("only its own") {
        ("missing-file", "put the file where the manifest names it, or correct the manifest; then submit the job again")
    } else {
        ("not-started", "tell the platform's administrator what the sentence says; then submit the job again")
    };
    diagnosis(cause, format!("The job could not be started: {problem}."), Vec::new(), remedy)
}

fn failed(job: &JobSnapshot, bucket: &str, end: &Termination, log: &str) -> Diagnosis {
    let how = end.text();
    let lines: Vec<&str> = log.lines().collect();
    let error = last_error(&lines);
    if let Some(found) = find_known(&lines) {
        let Finding { cause, sentence, remedy } = (found.rule.explain)(found.line, bucket);
        return diagnosis(cause, sentence, found.evidence(), remedy);
    }
    let name = &job.name;
    match (end.signal, end.exit_code) {
        (Some(9), _) | (_, Some(137)) => diagnosis(
            "killed",
            format!("The driver of '{name}' was killed from outside (SIGKILL)."),
            Vec::new(),
            "if nobody did it, the system did because memory ran out: ask for less memory, or run fewer jobs at once; \
             then submit it again",
        ),
        (Some(_), _) | (_, Some(130 | 143)) => diagnosis(
            "killed",
            format!("The driver of '{name}' was ended from outside: {how}."),
            Vec::new(),
            "submit it again; if it happens again, ask the platform's administrator who ends it",
        ),
        _ => {
            if let Some(line) = exception(error) {
                let sentence = format!("The program raised an error: {}.", shown(line).trim_end_matches('.'));
                let mut evidence: Vec<_> = location(error).into_iter().map(shown).collect();
                evidence.push(shown(line));
                return diagnosis(
                    "program-error",
                    sentence,
                    evidence,
                    "correct the program at the line shown, and submit it again",
                );
            }
            let evidence: Vec<_> = lines.iter().rev().take(LINES).rev().map(|line| shown(line)).collect();
            let sentence = format!("The program of '{name}' ended by itself with {how}, and its log names no error.");
            diagnosis(
                "exit-code",
                sentence,
                evidence,
                "look at the end of the log (spark_job_logs) for what it did last",
            )
        }
    }
}

/// The lines from the last error to the end: what the program died of.
fn last_error<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
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

/// The line of the traceback that says where in the program it happened.
fn location<'a>(lines: &[&'a str]) -> Option<&'a str> {
    lines.iter().rfind(|line| line.starts_with("  File \"") && !line.contains("site-packages")).copied()
}

/// A rule that fits a line.
struct Match<'a> {
    rule: &'static Rule,
    line: &'a str,
    location: Option<&'a str>,
}

impl Match<'_> {
    fn evidence(&self) -> Vec<String> {
        self.location.into_iter().chain([self.line]).map(shown).collect()
    }
}

/// What a driver died of, if that is known. Further up only where there is no last error: programs go on after most.
fn find_known<'a>(lines: &'a [&'a str]) -> Option<Match<'a>> {
    let error = last_error(lines);
    find(error).or_else(|| exception(error).is_none().then(|| find_fatal(lines)).flatten())
}

/// What the last error is about: its own line first, then whatever it was caused by.
fn find<'a>(error: &[&'a str]) -> Option<Match<'a>> {
    let raised = exception(error);
    let location = location(error);
    let by_itself = raised.and_then(|line| RULES.iter().find(|rule| rule.fits(line)).map(|rule| (rule, line)));
    let by_cause = || {
        RULES.iter().find_map(|rule| {
            let line = error.iter().rfind(|line| !is_log_line(line) && rule.fits(line))?;
            Some((rule, *line))
        })
    };
    let (rule, line) = by_itself.or_else(by_cause)?;
    Some(Match { rule, line, location })
}

/// What ends a driver wherever it stands in the log.
fn find_fatal<'a>(lines: &[&'a str]) -> Option<Match<'a>> {
    let rules = RULES.iter().filter(|rule| rule.fatal);
    rules.clone().find_map(|rule| {
        let line = lines.iter().rfind(|line| rule.fits(line))?;
        Some(Match { rule, line, location: None })
    })
}

/// A line of Spark's own log below an error.
fn is_log_line(line: &str) -> bool {
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
