//! Telling what happens while it happens.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, api::ListParams};

use super::{Check, Kind, Teller, Told};
use crate::lab::{Lab, Line, Topic};

/// Tells the chronicle of a laboratory in plain words, and keeps what was claimed.
pub(super) struct Narrator<'t> {
    lab: Arc<Lab>,
    teller: &'t mut dyn Teller,
    seen: usize,
    /// Names of claims by the handles of their volumes.
    claims: BTreeMap<String, String>,
    pub(super) checks: Vec<Check>,
}

impl<'t> Narrator<'t> {
    pub(super) fn new(lab: &Arc<Lab>, teller: &'t mut dyn Teller) -> Self {
        Self {
            lab: Arc::clone(lab),
            teller,
            seen: 0,
            claims: BTreeMap::new(),
            checks: Vec::new(),
        }
    }

    /// Tells something now.
    pub(super) fn say(&mut self, kind: Kind, text: impl Into<String>) {
        self.catch_up();
        let at = self.lab.chronicle().elapsed();
        self.teller.tell(&Told {
            at,
            kind,
            text: text.into(),
        });
    }

    /// Claims something; whether it holds is told and kept.
    pub(super) fn claim(&mut self, what: impl Into<String>, failed: Option<String>) {
        let what = what.into();
        match &failed {
            None => self.say(Kind::Good, what.clone()),
            Some(why) => self.say(Kind::Bad, format!("{what}: {why}")),
        }
        self.checks.push(Check { what, failed });
    }

    /// Tells what happens until `work` is done.
    pub(super) async fn while_telling<T>(&mut self, work: impl Future<Output = T>) -> T {
        let lab = Arc::clone(&self.lab);
        let mut written = lab.chronicle().written();
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    self.catch_up();
                    return done;
                }
                news = written.changed() => {
                    if news.is_ok() {
                        self.catch_up();
                    }
                }
            }
        }
    }

    fn catch_up(&mut self) {
        let lines = self.lab.chronicle().since(self.seen);
        self.seen += lines.len();
        for line in lines {
            let told = self.reword(line);
            self.teller.tell(&told);
        }
    }

    fn reword(&self, line: Line) -> Told {
        let kind = match line.topic {
            Topic::Verb => Kind::Deed,
            Topic::Placement => Kind::Hub,
            Topic::Array => Kind::Storage,
            Topic::Broken => Kind::Bad,
        };
        let text = self.claims.iter().fold(line.text, |text, (handle, claim)| {
            text.replace(handle, claim)
        });
        Told {
            at: line.at,
            kind,
            text,
        }
    }

    /// Learns which claim has which volume.
    pub(super) async fn learn_names(&mut self) {
        for site in self.lab.world().sites() {
            let api = Api::<PersistentVolume>::all(site.api.admin());
            let Ok(all) = api.list(&ListParams::default()).await else {
                continue;
            };
            for spec in all.into_iter().filter_map(|pv| pv.spec) {
                if let (Some(csi), Some(Some(claim))) = (spec.csi, spec.claim_ref.map(|c| c.name)) {
                    self.claims.insert(csi.volume_handle, claim);
                }
            }
        }
    }
}
