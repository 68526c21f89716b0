//! The conformance suite of runners, on the cluster that `KUBECONFIG` names: that of `python tests/kubernetes`, or any other
//! whose image runs a job's program by a shell (`MLP_KUBERNETES_IMAGE`). Nothing is installed there, and nothing is left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use mlplatform_runner::{
    conformance::{CASES, Fixture},
    log::LogLimit,
    runner::Runner,
};
use mlplatform_spark_kubernetes::{KubernetesConfig, KubernetesRunner};
use tokio::time::timeout;

/// Far longer than a case takes.
const LATE: Duration = Duration::from_secs(180);

fn config(folder: &Path, number: usize) -> KubernetesConfig {
    let image = env::var("MLP_KUBERNETES_IMAGE").unwrap_or_else(|_| "none".to_owned());
    KubernetesConfig {
        kubeconfig: None,
        context: None,
        namespace: None,
        platform: format!("conformance-{}-{number}", std::process::id()),
        service_account: None,
        images: [("4.0.0".to_owned(), image)].into(),
        folder: folder.to_owned(),
        longest_log: LogLimit::JOB,
        longest_cluster_logs: LogLimit::CLUSTER,
    }
}

fn main() {
    let mut out = io::stdout();
    if env::var_os("KUBECONFIG").is_none() {
        writeln!(out, "skipped: KUBECONFIG names no cluster (python tests/kubernetes cargo test …)").unwrap();
        return;
    }
    // As `cargo test` is asked for tests by a part of their name.
    let arguments: Vec<String> = env::args().collect();
    let wanted = arguments.get(1).filter(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = CASES.iter().enumerate();
    for (number, (name, case)) in cases.filter(|(_, (name, _))| wanted.is_none_or(|wanted| name.contains(wanted))) {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        write!(out, "test {name} ... ").unwrap();
        out.flush().unwrap();
        runtime.block_on(async {
            let runner = Arc::new(KubernetesRunner::new(config(folder.path(), number)).await.unwrap());
            let worker = Arc::clone(&runner);
            let work = tokio::spawn(async move { worker.work().await });
            timeout(LATE, case(Fixture::new(Arc::clone(&runner) as Arc<dyn Runner>).await)).await.expect(name);
            // As a server that knows none of these jobs.
            runner.reconcile(Default::default()).await.unwrap();
            work.abort();
        });
        writeln!(out, "ok in {:.1} s", began.elapsed().as_secs_f64()).unwrap();
    }
}
