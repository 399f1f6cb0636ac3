//! Whether a DRPlacement is the one that its uid says, as far as the hub itself can tell: no other DRPlacement has that
//! uid, and the archive holds no captures of an earlier one of its name. What the clusters tell is the planner's.

use std::time::Duration;

use lifeboat_api::{DRPlacement, names};
use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, Journal, Plan};

use super::{Look, Turn};
use crate::archive::LABEL;
use crate::context::Context;
use crate::resolve::{Invalid, Scope};
use crate::status;

/// When an archive that could not be read is read again.
const UNREAD_AGAIN: Duration = Duration::from_secs(2);
/// When it is asked again whether the earlier captures are still there.
const EARLIER_AGAIN: Duration = Duration::from_secs(5);

/// Two DRPlacements that are known by one uid would both act on everything that carries it. Its own uid is nobody else's;
/// one that was taken over stays with whoever took it over first.
pub(super) fn taken(
    context: &Context,
    placement: &DRPlacement,
    scope: &Scope,
    journal: &Journal,
) -> Option<Invalid> {
    if scope.uid == scope.own_uid {
        return None;
    }
    let rival = context
        .stores
        .placements
        .all()
        .into_values()
        .find(|other| {
            let annotations = other.metadata.annotations.as_ref();
            let named = annotations.and_then(|all| all.get(names::IDENTITY)) == Some(&scope.uid);
            let its = status::journal(other.status.as_ref()).unwrap_or_default();
            let decided = its.owner.is_some() && its.identity.as_ref() == Some(&scope.uid);
            let mine_first = journal.owner.is_some() && !decided;
            other.metadata.uid != placement.metadata.uid
                && (other.metadata.uid.as_ref() == Some(&scope.uid)
                    || decided
                    || named && !mine_first)
        })?;
    let name = |p: &DRPlacement| {
        let namespace = p.metadata.namespace.as_deref().unwrap_or_default();
        format!(
            "{namespace}/{}",
            p.metadata.name.as_deref().unwrap_or_default()
        )
    };
    Some(Invalid {
        reason: "IdentityTaken",
        message: format!(
            "the identity {} is that of the DRPlacement {} too",
            scope.uid,
            name(&rival)
        ),
        remedy: format!(
            "Remove the annotation {} from one of the two: nothing is done for this one until then.",
            names::IDENTITY
        ),
    })
}

impl Look<'_> {
    /// What stands in the way of a first decision, and when to look again: captures of an earlier DRPlacement of this
    /// name. The clusters may have lost its records, or the hub its DRClusters; only a person can say whether it is the
    /// same placement. Nothing is asked where a record or a capture bears out the uid that it has.
    pub(super) async fn earlier(&self, next: &Journal) -> Option<(Blocker, Duration)> {
        let scope = &self.resolved.scope;
        let recorded = self.observed.clusters.values().any(|c| c.record.is_some());
        let first = self.journal.owner.is_none() && next.owner.is_some();
        if !first || recorded || self.observed.archive.newest.is_some() {
            return None;
        }
        let earlier = match self.context.captures.earlier(scope).await {
            Ok(found) => found?,
            Err(error) => {
                let why = lifeboat_kit::error::full(&error);
                let unread = Blocker::new(
                    Reason::ArchiveUnreadable,
                    format!("the archive could not be read: {why}"),
                    "check that the hub can list Secrets in its namespace",
                );
                return Some((unread, UNREAD_AGAIN));
            }
        };
        let unclear = Blocker::new(
            Reason::IdentityUnclear,
            format!(
                "the archive holds a capture of an earlier DRPlacement {} with the uid {}: of {}, epoch {}, taken at {}; the present uid is {}",
                scope.key, earlier.uid, earlier.source, earlier.epoch, earlier.taken_at, scope.uid
            ),
            format!(
                "if this is the same placement, set the annotation {}: {} on the DRPlacement, and it takes over that capture; if that one is gone for good and its data given up, delete the Secrets with the label {}={} in the hub's namespace",
                names::IDENTITY,
                earlier.uid,
                LABEL,
                earlier.uid
            ),
        );
        Some((unclear, EARLIER_AGAIN))
    }

    /// Leaves the first decision to a person.
    pub(super) async fn ask(&self, mut plan: Plan, why: &Blocker, again: Duration) -> Turn {
        "waits for a person: whether this placement is an earlier one cannot be told"
            .clone_into(&mut plan.report.step);
        // What was to be told is of a decision that is not taken.
        plan.report.events.clear();
        self.rest(&plan, Some(why), Some(again)).await
    }
}
