//! CSI-Addons messages and services, generated from proto/
