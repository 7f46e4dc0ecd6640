//! Upgrade.

/// The variable.
pub(crate) const STATE: &str = "WORKHIVE_SUCCESSION";
