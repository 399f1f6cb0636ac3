//! Two placements that want the same claims.

use super::*;
use crate::support::paused;

#[test]
fn a_claim_of_another_placement_is_left_to_it() {
    paused(async {
        let lab = Lab::start(spec()).await.unwrap();
        lab.place(lab.app(), "east").unwrap();
        play(&lab, "wait settled on east within 2m").await;
        let mut rival = serde_json::to_value(lab.placement().unwrap()).unwrap();
        rival["metadata"] = json!({"name": "rival", "namespace": "shop"});
        rival["status"].take();
        let rival = json!({"apiVersion": rival["apiVersion"], "kind": rival["kind"],
            "metadata": rival["metadata"], "spec": rival["spec"]});
        put(&lab, &rival);
        let key = Key {
            namespace: "shop".to_owned(),
            name: "rival".to_owned(),
        };
        let says = ["shop-data-0", "protected by the placement shop/shop"];
        let held = || {
            lab.book()
                .get(&key)
                .filter(|p| blocked(p, "ClaimedByOther", &says))
        };
        let held = lab
            .wait("the rival is told", Duration::from_secs(60), held)
            .await;
        held.unwrap_or_else(|e| panic!("{}", e.full()));
        lab.neighbour_moves().await.unwrap();

        // Neither its moves nor its end touch what belongs to the other.
        let api: Api<DRPlacement> = Api::namespaced(lab.hub_client(), "shop");
        let west = Patch::Merge(json!({"spec": {"preferredCluster": "west"}}));
        api.patch("rival", &PatchParams::default(), &west)
            .await
            .unwrap();
        play(
            &lab,
            "expect stays 30s\nexpect primary only on east\nexpect workload only on east",
        )
        .await;
        api.delete("rival", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        let gone = || lab.book().get(&key).is_none().then_some(());
        lab.wait("the rival is gone", Duration::from_secs(60), gone)
            .await
            .unwrap();
        play(
            &lab,
            "relocate to west\nwait settled on west within 2m\nexpect lost 0",
        )
        .await;
    });
}
