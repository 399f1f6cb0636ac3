//! Clients that never wait for ever.
//!
//! kube-runtime's watcher opens a watch again without telling, and neither that nor its list has a deadline: a server
//! that takes the request and never answers would freeze what we know, while other connections show it alive.

use std::time::Duration;

use kube::{Client, Config, Error};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How much longer than a watch a connection may say nothing: the server ends a watch by itself.
const GRACE: Duration = Duration::from_secs(10);

/// A client whose connections are made within 5 s and given up when nothing comes over them for `longest_watch` and
/// 10 s more. `longest_watch` is the timeout of the watches that will be opened with it: a healthy one that has nothing
/// to tell says nothing for as long.
///
/// # Errors
/// The certificates, keys or address of `config` cannot be used.
pub fn bounded(mut config: Config, longest_watch: Duration) -> Result<Client, Error> {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(longest_watch + GRACE);
    // A request on a connection that was idle starts anew.
    config.reset_reader_on_write = true;
    Client::try_from(config)
}
