//! A TCP relay between one client and one control plane, so that a cut hits this pair alone.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A relay to one control plane. The kubeconfig it gives out goes through it; everyone else's does not.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are closed, new ones too, as by a firewall that rejects.
    Cut,
    /// Connections stay and carry nothing, as by a firewall that drops.
    Silent,
}

impl Link {
    /// Listens on a free port and relays to `server`, a `127.0.0.1:port`.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State::Whole);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, seen.clone()));
            }
        });
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Relays to the server named in a kubeconfig, and returns that kubeconfig with the relay in its place.
    pub async fn through(kubeconfig: &str) -> Result<(Self, String)> {
        let address = kubeconfig
            .split_once("https://")
            .and_then(|(_, rest)| rest.split(['"', '/', '\n']).next())
            .context("no https server in the kubeconfig")?;
        let link = Self::to(
            address
                .parse()
                .with_context(|| format!("{address} is no address"))?,
        )
        .await?;
        // The certificate names 127.0.0.1 without a port, so nothing else changes.
        let changed = kubeconfig.replace(address, &link.address.to_string());
        Ok((link, changed))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and each new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps all connections and carries nothing any more: no error without an own timeout.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Carries again. What was silenced goes on where it was.
    pub fn heal(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    if whole(&mut state).await.is_none() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let carried = copy_bidirectional(&mut client, &mut server);
    tokio::pin!(carried);
    loop {
        tokio::select! {
            biased;
            changed = state.changed() => {
                // The copy is not polled while this waits, so nothing is carried.
                if changed.is_err() || whole(&mut state).await.is_none() {
                    return;
                }
            }
            _ = &mut carried => return,
        }
    }
}

/// Waits out a silence. `None`: the link is cut or gone.
async fn whole(state: &mut watch::Receiver<State>) -> Option<()> {
    let seen = state.wait_for(|s| *s != State::Silent).await.ok()?;
    (*seen == State::Whole).then_some(())
}
