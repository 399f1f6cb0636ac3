//! What people see, as pure functions of objects and a time.

pub(crate) mod detail;
pub(crate) mod explain;
pub(crate) mod fleet;
pub(crate) mod loss;
pub(crate) mod progress;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
