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
