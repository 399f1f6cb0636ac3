//! The rights in the deploy files and the requests of the programs are the same set: nothing is refused ([`Lab::check`]
//! looks for that in every test), and nothing is granted that nobody uses.

use std::collections::BTreeSet;

use lifeboat_lab::{Lab, LabSpec};
use lifeboat_sim::apiserver::{Right, Verdict};
use lifeboat_sim::world::HUB;
use serde_json::Value;

use crate::support::{paused, play};

/// What happens: enough of it that each program has done all that it ever does, but for groups.
const STORY: &str = "
wait settled on east within 2m
delete replications on east
wait replications on east within 1m
wait settled on east within 2m
relocate to west
wait settled on west within 3m
black out site west
failover to east
wait running on east within 60s
revive site west
wait settled on east within 5m
request again
wait event AlreadyThere within 60s
pass 31s
request more
pass 5s
crash hub
relocate to west
wait settled on west within 3m
remove
wait gone within 2m
";

/// What else belongs to the application: all that a workload can name, and a workload of the other kind.
const MORE: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: index, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: index, namespace: shop}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: index, namespace: shop, labels: {app: shop}}
spec:
  replicas: 1
  serviceName: index
  selector: {matchLabels: {app: shop, part: index}}
  template:
    metadata: {labels: {app: shop, part: index}}
    spec:
      serviceAccountName: index
      containers: [{name: index, image: example.org/index:1}]
";

/// Rights of the agent that need a driver with groups of volumes or with fences. The agent's conformance tests have one, and
/// use these rights under the same file.
const OF_OTHER_DRIVERS: [&str; 11] = [
    "create volumegroupreplicationcontents",
    "create volumereplications",
    "delete volumegroupreplicationcontents",
    "delete volumereplications",
    "get volumegroupreplicationcontents",
    "get volumegroupreplications",
    "patch networkfences",
    "patch volumegroupreplicationcontents",
    "patch volumegroupreplicationcontents/status",
    "patch volumegroupreplications",
    "patch volumegroupreplications/status",
];

/// A network that is to be cut off; the driver of the laboratory cannot, which is told in the fence's status.
const FENCE: &str = "
apiVersion: v1
kind: Secret
metadata: {name: creds, namespace: default}
---
apiVersion: csiaddons.openshift.io/v1alpha1
kind: NetworkFence
metadata: {name: cut-off}
spec: {driver: DRIVER, secret: {name: creds, namespace: default}, cidrs: [10.0.0.1/32]}
";

const HUB_FILE: &str = include_str!("../../../../hub-deploy/base/hub-role.yaml");
const HUB_ON_SPOKE: &str = include_str!("../../../../spoke-deploy/base/hub-role.yaml");
const AGENT_FILE: &str = include_str!("../../../../spoke-deploy/base/agent-role.yaml");

/// What the roles of a file grant to a service account.
fn granted(file: &str, account: &str) -> BTreeSet<Right> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(file).unwrap();
    let roles = documents
        .iter()
        .filter(|d| d["kind"] == "ClusterRole" || d["kind"] == "Role");
    let granting = roles.flat_map(|d| d["rules"].as_array().unwrap());
    let words = |rule: &Value, key: &str| -> Vec<String> {
        let all = rule[key].as_array().into_iter().flatten();
        all.map(|w| w.as_str().unwrap().to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for rule in granting {
        let mut groups = words(rule, "apiGroups");
        let mut resources = words(rule, "resources");
        let paths = words(rule, "nonResourceURLs");
        if !paths.is_empty() {
            (groups, resources) = (vec![String::new()], paths);
        }
        for verb in words(rule, "verbs") {
            for group in &groups {
                found.extend(resources.iter().map(|resource| Right {
                    user: format!("system:serviceaccount:lifeboat-system:{account}"),
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                }));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// What a service account asked for on these API servers.
fn asked(lab: &Lab, places: &[&str], account: &str) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for place in places {
        let asked = lab.world().api(place).unwrap().rights_asked();
        let allowed = asked.into_iter().filter(|(_, v)| *v == Verdict::Allowed);
        all.extend(allowed.map(|(right, _)| right));
    }
    let user = format!("system:serviceaccount:lifeboat-system:{account}");
    all.retain(|right| right.user == user);
    all
}

fn say<'a>(rights: impl IntoIterator<Item = &'a Right>) -> Vec<String> {
    let say = |r: &Right| format!("{} {}", r.verb, r.resource);
    let mut said: Vec<String> = rights.into_iter().map(say).collect();
    said.sort();
    said
}

#[test]
fn every_right_is_used_and_none_is_missing() {
    let sites = ["east", "west", "north"];
    let hub = granted(HUB_FILE, "lifeboat-hub");
    let hub_there = granted(HUB_ON_SPOKE, "lifeboat-hub");
    let agent = granted(AGENT_FILE, "lifeboat-agent");
    let lab = paused(async {
        let lab = Lab::start(LabSpec::paused(2)).await.unwrap();
        // Each patch meets another writer once, so that what is needed only then is needed here.
        let outrun = |place: &str, rights: &BTreeSet<Right>| {
            let api = lab.world().api(place).unwrap();
            let patches = rights.iter().filter(|r| r.verb == "patch");
            patches.for_each(|right| api.outrun_next(right.clone()));
        };
        outrun(HUB, &hub);
        for site in sites {
            outrun(site, &hub_there);
            outrun(site, &agent);
        }
        let driver = &lab.world().site("east").unwrap().driver;
        let fence = FENCE.replace("DRIVER", driver.name());
        lab.world().install("east", &fence).unwrap();
        lab.world().install("east", MORE).unwrap();
        play(&lab, STORY).await;
        // News that are told again after a while are counted.
        let driver = &lab.world().site("north").unwrap().driver;
        for _ in 0..2 {
            driver.go_away();
            play(&lab, "pass 20s").await;
            driver.come_back();
            play(&lab, "pass 20s").await;
        }
        lab
    });
    let unused = |granted: &BTreeSet<Right>, places: &[&str], account: &str| {
        let asked = asked(&lab, places, account);
        say(granted.difference(&asked))
    };
    let found = [
        ("hub-deploy", unused(&hub, &[HUB], "lifeboat-hub")),
        ("hub on spoke", unused(&hub_there, &sites, "lifeboat-hub")),
        ("agent", unused(&agent, &sites, "lifeboat-agent")),
    ];
    let want = [
        ("hub-deploy", Vec::new()),
        ("hub on spoke", Vec::new()),
        ("agent", OF_OTHER_DRIVERS.map(str::to_owned).to_vec()),
    ];
    assert_eq!(found, want);
}
