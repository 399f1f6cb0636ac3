//! Scripts as data: the YAML files of a folder beside the tests, each a list of steps that build on each other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

/// Every file of a folder, by its name.
pub(crate) fn all<S: DeserializeOwned>(folder: &str) -> Result<Vec<(String, Vec<S>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "nothing to do in {}", folder.display());
    files.iter().map(|f| one(f)).collect()
}

fn one<S: DeserializeOwned>(file: &Path) -> Result<(String, Vec<S>)> {
    let text = std::fs::read_to_string(file)?;
    let steps = serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
    let name = file.file_stem().unwrap_or_default();
    Ok((name.to_string_lossy().into_owned(), steps))
}
