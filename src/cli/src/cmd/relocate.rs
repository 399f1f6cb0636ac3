//! `lifeboat relocate`.

use lifeboat_api::placement::Action;
use lifeboat_kit::{Clock, SystemClock};

use crate::args::{OutputArgs, PlacementArgs, WaitArgs};
use crate::failure::Failure;
use crate::follow::follow;
use crate::output::{Format, answer, say};
use crate::placement::{Subject, Wish};

/// Flags of a relocation.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RelocateArgs {
    #[command(flatten)]
    placement: PlacementArgs,
    /// The cluster to move it to.
    #[arg(long, value_name = "CLUSTER")]
    to: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks for a relocation, and follows it if told to.
pub(crate) async fn run(args: RelocateArgs) -> Result<(), Failure> {
    let subject = Subject::open(&args.placement).await?;
    let placement = subject.get().await?;
    let wish = Wish {
        action: Action::Relocate,
        to: args.to,
        accept: Vec::new(),
    };
    known_target(&subject, &placement, &wish.to).await?;
    if wish.is_fulfilled(&placement) {
        let words = format!(
            "{} is on {} already, and is wanted there: nothing to do\n",
            subject.name, wish.to
        );
        return answer(args.output.output, &placement, &words);
    }
    request(&subject, &placement, &wish, &args.wait, args.output.output).await
}

/// Writes the wish and follows it if told to.
pub(crate) async fn request(
    subject: &Subject,
    placement: &lifeboat_api::DRPlacement,
    wish: &Wish,
    wait: &WaitArgs,
    format: Format,
) -> Result<(), Failure> {
    let patch = wish.patch(&placement.spec, &SystemClock.now().to_string());
    let patched = subject.patch(&patch).await?;
    let verb = match wish.action {
        Action::Relocate => "relocation",
        Action::Failover => "failover",
    };
    let text = format!("{verb} of {} to {} is asked for", subject.name, wish.to);
    if wait.wait {
        say(&text);
        return follow(
            subject,
            wish,
            patched.metadata.generation.unwrap_or(0),
            wait.timeout,
            format,
        )
        .await;
    }
    let words = format!(
        "{text}; see it with: lifeboat status {} -n {}\n",
        subject.name, subject.namespace
    );
    answer(format, &patched, &words)
}

/// Refuses a target that the policy does not name. A policy that cannot be read refuses nothing: the hub will.
pub(crate) async fn known_target(
    subject: &Subject,
    placement: &lifeboat_api::DRPlacement,
    to: &str,
) -> Result<Option<lifeboat_api::DRPolicy>, Failure> {
    let policy = match subject.policy(placement).await {
        Ok(policy) => policy,
        Err(error) => {
            say(&format!(
                "the policy cannot be read, so the target is not checked here: {}",
                error.full()
            ));
            return Ok(None);
        }
    };
    if policy.spec.clusters.iter().any(|c| c == to) {
        return Ok(Some(policy));
    }
    Err(Failure::Refused(format!(
        "policy {} does not name cluster {to}; it names {}",
        placement.spec.policy_ref.name,
        policy.spec.clusters.join(", ")
    )))
}
