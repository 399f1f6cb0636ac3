//! The resources a server has: how each is named, scoped and subdivided.

use std::sync::Arc;

use serde_json::Value;

use super::schema::Schema;

/// The key of a table: API group and plural name.
pub(crate) type TableKey = (String, String);

/// Where objects of a resource live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespaced,
}

/// Whether a resource counts the generations of its spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generations {
    Counted,
    None,
}

/// How stored objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// As they are stored.
    Stored,
    /// Core events under the field names of `events.k8s.io/v1`.
    EventsV1,
}

/// Where a scalable resource keeps its replica counts (JSON pointers).
#[derive(Debug, Clone)]
pub(crate) struct ScalePaths {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// A printer column of a custom resource.
#[derive(Debug, Clone)]
pub(crate) struct PrinterColumn {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) json_path: String,
}

/// One resource in one version.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) generations: Generations,
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    /// Fields a field selector may name, besides name and namespace.
    pub(crate) selectable: Vec<String>,
    pub(crate) view: View,
    /// Set for custom resources only.
    pub(crate) custom: Option<Arc<Custom>>,
}

/// What a `CustomResourceDefinition` adds.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) schema: Schema,
    pub(crate) columns: Vec<PrinterColumn>,
}

impl Resource {
    /// A built-in resource with no subresources.
    pub(crate) fn builtin(gv: (&str, &str), plural: &str, kind: &str, scope: Scope) -> Self {
        Self {
            group: gv.0.into(),
            version: gv.1.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            short: Vec::new(),
            categories: Vec::new(),
            scope,
            generations: Generations::None,
            status: false,
            scale: None,
            selectable: Vec::new(),
            view: View::Stored,
            custom: None,
        }
    }

    fn short(mut self, names: &[&str]) -> Self {
        self.short = names.iter().map(|&s| s.to_owned()).collect();
        self
    }

    fn status(mut self) -> Self {
        self.status = true;
        self
    }

    fn counted(mut self) -> Self {
        self.generations = Generations::Counted;
        self
    }

    fn all(mut self) -> Self {
        self.categories = vec!["all".into()];
        self
    }

    fn scale(mut self) -> Self {
        let (spec, status) = ("/spec/replicas".into(), "/status/replicas".into());
        self.scale = Some(ScalePaths {
            spec,
            status,
            selector: Some("/spec/selector".into()),
        });
        self
    }

    fn selectable(mut self, fields: &[&str]) -> Self {
        self.selectable = fields.iter().map(|&s| s.to_owned()).collect();
        self
    }

    /// `group/version`, or `v1` for the core group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, as errors name a resource.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Deployment.apps`, as validation errors name a kind.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// Where its objects are stored.
    pub(crate) fn table_key(&self) -> TableKey {
        match self.view {
            View::Stored => (self.group.clone(), self.plural.clone()),
            View::EventsV1 => (String::new(), self.plural.clone()),
        }
    }

    /// Whether this is the built-in kind `kind` of group `group`.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// The `openAPIV3Schema` of a custom resource.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        self.custom.as_deref().map(|c| &c.schema)
    }

    pub(crate) fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// An object with the kind and version of this resource.
    pub(crate) fn stamp_kind(&self, v: &mut Value) {
        let m = super::tree::object(v);
        m.insert("apiVersion".into(), self.api_version().into());
        m.insert("kind".into(), self.kind.clone().into());
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");

/// The built-in resources of every server.
pub(crate) fn builtins() -> Vec<Resource> {
    use Scope::{Cluster, Namespaced};
    let r = Resource::builtin;
    let event_fields = [
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "reason",
        "type",
        "reportingComponent",
    ];
    let mut events_v1 = r(("events.k8s.io", "v1"), "events", "Event", Namespaced)
        .short(&["ev"])
        .selectable(&event_fields);
    events_v1.view = View::EventsV1;
    vec![
        r(CORE, "namespaces", "Namespace", Cluster)
            .short(&["ns"])
            .status()
            .selectable(&["status.phase"]),
        r(CORE, "nodes", "Node", Cluster)
            .short(&["no"])
            .status()
            .selectable(&["spec.unschedulable"]),
        r(CORE, "pods", "Pod", Namespaced)
            .short(&["po"])
            .status()
            .counted()
            .all()
            .selectable(&[
                "spec.nodeName",
                "status.phase",
                "spec.restartPolicy",
                "spec.serviceAccountName",
                "status.podIP",
            ]),
        r(CORE, "configmaps", "ConfigMap", Namespaced).short(&["cm"]),
        r(CORE, "secrets", "Secret", Namespaced).selectable(&["type"]),
        r(CORE, "services", "Service", Namespaced)
            .short(&["svc"])
            .status()
            .all()
            .selectable(&["spec.type", "spec.clusterIP"]),
        r(CORE, "serviceaccounts", "ServiceAccount", Namespaced).short(&["sa"]),
        r(
            CORE,
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            Namespaced,
        )
        .short(&["pvc"])
        .status(),
        r(CORE, "persistentvolumes", "PersistentVolume", Cluster)
            .short(&["pv"])
            .status(),
        r(CORE, "events", "Event", Namespaced)
            .short(&["ev"])
            .selectable(&event_fields),
        events_v1,
        r(APPS, "deployments", "Deployment", Namespaced)
            .short(&["deploy"])
            .status()
            .counted()
            .scale()
            .all(),
        r(APPS, "statefulsets", "StatefulSet", Namespaced)
            .short(&["sts"])
            .status()
            .counted()
            .scale()
            .all(),
        r(APPS, "replicasets", "ReplicaSet", Namespaced)
            .short(&["rs"])
            .status()
            .counted()
            .scale()
            .all(),
        r(("batch", "v1"), "jobs", "Job", Namespaced)
            .status()
            .counted()
            .all(),
        r(("coordination.k8s.io", "v1"), "leases", "Lease", Namespaced),
        r(STORAGE, "storageclasses", "StorageClass", Cluster).short(&["sc"]),
        r(STORAGE, "volumeattachments", "VolumeAttachment", Cluster).status(),
        r(STORAGE, "csidrivers", "CSIDriver", Cluster),
        r(RBAC, "clusterroles", "ClusterRole", Cluster),
        r(RBAC, "clusterrolebindings", "ClusterRoleBinding", Cluster),
        r(RBAC, "roles", "Role", Namespaced),
        r(RBAC, "rolebindings", "RoleBinding", Namespaced),
        r(
            ("apiextensions.k8s.io", "v1"),
            "customresourcedefinitions",
            "CustomResourceDefinition",
            Cluster,
        )
        .short(&["crd", "crds"])
        .status()
        .counted(),
    ]
}
