//! cluster add, list and remove, with a hub and a cluster.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::config::Kubeconfig;
use lifeboat_api::{DRCluster, names};

use super::world::World;

async fn add(world: &World, more: &[&str]) -> super::world::Ended {
    let args = [
        "cluster",
        "add",
        "east",
        "--context",
        "east",
        "--token-wait",
        "300ms",
    ];
    world.run(&[&args, more].concat()).await
}

async fn kubeconfig(world: &World) -> Kubeconfig {
    let secrets: Api<Secret> = Api::namespaced(world.hub(), names::SYSTEM_NAMESPACE);
    let data = secrets.get("cluster-east").await.unwrap().data.unwrap();
    Kubeconfig::from_yaml(std::str::from_utf8(&data[names::KUBECONFIG_KEY].0).unwrap()).unwrap()
}

#[tokio::test]
async fn add_prepares_the_cluster_and_registers_it() {
    let world = World::new(&["east"]).await;
    let ended = add(&world, &["--region", "r1"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);

    let member = world.servers["east"].admin();
    let accounts: Api<ServiceAccount> = Api::namespaced(member.clone(), names::SYSTEM_NAMESPACE);
    accounts.get(names::HUB_MANAGER).await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(member);
    crds.get("drownerships.lifeboat.dev").await.unwrap();
    crds.get("volumereplications.replication.storage.openshift.io")
        .await
        .unwrap();

    let cluster: DRCluster = Api::all(world.hub()).get("east").await.unwrap();
    assert_eq!(cluster.spec.kubeconfig_secret_ref.name, "cluster-east");
    assert_eq!(cluster.spec.region.as_deref(), Some("r1"));
    let made = kubeconfig(&world).await;
    let server = made.clusters[0].cluster.clone().unwrap().server.unwrap();
    assert_eq!(server, world.served.url("east"));
    let user = serde_json::to_value(&made.auth_infos[0]).unwrap();
    let token = user["user"]["token"].as_str().unwrap();
    let who = world.servers["east"].authenticate(token).unwrap();
    assert_eq!(
        who.user,
        "system:serviceaccount:lifeboat-system:lifeboat-hub"
    );

    // Again, to renew the credentials: what is not said stays.
    assert_eq!(add(&world, &[]).await.code, 0);
    let cluster: DRCluster = Api::all(world.hub()).get("east").await.unwrap();
    assert_eq!(cluster.spec.region.as_deref(), Some("r1"));
    let listed = world.run(&["cluster", "list"]).await;
    assert!(
        listed.out.contains("east     Unknown  r1"),
        "{}",
        listed.out
    );
}

#[tokio::test]
async fn kinds_from_elsewhere_are_left_alone() {
    let world = World::new(&["east"]).await;
    for crd in lifeboat_api::replication::crds() {
        world.servers["east"]
            .apply_yaml(&serde_json::to_string(&crd).unwrap())
            .unwrap();
    }
    let ended = add(&world, &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.err.contains(
            "volumereplications.replication.storage.openshift.io is there, from elsewhere"
        ),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_name_is_not_given_to_another_cluster_by_mistake() {
    let world = World::new(&["east", "west"]).await;
    assert_eq!(add(&world, &[]).await.code, 0);
    let clusters: Api<DRCluster> = Api::all(world.hub());
    let seen =
        kube::api::Patch::Merge(serde_json::json!({"status": {"clusterUID": "somebody-else"}}));
    clusters
        .patch_status("east", &kube::api::PatchParams::default(), &seen)
        .await
        .unwrap();
    let ended = add(&world, &[]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("another cluster by now"),
        "{}",
        ended.err
    );
    assert_eq!(add(&world, &["--force"]).await.code, 0);
}

#[tokio::test]
async fn a_cluster_that_a_policy_names_is_not_removed() {
    let world = World::with_placement().await;
    assert_eq!(add(&world, &[]).await.code, 0);
    let refused = world.run(&["cluster", "remove", "east"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("named by policy gold"),
        "{}",
        refused.err
    );
    let clusters: Api<DRCluster> = Api::all(world.hub());
    assert!(clusters.get_opt("east").await.unwrap().is_some());
    let removed = world.run(&["cluster", "remove", "east", "--force"]).await;
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert!(clusters.get_opt("east").await.unwrap().is_none());
    let secrets: Api<Secret> = Api::namespaced(world.hub(), names::SYSTEM_NAMESPACE);
    assert!(secrets.get_opt("cluster-east").await.unwrap().is_none());
}
