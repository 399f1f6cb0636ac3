//! Whether somebody can tell if a copy is complete, before it is promoted by force.

use std::collections::BTreeSet;

use crate::ids::ClusterId;
use crate::intent::Risk;
use crate::observed::{AgentFacts, Replicator};
use crate::report::Tri;
use crate::wait::{Blocker, Reason};

use super::super::view::{View, names};
use super::Gates;

/// Can the target's drivers say whether their copies are complete? A promotion by force of one that is not may bring back older data
/// than the last good copy, or none, and nobody would be told.
pub(super) fn told(v: &View<'_>, to: &ClusterId) -> Gates {
    let mut g = Gates::default();
    let facts = v.at(to);
    if !v.fresh(to) {
        return g;
    }
    let needed = v.capture().into_iter().flat_map(|c| c.volumes.values());
    let needed: BTreeSet<&String> = needed.map(|c| &c.csi.driver).collect();
    let telling = |driver: &&&String| match (&facts.agent, facts.replicator) {
        (AgentFacts::Alive { telling, .. }, Replicator::Agent) => telling.contains(**driver),
        (AgentFacts::Unseen | AgentFacts::Silent { .. }, _) | (_, Replicator::Upstream) => false,
    };
    let mute: Vec<&&String> = needed.iter().filter(|d| !telling(d)).collect();
    if mute.is_empty() {
        let said = format!(
            "on {to} a copy is promoted by force only if its driver says that it is complete"
        );
        g.pass("CopyState", said);
        return g;
    }
    let message = format!(
        "whether a copy on {to} is complete cannot be told by {}: if its source was lost in the middle of a copy, a promotion by force may bring back older data than the last good copy, or none",
        names(mute)
    );
    if v.intent.accepted.contains(&Risk::UnverifiedCopy) {
        let said = format!(
            "{message}; accepted: acceptRisks has {}",
            Risk::UnverifiedCopy.as_str()
        );
        g.pass("CopyState", said);
        return g;
    }
    let remedy = format!(
        "look at the storage of {to}; if its copies are complete, or you accept the risk, write acceptRisks: [{}] in the spec of the DRPlacement",
        Risk::UnverifiedCopy.as_str()
    );
    let blocker = Blocker::new(Reason::UnverifiedCopy, message, remedy);
    g.fail("CopyState", Tri::Unknown, blocker);
    g
}
