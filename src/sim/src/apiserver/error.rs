//! What the API server answers when it says no, in the words and shape of the real one.

use std::fmt;

use serde_json::{Value, json};

use super::resource::Resource;

/// A refusal, rendered as a `Status` object.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// One field that is wrong, as in `details.causes`.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>) -> Self {
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message: "Required value".into(),
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {message}"),
        }
    }

    pub(crate) fn forbidden(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {message}"),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message: format!("Unsupported value: {message}"),
        }
    }
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(code: u16, reason: &'static str, res: &Resource, name: &str, message: String) -> Self {
        let details = about(res, name, &res.plural);
        Self {
            details: Some(details),
            ..Self::new(code, reason, message)
        }
    }

    pub(crate) fn not_found(res: &Resource, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            res,
            name,
            format!("{} \"{name}\" not found", res.qualified()),
        )
    }

    /// The path names no resource of a group this server has.
    pub(crate) fn no_such_resource() -> Self {
        let why = "the server could not find the requested resource";
        Self::new(404, "NotFound", why).with_details(json!({}))
    }

    /// The path names nothing this server has.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "", "404 page not found")
    }

    pub(crate) fn already_exists(res: &Resource, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            res,
            name,
            format!("{} \"{name}\" already exists", res.qualified()),
        )
    }

    pub(crate) fn conflict(res: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            res.qualified()
        );
        Self::about(409, "Conflict", res, name, message)
    }

    /// Somebody else wrote since the caller read.
    pub(crate) fn stale(res: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(res, name, why)
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn method() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn not_simulated(what: &str) -> Self {
        Self::new(
            501,
            "NotImplemented",
            format!("the simulated API server has no {what}"),
        )
    }

    pub(crate) fn forbidden(res: &Resource, name: &str, why: &str) -> Self {
        let named = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        Self::about(
            403,
            "Forbidden",
            res,
            name,
            format!("{}{named} is forbidden: {why}", res.qualified()),
        )
    }

    pub(crate) fn invalid(res: &Resource, name: &str, causes: &[Cause]) -> Self {
        let message = format!(
            "{} \"{name}\" is invalid: {}",
            res.qualified_kind(),
            listed(causes)
        );
        let refusal = Self {
            details: Some(about(res, name, &res.kind)),
            ..Self::new(422, "Invalid", message)
        };
        refusal.with_causes(causes)
    }

    /// The options of a request are wrong.
    pub(crate) fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", listed(causes));
        Self::new(422, "Invalid", message)
            .with_details(json!({"group": "meta.k8s.io", "kind": kind}))
            .with_causes(causes)
    }

    /// A patch makes an object that this kind cannot be.
    pub(crate) fn unpatchable(object: &Value, why: &str) -> Self {
        let cause = Cause::invalid("patch", format!("{}: {why}", json!(object.to_string())));
        let message = format!(" \"\" is invalid: {}", listed(std::slice::from_ref(&cause)));
        Self::new(422, "Invalid", message).with_causes(&[cause])
    }

    pub(crate) fn with_details(self, details: Value) -> Self {
        Self {
            details: Some(details),
            ..self
        }
    }

    pub(crate) fn with_causes(mut self, causes: &[Cause]) -> Self {
        let mut details = self.details.take().unwrap_or_else(|| json!({}));
        super::tree::object(&mut details).insert("causes".into(), render(causes));
        self.details = Some(details);
        self
    }

    /// The `Status` object a client gets.
    pub(crate) fn status(&self) -> Value {
        let mut v = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            super::tree::object(&mut v).insert("reason".into(), self.reason.into());
        }
        if let Some(details) = &self.details {
            super::tree::object(&mut v).insert("details".into(), details.clone());
        }
        v
    }
}

/// The `details` that say what an answer is about; what is empty is left out.
fn about(res: &Resource, name: &str, kind: &str) -> Value {
    let parts = [("name", name), ("group", &res.group), ("kind", kind)];
    parts
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(k, v)| (k.to_owned(), Value::from(v)))
        .collect()
}

/// What is wrong, in one line. What is found twice is said once.
fn listed(causes: &[Cause]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for c in causes {
        let line = format!("{}: {}", c.field, c.message);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn render(causes: &[Cause]) -> Value {
    causes
        .iter()
        .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
        .collect()
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for ApiError {}
