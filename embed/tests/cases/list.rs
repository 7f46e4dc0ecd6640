//! The list of cases, as `embed/cases/cases.toml` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A case, and what each language has of it: `yes`, or `no: ` and why.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    /// The name of its test.
    pub(crate) id: String,
    /// What is so in every language.
    pub(crate) sentence: String,
    /// Whether it is one of those that are always run under valgrind too, in C and in Python.
    #[serde(default)]
    pub(crate) valgrind: bool,
    #[serde(flatten)]
    words: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    case: Vec<Case>,
}

/// The folder `embed` of this checkout.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// All cases, in their order.
pub(crate) fn read() -> Vec<Case> {
    let path = folder().join("cases/cases.toml");
    let text = std::fs::read_to_string(&path).expect("a list of cases");
    let list: List =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    list.case
}

impl Case {
    /// Why a language does not have it; `None` if it has.
    ///
    /// # Panics
    /// If the list says neither yes nor why not.
    pub(crate) fn reason_against(&self, language: &str) -> Option<&str> {
        let word = self.words.get(&language.to_lowercase());
        let word = word.unwrap_or_else(|| panic!("{} says nothing of {language}", self.id));
        if word == "yes" {
            return None;
        }
        let reason = word.strip_prefix("no: ").filter(|reason| reason.len() > 10);
        Some(reason.unwrap_or_else(|| panic!("{}: neither yes nor a reason: {word}", self.id)))
    }
}
