//! The `lifeboat` binary as a child process.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How much of a log a failing test shows.
const TAIL: usize = 60;

/// A `lifeboat` process. It is killed on drop, and when the test process ends in any other way.
///
/// Its output goes to a log; the end of it is printed if the test fails.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    // Ends the child when this process is killed, for then no destructor runs.
    _watcher: Child,
    log: PathBuf,
    /// Nobody needs its log any more.
    done: bool,
    _folder: TempDir,
}

impl Program {
    /// Starts `lifeboat ARGS` with these further environment variables. `name` is what the test calls it.
    pub fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::start_other(&Self::binary()?, name, args, env)
    }

    /// Starts another program the same way.
    pub fn start_other(
        binary: &Path,
        name: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lb-").tempdir()?;
        let log = folder.path().join(format!("{name}.log"));
        let out = std::fs::File::create(&log)?;
        let child = Command::new(binary)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", binary.display()))?;
        let watcher = watch(child.id(), folder.path())?;
        Ok(Self {
            name: name.to_owned(),
            child,
            _watcher: watcher,
            log,
            done: false,
            _folder: folder,
        })
    }

    /// The binary under test: `LIFEBOAT_BIN`, or the one beside this test program.
    pub fn binary() -> Result<PathBuf> {
        if let Some(path) = std::env::var_os("LIFEBOAT_BIN") {
            return Ok(PathBuf::from(path));
        }
        Self::beside("lifeboat")
    }

    /// A program of the workspace that was built together with this one.
    pub fn beside(name: &str) -> Result<PathBuf> {
        let own = std::env::current_exe()?;
        // target/debug/NAME, or for a test target/debug/deps/NAME-HASH
        let mut folder = own.parent().context("no target directory")?;
        if folder.ends_with("deps") {
            folder = folder.parent().context("no target directory")?;
        }
        let beside = folder.join(name);
        ensure!(
            beside.is_file(),
            "no {}: build it first with cargo build --workspace --all-targets (for lifeboat: or set LIFEBOAT_BIN)",
            beside.display()
        );
        Ok(beside)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it with SIGKILL and waits for its end.
    pub async fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("could not kill {}", self.name))
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM").await?;
        let end = tokio::time::timeout(crate::wait::LIMIT, self.child.wait()).await;
        Ok(end.with_context(|| format!("{} did not end on SIGTERM", self.name))??)
    }

    /// Asks it to end as [`stop`](Self::stop) does; an error if it does not end well. Its log is not shown.
    pub async fn end(mut self) -> Result<()> {
        let status = self.stop().await?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        self.done = true;
        Ok(())
    }

    /// All went well: its log is not shown at its end.
    pub fn went_well(&mut self) {
        self.done = true;
    }

    /// Stops it in its tracks with SIGSTOP: a hung process, or a machine that pauses.
    pub async fn freeze(&self) -> Result<()> {
        self.signal("STOP").await
    }

    /// Lets it go on after a freeze.
    pub async fn thaw(&self) -> Result<()> {
        self.signal("CONT").await
    }

    /// What it has printed so far.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| format!("no log of {}", self.name))
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Runs `lifeboat ARGS` to its end and returns what it printed; an error has its stderr.
    pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Result<String> {
        let mut command = Command::new(Self::binary()?);
        command
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let out = tokio::time::timeout(crate::wait::LIMIT, command.output())
            .await
            .with_context(|| format!("lifeboat {} does not end", args.join(" ")))??;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "lifeboat {}: {}: {said}",
            args.join(" "),
            out.status
        );
        Ok(String::from_utf8(out.stdout)?)
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let pid = self
            .child
            .id()
            .with_context(|| format!("{} has ended", self.name))?;
        // The shell's own kill: no unsafe code here, and no package to install.
        let mut kill = Command::new("bash");
        let done = kill
            .args([
                "-c",
                "kill -s \"$1\" \"$2\"",
                "kill",
                signal,
                &pid.to_string(),
            ])
            .status()
            .await?;
        ensure!(
            done.success(),
            "could not send {signal} to {} ({pid})",
            self.name
        );
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The test harness keeps what a test prints, and shows it only if the test fails.
        let ended = self.child.try_wait().ok().flatten();
        let how = ended.map_or_else(|| String::from("runs until now"), |e| e.to_string());
        eprintln!(
            "--- {} ({how}), the end of its log:\n{}",
            self.name,
            tail(&self.log)
        );
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(TAIL)..)
        .unwrap_or_default()
        .join("\n")
}

/// A shell that waits for the end of this process, then kills the child and removes its folder. It is killed itself
/// before the child is forgotten.
fn watch(child: Option<u32>, folder: &Path) -> Result<Child> {
    let child = child.context("the process ended at once")?;
    let script = "tail -f /dev/null --pid \"$1\"; kill -9 \"$2\" 2>/dev/null; rm -rf \"$3\"";
    let mut watcher = Command::new("bash");
    watcher
        .args(["-c", script, "watch"])
        .arg(std::process::id().to_string())
        .arg(child.to_string())
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    watcher.spawn().context("could not start bash")
}
