//! Who a driver is.

use std::collections::BTreeSet;

use crate::capability::Capability;

/// Which identity service a driver has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `identity.Identity`, which also lists capabilities.
    CsiAddons,
    /// Only `csi.v1.Identity`: an older driver, which serves replication on its main socket.
    Csi,
}

/// Who a driver says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The driver's name, as classes name it.
    pub name: String,
    /// The vendor's version.
    pub version: String,
    /// Which identity service it has.
    pub flavour: Flavour,
    /// What it offers. An older driver cannot say; it is taken to offer volume replication.
    pub capabilities: BTreeSet<Capability>,
}

impl Identity {
    /// Whether the driver offers this.
    pub fn offers(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// The answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The driver serves.
    Ready,
    /// It is starting.
    Starting,
}
