//! `kubectl explain` prints what a field's doc comment says: nothing on the way to the CRD takes it off.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use lifeboat_api::{cluster, fence, group, ownership, placement, policy, replication};
use schemars::schema_for;
use serde_json::Value;

/// A kind, with what schemars makes of its spec and its status by itself.
fn kinds() -> Vec<(CustomResourceDefinition, [Value; 2])> {
    macro_rules! kinds {
        ($($module:ident $kind:ident $spec:ident $status:ident,)*) => {
            vec![$((
                $module::$kind::crd(),
                [schema_for!($module::$spec).to_value(), schema_for!($module::$status).to_value()],
            ),)*]
        };
    }
    kinds![
        cluster DRCluster DRClusterSpec DRClusterStatus,
        policy DRPolicy DRPolicySpec DRPolicyStatus,
        placement DRPlacement DRPlacementSpec DRPlacementStatus,
        ownership DROwnership DROwnershipSpec DROwnershipStatus,
        replication VolumeReplication VolumeReplicationSpec VolumeReplicationStatus,
        group VolumeGroupReplication VolumeGroupReplicationSpec VolumeGroupReplicationStatus,
        group VolumeGroupReplicationContent VolumeGroupReplicationContentSpec VolumeGroupReplicationContentStatus,
        fence NetworkFence NetworkFenceSpec NetworkFenceStatus,
    ]
}

/// Walks a type's schema beside that of the CRD, and names each field whose own words are not in the latter.
fn lost(own: &Value, defs: &Value, crd: &Value, path: &str, found: &mut Vec<String>) -> usize {
    let mut seen = 0;
    // An optional object or enum is one of two; a type of its own is kept beside.
    let parts = [own.pointer("/anyOf/0"), Some(own)].into_iter().flatten();
    for part in parts {
        let named = part.get("$ref").and_then(Value::as_str);
        let definition = named.and_then(|r| defs.get(r.trim_start_matches("#/$defs/")));
        let part = definition.unwrap_or(part);
        for (name, field) in part
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let path = format!("{path}.{name}");
            let there = &crd["properties"][name];
            let words = field.get("description");
            if words.is_none() || words != there.get("description") {
                found.push(format!(
                    "{path}: {words:?} became {:?}",
                    there.get("description")
                ));
            }
            seen += 1 + lost(field, defs, there, &path, found);
        }
        if let Some(items) = part.get("items") {
            seen += lost(items, defs, &crd["items"], path, found);
        }
    }
    seen
}

#[test]
fn every_field_explains_itself_in_its_own_words() {
    let (mut found, mut seen) = (Vec::new(), 0);
    for (crd, own) in kinds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        for (part, own) in ["spec", "status"].into_iter().zip(own) {
            let there = &schema["openAPIV3Schema"]["properties"][part];
            let path = format!("{}.{part}", crd.spec.names.kind);
            seen += lost(&own, &own["$defs"], there, &path, &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
    assert!(seen > 100, "only {seen} fields were looked at");
}

#[test]
fn what_moves_an_application_explains_both_ways_to_move() {
    let crd = serde_json::to_value(placement::DRPlacement::crd()).unwrap();
    let action = crd.pointer(
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/action/description",
    );
    let words = action.and_then(Value::as_str).unwrap_or_default();
    assert!(
        words.contains("Relocate (unless said otherwise)"),
        "{words}"
    );
    assert!(words.contains("Failover accepts the loss"), "{words}");
}
