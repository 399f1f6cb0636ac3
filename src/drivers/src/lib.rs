//! CSI-Addons clients over unix sockets
