//! Stopping when asked: the first signal asks every part to finish, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::task::{Task, spawn};

/// Exit code after a second signal.
const ABORTED: i32 = 130;

/// Listens for SIGTERM and SIGINT. The token is cancelled at the first; keep the task for as long as the process runs.
pub fn on_signals() -> std::io::Result<(CancellationToken, Task<()>)> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let task = spawn("signals", async move {
        either(&mut term, &mut int).await;
        info!("asked to stop: finishing what is in flight");
        token.cancel();
        either(&mut term, &mut int).await;
        warn!("asked to stop again: leaving now");
        std::process::exit(ABORTED);
    });
    Ok((cancel, task))
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
