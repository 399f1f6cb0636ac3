//! Kubeconfigs.

use std::net::TcpListener;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::api::{DeleteParams, PostParams};
use lifeboat_api::names::{KUBECONFIG_KEY, SYSTEM_NAMESPACE};
use lifeboat_lab::lab::{Transport, cluster_objects};
use lifeboat_sim::{clock::SimClock, pki::Pki};

use super::*;
use crate::support::paused;

/// Stands in every kubeconfig, and must not be told to anybody.
const TOKEN: &str = "s3cr3t-t0k3n";

/// What the Secret of `north` holds, what its DRCluster says of it, and the reason.
struct Row {
    what: &'static str,
    secret: Given,
    reason: &'static str,
    says: Vec<&'static str>,
}

enum Given {
    Nothing,
    OtherKey,
    Kubeconfig(String),
}

fn row(
    what: &'static str,
    secret: impl Into<String>,
    reason: &'static str,
    says: &[&'static str],
) -> Row {
    Row {
        what,
        secret: Given::Kubeconfig(secret.into()),
        reason,
        says: says.to_vec(),
    }
}

fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
         clusters:\n- name: k\n  cluster: {{server: 'https://north.example.org', {cluster}}}\n\
         users:\n- name: u\n  user: {{token: {TOKEN}, {user}}}\n"
    )
}

/// Refused before anything is called.
fn refused() -> Vec<Row> {
    let r = "CredentialsRefused";
    let secret = "Secret cluster-north";
    let exec = "exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}";
    vec![
        Row {
            what: "missing",
            secret: Given::Nothing,
            reason: r,
            says: vec!["cluster-north does not exist", secret],
        },
        Row {
            what: "without its key",
            secret: Given::OtherKey,
            reason: r,
            says: vec!["has no key kubeconfig", secret],
        },
        row(
            "not YAML",
            format!("{{{TOKEN}"),
            r,
            &["not a kubeconfig in YAML", secret],
        ),
        row(
            "exec",
            kubeconfig("", exec),
            r,
            &["user u has an exec entry", "use a token"],
        ),
        row(
            "auth-provider",
            kubeconfig("", "auth-provider: {name: gcp, config: {}}"),
            r,
            &["user u has an auth-provider entry", "use a token"],
        ),
        row(
            "file",
            kubeconfig("", "client-key: /etc/key"),
            r,
            &[
                "client-key of user u names a file",
                "put the content itself",
            ],
        ),
        row(
            "insecure",
            kubeconfig("insecure-skip-tls-verify: true", ""),
            r,
            &["insecure-skip-tls-verify", "add certificate-authority-data"],
        ),
    ]
}

/// Puts the row's Secret in place of the one before.
async fn give(lab: &Lab, given: &Given) {
    let secrets: Api<Secret> = Api::namespaced(lab.hub_client(), SYSTEM_NAMESPACE);
    if let Given::Kubeconfig(text) = given {
        lab.world()
            .install(HUB, &cluster_objects("north", text))
            .unwrap();
        return;
    }
    drop(
        secrets
            .delete("cluster-north", &DeleteParams::default())
            .await,
    );
    lab.world()
        .install(HUB, &cluster_objects("north", ""))
        .unwrap();
    let done = match given {
        Given::Nothing => secrets
            .delete("cluster-north", &DeleteParams::default())
            .await
            .map(drop),
        Given::OtherKey | Given::Kubeconfig(_) => {
            let other = json!([
                {"op": "move", "from": format!("/data/{KUBECONFIG_KEY}"), "path": "/data/config"}
            ]);
            let other = Patch::Json::<()>(serde_json::from_value(other).unwrap());
            secrets
                .patch("cluster-north", &PatchParams::default(), &other)
                .await
                .map(drop)
        }
    };
    done.unwrap();
}

/// Waits until the DRCluster of `north` says so.
async fn until_said(lab: &Lab, row: &Row) {
    let api: Api<DRCluster> = Api::all(lab.hub_client());
    let what = format!(
        "{}: Reachable with {} that says {:?}",
        row.what, row.reason, row.says
    );
    let found = lab.poll(&what, Duration::from_secs(60), || async {
        let cluster = api.get("north").await.unwrap();
        let text = serde_json::to_string(&cluster).unwrap();
        assert!(!text.contains(TOKEN), "{text}");
        let found = cluster.status.as_ref();
        let found = found.and_then(|s| condition(&s.conditions, "Reachable"));
        Ok(found.is_some_and(|c| {
            c.status != "True"
                && c.reason == row.reason
                && row.says.iter().all(|w| c.message.contains(w))
        }))
    });
    if let Err(e) = found.await {
        let seen = api.get("north").await.unwrap().status;
        panic!(
            "{}\n{}",
            serde_json::to_string_pretty(&seen).unwrap(),
            e.full().lines().next().unwrap()
        );
    }
}

/// Each row in its turn; in the end the right kubeconfig, and all is well.
async fn try_all(lab: &Lab, rows: &[Row]) {
    let good = lab.kubeconfig_for_hub("north").unwrap();
    lab.place(lab.app(), "east").unwrap();
    for row in rows {
        give(lab, &row.secret).await;
        until_said(lab, row).await;
        let first = row.says.first().copied().unwrap_or_default();
        // One that answers is out of step for a minute before it counts as lost, be it only that it denies.
        let blocked = match row.reason {
            "CredentialsDenied" => "OutOfStep",
            _ => "ClusterUnreachable",
        };
        until_blocked(lab, row.what, blocked, &["north", first]).await;
        let placement = serde_json::to_string(&lab.placement()).unwrap();
        assert!(!placement.contains(TOKEN), "{}: {placement}", row.what);
        let moved = lab.neighbour_moves().await;
        moved.unwrap_or_else(|e| panic!("{}: {}", row.what, e.full()));
    }
    give(lab, &Given::Kubeconfig(good)).await;
    play(
        lab,
        "wait settled on east within 2m\nexpect workload only on east\nexpect lost 0",
    )
    .await;
}

#[test]
fn a_kubeconfig_that_must_not_be_followed_is_refused_by_name() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        let mut rows = refused();
        let west = lab.kubeconfig_for_hub("west").unwrap();
        let twin = ["the same cluster as west", "delete one of the two"];
        rows.push(row("registered twice", west, "DuplicateCluster", &twin));
        try_all(&lab, &rows).await;
    });
}

/// Two Secrets change places: what is done on one cluster in the name of the other would clean up the application.
#[test]
fn kubeconfigs_that_changed_places_are_not_followed() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        lab.place(lab.app(), "east").unwrap();
        play(&lab, "wait settled on east within 2m").await;
        let clusters: Api<DRCluster> = Api::all(lab.hub_client());
        let say = async |east: &str, west: &str| {
            let what = format!("east is {east}, west is {west}");
            let said = lab.poll(&what, Duration::from_secs(60), || async {
                let mut both = true;
                for (name, reason) in [("east", east), ("west", west)] {
                    let status = clusters.get(name).await.unwrap().status.unwrap();
                    let found = condition(&status.conditions, "Reachable");
                    both &= found.is_some_and(|c| c.reason == reason);
                }
                Ok(both)
            });
            said.await.unwrap_or_else(|e| panic!("{}", e.full()));
        };
        let give = |cluster: &str, from: &str| {
            let text = lab.kubeconfig_for_hub(from).unwrap();
            let objects = cluster_objects(cluster, &text);
            lab.world().install(HUB, &objects).unwrap();
        };
        say("Answers", "Answers").await;
        let before = lab.tap().writes();
        give("east", "west");
        give("west", "east");
        say("ClusterReplaced", "ClusterReplaced").await;
        let says = ["was registered with the cluster of uid"];
        until_blocked(&lab, "swapped", "SourceUnreachable", &says).await;
        play(
            &lab,
            "expect workload only on east\nexpect primary only on east",
        )
        .await;
        give("east", "east");
        say("Answers", "DuplicateCluster").await;
        give("west", "west");
        let written = lab.tap().written();
        let new = written.get(usize::try_from(before).unwrap()..).unwrap();
        let busy: Vec<&String> = new.iter().filter(|w| !w.ends_with("/status")).collect();
        assert!(busy.is_empty(), "{busy:?}");
        say("Answers", "Answers").await;
        play(
            &lab,
            "wait settled on east within 2m\nexpect epoch 1\nexpect lost 0\nexpect the neighbour moves",
        )
        .await;
    });
}

/// Wrong CA, unknown token, nobody there, nobody answers: seen only on the wire, in real time.
#[test]
fn a_kubeconfig_that_leads_nowhere_says_how() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let spec = LabSpec {
            transport: Transport::Https,
            clock: SimClock::system(),
            ..spec()
        };
        let lab = Lab::start(spec).await.unwrap();
        let good = lab.kubeconfig_for_hub("north").unwrap();
        let between = |from: &str| {
            let rest = good.split_once(from).unwrap().1;
            rest.split('"').next().unwrap().to_owned()
        };
        let server = between("server: \"");
        let address = server
            .strip_prefix("https://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let stranger = STANDARD.encode(Pki::new().unwrap().ca_pem());
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = silent.local_addr().unwrap().to_string();
        let there = [
            "check address and certificate authority",
            "Secret cluster-north",
        ];
        let rows = [
            row(
                "wrong CA",
                good.replace(&between("certificate-authority-data: \""), &stranger),
                "NotReachedYet",
                &["certificate", there[0], there[1]],
            ),
            row(
                "unknown token",
                good.replace(&between("token: \""), TOKEN),
                "CredentialsDenied",
                &["401", "renew the token", "Secret cluster-north"],
            ),
            row(
                "nobody there",
                good.replace(address, "127.0.0.1:1"),
                "NotReachedYet",
                &["refused", there[0], there[1]],
            ),
            row(
                "nobody answers",
                good.replace(address, &silent),
                "NotReachedYet",
                &["no answer", there[0], there[1]],
            ),
        ];
        try_all(&lab, &rows).await;
        expires(&lab).await;
    });
}

/// A token that was good runs out: the cluster is silent for this hub, and the application stays as it is.
async fn expires(lab: &Lab) {
    let there: Api<ServiceAccount> =
        Api::namespaced(lab.world().admin("north").unwrap(), SYSTEM_NAMESPACE);
    let ask = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = there
        .create_token_request("lifeboat-hub", &PostParams::default(), &ask)
        .await;
    let token = token.unwrap().status.unwrap().token;
    let good = lab.kubeconfig_for_hub("north").unwrap();
    let dated = good.replace("hub-at-north", &token);
    assert_ne!(good, dated);
    give(lab, &Given::Kubeconfig(dated)).await;
    play(lab, "wait condition PeerReady True within 60s").await;
    let clusters: Api<DRCluster> = Api::all(lab.hub_client());
    let fresh = lab.poll(
        "north is reached with the token",
        Duration::from_secs(60),
        || async {
            let north = clusters.get("north").await.unwrap().status.unwrap();
            Ok(condition(&north.conditions, "Reachable").is_some_and(|c| c.status == "True"))
        },
    );
    fresh.await.unwrap();
    there
        .delete("lifeboat-hub", &DeleteParams::default())
        .await
        .unwrap();
    let said = ["401", "renew the token", "Secret cluster-north"];
    until_said(lab, &row("expired token", "", "CredentialsDenied", &said)).await;
    lab.neighbour_moves().await.unwrap();
    play(
        lab,
        "wait settled on east within 60s\nexpect epoch 1\nexpect lost 0",
    )
    .await;
}
