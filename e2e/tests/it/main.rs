//! Lifeboat against real control planes.

mod by_hand;
mod control_plane;
mod crds;
mod differential;
mod kubectl_sim;
mod moves;
mod program;
mod rows;
mod sites;
mod twins;
