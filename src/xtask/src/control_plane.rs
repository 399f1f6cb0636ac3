//! `cargo xtask control-plane` and `cargo xtask kubectl`: the programs of the e2e tests, for a developer's own use.

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use clap::Subcommand;

use crate::command::{command, output, root, run as run_command};

/// What to do with a control plane.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the program, if this machine has not yet, and print where it is.
    Build,
    /// Start a control plane, or what does not run of it, and print its kubeconfig's path.
    Start { name: String },
    /// End it; its data stays.
    Stop { name: String },
    /// End it and delete its data.
    Destroy { name: String },
    /// Which run, with process ids, memory and CPU seconds.
    Ps,
    /// Make it silent: a lost site.
    Freeze { name: String },
    /// Let it go on.
    Thaw { name: String },
}

/// What kubectl is told.
#[derive(clap::Args)]
pub(crate) struct KubectlArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = build("control-plane")?;
    let plane = |args: &[&str]| run_command(script(&program).args(args));
    match &args.verb {
        Verb::Build => println!("{}", program.display()),
        Verb::Start { name } => {
            plane(&["start", name])?;
            println!("{}", home().join(name).join("admin.kubeconfig").display());
        }
        Verb::Stop { name } => plane(&["stop", name])?,
        Verb::Destroy { name } => plane(&["destroy", name])?,
        Verb::Ps => plane(&["ps"])?,
        Verb::Freeze { name } => plane(&["freeze", name])?,
        Verb::Thaw { name } => plane(&["thaw", name])?,
    }
    Ok(())
}

/// Prints the path of kubectl, or runs it.
pub(crate) fn kubectl(args: &KubectlArgs) -> Result<()> {
    let program = build("kubectl")?;
    if args.rest.is_empty() {
        println!("{}", program.display());
        return Ok(());
    }
    run_command(command(program).args(&args.rest))
}

/// Builds a Go program under `e2e/` unless it is there, and returns its path.
fn build(which: &str) -> Result<PathBuf> {
    let path = output(command(root().join("e2e/build.sh")).arg(which))?;
    Ok(PathBuf::from(path.trim()))
}

fn script(program: &PathBuf) -> Command {
    let mut script = command(root().join("e2e/control-plane/controlplane.sh"));
    script.env("CP_BIN", program).env("CP_ROOT", home());
    script
}

/// Where a developer's control planes live. Short: the path of a unix socket has room for 107 bytes.
fn home() -> PathBuf {
    std::env::var_os("CP_ROOT")
        .map_or_else(|| std::env::temp_dir().join("lifeboat-cp"), PathBuf::from)
}
