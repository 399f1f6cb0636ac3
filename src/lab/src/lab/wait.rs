//! Waiting for things to happen, and saying what there was instead when they do not.

use std::{fmt::Write as _, time::Duration};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use lifeboat_api::DRPlacement;

use super::{Lab, LabError, Look};

impl Lab {
    /// Waits until the application's DRPlacement is as `ok` wants it; an invariant broken meanwhile is an error.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        ok: impl Fn(&DRPlacement) -> bool,
    ) -> Result<DRPlacement, LabError> {
        self.wait(what, within, || self.placement().filter(|p| ok(p)))
            .await
    }

    /// Waits until the status speaks of the present spec and the placement is at rest on `cluster`, protected again.
    pub async fn settled_on(
        &self,
        cluster: &str,
        within: Duration,
    ) -> Result<DRPlacement, LabError> {
        let what = format!("{} steady and protected on {cluster}", self.key());
        self.until(&what, within, |p| p.settled_on(cluster)).await
    }

    /// Waits until `look` finds something; it looks at each change of any DRPlacement.
    pub async fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn() -> Option<T>,
    ) -> Result<T, LabError> {
        let mut changes = self.book().changes();
        let found = tokio::time::timeout(within, async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = look() {
                    return Some(found);
                }
                if !self.violations().is_empty() || changes.changed().await.is_err() {
                    return None;
                }
            }
        });
        let found = found.await;
        self.check().await?;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) | Err(_) => Err(LabError::Timeout {
                what: what.to_owned(),
                within,
                dump: self.dump().await,
            }),
        }
    }

    /// Asks again and again, for things that no watch tells of.
    pub async fn poll<F>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn() -> F,
    ) -> Result<(), LabError>
    where
        F: Future<Output = Result<bool, LabError>>,
    {
        let found = tokio::time::timeout(within, async {
            while !look().await? {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        });
        match found.await {
            Ok(done) => done,
            Err(_) => Err(LabError::Timeout {
                what: what.to_owned(),
                within,
                dump: self.dump().await,
            }),
        }
    }

    /// An error if an invariant was broken so far, or if a program lacked a right: it may well get along without, by
    /// trying again, and then nothing else shows it.
    pub async fn check(&self) -> Result<(), LabError> {
        let mut broken = self.violations();
        broken.extend(self.refusals());
        if broken.is_empty() {
            Ok(())
        } else {
            Err(LabError::Broken {
                broken,
                dump: self.dump().await,
            })
        }
    }

    /// Everything that helps to see why something did not happen.
    pub async fn dump(&self) -> String {
        let mut text = String::new();
        if let Some(mut p) = self.placement() {
            p.metadata.managed_fields = None;
            let yaml = serde_saphyr::to_string(&p).unwrap_or_else(|e| e.to_string());
            text += &format!("--- placement\n{yaml}");
        }
        text += "\n--- events\n";
        let events: Api<Event> = Api::all(self.hub_client());
        if let Ok(events) = events.list(&ListParams::default()).await {
            for e in events {
                let reason = e.reason.unwrap_or_default();
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{reason}: {}", e.note.unwrap_or_default());
            }
        }
        text += &format!("\n--- records\n{:?}\n", self.ledger());
        for volume in self.world().fabric().volumes() {
            let _ = writeln!(
                text,
                "{volume} primary on {:?}",
                self.world().fabric().primaries(&volume)
            );
        }
        text += &format!("\n--- log\n{}", self.log());
        text
    }
}
