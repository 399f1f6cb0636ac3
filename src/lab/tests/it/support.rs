//! What the tests share.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Once;

use lifeboat_lab::{
    Lab,
    script::{parse, play_in},
};
use tracing_subscriber::EnvFilter;

/// Runs on one thread and a clock that leaps whenever nothing else is to be done.
pub(crate) fn paused<T>(work: impl Future<Output = T>) -> T {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| {
        let logs = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::from_default_env())
            .with_test_writer();
        logs.without_time().init();
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(work)
}

/// Plays lines of the scenario language, each of which must come true.
pub(crate) async fn play(lab: &Lab, lines: &str) {
    let played = play_in(lab, &parse(lines).unwrap()).await;
    played.unwrap_or_else(|e| panic!("{e}"));
}

/// All scenario files, by name.
pub(crate) fn scenarios() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "scenario"));
    all.sort();
    all
}
