//! The control planes the other tests stand on behave as a cluster does: every rule Lifeboat relies on, once.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use lifeboat_e2e::{
    ControlPlane, Link, Node, Part, Tool, client,
    objects::{self, apply, bound, namespace},
    tool, wait,
};
use serde_json::{Value, json};

/// Tests that neither freeze nor kill it share one.
const SHARED: &str = "shared";

#[tokio::test]
async fn cel_rules_of_a_crd_refuse_a_bad_object_and_a_bad_change() -> Result<()> {
    let client = ControlPlane::shared(SHARED).await?.client().await?;
    let boats = boats(&client, "cel").await?;
    apply(&boats, "b", "test", boat(2, "anna")).await?;
    refused(
        apply(&boats, "c", "test", boat(0, "anna")).await,
        422,
        "a boat has seats",
    )?;
    refused(
        apply(&boats, "b", "test", boat(2, "bella")).await,
        422,
        "name is immutable",
    )
}

#[tokio::test]
async fn server_side_apply_names_a_conflict_and_force_takes_the_field() -> Result<()> {
    let client = ControlPlane::shared(SHARED).await?.client().await?;
    let boats = boats(&client, "conflict").await?;
    apply(&boats, "b", "ours", boat(2, "anna")).await?;
    let other = |force| PatchParams {
        force,
        ..PatchParams::apply("theirs")
    };
    let body = Patch::Apply(with_name(
        "b",
        json!({"apiVersion": "e2e.lifeboat.dev/v1", "kind": "Boat", "spec": {"seats": 5}}),
    ));
    refused(
        boats.patch("b", &other(false), &body).await,
        409,
        "conflict with \"ours\"",
    )?;
    let taken = boats.patch("b", &other(true), &body).await?;
    ensure!(taken.data["spec"]["seats"] == 5, "{:?}", taken.data);
    Ok(())
}

#[tokio::test]
async fn a_claim_and_a_volume_that_name_each_other_are_bound() -> Result<()> {
    let client = ControlPlane::shared(SHARED).await?.client().await?;
    let ns = "prebound";
    namespace(&client, ns).await?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), ns);
    apply(
        &Api::<PersistentVolume>::all(client.clone()),
        "prebound",
        "test",
        volume("prebound", ns, "data"),
    )
    .await?;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "rbd", "volumeName": "prebound",
        "resources": {"requests": {"storage": "1Gi"}}});
    apply(
        &claims,
        "data",
        "test",
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}),
    )
    .await?;
    bound(&claims, "data").await?;
    wait::until_some(
        &Api::<PersistentVolume>::all(client),
        "prebound",
        "the volume is Bound",
        |v| v.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound"),
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn a_stateful_set_runs_on_the_fake_node_and_stops_when_the_test_lets_it() -> Result<()> {
    let plane = ControlPlane::start("node").await?;
    let client = plane.client().await?;
    let ns = "shop";
    namespace(&client, ns).await?;
    let node = Node::start(client.clone(), "n1").await?;
    let pods = Api::<Pod>::namespaced(client.clone(), ns);
    let sets = Api::<StatefulSet>::namespaced(client.clone(), ns);
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), ns);

    apply(&sets, "db", "test", stateful_set()).await?;
    let waiting = wait::until_some(&pods, "db-0", "the pod is made", |_| true).await?;
    ensure!(
        waiting.spec.is_some_and(|s| s.node_name.is_none()),
        "placed before its claim is Bound"
    );
    apply(
        &Api::<PersistentVolume>::all(client.clone()),
        "db-data",
        "test",
        volume("db-data", ns, "data-db-0"),
    )
    .await?;
    bound(&claims, "data-db-0").await?;
    let first = wait::until_some(&pods, "db-0", "the pod runs", is_running).await?;
    wait::until_some(&sets, "db", "the set is ready", |s| {
        s.status
            .as_ref()
            .is_some_and(|s| s.ready_replicas == Some(1))
    })
    .await?;
    attached(&client, 1).await?;

    node.refuse_to_stop(ns, "db-0");
    let scaled = Patch::Merge(json!({"spec": {"replicas": 0}}));
    sets.patch("db", &PatchParams::default(), &scaled).await?;
    let held = wait::until_some(&pods, "db-0", "the pod is being deleted", |p| {
        p.metadata.deletion_timestamp.is_some()
    })
    .await?;
    ensure!(held.uid() == first.uid(), "another pod");
    attached(&client, 1).await?;
    node.let_stop(ns, "db-0");
    wait::until_gone(&pods, "db-0").await?;
    attached(&client, 0).await
}

#[tokio::test]
async fn a_frozen_control_plane_is_silence_and_goes_on_after_the_thaw() -> Result<()> {
    let plane = ControlPlane::start("frozen").await?;
    let client = plane.client().await?;
    let ask = || Api::<Namespace>::all(client.clone());
    ask().get("default").await?;

    plane.freeze().await?;
    let silence = tokio::time::timeout(Duration::from_secs(2), ask().get("default")).await;
    ensure!(silence.is_err(), "answered while frozen: {silence:?}");

    plane.thaw().await?;
    wait::until_answer("it answers again", || async {
        Ok(Some(ask().get("default").await?))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_control_plane_starts_again_with_its_objects() -> Result<()> {
    let plane = ControlPlane::start("killed").await?;
    let client = plane.client().await?;
    let api = Api::<Namespace>::all(client.clone());
    let before = api.get("default").await?;

    plane.kill(Part::ApiServer).await?;
    ensure!(api.get("default").await.is_err(), "answered while dead");
    plane.kill(Part::All).await?;
    plane.start_again().await?;
    let after = wait::until_answer("it answers again", || async {
        Ok(Some(api.get("default").await?))
    })
    .await?;
    ensure!(after.uid() == before.uid(), "another namespace");
    Ok(())
}

#[tokio::test]
async fn a_cut_link_hits_only_those_who_use_it() -> Result<()> {
    let plane = ControlPlane::shared(SHARED).await?;
    let (link, through) = Link::through(&plane.kubeconfig()).await?;
    let far = client(&through).await?;
    let namespaces = Api::<Namespace>::all(far.clone());
    namespaces.get("default").await?;

    link.silence();
    let silence = tokio::time::timeout(Duration::from_secs(1), namespaces.get("default")).await;
    ensure!(silence.is_err(), "answered through a silent link");
    link.cut();
    let cut = tokio::time::timeout(Duration::from_secs(20), namespaces.get("default")).await?;
    ensure!(cut.is_err(), "answered through a cut link");
    Api::<Namespace>::all(plane.client().await?)
        .get("default")
        .await?;

    link.heal();
    wait::until_answer("the link carries again", || async {
        Ok(Some(namespaces.get("default").await?))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn another_identity_may_do_only_what_rbac_says() -> Result<()> {
    let plane = ControlPlane::shared(SHARED).await?;
    let jane = client(&plane.user("jane", &["devs"]).await?).await?;
    let asked = Api::<Namespace>::all(jane).get("default").await;
    refused(asked, 403, "\"jane\" cannot get resource")
}

#[tokio::test]
async fn kubectl_of_an_older_version_works_on_it() -> Result<()> {
    let plane = ControlPlane::shared(SHARED).await?;
    let kubectl = tool(Tool::Kubectl).await?;
    let mut command = tokio::process::Command::new(kubectl);
    let out = command
        .arg("version")
        .env("KUBECONFIG", plane.kubeconfig_path())
        .output()
        .await?;
    let said = String::from_utf8(out.stdout)?;
    ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    ensure!(
        said.contains("Client Version: v1.32.") && said.contains("Server Version: v1.33."),
        "{said}"
    );
    Ok(())
}

/// The API of a kind with CEL rules, in a namespace of its own.
async fn boats(client: &Client, ns: &str) -> Result<Api<DynamicObject>> {
    let rules = json!([{"rule": "self.seats > 0", "message": "a boat has seats"},
        {"rule": "!has(oldSelf.name) || self.name == oldSelf.name", "message": "name is immutable"}]);
    let spec = json!({"type": "object", "properties": {"seats": {"type": "integer"}, "name": {"type": "string"}},
        "x-kubernetes-validations": rules});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let definition = json!({
        "metadata": {"name": "boats.e2e.lifeboat.dev"},
        "spec": {
            "group": "e2e.lifeboat.dev",
            "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]
        }
    });
    objects::install(client, &[serde_json::from_value(definition)?]).await?;
    objects::namespace(client, ns).await?;
    let kind = GroupVersionKind::gvk("e2e.lifeboat.dev", "v1", "Boat");
    let kind = ApiResource::from_gvk(&kind);
    Ok(Api::namespaced_with(client.clone(), ns, &kind))
}

fn boat(seats: i64, name: &str) -> Value {
    json!({"apiVersion": "e2e.lifeboat.dev/v1", "kind": "Boat", "spec": {"seats": seats, "name": name}})
}

fn volume(name: &str, ns: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "rbd",
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "rbd.csi.ceph.com", "volumeHandle": name},
        "claimRef": {"namespace": ns, "name": claim}}})
}

fn stateful_set() -> Value {
    let container =
        json!({"name": "c", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/d"}]});
    let claim = json!({"storageClassName": "rbd", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {
        "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}})
}

async fn attached(client: &Client, count: usize) -> Result<()> {
    let api = Api::<VolumeAttachment>::all(client.clone());
    let is = |list: &[VolumeAttachment]| {
        list.iter()
            .filter(|a| a.status.as_ref().is_some_and(|s| s.attached))
            .count()
            == count
    };
    wait::until_list(&api, &format!("{count} volumes are attached"), is)
        .await
        .map(drop)
}

fn is_running(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|s| s.phase.as_deref() == Some("Running"))
}

/// An apply without the name in its body is refused.
fn with_name(name: &str, mut body: Value) -> Value {
    body["metadata"] = json!({"name": name});
    body
}

fn refused<T: std::fmt::Debug>(answer: kube::Result<T>, code: u16, text: &str) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == code && status.message.contains(text) => {
            Ok(())
        }
        other => bail!("wanted a refusal ({code}, {text}), got {other:?}"),
    }
}
