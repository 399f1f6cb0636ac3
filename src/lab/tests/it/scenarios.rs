//! Every scenario file, with one volume and with twenty.

use lifeboat_lab::{LabSpec, script};

use crate::support::{paused, scenarios};

fn play_all(volumes: usize) {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let mut failed = Vec::new();
    for file in scenarios() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        match paused(async {
            script::play(&text, LabSpec::paused(volumes))
                .await
                .map(drop)
        }) {
            Ok(()) => println!("{name}: ok"),
            Err(error) => {
                println!("{name}: FAILED\n{error}\n");
                let first = error
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                failed.push(format!("{name}: {first}"));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "with {volumes} volumes:\n{}",
        failed.join("\n")
    );
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
