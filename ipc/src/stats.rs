//! Shared memory with one row per slot. (signatures; bodies follow)
