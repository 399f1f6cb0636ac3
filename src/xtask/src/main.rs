//! Generate, check, test and bench.
fn main() {}
