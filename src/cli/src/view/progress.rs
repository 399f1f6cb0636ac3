//! A move as it happens, line by line.

use jiff::Timestamp;
use lifeboat_api::DRPlacement;
use lifeboat_api::placement::ActionRecord;

use super::detail::{headline, offset, took};
use super::text::{between, seconds};

/// The move that was the newest when we began to look, and over by then: it is not the one we follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Earlier {
    NotLooked,
    None,
    Began(Timestamp),
}

/// What has been said about a move so far.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Timestamp,
    earlier: Earlier,
    begun: usize,
    ended: usize,
    step: Option<String>,
}

impl Progress {
    /// Nothing said yet.
    pub(crate) fn new(began: Timestamp) -> Self {
        Self {
            began,
            earlier: Earlier::NotLooked,
            begun: 0,
            ended: 0,
            step: None,
        }
    }

    /// What is new.
    pub(crate) fn lines(&mut self, placement: &DRPlacement, now: Timestamp) -> Vec<String> {
        let Some(status) = &placement.status else {
            return Vec::new();
        };
        let newest = status.actions.first();
        let start = |r: &ActionRecord| r.start_time.as_ref().map(|t| t.0);
        if self.earlier == Earlier::NotLooked {
            let over = newest.filter(|r| r.complete_time.is_some()).and_then(start);
            self.earlier = over.map_or(Earlier::None, Earlier::Began);
        }
        let mut lines = Vec::new();
        let ours = |r: &&ActionRecord| start(r).is_none_or(|at| self.earlier != Earlier::Began(at));
        if let Some(record) = newest.filter(ours) {
            self.steps(record, &mut lines);
        }
        if status.step.is_some() && status.step != self.step {
            self.step.clone_from(&status.step);
            let phase = status.phase.as_deref().unwrap_or("-");
            let at = seconds(between(self.began, now));
            lines.push(format!(
                "[{at:>7}] {phase}: {}",
                status.step.as_deref().unwrap_or_default()
            ));
        }
        lines
    }

    fn steps(&mut self, record: &ActionRecord, lines: &mut Vec<String>) {
        let origin = record.start_time.as_ref().map(|t| t.0);
        for step in record.steps.iter().skip(self.ended) {
            let Some(milliseconds) = step.milliseconds else {
                break;
            };
            self.ended += 1;
            self.begun = self.begun.max(self.ended);
            lines.push(format!(
                "          {} {} took {}",
                offset(step, origin),
                step.name,
                took(milliseconds)
            ));
        }
        for step in record.steps.iter().skip(self.begun) {
            self.begun += 1;
            lines.push(format!(
                "          {} {} begins",
                offset(step, origin),
                step.name
            ));
        }
    }
}

/// The last word on a move that is over.
pub(crate) fn summary(placement: &DRPlacement, began: Timestamp, now: Timestamp) -> String {
    let status = placement.status.as_ref();
    let cluster = status.and_then(|s| s.cluster.as_deref()).unwrap_or("-");
    let mut text = format!(
        "done: on {cluster} after {}\n",
        seconds(between(began, now))
    );
    if let Some(record) = status.and_then(|s| s.actions.first()) {
        text.push_str(&headline(record));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::{moved, now, steady};

    #[test]
    fn every_step_is_said_once_and_old_moves_not_at_all() {
        let mut p = steady("db", "east");
        p.status.as_mut().unwrap().actions = vec![moved("Relocate", "west", "east")];
        let mut progress = Progress::new(now());
        assert_eq!(
            progress.lines(&p, now()),
            ["[   0.0s] Steady: protected on west"]
        );

        let mut next = moved("Relocate", "east", "west");
        next.start_time = Some(lifeboat_api::common::to_time(now()));
        next.complete_time = None;
        for step in &mut next.steps {
            step.start_time.clone_from(&next.start_time);
        }
        next.steps[1].milliseconds = None;
        let status = p.status.as_mut().unwrap();
        status.actions.insert(0, next);
        status.step = Some("starting".to_owned());
        let expected = [
            "          +0.0s Promote took 1.5s",
            "          +0.0s Start begins",
            "[   0.0s] Steady: starting",
        ];
        assert_eq!(progress.lines(&p, now()), expected);
        assert!(progress.lines(&p, now()).is_empty());
        p.status.as_mut().unwrap().actions[0].steps[1].milliseconds = Some(300);
        assert_eq!(
            progress.lines(&p, now()),
            ["          +0.0s Start took 0.3s"]
        );
    }
}
