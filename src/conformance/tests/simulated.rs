//! The rows on the simulated API server.

use std::collections::BTreeSet;

use lifeboat_conformance::{HIGHEST, ROWS, each_row, of, simulated};

macro_rules! tests {
    ($($module:ident { $($name:ident,)* })*) => {
        $($(#[test]
        fn $name() {
            simulated(stringify!($name));
        })*)*
    };
}

each_row!(tests);

#[test]
fn every_row_has_a_test() {
    let tested: BTreeSet<u32> = ROWS.iter().flat_map(|row| of(row.name)).collect();
    let missing: Vec<u32> = (1..=HIGHEST).filter(|row| !tested.contains(row)).collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
    assert!(tested.iter().all(|row| (1..=HIGHEST).contains(row)));
}

/// The names in backquotes of a line.
fn names(line: &str) -> BTreeSet<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_says_what_the_tests_are() {
    let table = include_str!("../../agent/ROWS.md");
    let (rows, beyond) = table.split_once("## Beyond the table").unwrap();
    let tests = |wanted: &dyn Fn(&BTreeSet<u32>) -> bool| -> BTreeSet<&str> {
        let all = ROWS.iter().map(|row| row.name);
        all.filter(|name| wanted(&of(name))).collect()
    };
    for number in 1..=HIGHEST {
        let start = format!("| {number} | ");
        let line = rows.lines().find(|line| line.starts_with(&start));
        let cells: Vec<&str> = line.unwrap_or_default().split(" | ").collect();
        assert_eq!(cells.len(), 4, "row {number}: {line:?}");
        let written = names(cells[2]);
        assert_eq!(
            written,
            tests(&|rows| rows.contains(&number)),
            "row {number}"
        );
    }
    let written: BTreeSet<&str> = beyond.lines().flat_map(names).collect();
    assert_eq!(written, tests(&BTreeSet::is_empty));
}
