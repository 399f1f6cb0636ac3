//! A finished answer as it goes out.

use bytes::Bytes;
use serde_json::Value;

use super::super::error::ApiError;
use super::super::tree;

/// A finished answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(code: u16, v: &Value) -> Self {
        Self {
            code,
            content_type: "application/json",
            warnings: Vec::new(),
            body: Bytes::from(tree::bytes(v)),
        }
    }

    pub(super) fn bytes(code: u16, body: Vec<u8>) -> Self {
        Self {
            code,
            content_type: "application/json",
            warnings: Vec::new(),
            body: Bytes::from(body),
        }
    }

    pub(crate) fn text(body: &'static str) -> Self {
        Self {
            code: 200,
            content_type: "text/plain; charset=utf-8",
            warnings: Vec::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }
}

impl From<ApiError> for Reply {
    fn from(e: ApiError) -> Self {
        // What no resource answers is answered by the web server below, which knows no `Status`.
        if e.code == 404 && e.reason.is_empty() {
            let body = Bytes::from(format!(
                "{}
",
                e.message
            ));
            return Self {
                code: 404,
                content_type: "text/plain; charset=utf-8",
                warnings: Vec::new(),
                body,
            };
        }
        Self::json(e.code, &e.status())
    }
}
