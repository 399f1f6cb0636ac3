//! The simulated API server serves kubectl as a real one does: the same command lines for both, and what each prints compared.
//!
//! The command lines are in the YAML files of `kubectl_sim/`; `CONTRIBUTING.md` says how to add one. What the simulated
//! server cannot do is there too, with the words in which it says so.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use lifeboat_e2e::{Tool, tool};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::twins::{
    Side, Twins, lines, story,
    text::{Names, regex},
};

/// One command line. `$ns` stands for the namespace of its file, which is also kubectl's default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// What comes after `kubectl`, as in a shell.
    run: String,
    /// How it must end on both.
    #[serde(default)]
    code: i32,
    /// The objects on its standard input.
    #[serde(default)]
    input: Vec<Value>,
    /// For a command that watches: what is run once it has printed its first line.
    #[serde(default)]
    meanwhile: Vec<String>,
    /// For a command that watches: how many lines it prints before it is stopped.
    lines: Option<usize>,
    /// A known and stated difference.
    differs: Option<Difference>,
}

/// What the simulated server cannot do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    why: String,
    /// In what the simulated server has kubectl print.
    says: String,
}

#[tokio::test]
async fn kubectl_prints_the_same_with_the_simulated_server_as_with_a_real_one() -> Result<()> {
    let twins = Twins::start().await?;
    let kubectl = tool(Tool::Kubectl).await?;
    let stories = story::all::<Line>("kubectl_sim")?;
    let told = stories
        .iter()
        .map(|(name, all)| tell(&twins, &kubectl, name, all));
    let mut wrong = Vec::new();
    for told in join_all(told).await {
        wrong.extend(told?);
    }
    let count: usize = stories.iter().map(|(_, all)| all.len()).sum();
    ensure!(
        wrong.is_empty(),
        "{} of {count} command lines differ (- real, + simulated):\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Gives the command lines of a file to both; what differs, one text for each.
async fn tell(twins: &Twins, kubectl: &Path, name: &str, all: &[Line]) -> Result<Vec<String>> {
    let namespace = format!("kubectl-{name}");
    let mut real = Shell::new(&twins.real, kubectl, &namespace)?;
    let mut simulated = Shell::new(&twins.simulated, kubectl, &namespace)?;
    let mut wrong = Vec::new();
    for (i, line) in all.iter().enumerate() {
        for shell in [&mut real, &mut simulated] {
            shell.names.turn_to(i + 1);
        }
        let (a, b) = tokio::join!(real.run(line), simulated.run(line));
        let what = format!("{name}.yaml, line {}: kubectl {}", i + 1, line.run);
        let (a, b) = (
            a.with_context(|| format!("{what}, real"))?,
            b.with_context(|| format!("{what}, simulated"))?,
        );
        let found = judge(line, &a, &b);
        if !found.is_empty() {
            wrong.push(format!("{what}\n{found}"));
        }
    }
    Ok(wrong)
}

/// What is wrong with what two servers had kubectl print.
fn judge(line: &Line, real: &Said, simulated: &Said) -> String {
    let mut wrong = String::new();
    if real.code != line.code {
        let _ = writeln!(
            wrong,
            "  the script says exit {}, the real server has it exit {}:\n{}",
            line.code,
            real.code,
            real.whole()
        );
    }
    match &line.differs {
        None => wrong.push_str(&lines::difference(&real.whole(), &simulated.whole())),
        Some(stated) if real == simulated => {
            let _ = writeln!(wrong, "  no longer differs: {}", stated.why);
        }
        Some(stated) if !simulated.whole().contains(&stated.says) => {
            let _ = writeln!(
                wrong,
                "  does not say {:?}:\n{}",
                stated.says,
                simulated.whole()
            );
        }
        Some(_) => {}
    }
    wrong
}

/// What kubectl printed.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn whole(&self) -> String {
        format!("{}{}exit {}\n", self.out, self.err, self.code)
    }
}

/// Where kubectl runs, for one server.
struct Shell<'a> {
    kubectl: &'a Path,
    namespace: &'a str,
    home: TempDir,
    names: Names,
}

impl<'a> Shell<'a> {
    fn new(side: &Side, kubectl: &'a Path, namespace: &'a str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("lb-").tempdir()?;
        std::fs::write(home.path().join("config"), &side.kubeconfig)?;
        Ok(Self {
            kubectl,
            namespace,
            home,
            names: Names::default(),
        })
    }

    async fn run(&mut self, line: &Line) -> Result<Said> {
        let out = match line.lines {
            None => self.once(&line.run, &line.input).await?,
            Some(count) => self.watch(line, count).await?,
        };
        let mut said = |bytes: &[u8]| normal(&String::from_utf8_lossy(bytes), &mut self.names);
        Ok(Said {
            code: out.status.code().unwrap_or_default(),
            out: said(&out.stdout),
            err: said(&out.stderr),
        })
    }

    fn command(&self, run: &str) -> Command {
        // A shell, for its quotes.
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec \"$kubectl\" --namespace=$ns {run}")])
            .env("kubectl", self.kubectl)
            .env("ns", self.namespace)
            .env("KUBECONFIG", self.config())
            .env("KUBECACHEDIR", self.home.path())
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config")
    }

    async fn once(&self, run: &str, input: &[Value]) -> Result<Output> {
        let mut child = self.command(run).spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        for object in input {
            // The namespace is a variable there too.
            let text = object.to_string().replace("$ns", self.namespace);
            stdin.write_all(format!("---\n{text}\n").as_bytes()).await?;
        }
        drop(stdin);
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        Ok(ended.with_context(|| format!("kubectl {run} does not end"))??)
    }

    /// Runs a command that watches until it has printed so many lines.
    async fn watch(&self, line: &Line, count: usize) -> Result<Output> {
        let mut child = self.command(&line.run).spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let mut printed = BufReader::new(out).lines();
        let mut stdout = String::new();
        for i in 0..count {
            let next = tokio::time::timeout(LIMIT, printed.next_line()).await;
            let next =
                next.with_context(|| format!("only {i} lines were printed:\n{stdout}"))??;
            let Some(text) = next else { break };
            stdout.push_str(&text);
            stdout.push('\n');
            if i == 0 {
                for run in &line.meanwhile {
                    let done = self.once(run, &[]).await?;
                    let why = String::from_utf8_lossy(&done.stderr);
                    ensure!(done.status.success(), "kubectl {run}: {why}");
                }
            }
        }
        child.start_kill()?;
        let mut ended = child.wait_with_output().await?;
        ended.stdout = stdout.into_bytes();
        Ok(ended)
    }
}

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What kubectl printed, without what must differ: ages, and the widths they give columns.
fn normal(printed: &str, names: &mut Names) -> String {
    let text = names.within(printed);
    let text = VERSION.replace_all(&text, "$1<version>");
    let text = AGE.replace_all(&text, "$1<age>");
    let text = AGE.replace_all(&text, "$1<age>");
    let text = RULER.replace_all(&text, "$1  ");
    DATE.replace_all(&text, "<date>").into_owned()
}

static VERSION: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(resourceVersion"?: |Resource Version: +)"?\d+"?"#));
static AGE: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)( {2,}|\()(?:\d+[smhdy]){1,2}\b"));
static RULER: LazyLock<Regex> = LazyLock::new(|| regex(r"(\S) {2,}"));
/// As `kubectl describe` writes it.
static DATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} [+-]\d{4}"));
