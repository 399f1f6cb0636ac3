//! Which rows a test is for, from its name.

use std::collections::BTreeSet;

/// The last row of the table.
pub const HIGHEST: u32 = 81;

/// The rows that a test's name says: `row_47_...`, `rows_36_to_38_and_44_...`. None for a test of ours beyond the table.
pub fn of(name: &str) -> BTreeSet<u32> {
    let mut rows = BTreeSet::new();
    let Some(rest) = name
        .strip_prefix("row_")
        .or_else(|| name.strip_prefix("rows_"))
    else {
        return rows;
    };
    let (mut last, mut is_range) = (None, false);
    for word in rest.split('_') {
        match (word, word.parse::<u32>()) {
            ("and", _) => {}
            ("to", _) => is_range = true,
            (_, Ok(number)) => {
                rows.extend(last.filter(|_| is_range).unwrap_or(number)..=number);
                (last, is_range) = (Some(number), false);
            }
            _ => break,
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_rows() {
        let rows = |name| Vec::from_iter(of(name));
        assert_eq!(rows("row_47_a_primary"), [47]);
        assert_eq!(rows("rows_36_to_38_and_44_then_idle"), [36, 37, 38, 44]);
        assert_eq!(rows("rows_40_42_43_every_15_seconds"), [40, 42, 43]);
        assert_eq!(rows("row_3_and_71_marks"), [3, 71]);
        assert!(rows("a_stop_gives_the_lease_up").is_empty());
    }
}
