//! The real hub and agents on a simulated world
