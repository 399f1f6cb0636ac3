//! kube's Controller, finalizer and wait helpers run on it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::wait::await_condition;
use kube::runtime::{Controller, conditions, watcher};
use kube::{Api, Client, Resource as _, ResourceExt};
use serde_json::json;

use super::world::*;
use lifeboat_sim::until::until;

type Failure = finalizer::Error<kube::Error>;

async fn sail(client: Client, ship: Arc<Ship>) -> Result<Action, kube::Error> {
    let name = ship.name_any();
    let maps = config_maps(&client);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [ship.controller_owner_ref(&()).unwrap()]},
        "data": {"boats": ship.spec.boats.to_string()}});
    maps.patch(
        &name,
        &PatchParams::apply("captain").force(),
        &Patch::Apply(body),
    )
    .await?;
    let status = json!({"apiVersion": "sea.example.io/v1alpha1", "kind": "Ship", "metadata": {"name": name}, "status": {"phase": "Ready"}});
    let ships: Api<Ship> = Api::namespaced(client, "default");
    ships
        .patch_status(
            &name,
            &PatchParams::apply("captain").force(),
            &Patch::Apply(status),
        )
        .await?;
    Ok(Action::requeue(Duration::from_secs(300)))
}

async fn reconcile(ship: Arc<Ship>, client: Arc<Client>) -> Result<Action, Failure> {
    let ships: Api<Ship> = Api::namespaced((*client).clone(), "default");
    finalizer(&ships, "sea.example.io/anchor", ship, |event| async {
        match event {
            finalizer::Event::Apply(ship) => sail((*client).clone(), ship).await,
            finalizer::Event::Cleanup(_) => Ok(Action::await_change()),
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_controller_with_a_finalizer_owns_its_children() {
    let k = server().admin();
    let ships = with_ships(&k).await;
    let maps: Api<ConfigMap> = config_maps(&k);
    let controller = Controller::new(ships.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(50)),
            Arc::new(k),
        );
    let running = tokio::spawn(controller.for_each(|_| async {}));
    ships
        .create(&PostParams::default(), &ship("s"))
        .await
        .unwrap();
    let is_ready =
        |s: Option<&Ship>| s.and_then(|s| s.status.as_ref()?.phase.as_deref()) == Some("Ready");
    await_condition(ships.clone(), "s", is_ready).await.unwrap();
    maps.delete("s", &DeleteParams::default()).await.unwrap();
    until("the child is made again", async || {
        maps.get_opt("s").await.unwrap()
    })
    .await;
    let s = ships.get("s").await.unwrap();
    assert_eq!(s.finalizers(), ["sea.example.io/anchor"]);
    ships.delete("s", &DeleteParams::default()).await.unwrap();
    await_condition(ships, "s", conditions::is_deleted(&s.uid().unwrap()))
        .await
        .unwrap();
    assert!(
        maps.get_opt("s").await.unwrap().is_none(),
        "the child went with its owner"
    );
    running.abort();
}
