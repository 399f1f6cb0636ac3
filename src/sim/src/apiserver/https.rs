//! Servers behind HTTPS, one path each: what kubeconfigs, kubectl and other processes use.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ApiServer;
use super::auth::Identity;
use super::error::ApiError;
use super::link::{ConnectionError, Link};
use super::request::Request;
use super::route::{Counting, Reply};
use super::service::{Caller, SimBody, exchange, respond};
use crate::pki::{Pki, PkiError};

/// Why servers could not be put behind HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("could not listen on {addr}")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Certificates could not be made.
    #[error("could not set up certificates")]
    Pki(#[from] PkiError),
}

type Routes = Arc<RwLock<BTreeMap<String, (Arc<ApiServer>, Link)>>>;

/// Servers being served; dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct ServeHandle {
    addr: SocketAddr,
    pki: Arc<Pki>,
    routes: Routes,
    _closes: DropGuard,
}

/// Serves each server under `/clusters/<name>/` of one HTTPS listener; port 0 takes a free one.
pub async fn serve(
    addr: SocketAddr,
    servers: BTreeMap<String, Arc<ApiServer>>,
) -> Result<ServeHandle, ServeError> {
    let pki = Arc::new(Pki::new()?);
    let acceptor = TlsAcceptor::from(pki.server_config()?);
    let failed = |source| ServeError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let routes: BTreeMap<_, _> = servers
        .into_iter()
        .map(|(name, server)| (name, (server, Link::perfect())))
        .collect();
    let routes: Routes = Arc::new(RwLock::new(routes));
    let token = CancellationToken::new();
    let front = Front {
        routes: routes.clone(),
        pki: pki.clone(),
        acceptor,
    };
    let stopped = token.clone();
    tokio::spawn(async move { stopped.run_until_cancelled(accept(listener, front)).await });
    Ok(ServeHandle {
        addr,
        pki,
        routes,
        _closes: token.drop_guard(),
    })
}

impl ServeHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds (or replaces) the path `/clusters/<name>/`: this server, reached over this link.
    pub fn route(&self, name: &str, server: Arc<ApiServer>, link: Link) {
        self.routes.write().insert(name.to_owned(), (server, link));
    }

    /// The URL of a path.
    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/clusters/{name}", self.addr.port())
    }

    /// The certificate authority, PEM.
    pub fn ca_pem(&self) -> String {
        self.pki.ca_pem()
    }

    /// A kubeconfig with a client certificate for `who`, everything inline.
    pub fn kubeconfig(&self, name: &str, who: &Identity) -> Result<String, PkiError> {
        let client = self.pki.client(who)?;
        let user = format!(
            "{{client-certificate-data: \"{}\", client-key-data: \"{}\"}}",
            STANDARD.encode(client.certificate),
            STANDARD.encode(client.key)
        );
        Ok(self.kubeconfig_of(name, &user))
    }

    /// A kubeconfig with a bearer token.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> String {
        self.kubeconfig_of(name, &format!("{{token: \"{token}\"}}"))
    }

    fn kubeconfig_of(&self, name: &str, user: &str) -> String {
        let (url, ca) = (self.url(name), STANDARD.encode(self.ca_pem()));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: \"{name}\"\nclusters:\n- name: \"{name}\"\n  cluster: \
             {{server: \"{url}\", certificate-authority-data: \"{ca}\"}}\nusers:\n- name: \"{name}\"\n  user: {user}\n\
             contexts:\n- name: \"{name}\"\n  context: {{cluster: \"{name}\", user: \"{name}\"}}\n"
        )
    }
}

/// What every connection shares.
#[derive(Clone)]
struct Front {
    routes: Routes,
    pki: Arc<Pki>,
    acceptor: TlsAcceptor,
}

async fn accept(listener: TcpListener, front: Front) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, front.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, front: Front) {
    // Without this small replies wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(tls) = front.acceptor.accept(stream).await else {
        return;
    };
    let certificate = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first().cloned());
    let holder = certificate.and_then(|c| front.pki.identity(&c));
    let service = hyper::service::service_fn(move |request| {
        let (front, holder) = (front.clone(), holder.clone());
        async move { answer(&front, holder, request).await }
    });
    // An error here is a connection that broke, which its client has seen.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(tls), service)
        .await;
}

type Answer = Result<http::Response<SimBody>, ConnectionError>;

async fn answer(
    front: &Front,
    holder: Option<Identity>,
    request: http::Request<Incoming>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let Some((server, link, path)) = find(&front.routes, parts.uri.path()) else {
        return Ok(respond(
            ApiError::new(
                404,
                "NotFound",
                "no such cluster; the path is /clusters/<name>/",
            )
            .into(),
        ));
    };
    let body = body
        .collect()
        .await
        .map_err(|_| ConnectionError::Reset)?
        .to_bytes();
    let who = match identify(&server, holder, &parts.headers) {
        Ok(who) => who,
        Err(e) => return Ok(respond(Reply::from(e))),
    };
    let request = Request::new(&parts, &path, body);
    exchange(
        server,
        Caller {
            identity: who,
            link,
            counting: Counting::Counted,
        },
        request,
    )
    .await
}

fn find(routes: &Routes, path: &str) -> Option<(Arc<ApiServer>, Link, String)> {
    let rest = path.strip_prefix("/clusters/")?;
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (server, link) = routes.read().get(name).cloned()?;
    Some((server, link, format!("/{rest}")))
}

/// Who sends a request: by token, by certificate, or nobody in particular; masters may speak for others.
fn identify(
    server: &ApiServer,
    holder: Option<Identity>,
    headers: &http::HeaderMap,
) -> Result<Identity, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer = header("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let who = match bearer {
        Some(token) => {
            let known = server.authenticate(token);
            known.ok_or_else(|| ApiError::new(401, "Unauthorized", "Unauthorized"))?
        }
        None => holder.unwrap_or_else(Identity::anonymous),
    };
    let Some(user) = header("impersonate-user") else {
        return Ok(who);
    };
    if !who.is_master() {
        let why = format!(
            "users \"{user}\" is forbidden: User \"{}\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            who.user
        );
        return Err(ApiError::new(403, "Forbidden", why));
    }
    let groups: Vec<&str> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    Ok(Identity::user(user, &groups))
}
