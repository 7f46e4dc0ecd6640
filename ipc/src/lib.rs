//! What one process says to another.
