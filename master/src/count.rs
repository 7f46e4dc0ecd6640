//! `--count N` and `--count group=N`.

use std::str::FromStr;

use crate::Group;
use crate::group::MAX_COUNT;

/// One `--count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Count {
    /// For which group; all if there is no name.
    pub(crate) group: Option<String>,
    pub(crate) count: usize,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The last '=': a number has none, and nor may the name of a group.
        let (group, number) = match text.rsplit_once('=') {
            Some((group, number)) => (Some(group.to_owned()), number),
            None => (None, text),
        };
        match number.parse() {
            Ok(count) if (1..=MAX_COUNT).contains(&count) => Ok(Self { group, count }),
            _ => Err(format!("it must be 1 to {MAX_COUNT}, or group=N")),
        }
    }
}

/// Applies the counts to the groups: those for all groups first, then those for one, the last of them counts.
pub(crate) fn apply(counts: &[Count], groups: Vec<Group>) -> Result<Vec<Group>, String> {
    for wanted in counts.iter().filter_map(|count| count.group.as_deref()) {
        if !groups.iter().any(|group| group.name == wanted) {
            let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
            return Err(format!(
                "there is no group \"{wanted}\" to count; there are: {}",
                names.join(", ")
            ));
        }
    }
    Ok(groups
        .into_iter()
        .map(|group| {
            let own = counts
                .iter()
                .rev()
                .find(|count| count.group.as_deref() == Some(&group.name));
            let all = counts.iter().rev().find(|count| count.group.is_none());
            match own.or(all) {
                Some(count) => group.count(count.count),
                None => group,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use workhive_worker::Program;

    use super::*;

    fn groups() -> Vec<Group> {
        ["push", "api"]
            .map(|name| Group::new(name, Program::new("none", |_| 0)))
            .into()
    }

    fn counted(words: &[&str]) -> Result<Vec<u16>, String> {
        let counts: Vec<Count> = words.iter().map(|word| word.parse().unwrap()).collect();
        apply(&counts, groups()).map(|groups| groups.iter().map(|group| group.count).collect())
    }

    #[test]
    fn a_number_alone_is_for_all_and_a_name_wins() {
        assert_eq!(counted(&[]), Ok(vec![1, 1]));
        assert_eq!(counted(&["8"]), Ok(vec![8, 8]));
        assert_eq!(counted(&["api=2", "8"]), Ok(vec![8, 2]));
        assert_eq!(counted(&["api=2", "api=3"]), Ok(vec![1, 3]));
    }

    #[test]
    fn an_unknown_group_lists_those_there_are() {
        assert_eq!(
            counted(&["pusch=2"]),
            Err("there is no group \"pusch\" to count; there are: push, api".to_owned())
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["0", "1025", "-1", "x", "", "api=", "api=0", "1.5"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
        assert!("1024".parse::<Count>().is_ok());
    }
}
