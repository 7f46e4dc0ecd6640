//! workhive.
fn main() {}
