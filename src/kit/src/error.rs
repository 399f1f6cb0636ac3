//! What became of a call to a cluster, in the few ways that matter to the caller.

use std::future::Future;
use std::time::Duration;

/// Why a call to a cluster gave no answer we can use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. A write may have happened all the same: read before trying again.
    #[error("{what}: no answer within {}s", after.as_secs_f32())]
    Timeout {
        /// What was tried.
        what: String,
        /// How long we waited.
        after: Duration,
    },
    /// The API server answered with an error.
    #[error("{what}: {message} ({code} {reason})")]
    Api {
        /// What was tried.
        what: String,
        /// HTTP status code.
        code: u16,
        /// Machine-readable reason, such as `Conflict`.
        reason: String,
        /// The server's words.
        message: String,
    },
    /// The server could not be reached, or the connection broke.
    #[error("{what}: the API server cannot be reached")]
    Unreachable {
        /// What was tried.
        what: String,
        /// What the client says.
        #[source]
        source: Box<kube::Error>,
    },
    /// The answer or the request could not be read or built: a defect or a foreign version, not weather.
    #[error("{what}: the answer makes no sense")]
    Malformed {
        /// What was tried.
        what: String,
        /// What the client says.
        #[source]
        source: Box<kube::Error>,
    },
}

/// What to do about a [`CallError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRetry {
    /// Try again with backoff: the trouble is likely to pass.
    Soon,
    /// Read the object again first: someone else wrote it, or we do not know whether we did.
    AfterRead,
    /// The object, or its namespace or kind, does not exist.
    Gone,
    /// Our credentials are not accepted or not sufficient; a person must look.
    Denied,
    /// The request itself is refused; the same request will be refused again.
    Never,
}

impl CallError {
    /// What the caller should do next.
    pub fn retry(&self) -> CallRetry {
        match self {
            Self::Timeout { .. } => CallRetry::AfterRead,
            Self::Unreachable { .. } => CallRetry::Soon,
            Self::Malformed { .. } => CallRetry::Never,
            Self::Api { code, .. } => match code {
                409 => CallRetry::AfterRead,
                404 | 410 => CallRetry::Gone,
                401 | 403 => CallRetry::Denied,
                429 | 500..=599 => CallRetry::Soon,
                _ => CallRetry::Never,
            },
        }
    }

    /// The HTTP code, when the server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { code, .. } => Some(*code),
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Whether the server says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether someone else wrote first, or created it first, or owns a field.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// The error and what caused it, in one line.
    pub fn full(&self) -> String {
        full(self)
    }
}

/// An error and its causes in one line, without values out of an answer that could not be read.
pub fn full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = cause.source();
    }
    without_values(text, error)
}

/// serde tells the value that it did not expect; of an answer that may be one out of a Secret.
fn without_values(mut text: String, error: &(dyn std::error::Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(cause) = next {
        let boxed = cause.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
        if let Some(kube::Error::SerdeError(why)) = cause.downcast_ref().or(boxed) {
            let (line, column) = (why.line(), why.column());
            let place = format!("not what was asked for, at line {line} column {column}");
            text = text.replace(&why.to_string(), &place);
        }
        next = cause.source();
    }
    text
}

/// Sorts a client error by what the caller can do about it.
pub fn classify(what: impl Into<String>, error: kube::Error) -> CallError {
    let what = what.into();
    match error {
        kube::Error::Api(status) => CallError::Api {
            what,
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
        },
        kube::Error::SerdeError(_)
        | kube::Error::BuildRequest(_)
        | kube::Error::HttpError(_)
        | kube::Error::FromUtf8(_) => CallError::Malformed {
            what,
            source: Box::new(error),
        },
        // Everything else is the transport: refused connections, broken TLS, missing credentials.
        other => CallError::Unreachable {
            what,
            source: Box::new(other),
        },
    }
}

/// Runs a call under a deadline. Every call to a cluster goes through here: the client itself would wait for ever.
pub async fn deadline<T>(
    what: impl Into<String>,
    after: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(after, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(what, error)),
        Err(_) => Err(CallError::Timeout {
            what: what.into(),
            after,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_without_answer_ends_at_its_deadline() {
        let never = std::future::pending::<kube::Result<()>>();
        let error = deadline("get pod x", Duration::from_secs(5), never)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "get pod x: no answer within 5s");
        assert_eq!(error.retry(), CallRetry::AfterRead);
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated() {
        use k8s_openapi::api::core::v1::Secret;
        let why = serde_json::from_str::<Secret>(r#"{"data": "hunter2"}"#).unwrap_err();
        assert!(why.to_string().contains("hunter2"));
        let error = classify("get Secret db", kube::Error::SerdeError(why)).full();
        assert!(
            error.contains("get Secret db") && error.contains("column"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn every_code_has_an_answer() {
        let of = |code| {
            CallError::Api {
                what: String::new(),
                code,
                reason: String::new(),
                message: String::new(),
            }
            .retry()
        };
        assert_eq!(
            [409, 404, 401, 403, 429, 500, 503, 422].map(of),
            [
                CallRetry::AfterRead,
                CallRetry::Gone,
                CallRetry::Denied,
                CallRetry::Denied,
                CallRetry::Soon,
                CallRetry::Soon,
                CallRetry::Soon,
                CallRetry::Never
            ]
        );
    }
}
