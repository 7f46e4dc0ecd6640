//! The list of connections, as it is printed: JSON as it comes, or a table when all is there.

use std::io::{self, Write};
use std::time::Duration;

use crate::clock::Span;
use crate::protocol::{ConnectionStatus, ListingPart, ProcessStatus};
use crate::table;

/// What is printed, bit by bit.
#[derive(Debug)]
pub(crate) struct Listing {
    json: bool,
    begun: bool,
    rows: Vec<Vec<String>>,
    silent: Vec<ProcessStatus>,
}

const HEAD: [&str; 13] = [
    "pid",
    "group",
    "id",
    "transport",
    "protocol",
    "unread",
    "unsent",
    "read",
    "written",
    "state",
    "local",
    "remote",
    "uid",
];

impl Listing {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            begun: false,
            rows: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// Takes the next piece of what the hive says.
    pub(crate) fn add(&mut self, part: ListingPart) -> io::Result<()> {
        self.add_to(part, &mut io::stdout().lock())
    }

    fn add_to(&mut self, part: ListingPart, out: &mut impl Write) -> io::Result<()> {
        match part {
            ListingPart::Connections(rows) if self.json => {
                for row in rows {
                    self.write(&row, out)?;
                }
                Ok(())
            }
            ListingPart::Connections(rows) => {
                self.rows.extend(rows.iter().map(cells));
                Ok(())
            }
            ListingPart::Silent(process) => {
                self.silent.push(process);
                Ok(())
            }
            ListingPart::Done(_) if self.json => {
                if !self.begun {
                    write!(out, "{{\"connections\":[")?;
                }
                let silent = serde_json::to_string(&self.silent)?;
                writeln!(out, "],\n\"silent\":{silent}}}")
            }
            ListingPart::Done(_) => {
                self.rows.extend(self.silent.iter().map(silent));
                out.write_all(table::render(&HEAD, &self.rows).as_bytes())
            }
        }
    }

    /// One connection a line, in one list.
    fn write(&mut self, row: &ConnectionStatus, out: &mut impl Write) -> io::Result<()> {
        let before = if std::mem::replace(&mut self.begun, true) {
            ","
        } else {
            "{\"connections\":["
        };
        write!(out, "{before}\n{}", serde_json::to_string(row)?)
    }
}

fn cells(row: &ConnectionStatus) -> Vec<String> {
    vec![
        row.pid.to_string(),
        row.group.clone(),
        row.id.clone(),
        row.transport.clone(),
        row.protocol.clone(),
        row.unread.to_string(),
        row.unsent.to_string(),
        row.bytes_read.to_string(),
        row.bytes_written.to_string(),
        format!(
            "{}, idle {}",
            row.state,
            Span(Duration::from_millis(row.idle_ms))
        ),
        row.local.clone(),
        row.remote.clone(),
        row.uid.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn silent(process: &ProcessStatus) -> Vec<String> {
    let dash = || "-".to_owned();
    let mut cells = vec![process.pid.to_string(), process.group.clone()];
    cells.extend(std::iter::repeat_with(dash).take(7));
    cells.push(format!("slot {} did not answer", process.slot));
    cells.extend(std::iter::repeat_with(dash).take(3));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(connections: usize) -> Vec<ListingPart> {
        let row = |number: usize| ConnectionStatus {
            pid: 7,
            group: "push".into(),
            slot: 0,
            id: format!("0badcafe-2-7-{number}"),
            transport: "tcp".into(),
            protocol: "text".into(),
            unread: 0,
            unsent: 12,
            bytes_read: 3,
            bytes_written: 4,
            messages: 1,
            idle_ms: 1500,
            state: "open".into(),
            local: "127.0.0.1:1".into(),
            remote: "127.0.0.1:2".into(),
            uid: Some("a\u{1b}[2J".into()),
        };
        let silent = ProcessStatus {
            pid: 8,
            group: "push".into(),
            slot: 1,
        };
        vec![
            ListingPart::Connections((0..connections).map(row).collect()),
            ListingPart::Silent(silent),
            ListingPart::Done(true),
        ]
    }

    fn listed(json: bool, connections: usize) -> String {
        let mut listing = Listing::new(json);
        let mut out = Vec::new();
        for part in parts(connections) {
            listing.add_to(part, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_json_is_one_document_however_many_there_are() {
        for connections in [0, 1, 3] {
            let document: serde_json::Value =
                serde_json::from_str(&listed(true, connections)).unwrap();
            assert_eq!(
                document["connections"].as_array().map(Vec::len),
                Some(connections)
            );
            assert_eq!(document["silent"][0]["pid"], 8);
        }
    }

    #[test]
    fn the_table_marks_who_did_not_answer_and_obeys_no_client() {
        let text = listed(false, 1);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("0badcafe-2-7-0") && text.contains("slot 1 did not answer"));
        assert!(!text.contains('\u{1b}'));
    }
}
