//! Tests against real Kubernetes control planes, and what they need to run on one machine without root or containers:
//!
//! - [`ControlPlane`]: etcd, kube-apiserver and kube-controller-manager as plain processes, to freeze, kill and restart.
//! - [`Node`]: a node without a machine; pods run, stop, or refuse to stop, as the test wants.
//! - [`Link`]: a TCP relay between one client and one control plane, to cut or stall.
//! - [`Program`]: the `lifeboat` binary as a child process, with its log.
//! - [`access`]: kubeconfigs of other identities, and kubectl.
//! - [`Kept`]: what tests stand on, made once.
//! - [`placement`]: what the hub says of a placement.
//! - [`objects`]: namespaces, kinds and claims, ready to be used.
//! - [`ceph`]: real storage, two Ceph clusters that mirror each other, and a CSI-Addons driver for it.
//! - [`wait`]: conditions on a watch, with a deadline.
//!
//! The Go programs come from `e2e/build.sh`, which builds them once per machine. Nothing outlives the test process, not
//! even one that is killed.

pub mod access;
pub mod ceph;
mod control_plane;
mod kept;
mod link;
mod node;
pub mod objects;
pub mod placement;
mod program;
mod tools;
pub mod wait;

pub use control_plane::{ControlPlane, Part, StartOptions, client};
pub use kept::{Kept, Story};
pub use link::Link;
pub use node::{Node, Work};
pub use program::Program;
pub use tools::{Tool, tool};
