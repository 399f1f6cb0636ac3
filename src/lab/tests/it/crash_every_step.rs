//! The hub dies at each of its writes, once right before it was carried out and once right after, and starts again
//! with an empty memory: every flow ends as if nothing had happened.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lifeboat_lab::{
    Lab, LabSpec,
    lab::Fault,
    script::{parse, play_in},
};

use crate::support::paused;

const RELOCATE: &str = "\
relocate to west
wait settled on west within 5m
expect epoch 2
expect lost 0
expect forked 0
expect primary only on west
expect workload only on west
expect only data on east
";
const FAILOVER: &str = "\
kill site east
failover to north
wait running on north within 2m
expect epoch 2
expect workload only on north
";
const RETURN: &str = "\
revive site east
wait settled on north within 5m
expect epoch 2
expect primary only on north
expect workload only on north
expect only data on east
";
const REMOVE: &str = "\
remove
wait gone within 3m
expect no marks on east
expect reclaim Delete on east
expect lost 0
";

/// A slow writer: what is tested is the hub, over and over again.
fn spec() -> LabSpec {
    LabSpec {
        write_every: Duration::from_millis(500),
        ..LabSpec::paused(1)
    }
}

/// Plays `before` undisturbed and then `flow`, with a fault at one of its writes; tells how many writes it took.
pub(crate) fn run(before: &str, flow: &str, fault: Option<(u64, Fault)>) -> Result<u64, String> {
    let whole = format!("wait settled on east within 2m\nwait records 5 within 60s\n{before}");
    let (before, flow) = (parse(&whole).unwrap(), parse(flow).unwrap());
    paused(async move {
        let lab = Lab::start(spec()).await.map_err(|e| e.full())?;
        play_in(&lab, &before).await.map_err(|e| e.to_string())?;
        let start = lab.tap().writes();
        if let Some((nth, fault)) = fault {
            lab.tap().plan(nth, fault);
        }
        let dies = fault.is_some_and(|(_, f)| f != Fault::LoseReply);
        let flow = async { play_in(&lab, &flow).await.map_err(|e| e.to_string()) };
        if dies {
            let phoenix = async {
                lab.tap().struck().await;
                lab.kill_hub();
                lab.start_hub().await.map_err(|e| e.full())?;
                std::future::pending::<Result<(), String>>().await
            };
            tokio::select! {
                biased;
                done = phoenix => done?,
                done = flow => done?,
            }
        } else {
            flow.await?;
        }
        if lab.tap().is_pending() {
            return Err("the fault that was planned never came".to_owned());
        }
        Ok(lab.tap().writes() - start)
    })
}

/// Every write of a flow goes wrong once; the runs share the machine's threads.
pub(crate) fn every_write(before: &str, flow: &str, fault: Fault) {
    let writes = run(before, flow, None).unwrap_or_else(|e| panic!("undisturbed: {e}"));
    assert!(writes > 0);
    let (next, failed) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth > writes {
                        return;
                    }
                    if let Err(error) = run(before, flow, Some((nth, fault))) {
                        println!("{fault:?} at write {nth} of {writes}: {error}\n");
                        failed.lock().unwrap().push(nth);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{fault:?} at writes {failed:?} of {writes}"
    );
}

#[test]
fn a_relocation_survives_a_crash_before_each_write() {
    every_write("", RELOCATE, Fault::DieBefore);
}

#[test]
fn a_relocation_survives_a_crash_after_each_write() {
    every_write("", RELOCATE, Fault::DieAfter);
}

#[test]
fn a_failover_survives_a_crash_after_each_write() {
    every_write("", FAILOVER, Fault::DieAfter);
}

#[test]
fn a_return_survives_a_crash_after_each_write() {
    every_write(FAILOVER, RETURN, Fault::DieAfter);
}

#[test]
fn a_removal_survives_a_crash_after_each_write() {
    every_write("", REMOVE, Fault::DieAfter);
}
