//! What happened, in order, in virtual time.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lifeboat_api::DRPlacement;
use lifeboat_sim::{
    clock::SimClock,
    storage::{Event, RoleChange},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Key, Look};

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Somebody did something to the world.
    Verb,
    /// A DRPlacement moved on.
    Placement,
    /// An array changed a role.
    Array,
    /// An invariant was broken.
    Broken,
}

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Self::Verb => "verb ",
            Self::Placement => "hub  ",
            Self::Array => "array",
            Self::Broken => "BREAK",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Time since the start.
    pub at: Duration,
    /// What about.
    pub topic: Topic,
    /// What.
    pub text: String,
}

/// Everything that happened so far.
#[derive(Debug)]
pub struct Chronicle {
    clock: Arc<SimClock>,
    start: Timestamp,
    lines: Mutex<Vec<Line>>,
    written: watch::Sender<usize>,
}

impl Chronicle {
    pub(super) fn new(clock: Arc<SimClock>) -> Self {
        Self {
            start: clock.now(),
            clock,
            lines: Mutex::default(),
            written: watch::Sender::new(0),
        }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.since_start(self.clock.now())
    }

    fn since_start(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.start)).unwrap_or_default()
    }

    /// Adds a line now.
    pub fn say(&self, topic: Topic, text: impl Into<String>) {
        self.say_at(self.elapsed(), topic, text.into());
    }

    fn say_at(&self, at: Duration, topic: Topic, text: String) {
        let mut lines = self.lines.lock();
        lines.push(Line { at, topic, text });
        let n = lines.len();
        drop(lines);
        self.written.send_replace(n);
    }

    /// The lines after the first `seen`.
    pub fn since(&self, seen: usize) -> Vec<Line> {
        self.lines.lock().get(seen..).unwrap_or_default().to_vec()
    }

    /// Wakes with the number of lines so far.
    pub fn written(&self) -> watch::Receiver<usize> {
        self.written.subscribe()
    }

    /// All lines as text.
    pub fn text(&self) -> String {
        let one = |l: &Line| {
            format!(
                "{:>9.3}s {} {}\n",
                l.at.as_secs_f64(),
                l.topic.word(),
                l.text
            )
        };
        self.lines.lock().iter().map(one).collect()
    }

    pub(super) fn placement(&self, key: &Key, old: Option<&DRPlacement>, new: &DRPlacement) {
        let face = |p: &DRPlacement| {
            let blockers = p
                .status
                .iter()
                .flat_map(|s| s.blockers.iter().map(|b| b.reason.clone()));
            (
                p.phase().to_owned(),
                p.cluster().to_owned(),
                p.epoch(),
                p.step().to_owned(),
                blockers.collect::<Vec<_>>(),
            )
        };
        let now = face(new);
        if old.map(face).as_ref() == Some(&now) {
            return;
        }
        let (phase, cluster, epoch, step, blockers) = now;
        let on = if cluster.is_empty() {
            String::new()
        } else {
            format!(" on {cluster} (epoch {epoch})")
        };
        // A journal that was just written says no more than its phase.
        let step = if step.is_empty() || step == format!("phase {phase}") {
            String::new()
        } else {
            format!(": {step}")
        };
        let held = if blockers.is_empty() {
            String::new()
        } else {
            format!(" [{}]", blockers.join(", "))
        };
        self.say(Topic::Placement, format!("{key} {phase}{on}{step}{held}"));
    }

    pub(super) fn array(&self, event: &Event) {
        let what = match event.what {
            RoleChange::Created => "created",
            RoleChange::Enabled => "mirroring on",
            RoleChange::Disabled => "mirroring off",
            RoleChange::Promoted => "promoted",
            RoleChange::ForcePromoted => "promoted by force",
            RoleChange::Demoted => "demoted",
            RoleChange::SplitBrain => "split brain",
            RoleChange::Resynced => "thrown away to be copied anew",
            RoleChange::Removed => "removed",
            RoleChange::PoweredOff => "power off",
            RoleChange::PoweredOn => "power on",
        };
        let at = self.since_start(event.at);
        self.say_at(
            at,
            Topic::Array,
            format!("{} {} {what}", event.site, event.handle).replace("  ", " "),
        );
    }
}
