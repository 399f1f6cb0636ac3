//! The story that `lifeboat demo` tells: an application is protected, moved, struck by disaster and brought home, by
//! the real programs over HTTPS, in real time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lifeboat_sim::clock::SimClock;

use crate::lab::{Lab, LabError, LabSpec, Transport};

mod chapters;
mod demo;
mod narrate;

pub use demo::{Answer, Demo};

/// What can be chosen.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the kubeconfig goes; somewhere temporary if absent.
    pub kubeconfig: Option<PathBuf>,
}

/// Who tells the story: to a terminal, to a file, to a test.
pub trait Teller: Send {
    /// Tells one thing.
    fn tell(&mut self, told: &Told);
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Time since the laboratory started.
    pub at: Duration,
    /// What kind of thing.
    pub kind: Kind,
    /// In plain words, one line.
    pub text: String,
}

/// Kinds of things that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new chapter begins.
    Chapter,
    /// Somebody, or fate, does something.
    Deed,
    /// The hub moved on.
    Hub,
    /// A storage array changed a role.
    Storage,
    /// A number was measured.
    Measure,
    /// Something is as it must be.
    Good,
    /// Something is not.
    Bad,
    /// Something else worth knowing.
    Note,
}

/// A claim of the story, and whether it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was claimed.
    pub what: String,
    /// What was found instead, if it did not hold.
    pub failed: Option<String>,
}

/// A story that was told, and the world in which it happened, still alive.
#[derive(Debug)]
pub struct Story {
    /// Every claim, in order.
    pub checks: Vec<Check>,
    /// The living world.
    pub demo: Demo,
}

impl Story {
    /// Whether everything was as it must be.
    pub fn all_well(&self) -> bool {
        !self.checks.is_empty() && self.failures().next().is_none()
    }

    /// What was not.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.failed.is_some())
    }
}

/// Tells the whole story. An error means that the world could not be set up; what goes wrong later is in the checks.
pub async fn run(options: &Options, teller: &mut dyn Teller) -> Result<Story, LabError> {
    let spec = LabSpec {
        transport: Transport::Https,
        ..LabSpec::new(SimClock::system(), 2)
    };
    tell_in(spec, options, teller).await
}

/// The same in a laboratory of your choice.
pub async fn tell_in(
    spec: LabSpec,
    options: &Options,
    teller: &mut dyn Teller,
) -> Result<Story, LabError> {
    let lab = Arc::new(Lab::start(spec).await?);
    let kubeconfig = lab.write_kubeconfig(options.kubeconfig.as_deref())?;
    let mut narrator = narrate::Narrator::new(&lab, teller);
    if let Some(path) = &kubeconfig {
        narrator.say(
            Kind::Note,
            format!(
                "kubeconfig with contexts hub, east, west, north: {}",
                path.display()
            ),
        );
    }
    let checks = chapters::all(&lab, &mut narrator).await;
    let demo = Demo::new(lab, kubeconfig, narrator.end());
    Ok(Story { checks, demo })
}
