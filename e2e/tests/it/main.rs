//! Lifeboat against real control planes.

mod control_plane;
mod crds;
mod moves;
mod program;
mod sites;
