//! One small Ceph cluster: a monitor, a manager, a disk and an rbd-mirror, as plain processes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

use super::{
    POOL,
    conf::{self, Facts},
    rbd::{Rbd, run},
};
use crate::wait;

/// How long `ceph` may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A daemon of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// ceph-mon: without it nobody can connect.
    Monitor,
    /// ceph-mgr: without it no snapshot is taken by schedule.
    Manager,
    /// ceph-osd: without it nothing can be read or written, and calls hang.
    Disk,
    /// rbd-mirror: without it this side gets no copies, and its states turn `down`.
    Mirror,
}

impl Part {
    const ALL: [Self; 4] = [Self::Mirror, Self::Disk, Self::Manager, Self::Monitor];

    fn command(self) -> [&'static str; 3] {
        match self {
            Self::Monitor => ["ceph-mon", "-i", "a"],
            Self::Manager => ["ceph-mgr", "-i", "x"],
            Self::Disk => ["ceph-osd", "-i", "0"],
            Self::Mirror => ["rbd-mirror", "-n", "client.rbd-mirror.a"],
        }
    }
}

/// A cluster that lives as long as this value.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
    conf: PathBuf,
    pool: u64,
    key: String,
    running: Mutex<BTreeMap<Part, Child>>,
}

impl Cluster {
    /// Makes a cluster with its pool in a folder of its own and starts it, but for its rbd-mirror: 6 s, 1 GB of memory at most.
    pub(super) async fn create(name: &str, folder: &Path, ports: (u16, u16)) -> Result<Self> {
        for sub in ["run", "log", "crash", "mon.a", "mgr.x", "osd.0"] {
            std::fs::create_dir_all(folder.join(sub))?;
        }
        let fsid = uuid()?;
        let facts = Facts {
            fsid: &fsid,
            folder,
            ports,
        };
        let file = folder.join("ceph.conf");
        std::fs::write(&file, conf::text(&facts))?;
        let mut made = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            conf: file,
            pool: 0,
            key: String::new(),
            running: Mutex::default(),
        };
        made.keys_and_monitor(&fsid, ports.0).await?;
        made.disk().await?;
        let words = ["osd", "pool", "create", POOL, "8", "8"];
        made.ceph(&words).await?;
        made.rbd().text(&["pool", "init", POOL]).await?;
        made.usable().await?;
        made.pool = made.pool_number().await?;
        Ok(made)
    }

    /// Keys of everybody, known to the monitor from its first start on.
    async fn keys_and_monitor(&mut self, fsid: &str, port: u16) -> Result<()> {
        let all = self.file("mon.keyring");
        let keyring = |name: &str| self.file(&format!("{name}.keyring"));
        let caps: [(&str, &[&str]); 4] = [
            ("mon.", &["mon", "allow *"]),
            (
                "client.admin",
                &["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
            ),
            ("mgr.x", &["mon", "allow profile mgr", "osd", "allow *"]),
            (
                "client.rbd-mirror.a",
                &["mon", "profile rbd-mirror", "osd", "profile rbd"],
            ),
        ];
        for (name, caps) in caps {
            let own = if name == "mon." {
                all.clone()
            } else {
                keyring(name)
            };
            let mut args = vec!["--create-keyring", &own, "--gen-key", "-n", name];
            for pair in caps.chunks(2) {
                args.push("--cap");
                args.extend(pair);
            }
            tool("ceph-authtool", &args).await?;
            if own != all {
                tool("ceph-authtool", &[&all, "--import-keyring", &own]).await?;
            }
        }
        let admin = keyring("client.admin");
        let key = tool("ceph-authtool", &["-n", "client.admin", "-p", &admin]).await?;
        key.trim().clone_into(&mut self.key);
        let map = self.file("monmap");
        let address = format!("[v2:127.0.0.1:{port}]");
        let args = ["--create", "--fsid", fsid, "--addv", "a", &address, &map];
        tool("monmaptool", &args).await?;
        let conf = self.conf.display().to_string();
        let args = [
            "-c",
            &conf,
            "-i",
            "a",
            "--mkfs",
            "--monmap",
            &map,
            "--keyring",
            &all,
        ];
        tool("ceph-mon", &args).await?;
        self.start_part(Part::Monitor).await?;
        self.start_part(Part::Manager).await
    }

    async fn disk(&self) -> Result<()> {
        let id = uuid()?;
        let secret = tool("ceph-authtool", &["--gen-print-key"]).await?;
        let secret = secret.trim();
        std::fs::write(
            self.folder.join("osd.0.keyring"),
            format!("[osd.0]\n\tkey = {secret}\n"),
        )?;
        let told = self.file("osd.json");
        std::fs::write(&told, format!("{{\"cephx_secret\":\"{secret}\"}}"))?;
        let words = ["osd", "new", &id, "0", "-i", &told];
        wait::until_answer("the monitor takes a disk", || async {
            self.ceph(&words).await.map(Some)
        })
        .await?;
        let conf = self.conf.display().to_string();
        tool(
            "ceph-osd",
            &["-c", &conf, "-i", "0", "--mkfs", "--osd-uuid", &id],
        )
        .await?;
        self.start_part(Part::Disk).await
    }

    /// The name, by which the other side knows it too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration file, for `-c`. It names the administrator's key, too.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// The number of the pool [`POOL`].
    pub fn pool(&self) -> u64 {
        self.pool
    }

    /// The key of `client.admin`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The `rbd` program on the pool, as administrator.
    pub fn rbd(&self) -> Rbd {
        Rbd::new(&self.conf, POOL)
    }

    /// Starts what does not run, and waits until images can be used: 4 s, 11 s after a kill.
    pub async fn start(&self) -> Result<()> {
        for part in [Part::Monitor, Part::Manager, Part::Disk, Part::Mirror] {
            self.start_part(part).await?;
        }
        self.usable().await
    }

    /// Starts one daemon if it does not run, and does not wait until it is of use.
    pub async fn start_part(&self, part: Part) -> Result<()> {
        let mut running = self.running.lock().await;
        if let Some(child) = running.get_mut(&part)
            && child.try_wait()?.is_none()
        {
            return Ok(());
        }
        let [program, flag, id] = part.command();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("log/{program}.out")))?;
        let mut command = Command::new(program);
        command
            .args([flag, id, "--cluster", &self.name, "-f", "-c"])
            .arg(&self.conf)
            // rbd-mirror connects to its pool anew, and does not look at -c for that.
            .env("CEPH_CONF", &self.conf)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C for the test is none for the daemons.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn();
        let child = child.with_context(|| format!("could not start {program}"))?;
        running.insert(part, child);
        Ok(())
    }

    /// Ends everything with SIGKILL, as the loss of a site does.
    pub async fn kill(&self) -> Result<()> {
        for part in Part::ALL {
            self.signal("KILL", part).await?;
        }
        for part in Part::ALL {
            self.kill_part(part).await?;
        }
        Ok(())
    }

    /// Ends one daemon with SIGKILL, if it runs.
    pub async fn kill_part(&self, part: Part) -> Result<()> {
        let Some(mut child) = self.running.lock().await.remove(&part) else {
            return Ok(());
        };
        child.kill().await?;
        // A daemon that is killed leaves its socket.
        for entry in std::fs::read_dir(self.folder.join("run"))? {
            let path = entry?.path();
            let kind = part.command()[0].trim_start_matches("ceph-");
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.contains(kind) && name.ends_with(".asok") {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Stops everything in its tracks: a site that is unreachable and not dead.
    pub async fn freeze(&self) -> Result<()> {
        self.all("STOP").await
    }

    /// Lets all go on after a freeze.
    pub async fn thaw(&self) -> Result<()> {
        self.all("CONT").await
    }

    async fn all(&self, signal: &str) -> Result<()> {
        for part in Part::ALL {
            self.signal(signal, part).await?;
        }
        Ok(())
    }

    /// Stops one daemon in its tracks.
    pub async fn freeze_part(&self, part: Part) -> Result<()> {
        self.signal("STOP", part).await
    }

    /// Lets it go on.
    pub async fn thaw_part(&self, part: Part) -> Result<()> {
        self.signal("CONT", part).await
    }

    /// A process that has not been waited for keeps its id, so the id is surely that of the daemon.
    async fn signal(&self, signal: &str, part: Part) -> Result<()> {
        let running = self.running.lock().await;
        let Some(pid) = running.get(&part).and_then(Child::id) else {
            return Ok(());
        };
        let script = "kill -s \"$1\" \"$2\"";
        let args = ["-c", script, "kill", signal, &pid.to_string()];
        tool("bash", &args).await.map(drop)
    }

    /// How many bytes may be in the pool; none for as many as fit. Ceph notices that it is full within seconds.
    pub async fn quota(&self, bytes: Option<u64>) -> Result<()> {
        let bytes = bytes.unwrap_or(0).to_string();
        let words = ["osd", "pool", "set-quota", POOL, "max_bytes", &bytes];
        self.ceph(&words).await.map(drop)
    }

    /// Runs `ceph WORDS` as administrator and returns what it printed.
    pub async fn ceph(&self, words: &[&str]) -> Result<String> {
        let conf = self.conf.display().to_string();
        let first = ["-c", &conf, "--connect-timeout", "10"];
        let args = first.iter().chain(words).map(OsStr::new);
        let verb = format!("ceph {}", words.join(" "));
        let out = run("ceph", args, &verb, LIMIT, None).await?;
        Ok(String::from_utf8(out)?)
    }

    /// Waits until images can be used. A disk that has just been killed counts as up for a while: only a read proves it.
    async fn usable(&self) -> Result<()> {
        let rbd = self.rbd();
        wait::until_answer(&format!("{} answers", self.name), || async {
            rbd.text(&["ls", POOL]).await?;
            let mgr: Value =
                serde_json::from_str(&self.ceph(&["mgr", "stat", "-f", "json"]).await?)?;
            Ok((mgr["available"] == true).then_some(()))
        })
        .await
    }

    async fn pool_number(&self) -> Result<u64> {
        let pools: Value =
            serde_json::from_str(&self.ceph(&["osd", "lspools", "-f", "json"]).await?)?;
        let ours = pools.as_array().into_iter().flatten();
        let mut ours = ours.filter(|p| p["poolname"] == POOL);
        let number = ours.next().and_then(|p| p["poolnum"].as_u64());
        number.with_context(|| format!("no pool {POOL} in {pools}"))
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.get_mut().values_mut() {
            // One that has ended is no error.
            let _ = child.start_kill();
        }
    }
}

/// Runs a helper program to its end and returns what it printed.
pub(super) async fn tool(program: &str, args: &[&str]) -> Result<String> {
    let verb = format!("{program} {}", args.join(" "));
    let all = args.iter().map(OsStr::new);
    let out = run(program, all, &verb, LIMIT, None).await?;
    Ok(String::from_utf8(out)?)
}

/// A random UUID, from the kernel.
pub(super) fn uuid() -> Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let uuid = text.trim().to_owned();
    ensure!(uuid.len() == 36, "not a UUID: {uuid}");
    Ok(uuid)
}
