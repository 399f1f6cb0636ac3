//! The planner: from what is wanted, seen and remembered to what is done next.
//!
//! One file per flow; each takes a [`View`] and answers with a [`Draft`]. Safety questions are asked in `gates`, facts
//! that several flows read are named in `view`, and what is told to people is made of the draft in `tell`.

mod again;
mod anew;
mod arrive;
mod cancel;
mod cleanup;
mod draft;
mod failover;
mod gates;
mod hold;
mod identity;
mod protect;
mod quarantine;
mod relocate;
mod remade;
mod remove;
mod resync;
mod steady;
mod tell;
mod undecided;
mod unproven;
mod view;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::intent::{Intent, Life, Policy};
use crate::journal::{Journal, Phase};
use crate::observed::Observed;
use crate::report::Report;
use crate::step::Step;
use crate::wait::{Blocker, Reason};
use draft::Draft;
use quarantine::meanwhile;
use view::View;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The journal to write, by compare-and-swap, before anything else; if it cannot be written nothing is done.
    /// Absent: nothing to remember. A plan that changes the journal has no steps: it is made again on the written journal.
    pub journal: Option<Journal>,
    /// Steps to take now, one after the other; a step that is not Done ends the list.
    pub steps: Vec<Step>,
    /// More steps to take now, whatever becomes of `steps`: a sick cluster must not keep another one from its protection.
    pub aside: Vec<Step>,
    /// When to look again even if nothing is seen to change, in milliseconds.
    pub again_after_ms: Option<u64>,
    /// What to tell.
    pub report: Report,
}

impl Plan {
    /// All steps, those aside last.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.aside)
    }
}

/// Decides. Total: for every input it answers, and never panics.
pub fn plan(
    now: Timestamp,
    policy: &Policy,
    intent: &Intent,
    observed: &Observed,
    journal: &Journal,
) -> Plan {
    let v = View {
        now,
        policy,
        intent,
        observed,
        journal,
        oldest_capture: journal.capture,
    };
    let draft = decide(&v);
    let draft = match &journal.owner {
        Some(owner) => failover::look_again(&v, owner, draft),
        None => draft,
    };
    tell::finish(&v, draft)
}

fn decide(v: &View<'_>) -> Draft {
    if let Some(blocker) = identity::changed(v) {
        return Draft::wait("stands still: the DRPlacement names another identity than it has")
            .blocked(blocker);
    }
    if let Some(blocker) = foreign_ownership(v) {
        return Draft::wait("stands still: another hub has moved this placement on")
            .blocked(blocker);
    }
    let leaving = v.intent.life == Life::Leaving;
    match &v.journal.phase {
        Phase::Undecided => undecided::next(v),
        Phase::Steady | Phase::CleaningUp { .. } if leaving => {
            Draft::journal(v, |j| j.phase = Phase::Removing)
        }
        // Whoever takes the owner's DRCluster away has given it up: nothing of the move is waited for any more.
        Phase::Cancelling { .. } | Phase::Promoting { .. } | Phase::Starting { .. }
            if leaving && v.owner_gone() =>
        {
            Draft::journal(v, |j| j.phase = Phase::Removing)
        }
        Phase::Steady => steady::next(v),
        Phase::Relocating {
            from,
            to,
            kind,
            stage,
        } => {
            let leg = relocate::Leg {
                from,
                to,
                kind: *kind,
                stage: *stage,
            };
            meanwhile(v, relocate::next(v, &leg))
        }
        Phase::Cancelling { from, to } => meanwhile(v, cancel::cancel(v, from, to)),
        Phase::Promoting { from, to, kind } => meanwhile(v, arrive::promote(v, from, to, *kind)),
        Phase::Starting { from, to, kind } => meanwhile(v, arrive::start(v, from, to, *kind)),
        Phase::CleaningUp {
            from,
            to,
            kind,
            resync,
        } => cleanup::next(
            v,
            &resync::Left {
                from,
                to,
                kind: *kind,
                resync: *resync,
            },
        ),
        Phase::Removing => remove::next(v),
    }
}

const REBUILD: &str = "if this hub was restored from a backup, clear status.journal of the DRPlacement so that it is rebuilt from the clusters";

/// A record on any cluster that knows more than this journal: this hub must not act.
fn foreign_ownership(v: &View<'_>) -> Option<Blocker> {
    let owner = v.journal.owner.as_ref()?;
    if let Some(capture) = v
        .observed
        .archive
        .newest
        .as_ref()
        .filter(|c| c.epoch > v.journal.epoch)
    {
        return Some(Blocker::new(
            Reason::StaleHub,
            format!(
                "the archive holds a capture of {} at epoch {}; this hub knows owner {owner} at epoch {}",
                capture.source, capture.epoch, v.journal.epoch
            ),
            REBUILD,
        ));
    }
    let newer = v.observed.clusters.iter().find_map(|(id, c)| {
        let record = c.record.as_ref()?;
        let ahead = record.epoch > v.journal.epoch
            || (record.epoch == v.journal.epoch && record.owner != *owner);
        ahead.then_some((id, record))
    });
    newer.map(|(id, record)| {
        Blocker::new(
            Reason::StaleHub,
            format!(
                "{id} records owner {} at epoch {}; this hub knows owner {owner} at epoch {}",
                record.owner, record.epoch, v.journal.epoch
            ),
            REBUILD,
        )
    })
}
