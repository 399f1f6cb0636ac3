//! One request over one link: what a client's transport does, in process or behind HTTPS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::auth::Identity;
use super::error::ApiError;
use super::link::{ConnectionError, Link, pass};
use super::request::Request;
use super::route::{Counting, Outcome, Reply};
use super::{ApiServer, watch};

/// The body of an answer: bytes, or the lines of a watch.
pub(crate) enum SimBody {
    Full(Option<Bytes>),
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl http_body::Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(lines) => lines
                .poll_next_unpin(cx)
                .map(|next| next.map(|line| line.map(Frame::data))),
        }
    }
}

/// Who calls, over which link.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) link: Link,
    pub(crate) counting: Counting,
}

/// A client's end of a link to a server.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) caller: Caller,
}

type Answer = Result<http::Response<SimBody>, ConnectionError>;

impl<B> tower::Service<http::Request<B>> for Connection
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    type Response = http::Response<SimBody>;
    type Error = ConnectionError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self { server, caller } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|_| ConnectionError::Reset)?
                .to_bytes();
            let request = Request::new(&parts, parts.uri.path(), body);
            exchange(server, caller, request).await
        })
    }
}

/// Sends a request over a link and brings the answer back, or what happens instead.
pub(crate) async fn exchange(server: Arc<ApiServer>, caller: Caller, request: Request) -> Answer {
    let link = caller.link.clone();
    let mut passage = link.passage();
    let mut power = server.power();
    travel(&link, &mut passage).await?;
    loop {
        pass(&mut power).await?;
        pass(&mut passage).await?;
        if *power.borrow() == *passage.borrow() {
            break;
        }
    }
    if let Some(code) = link.take_failure() {
        travel(&link, &mut passage).await?;
        return Ok(respond(injected(code).into()));
    }
    let is_write = !matches!(request.method, http::Method::GET | http::Method::HEAD);
    let outcome = server.handle(&caller, &request);
    if is_write && link.take_lost_reply() {
        return Err(ConnectionError::Reset);
    }
    match outcome {
        Outcome::Reply(reply) => {
            travel(&link, &mut passage).await?;
            Ok(respond(reply))
        }
        Outcome::Watch(start) => {
            travel(&link, &mut passage).await?;
            let lines = watch::stream(server, link, *start).boxed();
            Ok(build(200, "application/json", SimBody::Stream(lines)))
        }
    }
}

/// One way over the link, in the time that takes.
async fn travel(
    link: &Link,
    passage: &mut tokio::sync::watch::Receiver<super::link::Passage>,
) -> Result<(), ConnectionError> {
    pass(passage).await?;
    let delay = link.one_way();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
        pass(passage).await?;
    }
    Ok(())
}

fn injected(code: u16) -> ApiError {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        504 => "Timeout",
        _ => "ServiceUnavailable",
    };
    ApiError::new(code, reason, "failure injected by the test")
}

/// An HTTP response with a whole body.
pub(crate) fn respond(reply: Reply) -> http::Response<SimBody> {
    let body = SimBody::Full(Some(reply.body));
    let mut response = build(reply.code, reply.content_type, body);
    for warning in reply.warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = http::HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(http::header::WARNING, value);
        }
    }
    response
}

fn build(code: u16, content_type: &'static str, body: SimBody) -> http::Response<SimBody> {
    let mut response = http::Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    response
}
