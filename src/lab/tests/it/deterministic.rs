//! One seed, one story.

use lifeboat_lab::{Lab, LabSpec};

use crate::support::{paused, play};

const STORY: &str = "wait settled on east within 2m\nwait records 50 within 60s\nrelocate to west\n\
                     wait settled on west within 3m\nkill site west\nfailover to north\nwait running on north within 2m\n\
                     revive site west\nwait settled on north within 5m\n";

fn log(seed: u64) -> String {
    paused(async {
        let lab = Lab::start(LabSpec {
            seed,
            ..LabSpec::paused(3)
        })
        .await
        .unwrap();
        play(&lab, STORY).await;
        lab.log()
    })
}

#[test]
fn one_seed_run_twice_gives_the_same_log() {
    for seed in [0, 7] {
        let (one, other) = (log(seed), log(seed));
        for (n, (a, b)) in one.lines().zip(other.lines()).enumerate() {
            assert_eq!(a, b, "line {} of seed {seed}", n + 1);
        }
        assert_eq!(one.lines().count(), other.lines().count());
        assert!(one.lines().count() > 20, "{one}");
    }
}
