//! An application to protect, as YAML that any cluster takes.

use super::{World, WorldError};

/// What runs the application's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A Deployment of one pod with all volumes.
    Deployment,
    /// A `StatefulSet` of one pod per volume.
    StatefulSet,
}

/// An application with volumes.
#[derive(Debug, Clone)]
pub struct App {
    /// Its namespace, made with it.
    pub namespace: String,
    /// Its name, and its `app` label.
    pub name: String,
    /// What runs its pods.
    pub shape: Shape,
    /// How many volumes it has.
    pub volumes: usize,
}

/// The `StorageClass` that applications use, where nothing else is said.
pub const STORAGE_CLASS: &str = "fast";

/// A `StorageClass` and the `VolumeReplicationClass` `fast-mirror` of a driver; the CRD of the latter must be there.
pub fn infrastructure(driver: &str, class: &str) -> String {
    format!(
        "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {class}, annotations: {{storageclass.kubernetes.io/is-default-class: \"true\"}}}}
provisioner: {driver}
reclaimPolicy: Delete
volumeBindingMode: Immediate
---
apiVersion: replication.storage.openshift.io/v1alpha1
kind: VolumeReplicationClass
metadata: {{name: fast-mirror, labels: {{storageclass: {class}}}}}
spec:
  provisioner: {driver}
  parameters: {{mirroringMode: snapshot, schedulingInterval: 1m}}
"
    )
}

/// The `StorageClass` of [`infrastructure`] alone, for clusters without replication CRDs.
fn storage_class(driver: &str) -> String {
    infrastructure(driver, STORAGE_CLASS)
        .split("---\n")
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl App {
    /// An application of two volumes, run by a Deployment, in a namespace of its own name.
    pub fn new(name: &str) -> Self {
        Self {
            namespace: name.to_owned(),
            name: name.to_owned(),
            shape: Shape::Deployment,
            volumes: 2,
        }
    }

    /// The same with another number of volumes.
    #[must_use]
    pub fn volumes(self, volumes: usize) -> Self {
        Self { volumes, ..self }
    }

    /// The same, run by something else.
    #[must_use]
    pub fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Names of its claims.
    pub fn claims(&self) -> Vec<String> {
        let name = |n: usize| match self.shape {
            Shape::Deployment => format!("{}-data-{n}", self.name),
            Shape::StatefulSet => format!("data-{}-{n}", self.name),
        };
        (0..self.volumes).map(name).collect()
    }

    /// All its objects.
    pub fn yaml(&self) -> String {
        let Self {
            namespace,
            name,
            shape,
            volumes: _,
        } = self;
        let common = format!(
            "\
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-config, namespace: {namespace}, labels: {{app: {name}}}}}
data: {{currency: EUR}}
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}-login, namespace: {namespace}, labels: {{app: {name}}}}}
stringData: {{password: changeme}}
"
        );
        match shape {
            Shape::Deployment => format!("{common}{}{}", self.claim_yaml(), self.deployment_yaml()),
            Shape::StatefulSet => format!("{common}{}", self.stateful_set_yaml()),
        }
    }

    fn claim_yaml(&self) -> String {
        let Self {
            namespace, name, ..
        } = self;
        let one = |claim: String| {
            format!(
                "\
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {claim}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  storageClassName: fast
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
"
            )
        };
        self.claims().into_iter().map(one).collect()
    }

    fn deployment_yaml(&self) -> String {
        let Self { name, .. } = self;
        let claims = self.claims();
        let list =
            |one: fn(&String) -> String| claims.iter().map(one).collect::<Vec<_>>().join(", ");
        let mounts = list(|c| format!("{{name: {c}, mountPath: /{c}}}"));
        let volumes = list(|c| format!("{{name: {c}, persistentVolumeClaim: {{claimName: {c}}}}}"));
        let run = "  replicas: 1\n  strategy: {type: Recreate}\n";
        let workload = self.workload_yaml("Deployment", run);
        format!(
            "\
{workload}        envFrom: [{{configMapRef: {{name: {name}-config}}}}, {{secretRef: {{name: {name}-login}}}}]
        volumeMounts: [{mounts}]
      volumes: [{volumes}]
"
        )
    }

    fn stateful_set_yaml(&self) -> String {
        let Self { name, volumes, .. } = self;
        let run = format!(
            "  replicas: {volumes}\n  serviceName: {name}\n  podManagementPolicy: Parallel\n"
        );
        let workload = self.workload_yaml("StatefulSet", &run);
        format!(
            "\
{workload}        volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
  - metadata: {{name: data, labels: {{app: {name}}}}}
    spec:
      storageClassName: fast
      accessModes: [ReadWriteOnce]
      resources: {{requests: {{storage: 1Gi}}}}
"
        )
    }

    /// What runs the pods, as far as the name of its one container; `run` is how many there are, and how they are replaced.
    fn workload_yaml(&self, kind: &str, run: &str) -> String {
        let Self {
            namespace, name, ..
        } = self;
        format!(
            "\
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
{run}  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: writer
        image: example.org/writer:1
"
        )
    }
}

impl World {
    /// Gives a site the `StorageClass` `fast` of its driver.
    pub fn install_storage_class(&self, site: &str) -> Result<(), WorldError> {
        let yaml = storage_class(self.site(site)?.driver.name());
        self.install(site, &yaml)
    }

    /// Gives a site a `StorageClass` and the `VolumeReplicationClass` of its driver; the CRDs must be there.
    pub fn install_infrastructure(&self, site: &str, class: &str) -> Result<(), WorldError> {
        let yaml = infrastructure(self.site(site)?.driver.name(), class);
        self.install(site, &yaml)
    }

    /// Installs an application on a site.
    pub fn install_app(&self, site: &str, app: &App) -> Result<(), WorldError> {
        self.install(site, &app.yaml())
    }
}
