//! What the tests share: a server, a small custom resource, and short ways to say things.

#![expect(
    unreachable_pub,
    reason = "shared among the modules of one test program"
)]

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, CustomResource, CustomResourceExt, KubeSchema};
use lifeboat_sim::apiserver::ApiServer;
use lifeboat_sim::clock::SimClock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A ship: something with rules, defaults, conditions and a scale.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sea.example.io",
    version = "v1alpha1",
    kind = "Ship",
    namespaced,
    status = "ShipStatus",
    shortname = "sh"
)]
#[kube(scale(
    spec_replicas_path = ".spec.boats",
    status_replicas_path = ".status.boats"
))]
#[kube(printcolumn = r#"{"name":"Port","type":"string","jsonPath":".spec.home"}"#)]
#[kube(
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#
)]
#[kube(printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#)]
#[x_kube(validation = Rule::new("self.home != self.away").message("home and away must differ"))]
#[serde(rename_all = "camelCase")]
pub struct ShipSpec {
    /// Where it comes from.
    #[x_kube(validation = Rule::new("self == oldSelf").message("home is immutable"))]
    pub home: String,
    /// Where it goes.
    pub away: String,
    /// How many lifeboats it has.
    #[schemars(range(min = 0, max = 20))]
    #[serde(default = "two")]
    pub boats: u32,
}

fn two() -> u32 {
    2
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, JsonSchema, PartialEq)]
pub struct ShipStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ShipCondition>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, JsonSchema, PartialEq)]
pub struct ShipCondition {
    pub r#type: String,
    pub status: String,
}

/// The time at which the tests' worlds begin.
pub const START: &str = "2026-03-01T00:00:00Z";

pub fn server() -> Arc<ApiServer> {
    ApiServer::new("east", SimClock::at(START.parse().unwrap()))
}

pub async fn with_ships(client: &Client) -> Api<Ship> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &Ship::crd())
        .await
        .unwrap();
    Api::namespaced(client.clone(), "default")
}

pub fn ship(name: &str) -> Ship {
    Ship::new(
        name,
        ShipSpec {
            home: "a".into(),
            away: "b".into(),
            boats: 2,
        },
    )
}

pub fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

pub fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

/// What the API answered, when it was a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(s)) => (s.code, s.reason.clone(), s.message.clone()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Applies a config map's data as `manager`.
pub async fn apply_data(
    api: &Api<ConfigMap>,
    manager: &str,
    data: Value,
) -> Result<ConfigMap, kube::Error> {
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
    api.patch("c", &PatchParams::apply(manager), &Patch::Apply(body))
        .await
}
