//! Running other programs from the repository's root.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`; what was compiled in counts for a binary that is called directly.
    let own =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = PathBuf::from(own);
    own.parent()
        .and_then(Path::parent)
        .map_or(own.clone(), Path::to_path_buf)
}

/// Where built test programs are kept; as `e2e/build.sh` has it.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("LIFEBOAT_CACHE").map_or_else(|| root().join(".work"), PathBuf::from)
}

/// A program to run from the root, without what `cargo run` tells this program about itself: cargo passes it on to build
/// scripts, which would then run again.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// The cargo that runs us, with these words as its arguments.
pub(crate) fn cargo(args: &str) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args.split_whitespace());
    cargo
}

/// Runs it with our own output, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not run {}", shown(command)))?;
    ensure!(status.success(), "{}: {status}", shown(command));
    Ok(())
}

/// Runs it and returns what it printed; what it said on stderr stays on ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not run {}", shown(command)))?;
    ensure!(out.status.success(), "{}: {}", shown(command), out.status);
    Ok(String::from_utf8(out.stdout)?)
}

/// Whether it runs at all and ends well.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A program that was built beside this one, or one in a folder there.
pub(crate) fn beside(path: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.parent().context("no target directory")?;
    Ok(dir.join(path))
}

/// The command line, as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        let _ = write!(line, " {}", arg.to_string_lossy()); // a String takes everything
    }
    line
}
