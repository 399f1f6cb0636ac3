//! A real control plane on this machine: etcd, kube-apiserver and kube-controller-manager.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command as Blocking, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::{Mutex, OnceCell},
};

use crate::tools::{Tool, folder, tool};

/// A control plane that lives as long as this value: about 3 s to start, 270 MB.
///
/// It is ended and its data deleted on drop, and by a watcher of its own when the test process ends in any other way.
#[derive(Debug)]
pub struct ControlPlane {
    name: String,
    program: PathBuf,
    options: StartOptions,
    kubeconfig: String,
    root: TempDir,
}

/// More flags for the parts; the last one given counts.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// For kube-apiserver.
    pub api_server: Vec<String>,
    /// For kube-controller-manager.
    pub controller_manager: Vec<String>,
}

/// A process of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All three.
    All,
    /// Without it the API server stays, and requests hang.
    Etcd,
    /// Without it connections are refused at once.
    ApiServer,
    /// Without it nothing is reconciled: no binding of claims, no pods of a stateful set.
    ControllerManager,
}

impl Part {
    fn arg(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Etcd => Some("etcd"),
            Self::ApiServer => Some("kube-apiserver"),
            Self::ControllerManager => Some("kube-controller-manager"),
        }
    }
}

impl ControlPlane {
    /// Starts a control plane of this name (a-z, 0-9 and -) and waits until pods can be made in it.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_with(name, StartOptions::default()).await
    }

    /// Starts a control plane with flags of the test's own.
    pub async fn start_with(name: &str, options: StartOptions) -> Result<Self> {
        let program = tool(Tool::ControlPlane).await?;
        // Short: the path of a unix socket has room for 107 bytes.
        let root = tempfile::Builder::new().prefix("lb-").tempdir()?;
        let mut made = Self {
            name: name.to_owned(),
            program,
            options,
            kubeconfig: String::new(),
            root,
        };
        let owner = std::process::id().to_string();
        made.launch(Some(&owner)).await?;
        made.kubeconfig = std::fs::read_to_string(made.kubeconfig_path())?;
        Ok(made)
    }

    /// One control plane per name for the whole test process, for tests that neither freeze nor kill it.
    ///
    /// Give each test a namespace and cluster-scoped names of its own: namespaces take seconds to go.
    pub async fn shared(name: &'static str) -> Result<&'static Self> {
        Self::shared_with(name, StartOptions::default()).await
    }

    /// As [`shared`](Self::shared), with flags of the tests' own: those of whoever asks first.
    pub async fn shared_with(name: &'static str, options: StartOptions) -> Result<&'static Self> {
        static ALL: Mutex<BTreeMap<&'static str, &'static OnceCell<ControlPlane>>> =
            Mutex::const_new(BTreeMap::new());
        let cell = *ALL
            .lock()
            .await
            .entry(name)
            .or_insert_with(|| Box::leak(Box::default()));
        cell.get_or_try_init(|| Self::start_with(name, options))
            .await
    }

    /// The name given at the start; also the kubeconfig's context.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig as YAML, complete in itself.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig.clone()
    }

    /// The file with the administrator's kubeconfig, for `KUBECONFIG`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.dir().join("admin.kubeconfig")
    }

    /// A client as administrator. Made anew each time: a client belongs to the runtime it was made in.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// The kubeconfig, as YAML, of another identity, for what RBAC allows it.
    pub async fn user(&self, name: &str, groups: &[&str]) -> Result<String> {
        let file: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let mut args = vec!["user", &self.name, &file, name];
        args.extend(groups);
        let out = self.run(&args, &[]).await?;
        let path = String::from_utf8(out.stdout)?;
        std::fs::read_to_string(path.trim()).with_context(|| format!("no kubeconfig for {name}"))
    }

    /// Stops all three processes in their tracks, as a lost site looks from outside: connects succeed, then silence.
    pub async fn freeze(&self) -> Result<()> {
        self.freeze_part(Part::All).await
    }

    /// Stops one part in its tracks.
    pub async fn freeze_part(&self, part: Part) -> Result<()> {
        self.signal("freeze", part).await
    }

    /// Lets all go on after a freeze.
    pub async fn thaw(&self) -> Result<()> {
        self.signal("thaw", Part::All).await
    }

    /// Ends a part with SIGKILL.
    pub async fn kill(&self, part: Part) -> Result<()> {
        self.signal("kill", part).await
    }

    /// Starts what was killed, on the same data, port and certificates, and waits until it works.
    pub async fn start_again(&self) -> Result<()> {
        self.launch(None).await
    }

    /// The log of a part so far, of the API server for [`Part::All`].
    pub fn log(&self, part: Part) -> Result<String> {
        let path = self
            .dir()
            .join(format!("{}.log", part.arg().unwrap_or("kube-apiserver")));
        std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join(&self.name)
    }

    async fn launch(&self, owner: Option<&str>) -> Result<()> {
        let api = self.options.api_server.join(" ");
        let controllers = self.options.controller_manager.join(" ");
        let mut env = vec![("CP_API_ARGS", api.as_str()), ("CP_KCM_ARGS", &controllers)];
        env.extend(owner.map(|o| ("CP_OWNER", o)));
        self.run(&["start", &self.name], &env).await.map(drop)
    }

    async fn signal(&self, verb: &str, part: Part) -> Result<()> {
        let mut args = vec![verb, &self.name];
        args.extend(part.arg());
        self.run(&args, &[]).await.map(drop)
    }

    async fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Output> {
        let mut command = Command::new(script());
        command
            .args(args)
            .env("CP_ROOT", self.root.path())
            .env("CP_BIN", &self.program)
            .env_remove("CP_OWNER");
        command.envs(env.iter().copied()).stdin(Stdio::null());
        let out = command
            .output()
            .await
            .context("could not run controlplane.sh")?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "controlplane.sh {}: {}: {said}",
            args.join(" "),
            out.status
        );
        Ok(out)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Blocking, some 30 ms. If it fails, the watcher of the owner does it when this process ends.
        let _ = Blocking::new(script())
            .args(["destroy", &self.name])
            .env("CP_ROOT", self.root.path())
            .env("CP_BIN", &self.program)
            .stdin(Stdio::null())
            .output();
    }
}

/// A client for a kubeconfig in YAML.
pub async fn client(kubeconfig: &str) -> Result<Client> {
    let parsed = Kubeconfig::from_yaml(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn script() -> PathBuf {
    Path::join(folder(), "control-plane/controlplane.sh")
}
