//! When to do the next thing about a volume. Pure.

use std::time::Duration;

use jiff::Timestamp;
use lifeboat_api::replication::ReplicationState;
use lifeboat_drivers::Retry;
use lifeboat_kit::queue::backoff;

use crate::config::Polls;
use crate::decide::{State, state};
use crate::outcome::{Failed, NotTold, Outcome};
use crate::schedule::{INTERVAL, info_period};
use crate::view::{Class, Memory, Rule, VolumeView};

/// A driver that is busy with a volume is not asked again sooner.
const BUSY: Duration = Duration::from_secs(1);

/// What to remember after `outcome` of a step on `v`.
pub(crate) fn after(
    v: &VolumeView,
    outcome: &Outcome,
    now: Timestamp,
    polls: &Polls,
    seed: u64,
) -> Memory {
    let mut memory = v.memory.clone();
    let hub = matches!(v.rule, Rule::Hub(_));
    let at = |delay: Duration| now.checked_add(delay).ok();
    if !matches!(outcome, Outcome::Failed(_) | Outcome::Stuck(_)) {
        memory.failures = 0;
    }
    match outcome {
        Outcome::Promoted => {
            memory.not_before = None;
            memory.next_info = None;
            memory.polls = 0;
        }
        Outcome::Demoted => {
            memory.polls = 0;
            memory.demoted = Some(v.generation);
            memory.not_before = at(if hub {
                polls.hub_first
            } else {
                polls.after_demote
            });
        }
        Outcome::InStep => memory.not_before = None,
        Outcome::NotInStep => {
            let adaptive = hub && v.wanted == ReplicationState::Secondary;
            memory.not_before = at(if adaptive {
                doubled(polls, memory.polls)
            } else {
                polls.resync
            });
            memory.polls = memory.polls.saturating_add(1);
        }
        Outcome::Failed(failed) => {
            memory.failures = memory.failures.saturating_add(1);
            memory.not_before = at(after_failure(v, failed, memory.failures, polls, seed));
        }
        Outcome::Stuck(_) => {
            memory.failures = memory.failures.saturating_add(1);
            memory.not_before = at(backoff(memory.failures, seed));
        }
        Outcome::Refused(_) | Outcome::Refreshed | Outcome::Destination(_) => {}
        Outcome::Told(info) => {
            let synced = info.last_sync.is_some() || v.status.last_sync_time.is_some();
            memory.next_info = at(next_info(v, polls, hub && !synced, memory.polls));
            memory.polls = memory.polls.saturating_add(1);
        }
        Outcome::NotTold(why) => {
            let young = hub && v.status.last_sync_time.is_none() && *why != NotTold::NotOffered;
            memory.next_info = at(next_info(v, polls, young, memory.polls));
            memory.polls = memory.polls.saturating_add(1);
        }
    }
    memory
}

fn after_failure(
    v: &VolumeView,
    failed: &Failed,
    failures: u32,
    polls: &Polls,
    seed: u64,
) -> Duration {
    let busy = if failed.retry == Retry::Busy {
        BUSY
    } else {
        Duration::ZERO
    };
    let hub = matches!(v.rule, Rule::Hub(_));
    let secondary = state(v) == State::Secondary && v.wanted != ReplicationState::Primary;
    if secondary && !hub {
        return polls.after_demote;
    }
    let longest = if hub {
        polls.hub_longest
    } else {
        Duration::MAX
    };
    backoff(failures, seed).min(longest).max(busy)
}

fn next_info(v: &VolumeView, polls: &Polls, young: bool, asked: u32) -> Duration {
    let interval = match &v.class {
        Class::Ours(class) => class.parameters.get(INTERVAL).map(String::as_str),
        Class::Missing { .. } | Class::Foreign | Class::Broken { .. } => None,
    };
    let period = info_period(interval, polls.info);
    match v.rule {
        Rule::Upstream => period,
        Rule::Hub(_) => {
            let steady = period.min(polls.sync);
            if young {
                doubled(polls, asked).min(steady)
            } else {
                steady
            }
        }
    }
}

fn doubled(polls: &Polls, times: u32) -> Duration {
    polls
        .hub_first
        .saturating_mul(1 << times.min(16))
        .min(polls.hub_longest)
}
