//! The parts of a step, and what becomes of the step from what became of them.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, ClusterId, Outcome};
use lifeboat_kit::CallError;
use lifeboat_kit::error::CallRetry;

/// How many parts of one step are worked on at once.
const PARALLEL: usize = 32;

/// Why a part of a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may have happened or not, or must wait: the next observation tells.
    Unknown(String),
    /// It was refused.
    Refused(Blocker),
}

/// What became of a part.
pub(crate) type Part<T = ()> = Result<T, Trouble>;

/// A part that is to be done, under the name it is sorted by.
pub(crate) type Pending<'a, T = ()> = (String, BoxFuture<'a, Part<T>>);

/// Refuses.
pub(crate) fn refuse<T>(
    reason: Reason,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Part<T> {
    Err(Trouble::Refused(Blocker::new(reason, message, remedy)))
}

/// What a failed call means for a part.
pub(crate) fn trouble(cluster: &ClusterId, error: &CallError) -> Trouble {
    let said = format!("{cluster}: {}", error.full());
    let refused =
        |reason, remedy: &str| Trouble::Refused(Blocker::new(reason, said.clone(), remedy));
    if said.contains("being terminated") {
        return refused(
            Reason::NamespaceTerminating,
            "Wait until the namespace is gone; it is made anew then.",
        );
    }
    match error.retry() {
        CallRetry::Soon | CallRetry::AfterRead => Trouble::Unknown(said),
        CallRetry::Gone => refused(
            Reason::StepFailed,
            "Check that the namespace exists and that the CRDs of spoke-deploy are installed on the cluster. It is tried again.",
        ),
        CallRetry::Denied => refused(
            Reason::StepFailed,
            "Give the hub's user on the cluster the role of spoke-deploy, and check that its credentials have not run out. It is tried again.",
        ),
        CallRetry::Never => refused(
            Reason::StepFailed,
            "The API server refuses the request: change what it complains about. It is tried again.",
        ),
    }
}

/// Does all parts, many at once; the answers are sorted by name.
pub(crate) async fn all<T: Send>(parts: Vec<Pending<'_, T>>) -> Vec<(String, Part<T>)> {
    let parts: Vec<BoxFuture<'_, (String, Part<T>)>> = parts.into_iter().map(tagged).collect();
    let mut done: Vec<(String, Part<T>)> = futures::stream::iter(parts)
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done
}

fn tagged<'a, T: Send + 'a>((key, part): Pending<'a, T>) -> BoxFuture<'a, (String, Part<T>)> {
    async move { (key, part.await) }.boxed()
}

/// Does all parts and keeps what they give, or the first trouble: a refusal before anything that is unknown.
pub(crate) async fn gather<T: Send>(parts: Vec<Pending<'_, T>>) -> Part<Vec<T>> {
    let (mut given, mut refused, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (_, part) in all(parts).await {
        match part {
            Ok(value) => given.push(value),
            Err(Trouble::Refused(blocker)) => refused.push(blocker),
            Err(Trouble::Unknown(why)) => unknown.push(why),
        }
    }
    let (more_refused, more_unknown) = (
        refused.len().saturating_sub(1),
        unknown.len().saturating_sub(1),
    );
    if let Some(mut first) = refused.into_iter().next() {
        first.message.push_str(&more(more_refused));
        return Err(Trouble::Refused(first));
    }
    match unknown.into_iter().next() {
        Some(first) => Err(Trouble::Unknown(first + &more(more_unknown))),
        None => Ok(given),
    }
}

/// Does all parts; the step is done when each of them is.
pub(crate) async fn each(parts: Vec<Pending<'_>>) -> Outcome {
    outcome(gather(parts).await.map(drop))
}

/// The outcome of a step that has one part.
pub(crate) fn outcome(part: Part) -> Outcome {
    match part {
        Ok(()) => Outcome::Done,
        Err(Trouble::Unknown(why)) => Outcome::Unknown { why },
        Err(Trouble::Refused(blocker)) => Outcome::Failed(blocker),
    }
}

fn more(others: usize) -> String {
    if others == 0 {
        String::new()
    } else {
        format!(" (and {others} more)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, result: Part) -> Pending<'static> {
        (name.to_owned(), async move { result }.boxed())
    }

    #[tokio::test]
    async fn a_refusal_is_told_before_what_is_unknown_and_the_rest_is_counted() {
        let blocker = |m: &str| Trouble::Refused(Blocker::new(Reason::Collision, m, "fix"));
        let parts = vec![
            part("a", Err(Trouble::Unknown("lost".into()))),
            part("c", Err(blocker("c is taken"))),
            part("b", Err(blocker("b is taken"))),
            part("d", Ok(())),
        ];
        let Outcome::Failed(blocker) = each(parts).await else {
            panic!("must be refused")
        };
        assert_eq!(blocker.message, "b is taken (and 1 more)");
        assert_eq!(each(vec![part("a", Ok(()))]).await, Outcome::Done);
    }
}
