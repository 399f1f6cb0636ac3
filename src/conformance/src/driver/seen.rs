//! What the driver was asked, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Driver;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) letter: &'static str,
    pub(crate) handle: String,
    pub(crate) volume_id: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) replication_id: String,
    /// Volumes of a group, or networks of a fence.
    pub(crate) members: Vec<String>,
    pub(crate) at: Duration,
    /// What was answered; not known while it runs.
    pub(crate) said: Option<Said>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    NotReady,
    No,
}

impl Driver {
    /// Everything that was asked, with its handle, but for questions about replication.
    pub(crate) fn story(&self) -> Vec<String> {
        let seen = self.seen();
        let acts = seen.iter().filter(|s| s.letter != "I");
        acts.map(|s| format!("{} {} {}", s.letter, s.handle, s.members.join(",")))
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// Before the row began it was asked this, and answered so.
    pub(crate) fn did_before(&self, handle: &str, letters: &[&'static str], said: Said) {
        let seen = letters.iter().map(|letter| Seen {
            letter,
            handle: handle.to_owned(),
            volume_id: handle.to_owned(),
            parameters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            replication_id: String::new(),
            members: Vec::new(),
            at: Duration::ZERO,
            said: Some(said),
        });
        self.state.lock().earlier.extend(seen);
    }

    /// Everything that it was ever asked about a handle.
    pub(crate) fn history(&self, handle: &str) -> Vec<Seen> {
        let state = self.state.lock();
        let all = state.earlier.iter().chain(&state.seen);
        all.filter(|s| s.handle == handle).cloned().collect()
    }

    /// The letters of all calls for a handle, but for questions about replication.
    pub(crate) fn trace(&self, handle: &str) -> String {
        let seen = self.seen();
        let acts = seen
            .iter()
            .filter(|s| s.handle == handle && s.letter != "I");
        acts.map(|s| s.letter).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn full_trace(&self, handle: &str) -> String {
        let seen = self.seen();
        seen.iter()
            .filter(|s| s.handle == handle)
            .map(|s| s.letter)
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(crate) fn times(&self, letter: &str) -> Vec<Duration> {
        self.seen()
            .iter()
            .filter(|s| s.letter == letter)
            .map(|s| s.at)
            .collect()
    }

    /// How often this was asked.
    pub(crate) fn count(&self, letter: &str) -> usize {
        let state = self.state.lock();
        state.seen.iter().filter(|s| s.letter == letter).count()
    }

    /// When this was asked about one handle.
    pub(crate) fn times_of(&self, letter: &str, handle: &str) -> Vec<Duration> {
        let seen = self.seen();
        let of = seen
            .iter()
            .filter(|s| s.letter == letter && s.handle == handle);
        of.map(|s| s.at).collect()
    }

    pub(crate) fn overlaps(&self) -> Vec<String> {
        self.state.lock().overlaps.clone()
    }

    /// The time by which it notes calls.
    pub(crate) fn clock(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn probes(&self) -> usize {
        self.state.lock().probes
    }
}
