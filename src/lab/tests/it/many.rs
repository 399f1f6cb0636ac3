//! Many placements at once: none waits for another, and at rest nobody writes.
//! Virtual time: a sleep says how much is to pass.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use lifeboat_api::DRPlacement;
use lifeboat_lab::{
    Lab, LabSpec,
    lab::{Look, Start},
};
use lifeboat_sim::world::App;
use serde_json::json;

use crate::support::paused;

const MANY: usize = 20;

/// Writes of the hub by what they were about, names aside.
fn summary(written: &[String]) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for line in written {
        let parts: Vec<&str> = line.split('/').collect();
        let kind = parts
            .iter()
            .filter(|p| !p.starts_with("app-") && !p.contains("shop"))
            .copied();
        *kinds
            .entry(kind.take(9).collect::<Vec<_>>().join("/"))
            .or_default() += 1;
    }
    let lines = kinds.iter().map(|(kind, n)| format!("{n:>6} {kind}"));
    lines.collect::<Vec<_>>().join("\n")
}

async fn all_settled(lab: &Lab, on: &'static str) {
    let all = || (lab.book().count(|p| p.settled_on(on)) == MANY).then_some(());
    if let Err(error) = lab
        .wait(&format!("all on {on}"), Duration::from_secs(180), all)
        .await
    {
        let there = lab.book().count(|p| p.settled_on(on));
        let text = error.full();
        let tail: Vec<&str> = text.lines().rev().take(60).collect();
        panic!(
            "{there} of {MANY} on {on}\n{}\n{}",
            summary(&lab.tap().written()),
            tail.join("\n")
        );
    }
}

#[test]
fn twenty_placements_are_protected_and_moved_at_once() {
    paused(async {
        let spec = LabSpec {
            start: Start::Empty,
            write_every: Duration::ZERO,
            ..LabSpec::paused(2)
        };
        let lab = Lab::start(spec).await.unwrap();
        let apps: Vec<App> = (0..MANY)
            .map(|n| App::new(&format!("app-{n:02}")))
            .collect();
        for app in &apps {
            lab.world().install_app("east", app).unwrap();
            lab.place(app, "east").unwrap();
        }
        all_settled(&lab, "east").await;
        for app in &apps {
            let api: Api<DRPlacement> = Api::namespaced(lab.hub_client(), &app.namespace);
            let west = Patch::Merge(json!({"spec": {"preferredCluster": "west"}}));
            api.patch(&app.name, &PatchParams::default(), &west)
                .await
                .unwrap();
        }
        all_settled(&lab, "west").await;
        let before = lab.tap().writes();
        tokio::time::sleep(Duration::from_secs(120)).await;
        let written = lab.tap().written();
        let new = written
            .get(usize::try_from(before).unwrap()..)
            .unwrap_or_default();
        // A report of a later sync now and then, and of the clusters' sign of life: nothing else.
        let busy: Vec<&String> = new.iter().filter(|w| !w.ends_with("/status")).collect();
        assert!(busy.is_empty(), "{busy:?}");
    });
}
