//! Get and list.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::{ApiError, Result};
use super::present::Presenter;
use super::request::{Request, ResourcePath};
use super::resource::Resource;
use super::select::Selector;
use super::store::{Key, State};
use super::tree::object;

impl State {
    /// The bytes of a list.
    pub(crate) fn list(
        &self,
        path: &ResourcePath<'_>,
        stored: &Resource,
        request: &Request,
        presenter: &Presenter,
    ) -> Result<Vec<u8>> {
        let selector = Selector::parse(
            &presenter.res,
            request.param("labelSelector"),
            request.param("fieldSelector"),
        )?;
        let asked = request.param("resourceVersion");
        if !asked.is_empty() && !matches!(request.param("continue"), "") && asked != "0" {
            let why = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad(why));
        }
        self.check_version(asked)?;
        let limit: usize = request.param("limit").parse().unwrap_or_default();
        let (first_rv, after) = match request.param("continue") {
            "" => (self.version(), None),
            token => {
                let (rv, key) = read_token(token)?;
                (rv, Some(key))
            }
        };
        let mut items: Vec<Arc<Value>> = Vec::new();
        let mut more: Option<Key> = None;
        let mut left = 0_usize;
        for (key, obj) in self.table(stored)?.scan(path.namespace, after.as_ref()) {
            if !selector.matches_object(stored, obj) {
                continue;
            }
            if limit > 0 && items.len() >= limit {
                left += 1;
                if !selector.is_all() {
                    break;
                }
                continue;
            }
            more = Some(key.clone());
            items.push(obj.clone());
        }
        let mut list_meta = json!({"resourceVersion": first_rv.to_string()});
        if left > 0
            && let Some(last) = more
        {
            let m = object(&mut list_meta);
            m.insert("continue".into(), token(first_rv, &last).into());
            if selector.is_all() {
                m.insert("remainingItemCount".into(), left.into());
            }
        }
        Ok(presenter.list_bytes(&items, &list_meta, self.clock.now()))
    }

    /// A client must not ask for a version that does not exist yet.
    pub(crate) fn check_version(&self, asked: &str) -> Result<()> {
        if asked.is_empty() {
            return Ok(());
        }
        let rv = parse_version(asked)
            .map_err(|e| ApiError::bad(format!("invalid resource version: {}", e.message)))?;
        let now = self.version();
        if rv > now {
            let message = format!("Timeout: Too large resource version: {rv}, current: {now}");
            let cause = super::error::Cause {
                reason: "ResourceVersionTooLarge",
                field: String::new(),
                message: "Too large resource version".into(),
            };
            return Err(ApiError::new(504, "Timeout", message).with_causes(&[cause]));
        }
        Ok(())
    }
}

/// The version a request names; zero if it names none.
pub(crate) fn parse_version(asked: &str) -> Result<u64> {
    if asked.is_empty() {
        return Ok(0);
    }
    asked.parse().map_err(|_| {
        let why = format!(
            "resourceVersion: Invalid value: \"{asked}\": strconv.ParseUint: parsing \"{asked}\": invalid syntax"
        );
        ApiError::new(500, "", why)
    })
}

fn token(rv: u64, last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(format!("{rv}\n{}\n{}", last.0, last.1))
}

fn read_token(token: &str) -> Result<(u64, Key)> {
    let wrong = || ApiError::bad("invalid continue token: continue key is not valid");
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?)
        .map_err(|_| wrong())?;
    let mut parts = text.splitn(3, '\n');
    match (
        parts.next().and_then(|rv| rv.parse().ok()),
        parts.next(),
        parts.next(),
    ) {
        (Some(rv), Some(ns), Some(name)) => Ok((rv, (ns.to_owned(), name.to_owned()))),
        _ => Err(wrong()),
    }
}
