//! `cargo xtask test`: every check and every test, in one command. What CI runs.

use std::{
    fs::File,
    path::PathBuf,
    process::Command,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    command::{beside, cache, cargo, command, root, run as run_command, shown, works},
    tidy,
};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this.
    #[arg(long)]
    only: Option<Stage>,
    /// Leave out the tests against real control planes, which need a Go build of some minutes, once; and those on real storage.
    #[arg(long, conflicts_with = "only")]
    no_e2e: bool,
    /// Leave out the tests on real storage, for which apt installs Ceph, once.
    #[arg(long, conflicts_with = "only")]
    no_ceph: bool,
    /// Also check licences, banned crates and sources; installs cargo-deny if it is missing.
    #[arg(long)]
    deny: bool,
}

/// A part of the run, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// cargo fmt.
    Fmt,
    /// Compile all targets.
    Build,
    /// clippy, with warnings as errors.
    Lint,
    /// The house rules.
    Tidy,
    /// Licences, banned crates, sources.
    Deny,
    /// All tests but those against real control planes; also the lab's, and doc tests.
    Unit,
    /// The system tests on the simulated world alone; a part of `unit`.
    Lab,
    /// A disaster and the recovery from it, by the binary a user gets.
    Demo,
    /// The tests against real control planes.
    E2e,
    /// The tests on real storage: two Ceph clusters, which apt installs if need be.
    Ceph,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Build => "build",
            Self::Lint => "lint",
            Self::Tidy => "tidy",
            Self::Deny => "deny",
            Self::Unit => "unit",
            Self::Lab => "lab",
            Self::Demo => "demo",
            Self::E2e => "e2e",
            Self::Ceph => "ceph",
        }
    }
}

/// What the e2e tests need besides Rust, being made ready beside everything else: the Go programs, and Ceph.
type Programs = JoinHandle<Result<()>>;

/// Runs the stages in order and prints a table. The first that fails ends the run.
pub(crate) fn run(args: &Args) -> Result<()> {
    let stages = stages(args);
    components(&stages)?;
    let ceph = stages.contains(&Stage::Ceph);
    let real = ceph || stages.contains(&Stage::E2e);
    if real {
        go()?;
    }
    let mut programs = real.then(|| make_ready(ceph));
    let mut table = Vec::new();
    let mut end = Ok(());
    for stage in stages {
        println!("\n=== {} ===", stage.name());
        let start = now();
        let result = run_stage(stage, &mut programs);
        let took = start.elapsed();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        table.push(row(stage.name(), word, took));
        if let Err(error) = result {
            end = Err(error.context(format!("stage {} failed", stage.name())));
            break;
        }
    }
    println!(
        "\n{}\n{}",
        row("stage", "result", Duration::ZERO).replace("0.0 s", "seconds"),
        table.join("\n")
    );
    end
}

fn row(stage: &str, result: &str, took: Duration) -> String {
    format!(
        "{stage:<8} {result:<8} {:>8}",
        format!("{:.1} s", took.as_secs_f64())
    )
}

/// Which stages these arguments mean, in order.
fn stages(args: &Args) -> Vec<Stage> {
    if let Some(only) = args.only {
        return vec![only];
    }
    // The build comes before lint and tidy: its errors are the clearest, and all later test stages use what it made.
    let mut stages = vec![Stage::Fmt, Stage::Build, Stage::Lint, Stage::Tidy];
    if args.deny {
        stages.push(Stage::Deny);
    }
    stages.extend([Stage::Unit, Stage::Demo]);
    if !args.no_e2e {
        stages.push(Stage::E2e);
        if !args.no_ceph {
            stages.push(Stage::Ceph);
        }
    }
    stages
}

// All cargo calls select the whole workspace, and then what of it: with another selection cargo may choose other features
// for the dependencies, and compile them again.
fn run_stage(stage: Stage, programs: &mut Option<Programs>) -> Result<()> {
    match stage {
        Stage::Fmt => step(&mut cargo("fmt --all --check")),
        Stage::Build => step(&mut build()),
        Stage::Lint => step(&mut cargo(
            "clippy --workspace --all-targets --locked -- -D warnings",
        )),
        Stage::Tidy => tidy::run(),
        Stage::Deny => deny(),
        Stage::Unit => step(&mut cargo(
            "test --workspace --locked --exclude lifeboat-e2e",
        )),
        Stage::Lab => step(&mut cargo("test --package lifeboat-lab --locked")),
        Stage::Demo => {
            step(&mut build())?;
            step(command(beside("lifeboat")?).args(["demo", "--once"]))
        }
        Stage::E2e => {
            step(&mut build())?;
            wait_for(programs)?;
            step(&mut cargo("test --workspace --locked --test e2e"))
        }
        Stage::Ceph => {
            step(&mut build())?;
            wait_for(programs)?;
            step(&mut cargo("test --workspace --locked --test ceph"))?;
            step(&mut command(beside("test-csi-replication")?))
        }
    }
}

/// Waits for what is made ready in the background, if it is not yet.
fn wait_for(programs: &mut Option<Programs>) -> Result<()> {
    let Some(programs) = programs.take() else {
        return Ok(());
    };
    println!("waiting for the Go programs and for Ceph, if they are not ready yet");
    let ended = programs.join();
    ended.map_err(|_| anyhow::anyhow!("what makes the programs ready panicked"))?
}

/// Compiles everything, also the binary. Not the binary alone: without the tests' own features it would be compiled anew.
pub(crate) fn build() -> Command {
    cargo("build --workspace --all-targets --locked")
}

/// Says what it runs, and runs it.
pub(crate) fn step(command: &mut Command) -> Result<()> {
    println!("{}", shown(command));
    run_command(command)
}

/// A fresh toolchain may come without formatter and linter.
fn components(stages: &[Stage]) -> Result<()> {
    for (stage, program, component) in [
        (Stage::Fmt, "fmt", "rustfmt"),
        (Stage::Lint, "clippy", "clippy"),
    ] {
        if stages.contains(&stage) && !works(&mut cargo(&format!("{program} --version"))) {
            step(command("rustup").args(["component", "add", component]))
                .with_context(|| format!("{component} is missing and could not be installed"))?;
        }
    }
    Ok(())
}

/// Go builds the control planes. That it is missing is said now, and not after all other stages.
pub(crate) fn go() -> Result<()> {
    // Where e2e/build.sh finds what was built before; whether that is of today it says itself.
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let user = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home);
    let built = cache().join("bin").exists() || user.is_some_and(|u| u.join("lifeboat").exists());
    let there = ["go", "/usr/local/go/bin/go"]
        .iter()
        .any(|go| works(command(go).arg("version")));
    ensure!(
        there || built,
        "the tests against real control planes need Go 1.24 or newer, and none is found: install it (https://go.dev/dl, \
         or a package of your system), or leave these tests out with --no-e2e"
    );
    Ok(())
}

/// Makes ready in the background, at low priority, what the e2e tests need: it is wanted last. Ceph first, which is seconds.
fn make_ready(ceph: bool) -> Programs {
    std::thread::spawn(move || {
        std::fs::create_dir_all(cache())?;
        let install = ceph.then_some(("Ceph", "e2e/ceph/install.sh", None));
        let build = "e2e/build.sh";
        let plane = ("control-plane", build, Some("control-plane"));
        let programs = [plane, ("kubectl", build, Some("kubectl"))];
        for (what, script, argument) in install.into_iter().chain(programs) {
            let log = cache().join(format!("{what}.log"));
            let out = File::create(&log)?;
            let mut make = command("nice");
            make.arg(root().join(script)).args(argument);
            make.stdout(out.try_clone()?).stderr(out);
            if !make.status().context("could not run nice")?.success() {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{what} could not be made ready:\n{text}");
            }
        }
        Ok(())
    })
}

fn deny() -> Result<()> {
    if !works(&mut cargo("deny --version")) {
        step(&mut cargo("install --locked cargo-deny"))?;
    }
    let mut check = cargo("deny --workspace check bans licenses sources");
    let passed = check
        .status()
        .with_context(|| format!("could not run {}", shown(&check)))?;
    ensure!(
        passed.success(),
        "what comes into the build is not as deny.toml says"
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a stopwatch for a person; nothing is decided by it"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: Option<Stage>, left_out: Option<Stage>) -> Vec<&'static str> {
        stages(&Args {
            only,
            no_e2e: left_out == Some(Stage::E2e),
            no_ceph: left_out == Some(Stage::Ceph),
            deny: false,
        })
        .into_iter()
        .map(Stage::name)
        .collect()
    }

    #[test]
    fn everything_runs_unless_told_otherwise() {
        assert_eq!(
            names(None, None),
            [
                "fmt", "build", "lint", "tidy", "unit", "demo", "e2e", "ceph"
            ]
        );
        assert_eq!(
            names(None, Some(Stage::Ceph)),
            ["fmt", "build", "lint", "tidy", "unit", "demo", "e2e"]
        );
        assert_eq!(
            names(None, Some(Stage::E2e)),
            ["fmt", "build", "lint", "tidy", "unit", "demo"]
        );
        assert_eq!(names(Some(Stage::Ceph), None), ["ceph"]);
    }
}
