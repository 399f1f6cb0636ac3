//! The one forced resync of a request: noted before it is sent, and what became of it.

use lifeboat_api::names;
use lifeboat_drivers::Force;
use lifeboat_kit::CallError;
use tracing::warn;

use super::call::call;
use super::{Step, again, refuse, warn_about};
use crate::agent::Agent;
use crate::decide::{Decision, still_ordered};
use crate::view::{Mark, Rule, VolumeView};
use crate::writes;

/// Sends the one forced resync of a request.
/// *If interrupted* after the note: whether it was sent is not known, and it is not sent again unless the hub asks again.
pub(super) async fn issue_resync(
    agent: &Agent,
    v: &VolumeView,
    (epoch, number): (i64, u32),
    enable: Mark,
) -> Step {
    let note = names::resync_request(epoch, number);
    if let Err(error) = writes::annotate(agent, &v.key, names::RESYNC_ISSUED, Some(&note)).await {
        return again(Err(error), v);
    }
    let begun = agent.clock.now();
    // The note may have taken its time.
    if let Rule::Hub(hub) = &v.rule
        && let Err(refusal) = still_ordered(hub, begun)
    {
        take_back_resync(agent, v).await;
        return refuse(agent, v, refusal, begun).await;
    }
    // The note is stored: this pass, and no other, may send it.
    let force = Force::Yes;
    let step = call(agent, v, begun, Decision::Resync { enable, force }).await;
    // It was answered, and what was said of the request before it is over.
    let now = agent.caches.volume(&v.key);
    let noted = now
        .as_ref()
        .and_then(|now| now.metadata.annotations.as_ref());
    let sent = noted.and_then(|all| all.get(names::RESYNC_ISSUED)) == Some(&note);
    if sent && number > 1 {
        agent.answered(&v.key, (epoch, number));
        if let Err(error) = forget_failure(agent, v).await {
            warn!(volume = %v.key, error = %error.full(), "could not forget that an earlier resync failed; it is tried again");
        }
    }
    step
}

/// Takes away what was said of the request before: the present one was answered.
pub(super) async fn forget_failure(agent: &Agent, v: &VolumeView) -> Result<(), CallError> {
    writes::annotate(agent, &v.key, names::RESYNC_FAILED, None).await
}

/// Says that the request which was noted did not bring the copy about: the hub may ask again.
pub(super) async fn fail_resync(agent: &Agent, v: &VolumeView, why: String) -> Step {
    let Rule::Hub(hub) = &v.rule else {
        return Step::Again;
    };
    let Some((epoch, number)) = hub.resync_issued else {
        return Step::Again;
    };
    let note = names::resync_request(epoch, number);
    let done = writes::annotate(agent, &v.key, names::RESYNC_FAILED, Some(&note)).await;
    if done.is_ok() {
        warn_about(agent, v, "ResyncFailed", "Resync", why).await;
    }
    again(done, v)
}

/// A forced resync that was not sent, or that the driver refused, was not one: it may be sent again. What was noted before it
/// stands again: a copy that an earlier request threw away is still none.
pub(super) async fn take_back_resync(agent: &Agent, v: &VolumeView) {
    let Rule::Hub(hub) = &v.rule else {
        return;
    };
    let before = hub.resync_issued;
    let before = before.map(|(epoch, number)| names::resync_request(epoch, number));
    let noted = writes::annotate(agent, &v.key, names::RESYNC_ISSUED, before.as_deref()).await;
    if let Err(error) = noted {
        warn!(volume = %v.key, error = %error.full(), "could not take back the note of a resync");
    }
}
