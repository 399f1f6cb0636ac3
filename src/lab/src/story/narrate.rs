//! Telling what happens while it happens.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{Api, api::ListParams};

use super::{Check, Kind, Teller, Told};
use crate::lab::{Lab, Line, Topic};

/// The chronicle of a laboratory in plain words, from where it was last read.
#[derive(Debug)]
pub(super) struct Timeline {
    lab: Arc<Lab>,
    seen: usize,
    /// Names of claims by the handles of their volumes.
    claims: BTreeMap<String, String>,
}

impl Timeline {
    fn new(lab: &Arc<Lab>) -> Self {
        Self {
            lab: Arc::clone(lab),
            seen: 0,
            claims: BTreeMap::new(),
        }
    }

    /// What is new.
    fn read(&mut self) -> Vec<Told> {
        let lines = self.lab.chronicle().since(self.seen);
        self.seen += lines.len();
        lines.into_iter().map(|line| self.reword(line)).collect()
    }

    /// Waits for something new.
    pub(super) async fn next(&mut self) -> Vec<Told> {
        let mut written = self.lab.chronicle().written();
        loop {
            let news = self.read();
            if !news.is_empty() || written.changed().await.is_err() {
                return news;
            }
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
}

/// Tells the timeline, and keeps what was claimed.
pub(super) struct Narrator<'t> {
    timeline: Timeline,
    teller: &'t mut dyn Teller,
    pub(super) checks: Vec<Check>,
}

impl<'t> Narrator<'t> {
    pub(super) fn new(lab: &Arc<Lab>, teller: &'t mut dyn Teller) -> Self {
        Self {
            timeline: Timeline::new(lab),
            teller,
            checks: Vec::new(),
        }
    }

    /// The end of the telling; the timeline goes on.
    pub(super) fn end(self) -> Timeline {
        self.timeline
    }

    /// Tells something now.
    pub(super) fn say(&mut self, kind: Kind, text: impl Into<String>) {
        self.catch_up();
        let at = self.timeline.lab.chronicle().elapsed();
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
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    self.catch_up();
                    return done;
                }
                news = self.timeline.next() => {
                    for told in &news {
                        self.teller.tell(told);
                    }
                }
            }
        }
    }

    fn catch_up(&mut self) {
        for told in self.timeline.read() {
            self.teller.tell(&told);
        }
    }

    /// Learns which claim has which volume.
    pub(super) async fn learn_names(&mut self) {
        for site in self.timeline.lab.world().sites() {
            let api = Api::<PersistentVolume>::all(site.api.admin());
            let Ok(all) = api.list(&ListParams::default()).await else {
                continue;
            };
            for spec in all.into_iter().filter_map(|pv| pv.spec) {
                if let (Some(csi), Some(Some(claim))) = (spec.csi, spec.claim_ref.map(|c| c.name)) {
                    self.timeline.claims.insert(csi.volume_handle, claim);
                }
            }
        }
    }
}
