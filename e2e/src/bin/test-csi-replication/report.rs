//! What the program prints: numbered sections with checks.

use std::fmt::Display;

use anyhow::Result;

/// Counts what was checked.
#[derive(Debug, Default)]
pub(crate) struct Report {
    section: usize,
    passed: usize,
    failed: usize,
}

impl Report {
    /// Begins a section.
    pub(crate) fn section(&mut self, title: &str) {
        self.section += 1;
        println!("\n{}. {title}", self.section);
    }

    /// Says what is the case, or that it is not; a failure is passed on, for what comes next rests on it.
    pub(crate) fn check<T>(&mut self, what: impl Display, found: Result<T>) -> Result<T> {
        match &found {
            Ok(_) => {
                self.passed += 1;
                println!("   ✓ {what}");
            }
            Err(error) => {
                self.failed += 1;
                println!("   ✗ {what}: {error:#}");
            }
        }
        found
    }

    /// The last lines.
    pub(crate) fn sum_up(&self, error: Option<&anyhow::Error>) {
        let Self {
            section,
            passed,
            failed,
        } = self;
        println!("\n{section} sections, {passed} checks passed, {failed} failed");
        match error {
            None => println!("✓ all is as it should be"),
            Some(error) => println!("✗ section {section}: {error:#}"),
        }
    }
}

/// Explains what a check says.
pub(crate) fn explain(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}
