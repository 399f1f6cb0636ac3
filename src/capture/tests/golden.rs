//! Objects in, objects out, one file per style of driver.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use lifeboat_capture::{
    Mapping, Marks, export_supporting, export_volume, export_workload, import_pv, import_pvc,
    import_supporting, import_workload,
};
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn mapping(case: &Value) -> Mapping {
    let mut mapping: Mapping = case.get("mapping").map_or_else(Mapping::default, |m| {
        serde_json::from_value(m.clone()).unwrap()
    });
    for class in case["storageClasses"].as_array().into_iter().flatten() {
        mapping.learn(class);
    }
    mapping
}

fn marks() -> Marks {
    Marks {
        placement: "ops/shop".to_owned(),
        placement_uid: "uid-1".to_owned(),
        epoch: 7,
    }
}

fn same(what: &str, got: &Value, want: &Value) {
    let show = |v: &Value| serde_json::to_string_pretty(v).unwrap();
    assert_eq!(
        got,
        want,
        "{what}: got\n{}\nwant\n{}",
        show(got),
        show(want)
    );
}

fn volume(name: &str) {
    let case = golden(name);
    let mut record = export_volume(&case["pvc"], &case["pv"]).unwrap();
    record.destination_handle = case["destinationHandle"].as_str().map(str::to_owned);
    let mapping = mapping(&case);
    same(
        name,
        &import_pvc(&record, &mapping, &marks()),
        &case["want"]["pvc"],
    );
    same(
        name,
        &import_pv(&record, &mapping, &marks()),
        &case["want"]["pv"],
    );
}

#[test]
fn rbd_volume_points_at_the_targets_storage_cluster() {
    volume("rbd");
}

#[test]
fn zonal_volume_leaves_its_zone_and_takes_the_replicas_handle() {
    volume("ebs");
}

#[test]
fn volume_without_a_class_stays_as_it_is() {
    volume("sim");
}

#[test]
fn workloads_start_with_the_replicas_they_ran_with() {
    let case = golden("workloads");
    let mapping = mapping(&case);
    for pair in case["workloads"].as_array().unwrap() {
        let record = export_workload(&pair["in"]).unwrap();
        same(
            "workload",
            &import_workload(&record, &mapping, &marks(), None),
            &pair["want"],
        );
    }
}

#[test]
fn workloads_can_be_made_without_running() {
    let case = golden("workloads");
    let made: Vec<Value> = case["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            import_workload(
                &export_workload(&pair["in"]).unwrap(),
                &Mapping::default(),
                &marks(),
                Some(0),
            )
        })
        .collect();
    assert_eq!(made[0]["spec"]["replicas"], 0);
    assert_eq!(made[1]["spec"]["replicas"], 0);
}

#[test]
fn supporting_objects_lose_what_the_source_gave_out() {
    let case = golden("workloads");
    let mapping = mapping(&case);
    for pair in case["supporting"].as_array().unwrap() {
        let exported = export_supporting(&pair["in"]).unwrap();
        same(
            "supporting",
            &import_supporting(&exported, &mapping, &marks()),
            &pair["want"],
        );
    }
}
