//! The table of cases and languages is that of the list.

#[path = "cases/list.rs"]
mod list;

use std::fmt::Write as _;

use list::Case;

const LANGUAGES: [&str; 4] = ["C", "Python", "PHP", "Node"];

#[test]
fn the_table_is_that_of_the_list() {
    let path = list::folder().join("cases/TABLE.md");
    let table = table(&list::read());
    if std::env::var_os("WORKHIVE_WRITE").is_some() {
        std::fs::write(&path, &table).expect("a file");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "{} is out of date: run this test with WORKHIVE_WRITE=1",
        path.display()
    );
}

#[test]
fn every_case_has_a_name_of_its_own_and_works_in_some_language() {
    let cases = list::read();
    for (number, case) in cases.iter().enumerate() {
        let id = &case.id;
        assert!(
            cases[..number].iter().all(|other| other.id != *id),
            "{id} is there twice"
        );
        let works = LANGUAGES
            .iter()
            .any(|language| case.reason_against(language).is_none());
        assert!(works, "{id} works nowhere");
    }
}

/// The table for the documentation, with the reasons below it.
fn table(cases: &[Case]) -> String {
    let mut table = String::from(
        "# What is tested in every language\n\n\
         Made from [`cases.toml`](cases.toml) by `WORKHIVE_WRITE=1 cargo test -p workhive-embed --test cases_table`.\n\n\
         | what is so | C | Python | PHP | Node | also under valgrind |\n|---|---|---|---|---|---|\n",
    );
    let mut reasons = Vec::new();
    for case in cases {
        let words = LANGUAGES.map(|language| match case.reason_against(language) {
            None => "yes".to_owned(),
            Some(reason) => format!("no ({})", number_of(&mut reasons, reason)),
        });
        // Writing to a String does not fail.
        let valgrind = if case.valgrind { "C, Python" } else { "" };
        let _ = writeln!(
            table,
            "| {} | {} | {valgrind} |",
            case.sentence,
            words.join(" | ")
        );
    }
    table.push('\n');
    for (number, reason) in reasons.iter().enumerate() {
        let _ = writeln!(table, "{}. {reason}", number + 1);
    }
    table
}

/// The number of a reason; what is said twice has one.
fn number_of<'r>(reasons: &mut Vec<&'r str>, reason: &'r str) -> usize {
    let known = reasons.iter().position(|other| *other == reason);
    known.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    }) + 1
}
