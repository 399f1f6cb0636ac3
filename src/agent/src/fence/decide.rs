//! What to do about a fence. Pure.
//!
//! A fence that is deleted stays up: whoever takes an object away has not thereby said that the machines behind it may
//! write again.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::common::condition;
use lifeboat_api::fence::FenceState;
use lifeboat_drivers::Capability;

use super::view::{By, FenceView};
use crate::decide::{Refusal, offers, usable_secret};
use crate::view::{Life, Mark};

/// The condition that says which generation was carried out. Without it, every restart would repeat every call, and so
/// an old object that asks for Unfenced would lift a newer fence.
pub(super) const COMPLETED: &str = "Completed";

/// What to do next about a fence.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Nothing until something changes.
    Leave,
    /// Nothing for this long.
    Wait(Duration),
    /// Say why nothing is done.
    Refuse(Refusal),
    /// Put our finalizer on it.
    Mark,
    /// Ask the driver.
    Call,
    /// Remove our finalizer.
    Release,
}

/// Decides the next step for one fence.
pub(super) fn decide(v: &FenceView, now: Timestamp) -> Decision {
    match v.life {
        Life::Ending if v.finalizer == Mark::Absent => Decision::Leave,
        Life::Ending => match v.by {
            // Whose finalizer it is cannot be told, and may be soon.
            By::Foreign | By::Unread | By::Unreadable { .. } => Decision::Leave,
            By::Unknown { .. } | By::Ours(_) => Decision::Release,
        },
        Life::Living => living(v, now).unwrap_or_else(Decision::Refuse),
    }
}

fn living(v: &FenceView, now: Timestamp) -> Result<Decision, Refusal> {
    if done(v) {
        return Ok(Decision::Leave);
    }
    let means = match &v.by {
        By::Foreign | By::Unread => return Ok(Decision::Leave),
        By::Unreadable { why } | By::Unknown { why } => return Err(Refusal::because(why)),
        By::Ours(means) => means,
    };
    if v.cidrs.is_empty() {
        return Err(Refusal::because("spec.cidrs names no network"));
    }
    usable_secret(&v.secret)?;
    let needed = Capability::NetworkFence;
    if offers(&v.driver, &means.driver, needed, "network fencing")? == Mark::Absent {
        return Ok(Decision::Leave);
    }
    if v.finalizer == Mark::Absent {
        return Ok(Decision::Mark);
    }
    Ok(v.tries.wait(now).map_or(Decision::Call, Decision::Wait))
}

/// Whether the driver has carried this generation out.
fn done(v: &FenceView) -> bool {
    let completed = condition(&v.status.conditions, COMPLETED);
    let carried_out = completed.is_some_and(|c| {
        c.status == "True"
            && c.reason == reason(v.wanted)
            && c.observed_generation == Some(v.generation)
    });
    v.status.result.as_deref() == Some("Succeeded") && carried_out
}

/// The reason of [`COMPLETED`] when it is true.
pub(super) fn reason(wanted: FenceState) -> &'static str {
    match wanted {
        FenceState::Fenced => "Fenced",
        FenceState::Unfenced => "Unfenced",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use lifeboat_api::common::to_time;
    use lifeboat_api::fence::NetworkFenceStatus;
    use lifeboat_drivers::Secrets;

    use super::super::view::Means;
    use super::*;
    use crate::tries::Tries;
    use crate::view::{DriverView, SecretView};

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn view() -> FenceView {
        FenceView {
            name: "east".into(),
            generation: 2,
            life: Life::Living,
            finalizer: Mark::There,
            wanted: FenceState::Fenced,
            cidrs: vec!["10.0.0.1/32".into()],
            by: By::Ours(Means {
                driver: "d".into(),
                parameters: BTreeMap::new(),
                secret: None,
            }),
            secret: SecretView::Present(Secrets::default()),
            driver: DriverView::Ready(BTreeSet::from([Capability::NetworkFence])),
            status: NetworkFenceStatus::default(),
            tries: Tries::default(),
        }
    }

    fn carried_out(generation: i64, reason: &str) -> NetworkFenceStatus {
        NetworkFenceStatus {
            result: Some("Succeeded".into()),
            message: None,
            conditions: vec![Condition {
                type_: COMPLETED.into(),
                status: "True".into(),
                reason: reason.into(),
                message: String::new(),
                observed_generation: Some(generation),
                last_transition_time: to_time(now()),
            }],
        }
    }

    #[test]
    fn a_generation_is_carried_out_once() {
        let cases = [
            (NetworkFenceStatus::default(), Decision::Call),
            (carried_out(1, "Fenced"), Decision::Call),
            (carried_out(2, "Unfenced"), Decision::Call),
            (carried_out(2, "Fenced"), Decision::Leave),
        ];
        for (status, expected) in cases {
            let v = FenceView { status, ..view() };
            assert_eq!(decide(&v, now()), expected, "{v:?}");
        }
    }

    #[test]
    fn row_80_deletion_never_calls_the_driver() {
        for wanted in [FenceState::Fenced, FenceState::Unfenced] {
            let v = FenceView {
                life: Life::Ending,
                wanted,
                ..view()
            };
            assert_eq!(decide(&v, now()), Decision::Release);
        }
    }

    #[test]
    fn what_is_not_ours_is_left_and_what_is_not_in_order_is_said() {
        for by in [By::Foreign, By::Unread] {
            let left = FenceView { by, ..view() };
            assert_eq!(decide(&left, now()), Decision::Leave);
        }
        let odd = [
            FenceView {
                by: By::Unknown { why: "x".into() },
                ..view()
            },
            FenceView {
                cidrs: Vec::new(),
                ..view()
            },
            FenceView {
                driver: DriverView::Ready(BTreeSet::new()),
                ..view()
            },
            FenceView {
                driver: DriverView::Away { why: "x".into() },
                ..view()
            },
        ];
        for v in odd {
            assert!(matches!(decide(&v, now()), Decision::Refuse(_)), "{v:?}");
        }
    }
}
