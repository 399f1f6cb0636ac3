//! Taking the steps of a plan: each in its turn, and only by the hub that still acts, on the journal that still holds.

use lifeboat_core::wait::Reason;
use lifeboat_core::{Blocker, Outcome, Plan, Step};
use lifeboat_kit::Next;
use tokio::time::Instant;
use tracing::{debug, instrument, warn};

use super::object::fresh;
use super::{Look, Memory, OFTEN, Turn};
use crate::act::{self, Crowded};

/// Why steps were not taken, or not all of them.
pub(super) enum NotDone {
    Crowded(Crowded),
    Failed(Blocker),
    /// What they were planned on is not so any more.
    Outdated(Turn),
}

impl Look<'_> {
    /// Takes the steps that depend on each other, and then, whatever became of those, the steps aside; unless what they were
    /// planned on is not so any more.
    pub(super) async fn take_all(
        &self,
        plan: &Plan,
        first: &mut Option<act::Turn>,
        memory: &mut Memory,
    ) -> Result<(), NotDone> {
        let taken = self.take(&plan.steps, first, memory).await;
        if matches!(taken, Err(NotDone::Outdated(_))) {
            return taken;
        }
        match self.take(&plan.aside, &mut None, memory).await {
            outdated @ Err(NotDone::Outdated(_)) => outdated,
            aside => taken.and(aside),
        }
    }

    /// Takes steps one after the other, each in its turn, until one is not done. A step may take long on a slow cluster, and
    /// meanwhile another hub may have moved the placement on: each is taken only by the one that acts, on its present journal.
    async fn take(
        &self,
        steps: &[Step],
        first: &mut Option<act::Turn>,
        memory: &mut Memory,
    ) -> Result<(), NotDone> {
        for step in steps {
            let _turn = match first.take() {
                Some(turn) => Some(turn),
                None => self.turn_for(step).map_err(NotDone::Crowded)?,
            };
            if !self.context.acts() {
                return Err(NotDone::Outdated(Turn::Stop(Next::Wait)));
            }
            if let Some(turn) = self.confirm(memory).await {
                return Err(NotDone::Outdated(turn));
            }
            let outcome = self.run(step).await;
            memory.confirmed = None;
            match outcome {
                Outcome::Done => {}
                Outcome::Unknown { why } => return Err(NotDone::Failed(self.unknown(step, &why))),
                Outcome::Failed(blocker) => return Err(NotDone::Failed(blocker)),
            }
        }
        Ok(())
    }

    /// A turn on the cluster of a step.
    pub(super) fn turn_for(&self, step: &Step) -> Result<Option<act::Turn>, Crowded> {
        self.context.executor.turn(step, self.key())
    }

    /// What is said of a step of which nobody knows whether it was done.
    fn unknown(&self, step: &Step, why: &str) -> Blocker {
        let tried = self
            .context
            .stuck
            .lock()
            .get(self.key())
            .map_or(0, |s| s.failures);
        let remedy = match step.cluster().filter(|_| tried >= OFTEN) {
            None => {
                "Nothing needs to be done: what became of it is read back, and it is tried again."
                    .to_owned()
            }
            Some(cluster) => format!(
                "It is tried again every few seconds. Look at what {cluster} says; if it cannot be repaired soon and the application is to run elsewhere, take the kubeconfig of its DRCluster away: a cluster that cannot be reached is not waited for."
            ),
        };
        Blocker::new(
            Reason::StepFailed,
            format!("{}: {why}", step.name()),
            remedy,
        )
    }

    /// A step is taken only on the journal that is on the API server now: what the watch showed a while ago may be that
    /// of an earlier owner. One read, however many volumes.
    async fn confirm(&self, memory: &mut Memory) -> Option<Turn> {
        let version = &self.placement.metadata.resource_version;
        if memory.confirmed.is_some() && memory.confirmed == *version {
            return None;
        }
        match fresh(self.context, self.key()).await {
            Ok(Some(now)) => {
                memory.confirmed.clone_from(&now.metadata.resource_version);
                let same = now.metadata.resource_version == *version;
                self.context.stores.placements.put(now);
                (!same).then_some(Turn::Again)
            }
            Ok(None) => Some(Turn::Stop(Next::Failed)),
            Err(error) => {
                warn!(placement = %self.key(), error = %error.full(), "journal not confirmed");
                Some(Turn::Stop(Next::Failed))
            }
        }
    }

    #[instrument(name = "step", skip_all, fields(step = step.name()))]
    async fn run(&self, step: &Step) -> Outcome {
        let started = Instant::now();
        debug!(placement = %self.key(), step = step.name(), "step");
        let outcome = self
            .context
            .executor
            .run_step(step, &self.resolved.scope)
            .await;
        self.context
            .metrics
            .stepped(step, &outcome, started.elapsed());
        outcome
    }
}
