//! What a row waits for and looks at.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use lifeboat_api::names;
use tokio::time::Instant;

use super::{DRIVER, PATIENCE, World};

impl World {
    /// Who holds the Lease of the driver.
    pub(crate) async fn lease_holder(&self) -> Option<String> {
        self.holder_of(DRIVER).await
    }

    /// Who holds the Lease of a driver.
    pub(crate) async fn holder_of(&self, driver: &str) -> Option<String> {
        self.lease_of(driver).await?.spec?.holder_identity
    }

    async fn lease_of(&self, driver: &str) -> Option<Lease> {
        let api: Api<Lease> = Api::namespaced(self.admin.clone(), &self.ground.system());
        api.get_opt(&names::driver_lease(driver)).await.unwrap()
    }

    /// What the Lease of the driver says of it.
    pub(crate) async fn driver_annotation(&self) -> String {
        let lease = self.lease_of(DRIVER).await;
        let annotations = lease.and_then(|lease| lease.metadata.annotations);
        let told = annotations.and_then(|mut all| all.remove(names::DRIVER));
        told.unwrap_or_default()
    }

    /// `state | message | conditions`, as `Primary | volume is marked primary | Completed=True/Promoted ...`.
    pub(crate) async fn summary(&self, name: &str) -> String {
        let status = self.volume(name).await.status.unwrap_or_default();
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .map(|c| format!("{}={}/{}", c.type_, c.status, c.reason))
            .collect();
        let text = |field: Option<String>| field.unwrap_or_default();
        format!(
            "{} | {} | {}",
            text(status.state),
            text(status.message),
            conditions.join(" ")
        )
    }

    /// Waits until the summary contains `text`, and checks that it speaks of the present generation.
    pub(crate) async fn until_status(&self, name: &str, text: &str) {
        self.until(&format!("{name}: {text}"), async |w| {
            let generation = w.volume(name).await.metadata.generation;
            let status = w.volume(name).await.status.unwrap_or_default();
            w.summary(name).await.contains(text) && status.observed_generation == generation
        })
        .await;
        let volume = self.volume(name).await;
        let status = volume.status.unwrap();
        assert!(
            status
                .conditions
                .iter()
                .all(|c| c.observed_generation == volume.metadata.generation),
            "{status:?}"
        );
    }

    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let mut changes = self.ground.gate().map(|gate| gate.changes());
        let (start, mut looks) = (Instant::now(), 0_u32);
        loop {
            // Before the look: what changes during it is not missed.
            if let Some(changes) = &mut changes {
                changes.mark_unchanged();
            }
            if condition(self).await {
                return;
            }
            looks += 1;
            // A real server's own controllers keep no virtual time: so many looks take them seconds.
            let is_late = start.elapsed() > PATIENCE && (changes.is_none() || looks > 1000);
            let all = if is_late {
                self.all().await
            } else {
                String::new()
            };
            assert!(!is_late, "not reached: {what}\n{all}");
            match &mut changes {
                // Fine at first, coarser later: a long wait is not a thousand requests.
                None => {
                    let pause = (start.elapsed() / 20)
                        .clamp(Duration::from_millis(20), Duration::from_millis(100));
                    tokio::time::sleep(pause).await;
                }
                Some(changes) => {
                    let second = Duration::from_secs(1);
                    drop(tokio::time::timeout(second, changes.changed()).await);
                }
            }
        }
    }

    /// Everything there is, for a test that failed.
    async fn all(&self) -> String {
        let mut all = String::new();
        let params = kube::api::ListParams::default();
        for volume in self.volumes().list(&params).await.unwrap() {
            let name = volume.metadata.name.unwrap_or_default();
            all.extend([name.as_str(), ": ", &self.summary(&name).await, "\n"]);
        }
        let fences = Api::<lifeboat_api::NetworkFence>::all(self.admin.clone());
        for fence in fences.list(&params).await.into_iter().flatten() {
            all.extend([format!("{:?}: {:?}\n", fence.metadata.name, fence.status)]);
        }
        let groups =
            Api::<lifeboat_api::VolumeGroupReplication>::namespaced(self.admin.clone(), &self.ns);
        for group in groups.list(&params).await.into_iter().flatten() {
            all.extend([format!("{:?}: {:?}\n", group.metadata.name, group.status)]);
        }
        let holder = self.lease_holder().await;
        format!("{all}lease: {holder:?}\ncalls: {:?}", self.driver.seen())
    }

    pub(crate) async fn event_reasons(&self) -> Vec<String> {
        self.event_reasons_of(&self.ns).await
    }

    /// An event is written beside the status it speaks of, not before: a row waits for it.
    pub(crate) async fn until_told(&self, reason: &str) {
        self.until_told_in(&self.ns, reason).await;
    }

    /// The same for events about the agent's Leases.
    pub(crate) async fn until_told_in_system(&self, reason: &str) {
        self.until_told_in(&self.ground.system(), reason).await;
    }

    pub(crate) async fn until_told_in(&self, namespace: &str, reason: &str) {
        self.until(&format!("event {reason}"), async |w| {
            let reasons = w.event_reasons_of(namespace).await;
            reasons.iter().any(|told| told == reason)
        })
        .await;
    }

    async fn event_reasons_of(&self, namespace: &str) -> Vec<String> {
        use k8s_openapi::api::events::v1::Event;
        let api: Api<Event> = Api::namespaced(self.admin.clone(), namespace);
        let all = api.list(&kube::api::ListParams::default()).await.unwrap();
        all.into_iter().filter_map(|e| e.reason).collect()
    }
}
