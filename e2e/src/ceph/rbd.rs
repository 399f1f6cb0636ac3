//! The `rbd` program: every call has a limit, and an answer with a type.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use tokio::{io::AsyncWriteExt, process::Command};

use super::status::{Info, MirrorStatus, Snapshot};

/// How long a call may take that only looks at something, or that Ceph answers at once when it is well.
const LOOK: Duration = Duration::from_secs(15);
/// How long a change may take: it waits for the lock of a client that died, an rbd-mirror or one on a machine, which is 30 s.
const CHANGE: Duration = Duration::from_secs(50);
/// Without these `rbd` waits for ever for a cluster that is dead or frozen. In seconds.
const GIVE_UP: [&str; 3] = [
    "--client_mount_timeout=4",
    "--rados_mon_op_timeout=8",
    "--rados_osd_op_timeout=8",
];

/// Why a call of `rbd` brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RbdError {
    /// It ended with an exit code: an errno, so 2 is "not there" and 16 is "busy".
    #[error("{verb}: {words} ({code})")]
    Failed {
        /// What was asked.
        verb: String,
        /// The exit code; -1 if a signal ended it.
        code: i32,
        /// The end of what it said.
        words: String,
    },
    /// It was killed after its time; what it was to do may have been done.
    #[error("{verb}: no end within {}s", after.as_secs())]
    TimedOut {
        /// What was asked.
        verb: String,
        /// Its time.
        after: Duration,
    },
    /// It could not be run.
    #[error("{verb} could not be run")]
    NotRun {
        /// What was asked.
        verb: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its answer is not what this version of Ceph should give.
    #[error("{verb}: its answer is not understood")]
    NotUnderstood {
        /// What was asked.
        verb: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl RbdError {
    /// The exit code, if it ended with one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            Self::TimedOut { .. } | Self::NotRun { .. } | Self::NotUnderstood { .. } => None,
        }
    }
}

/// Who a caller is to the cluster. The key is in a file, for what is on a command line can be read by everybody.
#[derive(Clone, Debug)]
pub struct User {
    id: String,
    key: Arc<NamedTempFile>,
}

impl User {
    /// A user by its name without `client.`, and its key in base64.
    pub fn new(id: &str, key: &str) -> std::io::Result<Self> {
        // Readable by its owner only, and deleted on drop.
        let file = NamedTempFile::with_prefix("lb-key-")?;
        std::fs::write(file.path(), key)?;
        Ok(Self {
            id: id.to_owned(),
            key: Arc::new(file),
        })
    }
}

/// Calls `rbd` on one pool of one cluster.
#[derive(Clone, Debug)]
pub struct Rbd {
    conf: PathBuf,
    pool: String,
    user: Option<User>,
}

/// Whether a change is made against the word of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// No.
    No,
    /// Yes.
    Yes,
}

impl Rbd {
    /// On this pool of the cluster with this configuration, as its administrator.
    pub fn new(conf: &Path, pool: &str) -> Self {
        Self {
            conf: conf.to_owned(),
            pool: pool.to_owned(),
            user: None,
        }
    }

    /// The same, as somebody else.
    #[must_use]
    pub fn as_user(&self, user: User) -> Self {
        Self {
            user: Some(user),
            ..self.clone()
        }
    }

    /// `POOL/IMAGE`, as `rbd` wants it.
    pub fn spec(&self, image: &str) -> String {
        format!("{}/{image}", self.pool)
    }

    /// The pool.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The file with the cluster's addresses.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// Makes an image; `size` as `rbd` takes it, such as `64M`.
    pub async fn create(&self, image: &str, size: &str) -> Result<(), RbdError> {
        let spec = self.spec(image);
        self.text(&["create", "--size", size, &spec])
            .await
            .map(drop)
    }

    /// What an image is.
    pub async fn info(&self, image: &str) -> Result<Info, RbdError> {
        self.json(&["info", &self.spec(image)]).await
    }

    /// What the rbd-mirrors of both sides say of an image.
    pub async fn status(&self, image: &str) -> Result<MirrorStatus, RbdError> {
        self.json(&["mirror", "image", "status", &self.spec(image)])
            .await
    }

    /// All snapshots of an image, also those of mirroring.
    pub async fn snapshots(&self, image: &str) -> Result<Vec<Snapshot>, RbdError> {
        self.json(&["snap", "ls", "--all", &self.spec(image)]).await
    }

    /// Starts mirroring; `mode` is `snapshot` or `journal`.
    pub async fn enable(&self, image: &str, mode: &str) -> Result<(), RbdError> {
        let spec = self.spec(image);
        self.mirror(&["enable", &spec, mode]).await
    }

    /// Ends mirroring, and so deletes the copies.
    pub async fn disable(&self, image: &str, force: Force) -> Result<(), RbdError> {
        let spec = self.spec(image);
        match force {
            Force::No => self.mirror(&["disable", &spec]).await,
            Force::Yes => self.mirror(&["disable", "--force", &spec]).await,
        }
    }

    /// Makes this side the writable one.
    pub async fn promote(&self, image: &str, force: Force) -> Result<(), RbdError> {
        let spec = self.spec(image);
        match force {
            Force::No => self.mirror(&["promote", &spec]).await,
            Force::Yes => self.mirror(&["promote", "--force", &spec]).await,
        }
    }

    /// Makes this side a copy. Whoever has the image open for writing finds out by an error.
    pub async fn demote(&self, image: &str) -> Result<(), RbdError> {
        self.mirror(&["demote", &self.spec(image)]).await
    }

    /// Has this side deleted and copied anew, as soon as there is a primary to copy from.
    pub async fn resync(&self, image: &str) -> Result<(), RbdError> {
        self.mirror(&["resync", &self.spec(image)]).await
    }

    /// Takes a snapshot to be copied. Only on a primary.
    pub async fn snapshot(&self, image: &str) -> Result<(), RbdError> {
        self.mirror(&["snapshot", &self.spec(image)]).await
    }

    /// Takes one regularly; `interval` such as `1m`, `start` a time of day or none.
    pub async fn schedule(
        &self,
        image: &str,
        interval: &str,
        start: Option<&str>,
    ) -> Result<(), RbdError> {
        let mut args = vec![
            "mirror", "snapshot", "schedule", "add", "--pool", &self.pool,
        ];
        args.extend(["--image", image, interval]);
        args.extend(start);
        self.text(&args).await.map(drop)
    }

    /// A note kept with an image; none if there is none of this name.
    pub async fn note(&self, image: &str, key: &str) -> Result<Option<String>, RbdError> {
        let spec = self.spec(image);
        match self.text(&["image-meta", "get", &spec, key]).await {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(e) if e.code() == Some(2) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Keeps a note with an image. Only on a primary; it is copied with the image.
    pub async fn keep_note(&self, image: &str, key: &str, value: &str) -> Result<(), RbdError> {
        let spec = self.spec(image);
        let args = ["image-meta", "set", &spec, key, value];
        self.run(&args, CHANGE, None).await.map(drop)
    }

    async fn mirror(&self, args: &[&str]) -> Result<(), RbdError> {
        let args: Vec<&str> = ["mirror", "image"].iter().chain(args).copied().collect();
        self.run(&args, CHANGE, None).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T, RbdError> {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        let out = self.run(&args, LOOK, None).await?;
        serde_json::from_slice(&out).map_err(|source| RbdError::NotUnderstood {
            verb: args.join(" "),
            source,
        })
    }

    /// Runs `rbd ARGS` and returns what it printed.
    pub async fn text(&self, args: &[&str]) -> Result<String, RbdError> {
        let out = self.run(args, LOOK, None).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Whose word counts: the user, and the file with the key.
    pub(super) fn credentials(&self) -> [String; 2] {
        self.user.as_ref().map_or_else(Default::default, |user| {
            [user.id.clone(), user.key.path().display().to_string()]
        })
    }

    /// The command line of `rbd`, to be extended.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all = self.identity();
        all.extend(GIVE_UP.map(str::to_owned));
        all
    }

    /// Which cluster, and who asks: what `ceph` and `rbd` are both told.
    pub(super) fn identity(&self) -> Vec<String> {
        let mut all = vec!["-c".to_owned(), self.conf.display().to_string()];
        if let Some(User { id, key }) = &self.user {
            let key = key.path().display().to_string();
            all.extend(["--id".to_owned(), id.clone(), "--keyfile".to_owned(), key]);
        }
        all
    }

    /// Runs `rbd ARGS` for at most this long, with this input if any.
    pub(super) async fn run(
        &self,
        args: &[&str],
        limit: Duration,
        input: Option<&[u8]>,
    ) -> Result<Vec<u8>, RbdError> {
        let all = self.arguments();
        let all = all
            .iter()
            .map(OsStr::new)
            .chain(args.iter().map(OsStr::new));
        run("rbd", all, &format!("rbd {}", args.join(" ")), limit, input).await
    }
}

/// Runs a program of Ceph, or one that calls such, for at most this long. `verb` is what errors call it.
pub(super) async fn run(
    program: &str,
    args: impl Iterator<Item = &OsStr>,
    verb: &str,
    limit: Duration,
    input: Option<&[u8]>,
) -> Result<Vec<u8>, RbdError> {
    let verb = verb.to_owned();
    let not_run = |source| RbdError::NotRun {
        verb: verb.clone(),
        source,
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(input.map_or_else(Stdio::null, |_| Stdio::piped()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let work = async {
        let mut child = command.spawn()?;
        if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), input) {
            // A program that ends before it has read everything says why by its exit code.
            let _ = stdin.write_all(bytes).await;
        }
        child.wait_with_output().await
    };
    let Ok(done) = tokio::time::timeout(limit, work).await else {
        return Err(RbdError::TimedOut { verb, after: limit });
    };
    let out = done.map_err(not_run)?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    Err(RbdError::Failed {
        verb,
        code: out.status.code().unwrap_or(-1),
        words: last_words(&out.stderr),
    })
}

/// The last lines that are not log lines of the client library, in one.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let said = |line: &&str| !line.is_empty() && !line.starts_with("20") && !line.contains('\r');
    let lines: Vec<&str> = text.lines().map(str::trim).filter(said).collect();
    let from = lines.len().saturating_sub(3);
    lines.get(from..).unwrap_or_default().join("; ")
}
