//! All of it: two sites that can be lost, cut off and brought back, a hub, and applications that write.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::DeleteParams};
use lifeboat_api::{DRPlacement, VolumeReplication};
use serde_json::Value;

use super::{
    Hub, Machine, Pair,
    hub::POLICY,
    sites::{NAMES, Sites},
};
use crate::{
    objects::{self, apply_yaml},
    placement::{at_rest, on},
    wait,
};

/// How often a snapshot is taken where a test would wait for one: by the schedule it is one a minute.
const SNAPSHOT: Duration = Duration::from_secs(4);
/// The size of a volume: small, for it is looked at as a whole whenever it is mounted.
const SIZE: &str = "64Mi";

/// Sites, machines and a hub; gone with this value.
#[derive(Debug)]
pub struct Fleet {
    /// The hub.
    pub hub: Hub,
    machines: [Machine; 2],
    /// The sites.
    pub sites: Sites,
}

/// An application: a Deployment of one pod that writes to each of its volumes, in a namespace of its own, and its `DRPlacement`.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, and that of its namespace.
    pub name: String,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// A volume of an application.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its claim.
    pub claim: String,
    /// Namespace and claim, as machines call it.
    pub of: String,
    /// Its image, on both sides.
    pub image: String,
}

impl Fleet {
    /// Starts everything: a minute.
    pub async fn start() -> Result<Self> {
        let sites = Sites::start().await?;
        let (hub, one, two) = tokio::try_join!(
            Hub::start(&sites),
            machine(&sites, NAMES[0]),
            machine(&sites, NAMES[1])
        )?;
        for name in NAMES {
            hub.until_ready(name).await?;
        }
        Ok(Self {
            hub,
            machines: [one, two],
            sites,
        })
    }

    /// The storage.
    pub fn pair(&self) -> &Pair {
        &self.sites.pair
    }

    /// The machine of a cluster.
    pub fn machine(&self, name: &str) -> &Machine {
        let [one, two] = &self.machines;
        if name == NAMES[0] { one } else { two }
    }

    fn machine_mut(&mut self, name: &str) -> &mut Machine {
        let [one, two] = &mut self.machines;
        if name == NAMES[0] { one } else { two }
    }

    /// An application on dr1, and its placement. It writes as soon as its pod runs; it is not protected yet.
    pub async fn deploy(&self, name: &str, volumes: usize) -> Result<App> {
        let all = (0..volumes).map(|n| async move {
            let claim = format!("{name}-{n}");
            let image = self.sites.provision("dr1", SIZE).await?;
            self.sites.claim("dr1", name, &claim, SIZE, &image).await?;
            let of = format!("{name}/{claim}");
            Ok::<_, anyhow::Error>(Volume { claim, of, image })
        });
        let app = App {
            name: name.to_owned(),
            volumes: try_join_all(all).await?,
        };
        apply_yaml(&self.sites.dr1.client, &app.deployment()).await?;
        objects::namespace(&self.hub.client, name).await?;
        apply_yaml(&self.hub.client, &app.placement()).await?;
        Ok(app)
    }

    /// Changes what is wished for an application.
    pub async fn wish(&self, app: &App, spec: &Value) -> Result<()> {
        self.hub.wish(&app.name, &app.name, spec).await
    }

    /// Waits until the placement of an application is as wanted.
    pub async fn until(
        &self,
        app: &App,
        what: &str,
        is: impl FnMut(&DRPlacement) -> bool,
    ) -> Result<DRPlacement> {
        self.hub.until(&app.name, &app.name, what, is).await
    }

    /// Waits until an application runs on a cluster.
    pub async fn until_on(&self, app: &App, cluster: &str) -> Result<DRPlacement> {
        let what = format!("{} runs on {cluster}", app.name);
        self.until(app, &what, |p| on(p, cluster)).await
    }

    /// Waits until an application has come to rest on a cluster: available, and protected on the other one. Snapshots are taken
    /// meanwhile.
    pub async fn until_settled(&self, app: &App, cluster: &str) -> Result<DRPlacement> {
        let what = format!("{} is at rest on {cluster}", app.name);
        let settled = self.until(app, &what, |p| at_rest(p, cluster));
        self.meanwhile(app, cluster, settled).await
    }

    /// Waits until a cluster that was lost is of use to an application again: quarantined, its copies taken anew and proven, and
    /// the application, on its other cluster, at rest. Each of the three may take a minute and more.
    pub async fn until_returned(&self, app: &App, cluster: &str, to: &str) -> Result<()> {
        let quarantined = self.until_left(app, cluster);
        self.meanwhile(app, to, quarantined).await?;
        let client = self.sites.site(cluster).client.clone();
        let roles = Api::<VolumeReplication>::namespaced(client, &app.name);
        let none = |all: &[VolumeReplication]| all.is_empty();
        let proven = wait::until_list(&roles, "its copies are proven", none);
        self.meanwhile(app, to, proven).await?;
        self.until_settled(app, to).await.map(drop)
    }

    /// Takes snapshots of an application's volumes on a cluster while something else is waited for.
    pub async fn meanwhile<T>(
        &self,
        app: &App,
        cluster: &str,
        what: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let rbd = self.pair().site(cluster).rbd();
        let snapshots = async {
            let mut pace = tokio::time::interval(SNAPSHOT);
            loop {
                pace.tick().await;
                for volume in &app.volumes {
                    // Not primary yet, or not mirrored yet: the next time.
                    let _ = rbd.snapshot(&volume.image).await;
                }
            }
        };
        tokio::select! {
            done = what => done,
            never = snapshots => never,
        }
    }

    /// Waits until nothing of an application runs on a cluster and none of its volumes is mounted there.
    pub async fn until_left(&self, app: &App, on: &str) -> Result<()> {
        let client = self.sites.site(on).client.clone();
        let api = Api::<Deployment>::namespaced(client, &app.name);
        let stopped = |d: Option<&Deployment>| {
            let replicas = d.map(|d| d.spec.as_ref().and_then(|s| s.replicas));
            replicas.is_none_or(|r| r == Some(0))
        };
        wait::until(&api, &app.name, "it runs nothing", stopped).await?;
        let machine = self.machine(on);
        wait::until_answer("its volumes are let go", || async {
            let mounted = machine.mounted().await;
            let left = app.volumes.iter().any(|v| mounted.contains(&v.of));
            Ok((!left).then_some(()))
        })
        .await
    }

    /// Ends an application and its protection, so that it takes no time from others. Its volumes stay.
    pub async fn retire(&self, app: &App, on: &str) -> Result<()> {
        let client = self.sites.site(on).client.clone();
        let api = Api::<Deployment>::namespaced(client, &app.name);
        api.delete(&app.name, &DeleteParams::default()).await?;
        let api = self.hub.placements(&app.name);
        api.delete(&app.name, &DeleteParams::default()).await?;
        wait::until_gone(&api, &app.name).await?;
        self.until_left(app, on).await
    }

    /// The loss of a site: everything of it ends at once, and its machine.
    pub async fn lose(&mut self, name: &str) -> Result<()> {
        self.sites.kill(name).await?;
        self.machine_mut(name).lose().await
    }

    /// It comes back with what it had on its disks, and its pods run again.
    pub async fn bring_back(&mut self, name: &str) -> Result<()> {
        self.sites.start_again(name).await?;
        self.machine_mut(name).start_again().await
    }

    /// All went well: nobody needs the logs.
    pub fn went_well(&mut self) {
        self.hub.went_well();
        self.sites.went_well();
    }
}

async fn machine(sites: &Sites, name: &str) -> Result<Machine> {
    let client = sites.site(name).client.clone();
    let folder = sites.file("told");
    std::fs::create_dir_all(&folder)?;
    Machine::start(name, client, sites.pair.site(name).rbd(), &folder).await
}

impl App {
    fn deployment(&self) -> String {
        let Self { name, volumes } = self;
        let all = |one: fn(&Volume) -> String| {
            let all: Vec<String> = volumes.iter().map(one).collect();
            all.join(", ")
        };
        let mounts = all(|v| format!("{{name: {0}, mountPath: /{0}}}", v.claim));
        let claims = all(|v| {
            format!(
                "{{name: {0}, persistentVolumeClaim: {{claimName: {0}}}}}",
                v.claim
            )
        });
        format!(
            "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {name}, labels: {{app: {name}}}}}
spec:
  replicas: 1
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: writer, image: example.org/record-writer:1, volumeMounts: [{mounts}]}}]
      volumes: [{claims}]
"
        )
    }

    fn placement(&self) -> String {
        let Self { name, .. } = self;
        format!(
            "\
apiVersion: lifeboat.dev/v1alpha1
kind: DRPlacement
metadata: {{name: {name}, namespace: {name}}}
spec:
  policyRef: {{name: {POLICY}}}
  preferredCluster: {}
  pvcSelector: {{}}
  workload: {{selector: {{matchLabels: {{app: {name}}}}}}}
",
            NAMES[0]
        )
    }
}
