//! What runs: pods, and what makes them.

use serde_json::{Value, json};

use super::super::super::tree::{list_at, meta, number, text, text_at};
use super::cell::{AGE, Column, column, count, integer, or_none, pairs, wide};

pub(super) static PODS: [Column; 8] = [
    column("Ready", |o, _| {
        let all = list_at(o, "/spec/containers").len();
        let ready = list_at(o, "/status/containerStatuses")
            .iter()
            .filter(|c| c["ready"] == json!(true))
            .count();
        format!("{ready}/{all}").into()
    }),
    column("Status", |o, _| {
        if meta(o).get("deletionTimestamp").is_some() {
            return "Terminating".into();
        }
        let waiting = list_at(o, "/status/containerStatuses")
            .iter()
            .map(|c| text_at(c, "/state/waiting/reason"));
        let reason = waiting
            .into_iter()
            .find(|r| !r.is_empty())
            .unwrap_or_else(|| text_at(o, "/status/reason"));
        or_none(if reason.is_empty() {
            text_at(o, "/status/phase")
        } else {
            reason
        })
    }),
    column("Restarts", |o, _| {
        let counts = list_at(o, "/status/containerStatuses")
            .iter()
            .filter_map(|c| c["restartCount"].as_i64());
        counts.sum::<i64>().to_string().into()
    }),
    AGE,
    wide("IP", |o, _| or_none(text_at(o, "/status/podIP"))),
    wide("Node", |o, _| or_none(text_at(o, "/spec/nodeName"))),
    wide("Nominated Node", |o, _| {
        or_none(text_at(o, "/status/nominatedNodeName"))
    }),
    wide("Readiness Gates", |_, _| "<none>".into()),
];

pub(super) static DEPLOYMENTS: [Column; 7] = [
    column("Ready", |o, _| ready(o)),
    column("Up-to-date", |o, _| {
        count(o, "/status/updatedReplicas").into()
    }),
    column("Available", |o, _| {
        count(o, "/status/availableReplicas").into()
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static STATEFUL_SETS: [Column; 4] =
    [column("Ready", |o, _| ready(o)), AGE, CONTAINERS, IMAGES];

pub(super) static REPLICA_SETS: [Column; 7] = [
    integer("Desired", |o, _| count(o, "/spec/replicas").into()),
    integer("Current", |o, _| count(o, "/status/replicas").into()),
    integer("Ready", |o, _| count(o, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static SCALES: [Column; 3] = [
    integer("Desired", |o, _| count(o, "/spec/replicas").into()),
    integer("Available", |o, _| count(o, "/status/replicas").into()),
    AGE,
];

pub(super) static JOBS: [Column; 3] = [
    column("Status", |o, _| {
        let done = list_at(o, "/status/conditions")
            .iter()
            .find(|c| text(c, "status") == "True");
        done.map_or_else(|| "Running".into(), |c| text(c, "type").into())
    }),
    column("Completions", |o, _| {
        let wanted = o.pointer("/spec/completions").and_then(number).unwrap_or(1);
        format!("{}/{wanted}", count(o, "/status/succeeded")).into()
    }),
    AGE,
];

const CONTAINERS: Column = wide("Containers", |o, _| of_containers(o, "name"));
const IMAGES: Column = wide("Images", |o, _| of_containers(o, "image"));
const SELECTOR: Column = wide("Selector", |o, _| {
    pairs(o.pointer("/spec/selector/matchLabels")).into()
});

fn of_containers(o: &Value, key: &str) -> Value {
    let all = list_at(o, "/spec/template/spec/containers")
        .iter()
        .map(|c| text(c, key));
    all.collect::<Vec<_>>().join(",").into()
}

fn ready(o: &Value) -> Value {
    format!(
        "{}/{}",
        count(o, "/status/readyReplicas"),
        count(o, "/spec/replicas")
    )
    .into()
}
