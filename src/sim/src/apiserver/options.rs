//! The options of a request, which the real server checks before it looks at anything else.

use serde_json::Value;

use super::error::{ApiError, Cause, Result};
use super::request::Request;
use super::tree::text;

/// Refuses options that contradict each other or that nobody knows.
pub(crate) fn check(request: &Request, verb: &str) -> Result<()> {
    let mut causes = Vec::new();
    let kind = match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        "list" | "watch" | "deletecollection" => "ListOptions",
        _ => return Ok(()),
    };
    match verb {
        "watch" => watch(request, &mut causes),
        "list" | "deletecollection" => list(request, &mut causes),
        _ => write(request, &mut causes),
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_options(kind, &causes))
}

/// Refuses a `DeleteOptions` that says what nobody knows.
pub(crate) fn check_deletion(options: &Value) -> Result<()> {
    let policy = text(options, "propagationPolicy");
    if matches!(policy, "" | "Foreground" | "Background" | "Orphan") {
        return Ok(());
    }
    let why = format!(
        "\"{policy}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
    let cause = Cause::unsupported("propagationPolicy", why);
    Err(ApiError::invalid_options("DeleteOptions", &[cause]))
}

fn write(request: &Request, out: &mut Vec<Cause>) {
    let apply = request.content_type.starts_with("application/apply-patch");
    if apply && request.param("fieldManager").is_empty() {
        let message = "Required value: is required for apply patch".to_owned();
        out.push(Cause {
            message,
            ..Cause::required("fieldManager")
        });
    }
    if request.query.contains_key("force") && !apply && request.method == http::Method::PATCH {
        let why = "may not be specified for non-apply patch";
        out.push(Cause::forbidden("force", why));
    }
    let dry = request.param("dryRun");
    if !matches!(dry, "" | "All") {
        let why = format!("[]string{{\"{dry}\"}}: supported values: \"All\"");
        out.push(Cause::unsupported("dryRun", why));
    }
    let fields = request.param("fieldValidation");
    if !matches!(fields, "" | "Ignore" | "Warn" | "Strict") {
        let why = format!("\"{fields}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
        out.push(Cause::unsupported("fieldValidation", why));
    }
}

const MATCH: &str = "resourceVersionMatch";

fn list(request: &Request, out: &mut Vec<Cause>) {
    let (version, how) = (request.param("resourceVersion"), request.param(MATCH));
    if !how.is_empty() {
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            out.push(Cause::forbidden(MATCH, why));
        }
        if !request.param("continue").is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            out.push(Cause::forbidden(MATCH, why));
        }
        if !matches!(how, "Exact" | "NotOlderThan") {
            let why = format!("\"{how}\": supported values: \"\", \"Exact\", \"NotOlderThan\"");
            out.push(Cause::unsupported(MATCH, why));
        }
        if how == "Exact" && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            out.push(Cause::forbidden(MATCH, why));
        }
    }
    if request.query.contains_key("sendInitialEvents") {
        let why = "sendInitialEvents is forbidden for list";
        out.push(Cause::forbidden("sendInitialEvents", why));
    }
}

fn watch(request: &Request, out: &mut Vec<Cause>) {
    let how = request.param(MATCH);
    let initial = request.query.contains_key("sendInitialEvents");
    if initial && how != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        out.push(Cause::forbidden(MATCH, why));
    }
    if !initial && !how.is_empty() {
        let why =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        out.push(Cause::forbidden(MATCH, why));
    }
}
