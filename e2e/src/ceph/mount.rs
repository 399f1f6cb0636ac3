//! A real file system on an image: `e2e/ceph/mount.sh` holds it as long as its value lives, and lets it go however that ends.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::Rbd;

/// How long attaching may take: where a machine died, its lock on the image is broken after 30 s, and others want it, too. Who
/// gives up sooner leaves a lock of its own.
const ATTACH: Duration = Duration::from_secs(120);
/// How long an orderly end may take: the script gives up, and ends it by force, after three times 10 s.
const DETACH: Duration = Duration::from_secs(40);
/// How long an end by force may take.
const FORCE: Duration = Duration::from_secs(20);

/// What there was on an image before it was mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// None.
    Blank,
    /// One that was unmounted in order, and that e2fsck finds nothing wrong with.
    Clean,
    /// One that was being written to: its journal is to be replayed.
    Unclean,
    /// One that was unmounted in order, and is broken.
    Damaged,
}

/// An image as it was before anything was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file system.
    pub file_system: FileSystem,
    /// The SHA-256 of all that it held, in hex.
    pub sha256: String,
}

/// A mounted image. Dropped, it is let go as by a machine that dies: nothing is written back, and whoever still waits for the
/// image gets an error, also if its cluster is dead or frozen.
#[derive(Debug)]
pub struct Mount {
    script: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    found: Found,
    folder: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// Mounts an image for writing, and makes an ext4 on it first if it is blank.
    ///
    /// # Errors
    /// If it cannot be mounted, as when it is a copy, or if its cluster does not answer in time.
    pub async fn attach(rbd: &Rbd, image: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lb-mount-").tempdir()?;
        // The script removes it: whoever deletes a folder deletes what is mounted in it, too.
        let folder = folder.keep();
        let script = crate::tools::folder().join("ceph/mount.sh");
        let mut command = Command::new("setsid");
        command
            .arg(&script)
            .args([rbd.conf().as_os_str(), rbd.pool().as_ref()])
            .args([image.as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("errors"))?);
        let mut script = command.spawn().context("could not run mount.sh")?;
        let words = script.stdin.take().context("no stdin")?;
        let answers = script.stdout.take().context("no stdout")?;
        let mut mount = Self {
            script,
            words,
            answers: BufReader::new(answers).lines(),
            found: Found {
                file_system: FileSystem::Blank,
                sha256: String::new(),
            },
            folder,
            at: PathBuf::new(),
        };
        let attached = tokio::time::timeout(ATTACH, mount.attached()).await;
        match attached.unwrap_or_else(|_| bail!("it was not mounted in time")) {
            Ok(found) => mount.found = found,
            Err(error) => {
                let said = std::fs::read_to_string(mount.folder.join("errors"));
                mount.crash().await?;
                return Err(error.context(said.unwrap_or_default().trim().to_owned()));
            }
        }
        Ok(mount)
    }

    async fn attached(&mut self) -> Result<Found> {
        let line = self.answer().await?;
        let rest = line.strip_prefix("found ").context(line.clone())?;
        let (what, sha256) = rest.split_once(' ').context(line.clone())?;
        let file_system = match what {
            "blank" => FileSystem::Blank,
            "clean" => FileSystem::Clean,
            "unclean" => FileSystem::Unclean,
            "damaged" => FileSystem::Damaged,
            other => bail!("not a state: {other}"),
        };
        let line = self.answer().await?;
        let pid = line.strip_prefix("mounted ").context(line.clone())?;
        // The script has mounts of its own.
        let inside = self.folder.strip_prefix("/")?.join("at");
        self.at = Path::new("/proc").join(pid).join("root").join(inside);
        Ok(Found {
            file_system,
            sha256: sha256.to_owned(),
        })
    }

    /// Where the files are.
    pub fn path(&self) -> PathBuf {
        self.at.clone()
    }

    /// What was there before.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// From now on writers wait, and the image holds all that was written.
    pub async fn hold(&mut self) -> Result<()> {
        self.say("hold").await?;
        self.hears("held").await
    }

    /// Lets writers go on.
    pub async fn go(&mut self) -> Result<()> {
        self.say("go").await?;
        self.hears("gone").await
    }

    /// Unmounts it: all that was written is on the image, and nobody has it open.
    ///
    /// # Errors
    /// If somebody uses the files, or the storage is gone; it is let go by force then.
    pub async fn detach(mut self) -> Result<()> {
        self.say("detach").await?;
        let ended = tokio::time::timeout(DETACH, self.script.wait()).await;
        let status = ended.context("mount.sh does not end")??;
        anyhow::ensure!(status.success(), "let go by force only: {status}");
        Ok(())
    }

    /// Lets it go as a machine does that dies, and waits until nothing is left of it.
    pub async fn crash(self) -> Result<()> {
        let Self {
            mut script,
            words,
            answers: _,
            found: _,
            folder: _,
            at: _,
        } = self;
        drop(words);
        let ended = tokio::time::timeout(FORCE, script.wait()).await;
        ended.context("mount.sh does not end")??;
        Ok(())
    }

    async fn say(&mut self, word: &str) -> Result<()> {
        let said = self.words.write_all(format!("{word}\n").as_bytes()).await;
        said.context("mount.sh has ended")
    }

    async fn hears(&mut self, word: &str) -> Result<()> {
        let line = tokio::time::timeout(ATTACH, self.answer()).await??;
        anyhow::ensure!(line == word, "{word} was to come, and {line} came");
        Ok(())
    }

    async fn answer(&mut self) -> Result<String> {
        let line = self.answers.next_line().await?;
        line.context("mount.sh has ended")
    }
}

/// Reads a file of a mounted image. A program does so in our place: storage that is gone would hold up the thread for ever.
pub(super) async fn read(path: &Path) -> Result<Vec<u8>> {
    let args = [path.as_os_str()];
    let out = super::rbd::run("cat", args.into_iter(), "cat", FORCE, None).await?;
    Ok(out)
}
