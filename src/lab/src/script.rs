//! Scenarios as text: one line, one thing that is done, waited for or expected.
//!
//! ```text
//! # The site is lost and comes back.
//! kill site east
//! failover to north
//! wait running on north within 60s
//! revive site east
//! wait settled on north within 3m
//! expect only data on east
//! ```

use std::time::Duration;

mod expect;
mod parse;
mod plant;
mod run;

pub use parse::{ParseError, parse};
pub use run::{ScriptError, play, play_in};

/// A scenario, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What is there at the start.
    pub setting: Vec<Setting>,
    /// What happens then.
    pub lines: Vec<Line>,
}

/// A line of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the text, from 1.
    pub number: usize,
    /// Its text.
    pub text: String,
    /// Its meaning.
    pub verb: Verb,
}

/// What is different at the start: lines that begin with `lab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `lab unplaced`: the application is there, its DRPlacement is not.
    Unplaced,
    /// `lab unregistered north`: the hub is not told of a cluster.
    Unregistered(String),
    /// `lab hubs 2`: so many hubs at once.
    Hubs(usize),
    /// `lab hubs 2 all acting`: without a Lease between them, so that each acts as if it were alone.
    ActingHubs(usize),
    /// `lab clusters east west`: these, and no others.
    Clusters(Vec<String>),
    /// `lab stateful`: the application is a StatefulSet.
    Stateful,
    /// `lab handles differ`: a volume has another handle on each cluster.
    HandlesDiffer,
    /// `lab renamed west`: there, namespaces and storage class have other names: `shop-dr`, `fast-dr`.
    Renamed(String),
    /// `lab neighbour`: another application is there that nothing must hold up.
    Neighbour,
}

/// One thing that is done, waited for or expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Something is done.
    Do(Deed),
    /// Something is waited for.
    Wait {
        /// What.
        what: Sight,
        /// For how long at most.
        within: Duration,
    },
    /// Something must be so now.
    Expect(Fact),
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// `relocate to west`
    Relocate(String),
    /// `failover to north`
    Failover(String),
    /// `prefer west`: only `preferredCluster` is edited.
    Prefer(String),
    /// `request again`: only `requestID` is edited.
    Request(String),
    /// `remove`
    Remove,
    /// `place on east`, `place on east selecting nothing`
    Place {
        /// Where the application is.
        cluster: String,
        /// Its `app` label, if not its own.
        label: Option<String>,
    },
    /// `kill site east`
    Kill(String),
    /// `black out site east`
    BlackOut(String),
    /// `revive site east`
    Revive(String),
    /// `stop hub`
    StopHub,
    /// `start hub`
    StartHub,
    /// `crash hub`
    CrashHub,
    /// `kill leader`: of several hubs the one that holds the Lease.
    KillLeader,
    /// `partition hub west`
    Partition(String, String),
    /// `heal hub west`
    Heal(String, String),
    /// `stop mirroring east west`
    StopMirroring(String, String),
    /// `resume mirroring east west`
    ResumeMirroring(String, String),
    /// `register north`
    Register(String),
    /// `pass 30s`
    Pass(Duration),
    /// `policy clusters east west`
    Policy(Vec<String>),
    /// `delete policy`
    DeletePolicy,
    /// `delete replications on east`: the application's, by hand.
    DeleteReplications(String),
    /// `plant claim on west`
    Plant(Plant, String),
    /// `clear claim on west`
    Clear(Plant, String),
}

/// Objects that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// `claim`: a claim of the name of one of the application's.
    Claim,
    /// `volume`: a volume of the name of one of the application's.
    Volume,
    /// `pod`: a pod of nobody's that uses one of the application's claims.
    Pod,
    /// `unbound`: one more claim of the application's, whose class does not exist.
    Unbound,
    /// `local`: one more claim of the application's, bound to a volume on a node's disk.
    Local,
    /// `foreign`: one more claim of the application's, bound to a volume of a driver that is not there.
    Foreign,
    /// `terminating`: the application's namespace, being deleted and never gone.
    Terminating,
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// `wait phase Steady on west`, `wait phase Relocating`
    Phase {
        /// The phase.
        phase: String,
        /// The owner, if it matters.
        cluster: Option<String>,
    },
    /// `wait settled on west`: steady and protected there.
    Settled(String),
    /// `wait running on west`: owned by it and available there.
    Running(String),
    /// `wait condition Accepted False`, `wait condition Accepted False reason PolicyMissing`
    Condition {
        /// Its type.
        kind: String,
        /// Its status.
        status: String,
        /// Its reason, if it matters.
        reason: Option<String>,
    },
    /// `wait blocker Collision`, `wait blocker Collision naming shop-data-0`
    Blocker {
        /// Its reason.
        reason: String,
        /// What its message must contain.
        naming: Option<String>,
    },
    /// `wait event AlreadyThere`, `wait event AlreadyThere naming east`
    Event {
        /// Its reason.
        reason: String,
        /// What its text must contain.
        naming: Option<String>,
    },
    /// `wait replications on east`: each of the application's claims has one that stays.
    Replications(String),
    /// `wait gone`: the DRPlacement is deleted.
    Gone,
    /// `wait records 20`: so many were acknowledged in all.
    Records(usize),
}

/// What can be expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// `expect lost 0`, `expect lost at most 40`
    Lost(Bound),
    /// `expect forked 0`
    Forked(Bound),
    /// `expect doubled 0`
    Doubled(Bound),
    /// `expect primary only on north`
    PrimaryOnlyOn(String),
    /// `expect only data on east`: images as copies, and no objects.
    OnlyDataOn(String),
    /// `expect workload only on north`
    WorkloadOnlyOn(String),
    /// `expect epoch 2`
    Epoch(i64),
    /// `expect phase Steady`
    Phase(String),
    /// `expect cluster west`
    Cluster(String),
    /// `expect stays 60s`: phase, owner and epoch do not change for so long.
    Stays(Duration),
    /// `expect reclaim Delete on east`: the policy of the application's volumes.
    Reclaim(String, String),
    /// `expect replication never switched off`, `expect replication switched off`: of every volume of the application.
    Switched(Switched),
    /// `expect no marks on east`: nothing carries a placement's label any more.
    NoMarks(String),
    /// `expect all in shop-dr of class fast-dr on west`: what the application consists of is there under these names, and
    /// nothing of it is in another namespace.
    AllIn {
        /// Its namespace there.
        namespace: String,
        /// The storage class of its volumes and claims there.
        class: String,
        /// The cluster.
        site: String,
    },
    /// `expect writers 2`: so many hubs have written anything so far.
    Writers(usize),
    /// `expect the neighbour moves`: to its other cluster, now, in the usual time.
    NeighbourMoves,
}

/// Whether replication was ever switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// Of no volume.
    Never,
    /// Of every volume.
    Off,
}

/// A number that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// This one.
    Exactly(usize),
    /// This one or a lower one.
    AtMost(usize),
}

impl Bound {
    /// Whether a number is as expected.
    pub fn holds(self, n: usize) -> bool {
        match self {
            Self::Exactly(want) => n == want,
            Self::AtMost(most) => n <= most,
        }
    }
}
