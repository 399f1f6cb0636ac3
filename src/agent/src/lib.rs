//! The agent: VolumeReplication over CSI-Addons
