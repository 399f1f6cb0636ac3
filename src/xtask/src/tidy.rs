//! `cargo xtask tidy`: the house rules that the compiler and clippy do not know.

use std::fmt;

use anyhow::{Result, bail};

use crate::{
    command::{command, output, root},
    generate, imports,
};

/// A file of more lines is reported, not refused.
const LONG: usize = 600;

/// A broken rule, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// From the root of the repository.
    pub(crate) path: String,
    /// From 1; none if it is about the whole file.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// Text that must not be on a line. Written in two halves, or this file would break its own rules.
struct Banned {
    text: &'static str,
    place: Place,
    why: &'static str,
}

#[derive(Clone, Copy)]
enum Place {
    /// Any Rust file.
    Rust,
    /// A Rust file under a `tests` folder, but for inside a loop, which polls a condition, and under a paused clock.
    Tests,
}

const BANNED: &[Banned] = &[
    Banned {
        text: concat!("#[ig", "nore"),
        place: Place::Rust,
        why: "a test that does not run proves nothing",
    },
    Banned {
        text: concat!("to", "do!("),
        place: Place::Rust,
        why: "finish it",
    },
    Banned {
        text: concat!("unimpl", "emented!("),
        place: Place::Rust,
        why: "finish it",
    },
    Banned {
        text: concat!("thread::", "sleep"),
        place: Place::Tests,
        why: "wait on a condition with a deadline",
    },
    Banned {
        text: concat!("time::", "sleep("),
        place: Place::Tests,
        why: "wait on a condition with a deadline",
    },
];

/// Folders of somebody's machine; the repository knows only itself.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Checks all files of the repository and says what is wrong.
pub(crate) fn run() -> Result<()> {
    let mut findings: Vec<Finding> = Vec::new();
    for path in files()? {
        // Deleted, or not text: nothing to say about it.
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            continue;
        };
        findings.extend(check(&path, &text));
        if is_rust(&path) && text.lines().count() > LONG {
            println!(
                "warning: {path}: {} lines; one idea per file?",
                text.lines().count()
            );
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    // Last, and after all else is said: it needs a build, which may fail.
    let stale = generate::stale()?;
    for path in &stale {
        println!("{path}: not as generated; run cargo xtask gen");
    }
    match findings.len() + stale.len() {
        0 => Ok(()),
        broken => bail!("{broken} broken rules"),
    }
}

/// All rules on one file.
fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with("Cargo.toml") {
        findings.extend(imports::check(path, text));
        findings.extend(default_run(path, text));
    }
    if is_rust(path) {
        findings.extend(module_doc(path, text));
        findings.extend(banned(path, text));
    }
    if !matches!(path, "LICENSE" | "Cargo.lock") {
        findings.extend(machine_paths(path, text));
    }
    findings
}

/// `cargo run` in the root means the program that users get, whatever other binaries there are.
fn default_run(path: &str, text: &str) -> Option<Finding> {
    let named = text.lines().find(|line| line.starts_with("default-run"));
    let wanted = (path == "src/cli/Cargo.toml").then_some("default-run = \"lifeboat\"");
    (named != wanted).then(|| Finding {
        path: path.to_owned(),
        line: None,
        what: "cargo run must start lifeboat: default-run belongs into src/cli/Cargo.toml, and nowhere else".to_owned(),
    })
}

fn module_doc(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let what = "no module doc: the first line says what the file is for (//! ...)".to_owned();
    (!first.starts_with("//!")).then(|| Finding {
        path: path.to_owned(),
        line: Some(1),
        what,
    })
}

fn banned(path: &str, text: &str) -> Vec<Finding> {
    let in_tests = path.split('/').any(|part| part == "tests");
    // Under a paused clock a sleep takes no time: it says how much is to pass.
    let paused = text.contains("start_paused = true") || text.contains("//! Virtual time");
    let mut findings = Vec::new();
    for ban in BANNED {
        let is_test = matches!(ban.place, Place::Tests);
        if is_test && (!in_tests || paused) {
            continue;
        }
        let broken = lines_with(text, ban.text).filter(|line| !is_test || !in_loop(text, *line));
        findings.extend(broken.map(|line| Finding {
            path: path.to_owned(),
            line: Some(line),
            what: format!("{}: {}", ban.text, ban.why),
        }));
    }
    findings
}

fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let starts = MACHINE.iter().flat_map(|folder| line.match_indices(folder));
        for (at, folder) in starts {
            // Only as the start of a path: a URL or a longer path may have a folder of that name.
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            if before.is_none_or(|c| {
                !c.is_alphanumeric() && !matches!(c, '/' | '.' | '-' | '_' | '}' | '~')
            }) {
                let what = format!("{folder} is a folder of somebody's machine");
                findings.push(Finding {
                    path: path.to_owned(),
                    line: Some(number + 1),
                    what,
                });
            }
        }
    }
    findings
}

/// The numbers of the lines with this text, but for those where it is only spoken of.
fn lines_with<'t>(text: &'t str, what: &'t str) -> impl Iterator<Item = usize> + 't {
    let numbered = text.lines().enumerate();
    numbered
        .filter(move |(_, line)| !line.trim_start().starts_with("//") && line.contains(what))
        .map(|(number, _)| number + 1)
}

/// Whether this line, counted from 1, is in the body of a loop: one of the blocks around it, by indentation, starts as one.
fn in_loop(text: &str, line: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let above: Vec<&str> = text
        .lines()
        .take(line)
        .filter(|l| !l.trim().is_empty())
        .collect();
    let mut depth = above.last().map_or(0, |last| indent(last));
    for outer in above.iter().rev() {
        if indent(outer) < depth {
            depth = indent(outer);
            let start = outer.trim_start();
            if ["loop", "while ", "for ", "'"]
                .iter()
                .any(|word| start.starts_with(word))
            {
                return true;
            }
        }
    }
    false
}

fn is_rust(path: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// What is, or is about to be, in git.
fn files() -> Result<Vec<String>> {
    // safe.directory: a clone made by another user, as in many a CI, is fine to read.
    let mut git = command("git");
    git.args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "-co",
        "--exclude-standard",
        "-z",
    ]);
    let listed = output(&mut git)?;
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_forbidden_edge_between_crates_is_found() {
        let manifest =
            "[package]\nname = \"lifeboat-core\"\n[dependencies]\nlifeboat-kit.workspace = true\n";
        assert_eq!(
            found("src/core/Cargo.toml", manifest),
            ["src/core/Cargo.toml: core must not import kit"]
        );
    }

    #[test]
    fn another_program_than_lifeboat_for_cargo_run_is_found() {
        let package = |more: &str| format!("[package]\nname = \"lifeboat-cli\"\n{more}");
        let ours = package("default-run = \"lifeboat\"\n");
        assert!(found("src/cli/Cargo.toml", &ours).is_empty());
        assert_eq!(found("src/cli/Cargo.toml", &package("")).len(), 1);
        let other = package("default-run = \"bench\"\n").replace("-cli", "-lab");
        assert_eq!(found("src/lab/Cargo.toml", &other).len(), 1);
    }

    #[test]
    fn a_file_without_a_module_doc_is_found() {
        assert_eq!(found("src/a.rs", "use std::fmt;\n").len(), 1);
        assert!(found("src/a.rs", "\n//! About a.\nuse std::fmt;\n").is_empty());
    }

    #[test]
    fn each_banned_text_is_found_where_it_is_banned() {
        for ban in BANNED {
            let text = format!("//! Doc.\n    {}\n", ban.text);
            assert_eq!(found("src/a/tests/it/a.rs", &text).len(), 1, "{}", ban.text);
            let elsewhere = usize::from(matches!(ban.place, Place::Rust));
            assert_eq!(
                found("src/a/src/a.rs", &text).len(),
                elsewhere,
                "{}",
                ban.text
            );
        }
    }

    #[test]
    fn a_comment_may_speak_of_what_is_banned() {
        let text = format!("//! Doc.\n// no {} here\n", concat!("thread::", "sleep"));
        assert!(found("src/a/tests/it/a.rs", &text).is_empty());
    }

    #[test]
    fn under_a_paused_clock_a_sleep_is_virtual_time() {
        let sleep = concat!("time::", "sleep(");
        let text = format!(
            "//! Doc.\n#[tokio::test(start_paused = true)]\nfn f() {{\n    {sleep});\n}}\n"
        );
        assert!(banned("src/sim/tests/a.rs", &text).is_empty());
        let text = text.replace("(start_paused = true)", "");
        assert_eq!(banned("src/sim/tests/a.rs", &text).len(), 1);
    }

    #[test]
    fn a_test_may_sleep_in_a_loop_for_it_polls() {
        let sleep = concat!("time::", "sleep(");
        let fine = format!(
            "//! Doc.\nfn f() {{\n    while !done() {{\n        check();\n        {sleep});\n    }}\n}}\n"
        );
        assert!(found("src/a/tests/it/a.rs", &fine).is_empty());
        let bad = format!(
            "//! Doc.\nfn f() {{\n    while !done() {{\n        check();\n    }}\n    {sleep});\n}}\n"
        );
        assert_eq!(found("src/a/tests/it/a.rs", &bad).len(), 1);
    }

    #[test]
    fn a_path_of_a_machine_is_found_and_a_url_is_not() {
        for folder in MACHINE {
            assert_eq!(found("README.md", &format!("see `{folder}x`")).len(), 1);
            assert_eq!(
                found("README.md", &format!("\n{folder}x")),
                [format!(
                    "README.md:2: {folder} is a folder of somebody's machine"
                )]
            );
            assert!(
                found(
                    "README.md",
                    &format!("https://example.com{folder}x ${{HOME}}{folder}")
                )
                .is_empty()
            );
        }
    }
}
