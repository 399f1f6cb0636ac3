//! Lifeboat on real storage: two Ceph clusters that mirror each other.

mod clusters;
mod disaster;
mod driver;
mod ground;
mod hub;
mod kept;
