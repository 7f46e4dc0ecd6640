//! What C has beyond the cases.

mod abi;
mod examples;
