//! What hub and agent need to do I/O
