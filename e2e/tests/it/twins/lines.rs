//! Two texts, line by line.

use std::fmt::Write as _;

/// How many equal lines are shown around a difference.
const CONTEXT: usize = 2;
/// Beyond this many lines on a side, only the first difference is looked for.
const LONGEST: usize = 2000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Both,
    Real,
    Simulated,
}

/// The lines that differ, with a few around them: `-` only the real server has, `+` only the simulated one. Empty if none do.
pub(crate) fn difference(real: &str, simulated: &str) -> String {
    if real == simulated {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (real.lines().collect(), simulated.lines().collect());
    let all = aligned(&a[..a.len().min(LONGEST)], &b[..b.len().min(LONGEST)]);
    let near = |i: usize| {
        let around = i.saturating_sub(CONTEXT)..(i + CONTEXT + 1).min(all.len());
        all[around]
            .iter()
            .any(|(origin, _)| *origin != Origin::Both)
    };
    let mut out = String::new();
    let mut skipped = false;
    for (i, (origin, line)) in all.iter().enumerate() {
        if !near(i) {
            skipped = true;
            continue;
        }
        if std::mem::take(&mut skipped) {
            out.push_str("    ...\n");
        }
        let mark = match origin {
            Origin::Both => ' ',
            Origin::Real => '-',
            Origin::Simulated => '+',
        };
        let _ = writeln!(out, "  {mark} {line}");
    }
    out
}

/// The longest common subsequence, by the table of its lengths.
fn aligned<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<(Origin, &'a str)> {
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((Origin::Both, a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            out.push((Origin::Real, a[i]));
            i += 1;
        } else {
            out.push((Origin::Simulated, b[j]));
            j += 1;
        }
    }
    out
}

#[test]
fn shows_what_only_one_side_has() {
    assert_eq!(difference("a\nb", "a\nb"), "");
    assert_eq!(
        difference("1\n2\n3\n4\na\nc", "1\n2\n3\n4\nb\nc"),
        "    ...\n    3\n    4\n  - a\n  + b\n    c\n"
    );
}
