//! The hub dies at each of its writes, once right before it was carried out and once right after, and starts again
//! with an empty memory: every flow ends as if nothing had happened.

use lifeboat_lab::{
    Lab, LabSpec,
    lab::Fault,
    script::{parse, play_in},
};

use crate::support::paused;

const RELOCATE: &str = "relocate to west\nwait settled on west within 5m\nexpect epoch 2\nexpect lost 0\nexpect forked 0\n\
                        expect primary only on west\nexpect workload only on west\nexpect only data on east\n";
const FAILOVER: &str = "kill site east\nfailover to north\nwait running on north within 2m\nexpect epoch 2\n\
                        expect primary only on north\nexpect workload only on north\n";
const RETURN: &str = "revive site east\nwait settled on north within 5m\nexpect epoch 2\nexpect primary only on north\n\
                      expect workload only on north\nexpect only data on east\n";
const REMOVE: &str = "remove\nwait gone within 3m\nexpect no marks on east\nexpect reclaim Delete on east\nexpect lost 0\n";

/// Plays `before` undisturbed and then `flow`, with a fault at one of its writes; tells how many writes it took.
pub(crate) fn run(before: &str, flow: &str, fault: Option<(u64, Fault)>) -> Result<u64, String> {
    let whole = format!("wait settled on east within 2m\nwait records 20 within 60s\n{before}");
    let (before, flow) = (parse(&whole).unwrap(), parse(flow).unwrap());
    paused(async move {
        let lab = Lab::start(LabSpec::paused(1)).await.map_err(|e| e.full())?;
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
        Ok(lab.tap().writes() - start)
    })
}

/// Every write of a flow goes wrong once.
pub(crate) fn every_write(before: &str, flow: &str, fault: Fault) {
    let writes = run(before, flow, None).unwrap_or_else(|e| panic!("undisturbed: {e}"));
    assert!(writes > 0);
    let mut failed = Vec::new();
    for nth in 1..=writes {
        if let Err(error) = run(before, flow, Some((nth, fault))) {
            println!("{fault:?} at write {nth} of {writes}: {error}\n");
            failed.push(nth);
        }
    }
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
