//! What follows from the seed of a laboratory: one seed, one run.

use std::time::Duration;

use lifeboat_sim::world::{HUB, World};

use super::LabError;

/// Gives each link from the hub a small delay that follows from the seed.
pub(super) fn delay_links(world: &World, seed: u64) -> Result<(), LabError> {
    if seed == 0 {
        return Ok(());
    }
    for (n, site) in (1u64..).zip(world.sites()) {
        let micros = mix(seed.wrapping_mul(1_000_003).wrapping_add(n)) % 9_000;
        world.slow(HUB, &site.name, Duration::from_micros(1_000 + micros))?;
    }
    Ok(())
}

/// One round of splitmix64.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
