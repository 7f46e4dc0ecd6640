//! One line of the log, as text or as JSON.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use log::{Level, Record};

use crate::clock::Timestamp;

/// Longest line, in bytes and without its end; what is longer is cut.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `2026-01-02T03:04:05.678Z INFO push[2] 1234 text`.
    #[default]
    Text,
    /// `{"time":"2026-01-02T03:04:05.678Z","level":"info","place":"push[2]","pid":1234,"target":"..","message":"text"}`.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it must be text or json".to_owned()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who logs, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) now: u64,
    /// `master`, or `group[slot]`.
    pub(crate) place: &'a str,
    pub(crate) pid: u32,
}

impl Head<'_> {
    /// The line of a record, with its end.
    pub(crate) fn line(&self, format: Format, record: &Record<'_>) -> String {
        match format {
            Format::Text => self.text(record),
            Format::Json => self.json(record),
        }
    }

    /// Control characters are escaped: a peer's bytes in a message must not forge a line, nor reach a terminal.
    fn text(&self, record: &Record<'_>) -> String {
        let Self { now, place, pid } = self;
        let mut line = String::with_capacity(128);
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "{} {} {place} {pid} ",
            Timestamp(*now),
            record.level()
        );
        let start = line.len();
        let _ = write!(line, "{}", record.args());
        if let Some(escaped) = escaped(&line[start..]) {
            line.truncate(start);
            line.push_str(&escaped);
        }
        line.truncate(line.floor_char_boundary(MAX_LINE));
        line.push('\n');
        line
    }

    /// An object in which the message comes last: if it has to be cut, all else is whole, and so is the object.
    fn json(&self, record: &Record<'_>) -> String {
        const END: &str = "\"}";
        let Self { now, place, pid } = self;
        let mut line = String::with_capacity(192);
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        // Writing to a String does not fail, and to this one only what does not fit any more.
        let _ = write!(
            line,
            "{{\"time\":\"{}\",\"level\":\"{level}\",\"place\":\"",
            Timestamp(*now)
        );
        let _ = Escaped::up_to(&mut line, MAX_LINE / 4).write_str(place);
        let _ = write!(line, "\",\"pid\":{pid},\"target\":\"");
        let _ = Escaped::up_to(&mut line, MAX_LINE / 2).write_str(record.target());
        line.push_str("\",\"message\":\"");
        let _ = Escaped::up_to(&mut line, MAX_LINE - END.len()).write_fmt(*record.args());
        line.push_str(END);
        line.push('\n');
        line
    }
}

/// What a record says, and nothing else, as it stands in a line of text.
pub(crate) fn message(record: &Record<'_>) -> String {
    let text = record.args().to_string();
    let mut text = escaped(&text).unwrap_or(text);
    text.truncate(text.floor_char_boundary(MAX_LINE));
    text
}

/// With its control characters escaped; none if it has none.
fn escaped(text: &str) -> Option<String> {
    if !text.contains(|c: char| c.is_control()) {
        return None;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Some(escaped)
}

/// What is written here becomes part of a JSON string (RFC 8259, section 7), as far as there is room.
struct Escaped<'a> {
    to: &'a mut String,
    most: usize,
}

impl<'a> Escaped<'a> {
    fn up_to(to: &'a mut String, most: usize) -> Self {
        Self { to, most }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.to.len();
            match c {
                '"' => self.to.push_str("\\\""),
                '\\' => self.to.push_str("\\\\"),
                '\n' => self.to.push_str("\\n"),
                '\r' => self.to.push_str("\\r"),
                '\t' => self.to.push_str("\\t"),
                // None is above U+FFFF. Those from U+007F on may stand in JSON, but not reach a terminal.
                c if c.is_control() => write!(self.to, "\\u{:04x}", u32::from(c))?,
                c => self.to.push(c),
            }
            if self.to.len() > self.most {
                self.to.truncate(before);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head<'_> = Head {
        now: 1_767_323_045_678,
        place: "push[2]",
        pid: 1234,
    };

    fn line(format: Format, message: &str) -> String {
        HEAD.line(
            format,
            &Record::builder()
                .args(format_args!("{message}"))
                .level(Level::Warn)
                .target("push::rooms")
                .build(),
        )
    }

    fn message(line: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_line_says_when_how_bad_who_and_what() {
        assert_eq!(
            line(Format::Text, "hello"),
            "2026-01-02T03:04:05.678Z WARN push[2] 1234 hello\n"
        );
        assert_eq!(
            line(Format::Json, "hello"),
            "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\",\"place\":\"push[2]\",\"pid\":1234,\
             \"target\":\"push::rooms\",\"message\":\"hello\"}\n"
        );
    }

    #[test]
    fn bytes_of_a_peer_cannot_forge_a_line() {
        assert!(line(Format::Text, "a\nb\u{1b}[2Jc").ends_with(" a\\nb\\u{1b}[2Jc\n"));
        let sly = "a\n\r\t\"}{\\\u{1b}[2J\u{0}\u{7f}\u{9b}é😀";
        let json = line(Format::Json, sly);
        assert_eq!(message(&json), sly);
        assert!(
            !json.trim_end().contains(|c: char| c.is_control()),
            "{json:?}"
        );
    }

    #[test]
    fn a_line_has_an_end() {
        let long = line(Format::Text, &"é".repeat(MAX_LINE));
        assert!(long.len() <= MAX_LINE + 1 && long.ends_with("é\n"));
        for piece in ["é", "\"", "\u{1b}", "x", "😀\n"] {
            let long = line(Format::Json, &piece.repeat(MAX_LINE));
            assert!(
                (MAX_LINE - 8..=MAX_LINE + 1).contains(&long.len()),
                "{}",
                long.len()
            );
            assert!(piece.repeat(MAX_LINE).starts_with(&message(&long)));
        }
    }

    #[test]
    fn names_of_any_kind_leave_the_object_whole() {
        let head = Head {
            place: "a \"group\"\\[0]",
            ..HEAD
        };
        let record = Record::builder()
            .target("x\"y")
            .args(format_args!("z"))
            .build();
        let json = head.line(Format::Json, &record);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["place"], "a \"group\"\\[0]");
        assert_eq!(value["target"], "x\"y");
    }
}
