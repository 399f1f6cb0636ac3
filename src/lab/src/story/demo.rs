//! The world after the story: it lives on and takes commands.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lifeboat_sim::storage::Power;

use super::{Told, narrate::Timeline};
use crate::lab::{Lab, Look};

/// What a command has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Lines to show.
    Text(Vec<String>),
    /// The user wants to leave.
    Quit,
}

/// A living world. Dropped, it ends.
#[derive(Debug)]
pub struct Demo {
    lab: Arc<Lab>,
    kubeconfig: Option<PathBuf>,
    timeline: Timeline,
}

impl Demo {
    pub(super) fn new(lab: Arc<Lab>, kubeconfig: Option<PathBuf>, timeline: Timeline) -> Self {
        Self {
            lab,
            kubeconfig,
            timeline,
        }
    }

    /// Waits for what happens next. It may be called again and again, and dropped in between.
    pub async fn next(&mut self) -> Vec<Told> {
        self.timeline.next().await
    }

    /// The file with a context for the hub and each cluster.
    pub fn kubeconfig(&self) -> Option<&Path> {
        self.kubeconfig.as_deref()
    }

    /// The laboratory.
    pub fn lab(&self) -> &Arc<Lab> {
        &self.lab
    }

    /// Does what a line says.
    pub async fn command(&self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["kill" | "revive" | "relocate" | "failover", site] = words.as_slice()
            && self.lab.world().site(site).is_err()
        {
            let sites = self.lab.world().sites().map(|s| s.name.as_str());
            let sites = sites.collect::<Vec<_>>().join(", ");
            return Answer::Text(vec![format!(
                "there is no cluster {site}; there are: {sites}"
            )]);
        }
        let done = match words.as_slice() {
            [] => Ok(Vec::new()),
            ["quit" | "exit" | "q"] => return Answer::Quit,
            ["help" | "?"] => Ok(help()),
            ["status"] => Ok(self.status()),
            ["kill", site] => self
                .lab
                .kill_site(site)
                .map(|()| vec![format!("{site} has no power any more")]),
            ["revive", site] => self
                .lab
                .revive_site(site)
                .map(|()| vec![format!("{site} is back, as it was")]),
            ["relocate", site] => self
                .lab
                .relocate(site)
                .await
                .map(|()| vec![format!("asked for {site}")]),
            ["failover", site] => self
                .lab
                .failover(site)
                .await
                .map(|()| vec![format!("asked for {site}, loss accepted")]),
            _ => Ok(vec![format!("`{line}` is nothing I know; try `help`")]),
        };
        Answer::Text(done.unwrap_or_else(|error| vec![error.full()]))
    }

    /// Where everything stands.
    pub fn status(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for site in self.lab.world().sites() {
            let power = if site.array.power() == Power::On {
                "up"
            } else {
                "dead"
            };
            let pods = site.workload.running().len();
            let images = site.array.images();
            let lead =
                |h: &&String| site.array.role(h) == Some(lifeboat_sim::storage::Role::Primary);
            let primary = images.iter().filter(lead).count();
            lines.push(format!(
                "{:<8} {power:<5} {pods} writing, {primary} of {} images primary",
                site.name,
                images.len()
            ));
        }
        if let Some(p) = self.lab.placement() {
            lines.push(format!(
                "{} is {} on {} (epoch {}): {}",
                self.lab.key(),
                p.phase(),
                p.cluster(),
                p.epoch(),
                p.step()
            ));
            for b in p.status.iter().flat_map(|s| &s.blockers) {
                lines.push(format!("  {}: {} ({})", b.reason, b.message, b.remedy));
            }
        }
        let r = self.lab.ledger();
        lines.push(format!(
            "records: {} acknowledged, {} lost, {} doubled",
            r.acked, r.lost, r.doubled
        ));
        lines
    }
}

fn help() -> Vec<String> {
    let text = "kill CLUSTER      cut its power
revive CLUSTER    give it power again
relocate CLUSTER  ask for a move without loss
failover CLUSTER  ask for a move with the loss accepted
status            where everything stands
quit              end of the world";
    text.lines().map(str::to_owned).collect()
}
