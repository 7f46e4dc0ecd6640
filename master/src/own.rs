//! The options of a program's own, from the command line or from the configuration file.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use serde::{Deserialize, Serialize};

use crate::config::Position;

const HEADING: &str = "Options of this program";

/// One option of a program's own.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) name: String,
    pub(crate) help: String,
    /// Placeholder and default; a flag has none.
    pub(crate) value: Option<(String, String)>,
    /// It may be given several times.
    pub(crate) many: bool,
}

/// What such an option has been set to, by whomever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Chosen {
    Flag(bool),
    Value(String),
    Values(Vec<String>),
}

impl Chosen {
    /// False for what is as if it had not been set, and cannot be written into a file.
    pub(crate) fn is_something(&self) -> bool {
        match self {
            Self::Flag(_) => true,
            Self::Value(value) => !value.is_empty(),
            Self::Values(values) => !values.is_empty(),
        }
    }
}

/// A value as it stands in a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a text, a number, true, false, or a list of texts"
)]
pub(crate) enum Written {
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Many(Vec<Self>),
}

impl Written {
    /// As it would stand on the command line.
    fn word(&self) -> Option<String> {
        match self {
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Flag(_) | Self::Many(_) => None,
        }
    }
}

/// The table of such options in a file, with the places of their names.
pub(crate) type Table = BTreeMap<String, (Position, Written)>;

impl Own {
    pub(crate) fn arg(&self) -> Arg {
        let arg = Arg::new(self.name.clone())
            .long(self.name.clone())
            .help(self.help.clone())
            .help_heading(HEADING);
        let Some((placeholder, default)) = &self.value else {
            return arg.action(ArgAction::SetTrue);
        };
        let arg = arg.value_name(placeholder.clone());
        if self.many {
            arg.action(ArgAction::Append)
        } else if default.is_empty() {
            arg
        } else {
            arg.default_value(default.clone())
        }
    }

    /// What it is set to: the command line wins over the file.
    fn choose(&self, matches: &ArgMatches, table: &Table) -> Result<Chosen, String> {
        let given = matches.value_source(&self.name) == Some(ValueSource::CommandLine);
        if let Some((position, written)) = table.get(&self.name).filter(|_| !given) {
            return self
                .understand(written)
                .map_err(|why| format!("{position}: option \"{}\": {why}", self.name));
        }
        Ok(if self.many {
            let values = matches.get_many::<String>(&self.name);
            Chosen::Values(values.unwrap_or_default().cloned().collect())
        } else if self.value.is_none() {
            Chosen::Flag(matches.get_flag(&self.name))
        } else {
            let value = matches.get_one::<String>(&self.name);
            Chosen::Value(value.cloned().unwrap_or_default())
        })
    }

    fn understand(&self, written: &Written) -> Result<Chosen, &'static str> {
        let one = "it must be a text or a number";
        match (self.many, &self.value, written) {
            (true, _, Written::Many(all)) => {
                let words: Option<_> = all.iter().map(Written::word).collect();
                words
                    .map(Chosen::Values)
                    .ok_or("it must be a list of texts")
            }
            (true, _, one) => {
                let word = one.word().ok_or("it must be a text, or a list of texts")?;
                Ok(Chosen::Values(vec![word]))
            }
            (false, None, Written::Flag(flag)) => Ok(Chosen::Flag(*flag)),
            (false, None, _) => Err("it must be true or false"),
            (false, Some(_), written) => written.word().map(Chosen::Value).ok_or(one),
        }
    }
}

/// What all of them are set to.
pub(crate) fn choose(
    options: &[Own],
    matches: &ArgMatches,
    table: &Table,
) -> Result<BTreeMap<String, Chosen>, String> {
    for (name, (position, _)) in table {
        if !options.iter().any(|own| own.name == *name) {
            let names: Vec<_> = options.iter().map(|own| own.name.as_str()).collect();
            let there = if names.is_empty() {
                "this program has none of its own".to_owned()
            } else {
                format!("this program has: {}", names.join(", "))
            };
            return Err(format!(
                "{position}: there is no option \"{name}\"; {there}"
            ));
        }
    }
    options
        .iter()
        .map(|own| Ok((own.name.clone(), own.choose(matches, table)?)))
        .collect()
}
