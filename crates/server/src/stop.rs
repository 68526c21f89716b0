//! Shutdown signals: SIGTERM, SIGINT, or the end of standard input.

use std::io::{self, Read};

use mlplatform_server::start::StartError;
use tokio::sync::oneshot;

/// As shells count a process that SIGINT ended: the second signal says that waiting is over.
const AT_ONCE: i32 = 130;

/// Listens from now on; the future ends when the server shall stop. A signal after that ends the process at once.
pub(crate) fn listen(stdin_too: bool) -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    let mut signals = Signals::install().map_err(|error| StartError::System("signals cannot be received", error))?;
    let end = if stdin_too { Some(end_of_stdin()?) } else { None };
    let end = async {
        match end {
            Some(end) => drop(end.await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            () = signals.next() => {}
            () = end => tracing::info!("standard input has ended"),
        }
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("a second signal: ending at once");
            std::process::exit(AT_ONCE);
        });
    })
}

/// A thread of its own, never joined: a read that waits cannot be called off.
fn end_of_stdin() -> Result<oneshot::Receiver<()>, StartError> {
    let (ended, end) = oneshot::channel();
    let reader = std::thread::Builder::new().name("stdin".to_owned());
    let spawned = reader.spawn(move || {
        wait_for_end();
        let _ = ended.send(());
    });
    spawned.map_err(|error| StartError::System("standard input cannot be watched", error))?;
    Ok(end)
}

/// What comes is not ours to understand; an error is an end, too.
fn wait_for_end() {
    let (mut stdin, mut buffer) = (io::stdin().lock(), [0; 1024]);
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("received SIGTERM"),
            _ = self.interrupt.recv() => tracing::info!("received SIGINT"),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
