//! A hub that is built anew makes every DRPlacement with another uid: who it is, only a person can say.

use lifeboat_core::ids::Epoch;
use lifeboat_core::intent::{Identity, Life};
use lifeboat_core::journal::Journal;
use lifeboat_core::observed::{ClusterFacts, Mark, NamesakeFacts};
use lifeboat_core::plan::{Plan, plan};
use lifeboat_core::report::ConditionKind;
use lifeboat_core::testing::{Model, id};
use lifeboat_core::wait::{Blocker, Reason};

use crate::drive::{assert_rests, calm, protected};

/// The model's placement, made anew from Git on a hub that remembers nothing: what the clusters hold is another's.
struct Rebuilt {
    model: Model,
}

impl Rebuilt {
    fn new() -> Self {
        let mut model = protected();
        model.lose_hub();
        model.intent.uid = "2".into();
        model.intent.named = Some("2".into());
        Self { model }
    }

    /// A person says that it is the placement of that uid.
    fn named(mut self, uid: &str) -> Self {
        self.model.intent.identity = Identity::TakenOver;
        self.model.intent.uid = uid.into();
        self.model.intent.named = Some(uid.into());
        self
    }

    /// What is planned, as the hub sees it: marks and records of uid 1 are ours only under that identity.
    fn plan(&mut self) -> Plan {
        let mut observed = self.model.observe();
        if self.model.intent.uid != "1" {
            observed.archive.newest = None;
            for facts in observed.clusters.values_mut() {
                foreign(facts);
            }
        }
        let m = &self.model;
        plan(m.now, &m.policy, &m.intent, &observed, &m.journal)
    }

    fn blocked(&mut self) -> Blocker {
        let plan = self.plan();
        assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
        assert!(plan.again_after_ms.is_some());
        plan.report.blockers.first().cloned().unwrap()
    }
}

fn foreign(facts: &mut ClusterFacts) {
    facts.namesakes = facts.record.take().into_iter().map(namesake).collect();
    let other = || Mark::Other {
        placement: "shop/db".into(),
        uid: "1".into(),
    };
    for x in facts.volumes.values_mut() {
        x.claim.iter_mut().for_each(|c| c.mark = other());
        x.volume.iter_mut().for_each(|p| p.mark = other());
        x.replication.iter_mut().for_each(|r| r.mark = other());
    }
}

fn namesake(record: lifeboat_core::observed::RecordFacts) -> NamesakeFacts {
    NamesakeFacts {
        epoch: record.epoch,
        owner: record.owner,
        uid: "1".into(),
        placement: "shop/db".into(),
        record: "shop/db-1".into(),
    }
}

#[test]
fn a_record_of_an_earlier_placement_of_the_name_holds_the_first_decision_and_says_how_to_take_over()
{
    let b = Rebuilt::new().blocked();
    assert_eq!(b.reason, Reason::IdentityUnclear);
    for word in [
        "a holds the DROwnership shop/db-1",
        "uid 1",
        "owner a",
        "epoch 1",
    ] {
        assert!(b.message.contains(word), "{word}: {}", b.message);
    }
    assert!(
        b.remedy.contains("lifeboat.dev/identity: 1"),
        "{}",
        b.remedy
    );
}

#[test]
fn under_the_identity_that_a_person_names_it_goes_on_where_it_was() {
    let mut rebuilt = Rebuilt::new().named("1");
    calm(&mut rebuilt.model);
    assert_rests(&mut rebuilt.model, "a");
    let journal = &rebuilt.model.journal;
    assert_eq!(
        (journal.epoch, journal.identity.as_deref()),
        (Epoch(1), Some("1"))
    );
}

#[test]
fn a_name_that_nothing_bears_out_is_not_taken_over() {
    let mut rebuilt = Rebuilt::new().named("3");
    for site in rebuilt.model.sites.values_mut() {
        site.truth.record = None;
    }
    let b = rebuilt.blocked();
    assert_eq!(b.reason, Reason::IdentityUnclear);
    assert!(
        b.message
            .contains("no cluster holds a DROwnership of shop/db with the uid 3"),
        "{}",
        b.message
    );
}

#[test]
fn the_identity_of_a_placement_of_another_name_is_not_taken_over() {
    let mut rebuilt = Rebuilt::new().named("1");
    let mut observed = rebuilt.model.observe();
    let c = observed.clusters.get_mut(&id("c")).unwrap();
    c.namesakes.push(NamesakeFacts {
        epoch: Epoch(4),
        owner: id("c"),
        uid: "1".into(),
        placement: "shop/web".into(),
        record: "shop/web-1".into(),
    });
    let m = &rebuilt.model;
    let plan = plan(m.now, &m.policy, &m.intent, &observed, &m.journal);
    assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
    let said = &plan.report.blockers.first().unwrap().message;
    assert!(
        said.contains("1 is the identity of the placement shop/web, not of shop/db: c holds"),
        "{said}"
    );
}

#[test]
fn after_it_was_decided_on_another_identity_stops_everything_and_says_which_one_it_had() {
    let mut model = protected();
    assert_eq!(model.journal.identity.as_deref(), Some("1"));
    for life in [Life::Wanted, Life::Leaving] {
        model.intent.life = life;
        model.intent.named = Some("other".into());
        let plan = model.plan().1;
        assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
        let b = plan.report.blockers.first().unwrap();
        assert_eq!(b.reason, Reason::IdentityUnclear);
        assert!(
            b.remedy.contains("lifeboat.dev/identity: 1"),
            "{}",
            b.remedy
        );
    }
}

#[test]
fn a_placement_that_never_began_may_be_deleted_beside_the_records_of_an_earlier_one() {
    let mut rebuilt = Rebuilt::new();
    rebuilt.model.intent.life = Life::Leaving;
    let plan = rebuilt.plan();
    let steps: Vec<&str> = plan.steps.iter().map(lifeboat_core::Step::name).collect();
    assert_eq!(steps, ["Finish"]);
}

#[test]
fn captures_that_were_not_taken_over_do_not_go_with_the_placement() {
    let mut rebuilt = Rebuilt::new().named("1");
    rebuilt.model.intent.life = Life::Leaving;
    for site in rebuilt.model.sites.values_mut() {
        site.truth.record = None;
    }
    let plan = rebuilt.plan();
    assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
    let b = plan.report.blockers.first().unwrap();
    assert!(b.remedy.contains("remove the annotation"), "{}", b.remedy);
}

#[test]
fn a_claim_with_the_mark_of_an_earlier_placement_is_told_from_one_of_another() {
    let mut model = protected();
    let mut observed = model.observe();
    let said = |observed: &lifeboat_core::observed::Observed| {
        let plan = plan(
            model.now,
            &model.policy,
            &model.intent,
            observed,
            &Journal {
                ..model.journal.clone()
            },
        );
        let protected = plan
            .report
            .conditions
            .into_iter()
            .find(|c| c.kind == ConditionKind::Protected);
        let protected = protected.unwrap();
        assert_eq!(protected.reason, "ClaimedByOther");
        protected.message
    };
    let claim = |observed: &mut lifeboat_core::observed::Observed, name: &str| {
        let a = observed.clusters.get_mut(&id("a")).unwrap();
        let x = a.volumes.values_mut().next().unwrap();
        x.claim.as_mut().unwrap().mark = Mark::Other {
            placement: name.into(),
            uid: "9".into(),
        };
    };
    claim(&mut observed, "shop/web");
    assert!(said(&observed).contains("is protected by the placement shop/web"));
    claim(&mut observed, "shop/db");
    assert!(said(&observed).contains("an earlier DRPlacement shop/db with the uid 9"));
}

#[test]
fn a_record_that_was_copied_from_another_cluster_decides_nothing_and_is_written_anew() {
    let mut model = protected();
    let a = model.sites.get_mut(&id("a")).unwrap();
    a.truth.record.as_mut().unwrap().written_to = Some(id("c"));
    let mut forgetful = model.clone();
    forgetful.lose_hub();
    let plan = forgetful.plan().1;
    assert!(plan.steps.is_empty() && plan.journal.is_none(), "{plan:#?}");
    let b = plan.report.blockers.first().unwrap();
    assert_eq!(b.reason, Reason::OwnershipConflict);
    assert!(b.message.contains("on a was written to c"), "{}", b.message);
    // Who remembers writes its own over it.
    calm(&mut model);
    assert_rests(&mut model, "a");
    let a = model.sites.get_mut(&id("a")).unwrap();
    assert_eq!(a.truth.record.as_ref().unwrap().written_to, None);
}
