//! What can happen to a world, in the words of a scenario.

use std::time::Duration;

use super::{HUB, World, WorldError, pair};
use crate::storage::Power;

impl World {
    /// The site loses power: API server, node, pods, driver and array are gone at once. Who calls it is refused.
    pub fn kill_site(&self, name: &str) -> Result<(), WorldError> {
        let site = self.site(name)?;
        site.power.send_replace(Power::Off);
        site.workload.stop_all();
        site.driver.go_away();
        site.array.power_off();
        site.api.stop();
        Ok(())
    }

    /// As [`kill_site`](Self::kill_site), and who calls it gets no answer at all.
    pub fn black_out(&self, name: &str) -> Result<(), WorldError> {
        self.kill_site(name)?;
        self.site(name)?.api.freeze();
        Ok(())
    }

    /// The site comes back as it was: old objects, old content and old roles, and its old pods start again.
    pub fn revive_site(&self, name: &str) -> Result<(), WorldError> {
        let site = self.site(name)?;
        site.array.power_on();
        site.api.start();
        site.driver.come_back();
        site.power.send_replace(Power::On);
        Ok(())
    }

    /// Two places see each other no more: calls get no answer, and between sites replication stops.
    pub fn partition(&self, one: &str, other: &str) -> Result<(), WorldError> {
        self.link(one, other)?.cut();
        self.cut.lock().insert(pair(one, other));
        if are_sites(one, other) {
            self.fabric.cut(one, other).map_err(Into::into)
        } else {
            Ok(())
        }
    }

    /// Two places see each other again.
    pub fn heal(&self, one: &str, other: &str) -> Result<(), WorldError> {
        self.link(one, other)?.heal();
        self.cut.lock().remove(&pair(one, other));
        if are_sites(one, other) {
            self.fabric.heal(one, other).map_err(Into::into)
        } else {
            Ok(())
        }
    }

    /// All links are whole again.
    pub fn heal_all(&self) -> Result<(), WorldError> {
        let cut: Vec<_> = self.cut.lock().iter().cloned().collect();
        cut.iter()
            .try_for_each(|(one, other)| self.heal(one, other))
    }

    /// Replication stops between two sites while all else goes on.
    pub fn cut_replication(&self, one: &str, other: &str) -> Result<(), WorldError> {
        self.fabric.cut(one, other).map_err(Into::into)
    }

    /// Replication goes on between two sites.
    pub fn heal_replication(&self, one: &str, other: &str) -> Result<(), WorldError> {
        self.fabric.heal(one, other).map_err(Into::into)
    }

    /// Each call between two places takes this long.
    pub fn slow(&self, one: &str, other: &str, round_trip: Duration) -> Result<(), WorldError> {
        self.link(one, other)
            .map(|link| link.set_latency(round_trip))
    }
}

fn are_sites(one: &str, other: &str) -> bool {
    one != other && one != HUB && other != HUB
}
