//! The mark of the audit on PostgreSQL, written outside of the database while the platform is served.

use std::{path::Path, time::Duration};

use mlplatform_platform::{app::App, audit::Mark, private_file};
use tokio::{sync::oneshot, time::timeout};

/// What is cut off the audit in this time, with all servers down, is not seen.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Writes the mark whenever it has changed, to a file or the log; at the end once more.
pub(crate) async fn write_marks(app: App, file: Option<Box<Path>>, mut stopped: oneshot::Receiver<()>) {
    let mut written = None;
    loop {
        let ends = timeout(WRITE_EVERY, &mut stopped).await.is_ok();
        written = write(&app, file.as_deref(), written);
        if ends {
            return;
        }
    }
}

/// Gives the mark that is written now.
fn write(app: &App, file: Option<&Path>, written: Option<Mark>) -> Option<Mark> {
    let mark = app.audit().mark().ok().flatten().filter(|mark| Some(*mark) != written);
    let Some(mark) = mark else { return written };
    let done = match file {
        Some(file) => private_file::replace(file, format!("{mark}\n").as_bytes()),
        None => {
            tracing::info!("audit mark {mark}");
            Ok(())
        }
    };
    match done {
        Ok(()) => Some(mark),
        Err(error) => {
            tracing::warn!("the audit's mark cannot be written, and is tried again: {error}");
            written
        }
    }
}
