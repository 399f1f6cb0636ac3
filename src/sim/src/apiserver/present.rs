//! Objects on their way out: whole, metadata only, as table rows, and under the field names of another version.

use std::sync::Arc;

use serde_json::{Value, json};

use super::request::Form;
use super::resource::{Resource, View};
use super::table::{self, Rows};
use super::tree::meta;
use super::{events, tree};

/// How a client wants the objects of a resource.
#[derive(Debug, Clone)]
pub(crate) struct Presenter {
    pub(crate) res: Arc<Resource>,
    pub(crate) form: Form,
    pub(crate) rows: Rows,
}

impl Presenter {
    /// Whether stored bytes can go out as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.form == Form::Full && self.res.view == View::Stored
    }

    /// One object.
    pub(crate) fn one(&self, obj: &Value, now: jiff::Timestamp) -> Value {
        match self.form {
            Form::Full if self.is_plain() => obj.clone(),
            Form::Full => events::shown(&self.res, obj.clone()),
            Form::MetadataOnly => partial(obj),
            Form::Table => table::render(
                &self.res,
                self.rows,
                &[obj],
                now,
                meta(obj).get("resourceVersion").cloned(),
            ),
        }
    }

    /// The bytes of one object.
    pub(crate) fn one_bytes(&self, obj: &Value, now: jiff::Timestamp) -> Vec<u8> {
        if self.is_plain() {
            tree::bytes(obj)
        } else {
            tree::bytes(&self.one(obj, now))
        }
    }

    /// The bytes of a list, its items written one by one and not copied.
    pub(crate) fn list_bytes(
        &self,
        items: &[Arc<Value>],
        list_meta: &Value,
        now: jiff::Timestamp,
    ) -> Vec<u8> {
        if self.form == Form::Table {
            let refs: Vec<&Value> = items.iter().map(AsRef::as_ref).collect();
            let mut t = table::render(&self.res, self.rows, &refs, now, None);
            tree::object(&mut t).insert("metadata".into(), list_meta.clone());
            return tree::bytes(&t);
        }
        let (version, kind) = match self.form {
            Form::MetadataOnly => (
                "meta.k8s.io/v1".to_owned(),
                "PartialObjectMetadataList".to_owned(),
            ),
            Form::Full | Form::Table => (self.res.api_version(), format!("{}List", self.res.kind)),
        };
        let mut list_meta = list_meta.clone();
        if self.form == Form::Full && self.res.custom.is_some() {
            tree::set_default(tree::object(&mut list_meta), "continue", "");
        }
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{list_meta},\"items\":[",
            json!(kind),
            json!(version)
        );
        let mut out = Vec::with_capacity(head.len() + items.len() * 512);
        out.extend_from_slice(head.as_bytes());
        for (i, obj) in items.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.item_bytes(obj, now, &mut out);
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// An item of a list. Built-in kinds leave the type out there, as the real server does.
    fn item_bytes(&self, obj: &Value, now: jiff::Timestamp, out: &mut Vec<u8>) {
        if self.form == Form::MetadataOnly || self.res.custom.is_some() {
            out.append(&mut self.one_bytes(obj, now));
            return;
        }
        let shown;
        let obj = if self.is_plain() {
            obj
        } else {
            shown = self.one(obj, now);
            &shown
        };
        let fields = obj.as_object().into_iter().flatten();
        out.push(b'{');
        for (i, (key, v)) in fields
            .filter(|(k, _)| *k != "apiVersion" && *k != "kind")
            .enumerate()
        {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(json!(key).to_string().as_bytes());
            out.push(b':');
            out.append(&mut tree::bytes(v));
        }
        out.push(b'}');
    }

    /// The object of a bookmark.
    pub(crate) fn bookmark(&self, rv: u64) -> Value {
        let metadata = json!({"resourceVersion": rv.to_string(), "creationTimestamp": null});
        match self.form {
            Form::MetadataOnly => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": rv.to_string()},
                "columnDefinitions": [], "rows": []})
            }
            Form::Full => {
                let mut v = json!({"metadata": metadata, "spec": null});
                tree::object(&mut v).remove("spec");
                self.res.stamp_kind(&mut v);
                v
            }
        }
    }
}

/// Only the metadata of an object.
pub(crate) fn partial(obj: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta(obj)})
}
