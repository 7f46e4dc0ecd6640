//! The configuration file: what the standard options say, for all groups and for each.
//!
//! ```toml
//! log-level = "info"
//!
//! [options]            # those of the program's own
//! ws = "0.0.0.0:1234"
//!
//! [all]                # every group
//! drain = 20
//!
//! [groups.push]        # the group of this name
//! count = 8
//! max-memory = "512M"
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serialize, de};
use toml::Spanned;

use crate::Group;
use crate::line::Format;
use crate::own::{self, Chosen};
use crate::settings::{GroupSettings, write_text};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A configuration file, read and understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub(crate) hive: HiveSettings,
    all: GroupSettings,
    /// With the lines where they begin.
    groups: BTreeMap<String, (usize, GroupSettings)>,
    /// The options of the program's own.
    pub(crate) options: own::Table,
    path: PathBuf,
}

/// Where in a file something stands, for people.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl Position {
    fn of(path: &Path, text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            path: path.to_owned(),
            line: 1 + before.matches('\n').count(),
            column: 1 + line.chars().count(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        write!(f, "{}: line {line}, column {column}", path.display())
    }
}

/// What concerns the hive as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HiveSettings {
    pub(crate) daemon: Option<bool>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: Option<String>,
    #[serde(serialize_with = "write_text")]
    pub(crate) log_format: Option<Format>,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    daemon: Option<bool>,
    pid_file: Option<PathBuf>,
    log_file: Option<PathBuf>,
    #[serde(deserialize_with = "level")]
    log_level: Option<String>,
    #[serde(deserialize_with = "format")]
    log_format: Option<Format>,
    options: BTreeMap<Spanned<String>, own::Written>,
    all: GroupSettings,
    groups: BTreeMap<String, Spanned<GroupSettings>>,
}

/// The file as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    hive: HiveSettings,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, Chosen>,
    groups: BTreeMap<String, GroupSettings>,
}

fn level<'d, D: Deserializer<'d>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    match text.parse::<LevelFilter>() {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(de::Error::custom(
            "it must be off, error, warn, info, debug or trace",
        )),
    }
}

fn format<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Format>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

impl Config {
    /// Reads a file. An error says where in it, with line and column.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, String> {
        let file: Written = toml::from_str(text)
            .map_err(|error| format!("{}: {}", path.display(), error.to_string().trim_end()))?;
        let groups = file.groups.into_iter().map(|(name, settings)| {
            let line = 1 + text[..settings.span().start].matches('\n').count();
            (name, (line, settings.into_inner()))
        });
        let options = file.options.into_iter().map(|(name, written)| {
            let position = Position::of(path, text, name.span().start);
            (name.into_inner(), (position, written))
        });
        Ok(Self {
            hive: HiveSettings {
                daemon: file.daemon,
                pid_file: file.pid_file,
                log_file: file.log_file,
                log_level: file.log_level,
                log_format: file.log_format,
            },
            all: file.all,
            groups: groups.collect(),
            options: options.collect(),
            path: path.to_owned(),
        })
    }

    /// The groups as the file wants them.
    pub(crate) fn apply(&self, groups: Vec<Group>) -> Result<Vec<Group>, String> {
        for (name, (line, _)) in &self.groups {
            if !groups.iter().any(|group| group.name == *name) {
                let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
                return Err(format!(
                    "{}: line {line}: there is no group \"{name}\"; there are: {}",
                    self.path.display(),
                    names.join(", ")
                ));
            }
        }
        let wanted = groups.into_iter().map(|group| {
            let group = self.all.apply(group);
            match self.groups.get(&group.name) {
                Some((_, settings)) => settings.apply(group),
                None => group,
            }
        });
        Ok(wanted.collect())
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("it has more than 1 MiB"));
    }
    Ok(text)
}

/// All that is set, as a file that sets it.
pub(crate) fn show(
    hive: HiveSettings,
    options: &BTreeMap<String, Chosen>,
    groups: &[Group],
) -> Result<String, String> {
    let groups = groups
        .iter()
        .map(|group| (group.name.clone(), group.into()));
    let options = options.iter().filter(|(_, chosen)| chosen.is_something());
    let shown = Shown {
        hive,
        options: options
            .map(|(name, chosen)| (name.clone(), chosen.clone()))
            .collect(),
        groups: groups.collect(),
    };
    toml::to_string(&shown).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use workhive_worker::Program;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("hive.toml"))
    }

    fn groups() -> Vec<Group> {
        ["push", "api"]
            .map(|name| Group::new(name, Program::new("none", |_| 0)))
            .into()
    }

    #[test]
    fn a_group_gets_what_is_said_of_all_and_of_itself() {
        let config = parse(
            "log-level = \"debug\"\n[all]\ndrain = 2.5\ncount = 3\n[groups.push]\ncount = 8\nmax-memory = \"512M\"\n",
        )
        .unwrap();
        assert_eq!(config.hive.log_level.as_deref(), Some("debug"));
        let groups = config.apply(groups()).unwrap();
        assert_eq!((groups[0].count, groups[1].count), (8, 3));
        assert_eq!(
            (groups[0].max_memory, groups[1].max_memory),
            (Some(512 << 20), None)
        );
        assert_eq!(groups[1].drain, Duration::from_millis(2500));
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        for (text, line, words) in [
            ("\ncont = 3", "line 2, column 1", "cont"),
            ("[all]\ndrian = 3", "line 2, column 1", "drian"),
            (
                "[groups.push]\n\n  count = 0",
                "line 3, column",
                "1 to 1024",
            ),
            ("[all]\ncount = 1.5", "line 2, column", "1 to 1024"),
            ("[all]\nmax-memory = \"much\"", "line 2, column", "no size"),
            ("[all]\ndrain = true", "line 2, column", "number"),
            ("log-level = \"loud\"", "line 1, column", "debug"),
            ("count = ", "line 1, column", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("hive.toml: "), "{error}");
            assert!(
                error.contains(line) && error.contains(words),
                "{text}: {error}"
            );
        }
        let error = parse("[all]\n[groups.pusch]\ncount = 1")
            .unwrap()
            .apply(groups())
            .unwrap_err();
        assert_eq!(
            error,
            "hive.toml: line 2: there is no group \"pusch\"; there are: push, api"
        );
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let config = parse("[all]\nmax-lifetime = 3600\nmax-requests = 5\nuser = \"www\"").unwrap();
        let groups_before = config.apply(groups()).unwrap();
        let hive = HiveSettings {
            daemon: Some(true),
            log_level: Some("warn".to_owned()),
            ..HiveSettings::default()
        };
        let text = show(hive.clone(), &BTreeMap::new(), &groups_before).unwrap();
        let again = parse(&text).unwrap();
        assert_eq!(again.hive, hive);
        let groups_after = again.apply(groups()).unwrap();
        for (before, after) in groups_before.iter().zip(&groups_after) {
            assert_eq!(GroupSettings::from(before), GroupSettings::from(after));
        }
    }
}
