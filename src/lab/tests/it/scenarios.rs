//! Every scenario file, with one volume and with twenty.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use lifeboat_lab::{LabSpec, script};

use crate::support::{paused, scenarios};

/// Applications with many volumes write less: what is tested is the number of volumes, not of records.
fn play(file: &Path, volumes: usize) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let spec = move || {
        let pace = if volumes > 1 { 500 } else { 100 };
        LabSpec {
            write_every: Duration::from_millis(pace),
            ..LabSpec::paused(volumes)
        }
    };
    paused(async { script::play(&text, spec()).await.map(drop) }).map_err(|e| e.to_string())
}

/// Plays all files, on as many threads as the machine has, each in a world and on a clock of its own.
fn play_all(volumes: usize) {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let files: Vec<PathBuf> = scenarios()
        .into_iter()
        .filter(|f| name(f).contains(&only))
        .collect();
    let (left, failed) = (Mutex::new(files), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(file) = left.lock().unwrap().pop() else {
                        return;
                    };
                    match play(&file, volumes) {
                        Ok(()) => println!("{}: ok", name(&file)),
                        Err(error) => {
                            println!("{}: FAILED\n{error}\n", name(&file));
                            let first = error.lines().next().unwrap_or_default();
                            failed
                                .lock()
                                .unwrap()
                                .push(format!("{}: {first}", name(&file)));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "with {volumes} volumes:\n{}",
        failed.join("\n")
    );
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_scenario_ends_well_with_one_volume() {
    play_all(1);
}

#[test]
fn every_scenario_ends_well_with_twenty_volumes() {
    play_all(20);
}

#[test]
fn every_scenario_can_be_read() {
    for file in scenarios() {
        let text = std::fs::read_to_string(&file).unwrap();
        let script = script::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(!script.lines.is_empty(), "{} says nothing", file.display());
    }
}
