//! Domain types and the planner: pure, total, no I/O
