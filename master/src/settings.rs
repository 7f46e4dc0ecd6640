//! What whoever runs a program can set for its groups, over the program's own choice.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cpus::Affinity;
use crate::group::MAX_COUNT;
use crate::manners::{Manners, Umask};
use crate::{Group, Spawn};

/// Settings of a group, each only if it was given. As they stand in a configuration file, times are numbers of seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GroupSettings {
    #[serde(deserialize_with = "read::count")]
    pub(crate) count: Option<usize>,
    #[serde(deserialize_with = "read::seconds", serialize_with = "write_seconds")]
    pub(crate) drain: Option<Duration>,
    #[serde(
        deserialize_with = "read::some_seconds",
        serialize_with = "write_seconds"
    )]
    pub(crate) boot_timeout: Option<Duration>,
    #[serde(
        deserialize_with = "read::some_seconds",
        serialize_with = "write_seconds"
    )]
    pub(crate) stuck_after: Option<Duration>,
    #[serde(deserialize_with = "read::some")]
    pub(crate) max_requests: Option<u64>,
    #[serde(
        deserialize_with = "read::many_seconds",
        serialize_with = "write_seconds"
    )]
    pub(crate) max_lifetime: Option<Duration>,
    /// In bytes.
    #[serde(deserialize_with = "read::size")]
    pub(crate) max_memory: Option<u64>,
    pub(crate) spawn: Option<Spawn>,
    pub(crate) user: Option<String>,
    /// The Unix group.
    pub(crate) group: Option<String>,
    #[serde(deserialize_with = "read::some")]
    pub(crate) nofile: Option<u64>,
    #[serde(deserialize_with = "read::nice")]
    pub(crate) nice: Option<i32>,
    #[serde(deserialize_with = "read::affinity", serialize_with = "write_text")]
    pub(crate) cpu_affinity: Option<Affinity>,
    #[serde(deserialize_with = "read::oom_score")]
    pub(crate) oom_score_adj: Option<i32>,
    #[serde(deserialize_with = "read::umask", serialize_with = "write_text")]
    pub(crate) umask: Option<Umask>,
    pub(crate) chdir: Option<PathBuf>,
}

impl GroupSettings {
    /// A group as these settings want it.
    pub(crate) fn apply(&self, mut group: Group) -> Group {
        if let Some(count) = self.count {
            group = group.count(count);
        }
        if let Some(window) = self.drain {
            group = group.drain(window);
        }
        if let Some(time) = self.boot_timeout {
            group = group.boot_timeout(time);
        }
        if let Some(time) = self.stuck_after {
            group = group.stuck_after(time);
        }
        if let Some(messages) = self.max_requests {
            group = group.max_requests(messages);
        }
        if let Some(age) = self.max_lifetime {
            group = group.max_lifetime(age);
        }
        if let Some(bytes) = self.max_memory {
            group = group.max_memory(bytes);
        }
        if let Some(spawn) = self.spawn {
            group = group.spawn(spawn);
        }
        if let Some(user) = &self.user {
            group = group.user(user);
        }
        if let Some(unix_group) = &self.group {
            group = group.unix_group(unix_group);
        }
        group.with_manners(&Manners {
            nofile: self.nofile,
            nice: self.nice,
            affinity: self.cpu_affinity.clone(),
            oom_score: self.oom_score_adj,
            umask: self.umask,
            directory: self.chdir.clone(),
        })
    }
}

impl From<&Group> for GroupSettings {
    /// What a group has, whoever has set it.
    fn from(group: &Group) -> Self {
        Self {
            count: Some(usize::from(group.count)),
            drain: Some(group.drain),
            boot_timeout: Some(group.boot_timeout),
            stuck_after: Some(group.stuck_after),
            max_requests: group.max_requests,
            max_lifetime: group.max_lifetime,
            max_memory: group.max_memory,
            spawn: group.command.is_none().then_some(group.spawn),
            user: group.uid_name.clone(),
            group: group.gid_name.clone(),
            nofile: group.manners.nofile,
            nice: group.manners.nice,
            cpu_affinity: group.manners.affinity.clone(),
            oom_score_adj: group.manners.oom_score,
            umask: group.manners.umask,
            chdir: group.manners.directory.clone(),
        }
    }
}

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
fn write_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(crate) fn write_text<T: ToString, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(to)
}

/// What is written in a file is read as if it stood on the command line: numbers, or text.
mod read {
    use serde::de::Error;

    use super::{Affinity, Deserialize, Deserializer, Duration, Umask};
    use crate::manners;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Integer(i64),
        Float(f64),
        Text(String),
    }

    fn word<'d, D: Deserializer<'d>, T>(
        from: D,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, D::Error> {
        let text = match Word::deserialize(from) {
            Ok(Word::Integer(number)) => number.to_string(),
            Ok(Word::Float(number)) => number.to_string(),
            Ok(Word::Text(text)) => text,
            Err(_) => return Err(D::Error::custom("it must be a number")),
        };
        parse(&text).map(Some).map_err(D::Error::custom)
    }

    pub(super) fn count<'d, D: Deserializer<'d>>(from: D) -> Result<Option<usize>, D::Error> {
        word(from, super::count)
    }

    pub(super) fn seconds<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Duration>, D::Error> {
        word(from, super::seconds)
    }

    pub(super) fn some_seconds<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        word(from, super::some_seconds)
    }

    pub(super) fn many_seconds<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        word(from, super::many_seconds)
    }

    pub(super) fn some<'d, D: Deserializer<'d>>(from: D) -> Result<Option<u64>, D::Error> {
        word(from, super::some)
    }

    pub(super) fn size<'d, D: Deserializer<'d>>(from: D) -> Result<Option<u64>, D::Error> {
        word(from, super::size)
    }

    pub(super) fn nice<'d, D: Deserializer<'d>>(from: D) -> Result<Option<i32>, D::Error> {
        word(from, manners::nice)
    }

    pub(super) fn oom_score<'d, D: Deserializer<'d>>(from: D) -> Result<Option<i32>, D::Error> {
        word(from, manners::oom_score)
    }

    pub(super) fn affinity<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Affinity>, D::Error> {
        word(from, str::parse)
    }

    /// As text only: as a number, 27 would not be what it looks like.
    pub(super) fn umask<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Umask>, D::Error> {
        let text = String::deserialize(from)
            .map_err(|_| D::Error::custom("it must be a text of octal digits, such as \"027\""))?;
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

/// A number of processes.
fn count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or_else(|| format!("it must be 1 to {MAX_COUNT}"))
}

/// How processes come to be.
pub(crate) fn spawn(text: &str) -> Result<Spawn, String> {
    match text {
        "fork" => Ok(Spawn::Fork),
        "exec" => Ok(Spawn::Exec),
        _ => Err("it must be fork or exec".to_owned()),
    }
}

/// A time in seconds, with or without a fraction, a day at most.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "it must be a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= Duration::from_hours(24) => Ok(time),
        _ => Err("it must be 0 to 86400 seconds".to_owned()),
    }
}

/// The same, where none at all makes no sense.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| {
        if time < Duration::from_millis(1) {
            return Err("it must be more than 0 seconds, and 86400 at most".to_owned());
        }
        Ok(time)
    })
}

/// A time in seconds, of any length.
pub(crate) fn many_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| {
            *time >= Duration::from_millis(1) && *time < Duration::from_hours(24 * 36_500)
        })
        .ok_or_else(|| "it must be a number of seconds, and more than 0".to_owned())
}

/// A number that is not 0.
pub(crate) fn some(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a number from 1 on".to_owned())
}

/// A size in bytes: digits, and K, M or G for powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("\"{text}\" is no size: write 65536, 64K, 10M or 1G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64K"), Ok(65_536));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        for bad in ["", "M", "-1", "0", "1.5M", "10 M", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_with_a_fraction_and_a_day_at_most() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(some_seconds("86400"), Ok(Duration::from_hours(24)));
        for bad in ["", "x", "-1", "nan", "inf", "86401", "1e30"] {
            assert!(seconds(bad).is_err() && some_seconds(bad).is_err(), "{bad}");
        }
        assert!(some_seconds("0").is_err());
    }
}
