//! Lifeboat on real storage: Ceph clusters that mirror each other.

