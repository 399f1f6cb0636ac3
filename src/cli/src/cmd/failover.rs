//! `lifeboat failover`.

use lifeboat_api::placement::{AcceptedRisk, Action};
use lifeboat_api::policy::FailoverMode;
use lifeboat_kit::{Clock, SystemClock};

use super::relocate::{known_target, request};
use crate::args::{OutputArgs, PlacementArgs, WaitArgs};
use crate::failure::Failure;
use crate::input::{Answer, Person, ask, person};
use crate::output::{Format, answer, print, say};
use crate::placement::{Subject, Wish};
use crate::view::loss;

/// Flags of a failover.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FailoverArgs {
    #[command(flatten)]
    placement: PlacementArgs,
    /// The cluster to bring it up on.
    #[arg(long, value_name = "CLUSTER")]
    to: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Accept that this may go wrong, now and in later failovers; adds to acceptRisks of the spec. Can be repeated.
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
    /// Only show what would be lost.
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What may go wrong, as the spec says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Risk {
    /// The driver cannot say whether its copies are complete; one that is not may be older than the last good one, or empty.
    #[value(name = "UnverifiedCopy")]
    UnverifiedCopy,
}

impl From<Risk> for AcceptedRisk {
    fn from(risk: Risk) -> Self {
        match risk {
            Risk::UnverifiedCopy => Self::UnverifiedCopy,
        }
    }
}

/// Shows what a failover would lose, asks, and asks the hub for it.
pub(crate) async fn run(args: FailoverArgs) -> Result<(), Failure> {
    let subject = Subject::open(&args.placement).await?;
    let placement = subject.get().await?;
    let policy = known_target(&subject, &placement, &args.to).await?;
    let here = placement.status.as_ref().and_then(|s| s.cluster.as_deref());
    if here == Some(args.to.as_str()) {
        return Err(Failure::Refused(format!(
            "{} is on {} already",
            subject.name, args.to
        )));
    }
    if policy.is_some_and(|p| p.spec.failover.mode == FailoverMode::Disabled) {
        let policy = &placement.spec.policy_ref.name;
        return Err(Failure::Refused(format!(
            "policy {policy} forbids failovers (failover.mode: Disabled)"
        )));
    }
    let format = args.output.output;
    let preview = loss::preview(&placement, &args.to, SystemClock.now());
    if args.dry_run {
        return answer(format, &placement, &preview);
    }
    match format {
        Format::Table => print(&preview)?,
        Format::Json | Format::Yaml => say(preview.trim_end()),
    }
    if !args.yes {
        confirm(&subject.name)?;
    }
    let wish = Wish {
        action: Action::Failover,
        to: args.to,
        accept: args
            .accept_risk
            .into_iter()
            .map(AcceptedRisk::from)
            .collect(),
    };
    request(&subject, &placement, &wish, &args.wait, format).await
}

fn confirm(name: &str) -> Result<(), Failure> {
    match person() {
        Person::Away => Err(Failure::Usage(
            "nobody can be asked here: say --yes to accept the loss".to_owned(),
        )),
        Person::There => match ask(
            &mut std::io::stdin().lock(),
            &mut std::io::stderr().lock(),
            name,
        )? {
            Answer::Yes => Ok(()),
            Answer::No => Err(Failure::Refused(
                "not confirmed, nothing was done".to_owned(),
            )),
        },
    }
}
