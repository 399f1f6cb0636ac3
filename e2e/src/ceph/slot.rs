//! A place on this machine for one pair of clusters: a folder and port numbers that no other pair uses.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// How many pairs fit on one machine.
const PLACES: u16 = 20;
/// The first port of the first place: below those that the kernel gives to clients, above what a real Ceph uses.
const FIRST_PORT: u16 = 21_000;
/// Ports of one cluster.
const PORTS: u16 = 100;

/// A place that is ours as long as this value, or this process, lives.
#[derive(Debug)]
pub(super) struct Slot {
    number: u16,
    folder: PathBuf,
    // Held by a lock on an open file: the kernel lets go of it however this process ends.
    _lock: File,
    // Ends the clusters when this process is killed, for then no destructor runs.
    _watcher: Child,
}

impl Slot {
    /// Takes a place that nobody holds, and clears away what a killed run left there.
    pub(super) fn take() -> Result<Self> {
        let all = std::env::temp_dir().join("lifeboat-ceph");
        std::fs::create_dir_all(&all)?;
        for number in 0..PLACES {
            let path = all.join(format!("{number}.lock"));
            let lock = File::create(&path)
                .with_context(|| format!("could not make {}", path.display()))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let folder = all.join(number.to_string());
            clear(&folder)?;
            if !free(number) {
                continue;
            }
            std::fs::create_dir(&folder)?;
            let watcher = watch(&path, &folder)?;
            return Ok(Self {
                number,
                folder,
                _lock: lock,
                _watcher: watcher,
            });
        }
        bail!("{PLACES} pairs of Ceph clusters run on this machine, and there is room for no more")
    }

    /// Where everything of the clusters is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first and the last port of a cluster of this place; `index` is 0 or 1.
    pub(super) fn ports(&self, index: u16) -> (u16, u16) {
        let first = first_port(self.number) + index * PORTS;
        (first, first + PORTS - 1)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The clusters have killed their daemons; what is left is data.
        let _ = clear(&self.folder);
    }
}

fn first_port(number: u16) -> u16 {
    FIRST_PORT + number * 2 * PORTS
}

/// Whether both monitors could listen: something else of this machine may have the port.
fn free(number: u16) -> bool {
    let first = first_port(number);
    [first, first + PORTS]
        .iter()
        .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// Kills the daemons whose configuration is in this folder, and deletes it.
fn clear(folder: &Path) -> Result<()> {
    for pid in daemons(folder)? {
        // One that has ended by itself in between is no error.
        let _ = std::process::Command::new("bash")
            .args(["-c", "kill -9 \"$1\"", "kill", &pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("could not delete {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The processes that were given a `ceph.conf` from this folder. A process id alone proves nothing: ids are used again.
pub(super) fn daemons(folder: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // Gone in the meantime, or a zombie, which has no command line.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let ours = |arg: &[u8]| {
            let path = Path::new(std::str::from_utf8(arg).unwrap_or_default());
            path.starts_with(folder) && path.ends_with("ceph.conf")
        };
        if line.split(|byte| *byte == 0).any(ours) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// A shell that waits for the end of this process and then does what [`clear`] does. By then somebody else may have taken the
/// place, and cleared it: the lock tells.
fn watch(lock: &Path, folder: &Path) -> Result<Child> {
    let script = r#"tail -f /dev/null --pid "$1"
exec 9> "$2"; flock -n 9 || exit 0
for p in /proc/[0-9]*; do
  if tr '\0' '\n' < "$p/cmdline" 2>/dev/null | grep -q "^$3/.*/ceph\.conf$"; then kill -9 "${p#/proc/}"; fi
done
rm -rf "$3""#;
    let mut watcher = Command::new("setsid");
    watcher
        .args(["bash", "-c", script, "watch"])
        .arg(std::process::id().to_string())
        .args([lock, folder])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    watcher.spawn().context("could not start bash")
}
