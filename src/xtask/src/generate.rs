//! `cargo xtask gen`: files that follow from the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};

use crate::command::{beside, cargo, command, root, run as run_command};

/// Write or compare.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if something would change.
    #[arg(long)]
    check: bool,
}

/// Path under `crds/` to text.
type Files = BTreeMap<String, String>;

/// Writes `crds/`, or fails if that would change it.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        let stale = stale()?;
        if !stale.is_empty() {
            bail!(
                "not as generated: {}; run cargo xtask gen",
                stale.join(", ")
            );
        }
        return Ok(());
    }
    let (dir, wanted) = (root().join("crds"), generated()?);
    for name in differing(&read(&dir)?, &wanted) {
        let path = dir.join(&name);
        match wanted.get(&name) {
            Some(text) => {
                fs::create_dir_all(path.parent().unwrap_or(&dir))?;
                fs::write(&path, text)?;
            }
            None => fs::remove_file(&path)?,
        }
        println!("crds/{name}");
    }
    Ok(())
}

/// The generated files that are not as they would be generated now.
pub(crate) fn stale() -> Result<Vec<String>> {
    let differing = differing(&read(&root().join("crds"))?, &generated()?);
    Ok(differing
        .into_iter()
        .map(|name| format!("crds/{name}"))
        .collect())
}

fn generated() -> Result<Files> {
    // For the whole workspace, so that the features, and with them what is already built, are those of the other stages.
    run_command(&mut cargo("build --quiet --workspace --example crds"))?;
    let dir = beside("xtask-gen")?;
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    run_command(command(beside("examples/crds")?).arg(&dir))?;
    read(&dir)
}

/// The YAML files in a folder and in those below it.
fn read(dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let below = read(&path)?;
            files.extend(below.into_iter().map(|(n, t)| (format!("{name}/{n}"), t)));
        } else if path.extension() == Some(OsStr::new("yaml")) {
            files.insert(name.into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

fn differing(have: &Files, want: &Files) -> BTreeSet<String> {
    let names = have.keys().chain(want.keys());
    names
        .filter(|name| have.get(*name) != want.get(*name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_missing_and_a_left_over_file_differ() {
        let files = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
                .collect::<Files>()
        };
        let have = files(&[("same", "1"), ("changed", "1"), ("left-over", "1")]);
        let want = files(&[("same", "1"), ("changed", "2"), ("missing", "1")]);
        let names: Vec<String> = differing(&have, &want).into_iter().collect();
        assert_eq!(names, ["changed", "left-over", "missing"]);
    }
}
