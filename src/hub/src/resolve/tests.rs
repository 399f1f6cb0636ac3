//! What a placement and its policy resolve to, and what is refused.

use super::*;
use serde_json::json;

fn placement() -> DRPlacement {
    let body = json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPlacement",
        "metadata": {"namespace": "shop", "name": "db", "uid": "0123456789"},
        "spec": {"policyRef": {"name": "gold"}, "preferredCluster": "dr1"}});
    serde_json::from_value(body).unwrap()
}

fn policy(extra: &serde_json::Value) -> impl Fn(&str) -> Option<Arc<DRPolicy>> {
    let mut body = json!({"apiVersion": "lifeboat.dev/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "gold"},
        "spec": {"clusters": ["dr1", "dr2"], "classes": [{"storageClassName": "rbd", "volumeReplicationClassName": "v"}]}});
    lifeboat_kit::apply::merge(&mut body, json!({"spec": extra.clone()}));
    let policy: Arc<DRPolicy> = Arc::new(serde_json::from_value(body).unwrap());
    move |name| (name == "gold").then(|| policy.clone())
}

#[test]
fn defaults_are_filled_in() {
    let resolved = resolve(&placement(), policy(&json!({})), &Journal::default()).unwrap();
    assert_eq!(resolved.policy.rpo_seconds, 300);
    assert_eq!(resolved.scope.namespaces, ["shop"]);
    assert_eq!(resolved.scope.ownership, "db-01234567");
    assert_eq!(resolved.intent.placement, "shop/db");
}

#[test]
fn names_are_mapped_both_ways() {
    let rules = json!({"namespaceMapping": [{"cluster": "dr2", "from": "shop", "to": "shop-dr"}],
        "storageClassMapping": [{"cluster": "dr2", "from": "rbd", "to": "rbd-b"}]});
    let scope = resolve(&placement(), policy(&rules), &Journal::default())
        .unwrap()
        .scope;
    let (dr1, dr2) = (ClusterId::new("dr1"), ClusterId::new("dr2"));
    assert_eq!(scope.namespace_on(&dr2, "shop"), "shop-dr");
    assert_eq!(scope.namespace_on(&dr1, "shop"), "shop");
    assert_eq!(
        scope.home_namespace(&dr2, "shop-dr").as_deref(),
        Some("shop")
    );
    assert_eq!(scope.home_namespace(&dr2, "shop"), None);
    assert_eq!(
        scope.home_storage_class(&dr2, "rbd-b").as_deref(),
        Some("rbd")
    );
    assert_eq!(
        scope.home_storage_class(&dr2, "other").as_deref(),
        Some("other")
    );
}

#[test]
fn a_failover_cluster_that_stayed_in_the_spec_asks_for_nothing() {
    let asked = |fields: serde_json::Value| {
        let mut p = serde_json::to_value(placement()).unwrap();
        lifeboat_kit::apply::merge(&mut p, json!({ "spec": fields }));
        let p: DRPlacement = serde_json::from_value(p).unwrap();
        let resolved = resolve(&p, policy(&json!({})), &Journal::default()).unwrap();
        resolved.intent.request
    };
    let failover = asked(json!({"action": "Failover", "failoverCluster": "dr2"}));
    let back = asked(json!({"action": "Relocate", "failoverCluster": "dr2"}));
    assert_ne!(failover, back, "going home is a new request");
    let tidied = asked(json!({"action": "Relocate"}));
    assert_eq!(
        back, tidied,
        "and taking the left-over field out is not another"
    );
    assert_eq!(back.fingerprint(), tidied.fingerprint());
    // Nor does it have to be a cluster of the policy.
    asked(json!({"action": "Relocate", "failoverCluster": "gone"}));
}

#[test]
fn what_cannot_be_followed_is_named() {
    let reason = |p: &DRPlacement, extra, journal: &Journal| {
        resolve(p, policy(&extra), journal)
            .map_err(|e| e.reason)
            .err()
    };
    let fresh = Journal::default();
    let mut p = placement();
    p.spec.policy_ref.name = "none".into();
    assert_eq!(reason(&p, json!({}), &fresh), Some("PolicyMissing"));
    let mut p = placement();
    p.spec.preferred_cluster = "dr3".into();
    assert_eq!(reason(&p, json!({}), &fresh), Some("ClusterNotInPolicy"));
    let running = Journal {
        phase: Phase::Steady,
        owner: Some(ClusterId::new("dr4")),
        ..Journal::default()
    };
    let resolved = resolve(&p, policy(&json!({})), &running).unwrap();
    assert_eq!(resolved.scope.clusters.last(), Some(&ClusterId::new("dr4")));
    assert_eq!(
        reason(&placement(), json!({"rpo": "soon"}), &fresh),
        Some("BadDuration")
    );
    let salvage = |retention: &str| json!({"failover": {"salvage": {"retention": retention}}});
    let bad = salvage("a week");
    assert_eq!(reason(&placement(), bad, &fresh), Some("BadDuration"));
    let good = resolve(&placement(), policy(&salvage("168h")), &fresh).unwrap();
    assert_eq!(good.policy.salvage_seconds, Some(604_800));
    let twice = json!({"namespaceMapping": [{"cluster": "dr2", "from": "a", "to": "b"}, {"cluster": "dr2", "from": "c", "to": "b"}]});
    assert_eq!(
        reason(&placement(), twice, &fresh),
        Some("AmbiguousMapping")
    );
}

#[test]
fn a_risk_is_accepted_by_name_only() {
    let accepted = |p: &DRPlacement| {
        let resolved = resolve(p, policy(&json!({})), &Journal::default()).unwrap();
        resolved.intent.accepted
    };
    let mut p = placement();
    assert_eq!(accepted(&p), BTreeSet::new());
    p.spec.accept_risks = vec![AcceptedRisk::UnverifiedCopy];
    assert_eq!(accepted(&p), BTreeSet::from([Risk::UnverifiedCopy]));
}

#[test]
fn durations_are_rounded_up() {
    let all = ["1h30m", "500ms", "90s", "", "5", "5d"].map(seconds);
    assert_eq!(all, [Some(5400), Some(1), Some(90), None, None, None]);
}

fn taken_over(identity: &str) -> DRPlacement {
    let mut p = placement();
    let annotations = p.metadata.annotations.get_or_insert_default();
    annotations.insert(names::IDENTITY.to_owned(), identity.to_owned());
    p
}

/// Identity in use, identity named, and whether the two are of one DRPlacement.
fn known_by(p: &DRPlacement, journal: &Journal) -> (String, Option<String>, Identity) {
    let r = resolve(p, policy(&json!({})), journal).unwrap();
    assert_eq!(
        (&r.scope.uid, r.scope.own_uid.as_str()),
        (&r.intent.uid, "0123456789")
    );
    (r.intent.uid, r.intent.named, r.intent.identity)
}

#[test]
fn an_identity_that_is_taken_over_names_marks_and_records() {
    let before = "earlier0-1111";
    let p = taken_over(before);
    let named = Some(before.to_owned());
    assert_eq!(
        known_by(&p, &Journal::default()),
        (before.to_owned(), named, Identity::TakenOver)
    );
    let scope = resolve(&p, policy(&json!({})), &Journal::default())
        .unwrap()
        .scope;
    assert_eq!(scope.ownership, names::ownership_name("db", before));
}

#[test]
fn once_decided_on_the_identity_stays_whatever_the_annotation_says() {
    let decided = |identity: Option<&str>| Journal {
        owner: Some(ClusterId::new("dr1")),
        identity: identity.map(str::to_owned),
        ..Journal::default()
    };
    let own = || "0123456789".to_owned();
    // Removed, and set too late.
    let (uid, named, _) = known_by(&placement(), &decided(Some("earlier0")));
    assert_eq!((uid, named), ("earlier0".to_owned(), Some(own())));
    let (uid, named, _) = known_by(&taken_over("earlier0"), &decided(None));
    assert_eq!((uid, named), (own(), Some("earlier0".to_owned())));
}

#[test]
fn what_is_no_uid_is_no_identity() {
    for bad in [
        "",
        "short",
        "a/b/c/d/e/f",
        "-starts-bad",
        "ends-badly-",
        &"x".repeat(64),
    ] {
        let refused = resolve(&taken_over(bad), policy(&json!({})), &Journal::default());
        assert_eq!(
            refused.err().map(|e| e.reason),
            Some("BadIdentity"),
            "{bad}"
        );
    }
}

#[test]
fn whatever_a_placement_ever_reached_is_looked_at_while_it_lasts() {
    let journal = Journal {
        owner: Some(ClusterId::new("dr2")),
        phase: Phase::Removing,
        reached: ["dr0", "dr1"].map(ClusterId::new).into(),
        ..Journal::default()
    };
    let resolved = resolve(&placement(), policy(&json!({})), &journal).unwrap();
    let all = ["dr1", "dr2", "dr0"].map(ClusterId::new);
    assert_eq!(resolved.scope.clusters, all);
    assert_eq!(resolved.policy.clusters, all[..2]);
}
