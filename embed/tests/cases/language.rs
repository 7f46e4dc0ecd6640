//! How a program in each language is found and started: the one place that knows.

use std::path::Path;
use std::sync::OnceLock;

use workhive_tests::tools;

use super::built::{build_folder, compile, linked_library};
use super::installed;
use super::list::folder;

/// A language.
pub(crate) struct Language {
    name: &'static str,
    /// Whether its workers run under valgrind.
    pub(crate) valgrind: bool,
    prepare: fn() -> Option<Vec<String>>,
    command: OnceLock<Option<Vec<String>>>,
}

/// C programs are compiled, with the header and the library of this checkout. Python has the wheel installed. The packages
/// of PHP and Node are used as they lie in the checkout, that of Node with its addon built.
static ALL: [Language; 8] = [
    Language::new("C", false, c),
    Language::new("Python", false, python),
    Language::new("PHP", false, php),
    Language::new("Node", false, node),
    Language::new("C", true, c),
    Language::new("Python", true, python),
    Language::new("PHP", true, php),
    Language::new("Node", true, node),
];

impl Language {
    const fn new(name: &'static str, valgrind: bool, prepare: fn() -> Option<Vec<String>>) -> Self {
        Self {
            name,
            valgrind,
            prepare,
            command: OnceLock::new(),
        }
    }

    /// The language of this name.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn named(name: &str, valgrind: bool) -> &'static Self {
        let found = ALL
            .iter()
            .find(|language| language.name == name && language.valgrind == valgrind);
        found.unwrap_or_else(|| panic!("there is no language {name}"))
    }

    /// The command that starts the case server; `None` if this machine lacks the language.
    pub(crate) fn command(&self) -> Option<&[String]> {
        self.command.get_or_init(self.prepare).as_deref()
    }
}

fn c() -> Option<Vec<String>> {
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder("cases-c");
    let names = [
        "cases",
        "cases_orders",
        "cases_pages",
        "cases_push",
        "cases_netstring",
    ];
    let sources = names.map(|name| folder().join(format!("c/tests/{name}.c")));
    let program = target.join("cases");
    compile(&cc, &sources, &[], &linked_library(&target), &program);
    Some(vec![text(&program)])
}

fn python() -> Option<Vec<String>> {
    let environment = installed::python()?;
    let python = environment.join("bin/python");
    Some(vec![text(&python), program("python/tests/cases.py")])
}

fn php() -> Option<Vec<String>> {
    let php = installed::php()?;
    Some(vec![text(&php), program("php/tests/cases.php")])
}

fn node() -> Option<Vec<String>> {
    let node = installed::node()?;
    Some(vec![text(&node), program("node/test/cases.js")])
}

fn program(name: &str) -> String {
    let path = folder().join(name);
    assert!(path.is_file(), "there is no {}", path.display());
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a readable path").to_owned()
}
