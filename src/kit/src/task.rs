//! Tasks with a name and an owner: the only place that spawns.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tracing::{Instrument, error, info_span};

/// A running task. It ends when this is dropped, so that nothing outlives what it works for.
#[derive(Debug)]
#[must_use = "dropping a task ends it"]
pub struct Task<T> {
    name: String,
    handle: JoinHandle<Option<T>>,
}

/// A task did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("task {name} stopped before its end")]
pub struct TaskError {
    /// Name of the task.
    pub name: String,
}

/// Starts a task. A panic in it is logged under its name and reported to whoever joins it.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    let name = name.into();
    let span = info_span!("task", name = %name);
    let label = name.clone();
    let guarded = async move {
        let Ok(value) = AssertUnwindSafe(work).catch_unwind().await else {
            error!(task = %label, "task panicked");
            return None;
        };
        Some(value)
    };
    Task {
        name,
        handle: tokio::spawn(guarded.instrument(span)),
    }
}

impl<T> Task<T> {
    /// Waits for the task's end.
    pub async fn join(mut self) -> Result<T, TaskError> {
        match (&mut self.handle).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) | Err(_) => Err(TaskError {
                name: self.name.clone(),
            }),
        }
    }

    /// Waits for the task's end without giving it up.
    pub async fn ended(&mut self) -> Result<T, TaskError> {
        match (&mut self.handle).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) | Err(_) => Err(TaskError {
                name: self.name.clone(),
            }),
        }
    }

    /// Whether the task has come to its end.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Name of the task.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_for_who_joins() {
        let task = spawn("bad", async { panic!("seen in the test") });
        let result: Result<(), _> = task.join().await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "task bad stopped before its end"
        );
        assert_eq!(spawn("good", async { 7 }).join().await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_handle_ends_the_task() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let task = spawn("forever", async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        drop(task);
        assert!(gone.recv().await.is_none());
    }
}
