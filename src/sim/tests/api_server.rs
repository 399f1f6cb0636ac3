//! The simulated API server, as real kube clients see it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is how a failure is told"
)]

mod api_server {
    mod access;
    mod apply;
    mod builtins;
    mod controller;
    mod custom;
    mod discovery;
    mod https;
    mod lifecycle;
    mod links;
    mod objects;
    mod table;
    mod watches;
    mod world;
}
