//! The seat of a process that was not forked but executed: what the master wrote down for it, and how it is read.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use workhive_ipc::{StatsPage, WorkerEnd, route};
use workhive_worker::{Inherited, Place, Seat};

use crate::exec::Image;
use crate::{bound, logger, sys};

/// The variable with the seat, in JSON.
pub(crate) const SEAT: &str = "WORKHIVE_SEAT";

/// The variable with the process that it is for: programs that this one starts inherit both, and have no seat.
pub(crate) const PID: &str = "WORKHIVE_PID";

/// A seat in writing. Descriptors are numbers in the process that reads it.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    group: String,
    slot: u16,
    generation: u32,
    count: u16,
    epoch: u32,
    /// The number of the process in routing, and its row on the stats page.
    row: u16,
    serial: u32,
    alone: bool,
    drain_ms: u64,
    stuck_ms: u64,
    control: RawFd,
    page: RawFd,
    rows: usize,
    layout: u32,
    listener: Option<WrittenListener>,
    clients: Option<RawFd>,
    log: Option<(RawFd, PathBuf)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenListener {
    socket: RawFd,
    address: String,
    shared: bool,
}

/// Writes a seat down for the process that is to take it.
pub(crate) fn write(seat: Seat, page: &StatsPage, image: &mut Image) -> io::Result<()> {
    let Seat {
        place,
        listener,
        control,
        row,
        drain,
        stuck,
        clients,
    } = seat;
    let listener = listener.map(|inherited| WrittenListener {
        address: inherited.address.to_string(),
        shared: inherited.shared,
        socket: image.give(inherited.socket),
    });
    let log = logger::file()?.map(|(file, path)| (image.give(file), path));
    let written = Written {
        slot: place.slot,
        generation: place.generation,
        count: place.count,
        epoch: place.process.epoch,
        row: place.process.slot,
        serial: place.process.generation,
        alone: place.alone,
        group: place.group,
        drain_ms: millis(drain),
        stuck_ms: millis(stuck),
        control: image.give(control),
        page: image.give(page.as_fd().try_clone_to_owned()?),
        rows: page.len(),
        layout: StatsPage::LAYOUT,
        listener,
        clients: clients.map(|socket| image.give(socket)),
        log,
    };
    image.set(SEAT, serde_json::to_string(&written)?);
    image.set_pid(PID);
    image.report_in(row);
    Ok(())
}

/// The log that a seat brings along.
pub(crate) type Log = Option<(OwnedFd, PathBuf)>;

/// The seat of this process, if it was executed to take one.
pub(crate) fn read() -> Option<io::Result<(Seat, Log)>> {
    let pid = std::env::var(PID).ok()?;
    // Somebody else's: the one who started us.
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    let text = std::env::var(SEAT).ok()?;
    Some(take(&text))
}

fn take(text: &str) -> io::Result<(Seat, Log)> {
    let written: Written = serde_json::from_str(text)?;
    // All are taken before anything can fail: none may be left to programs that this one starts.
    let own = |fd: RawFd| sys::take_over(fd);
    let control = own(written.control)?;
    let page = own(written.page)?;
    let clients = written.clients.map(own).transpose()?;
    let log = match written.log {
        Some((fd, path)) => Some((own(fd)?, path)),
        None => None,
    };
    let listener = match written.listener {
        Some(listener) => Some(Inherited {
            socket: own(listener.socket)?,
            address: bound::parse(&listener.address)?,
            shared: listener.shared,
        }),
        None => None,
    };
    let page = StatsPage::open(page, written.rows, written.layout)?;
    let process = route::Process {
        epoch: written.epoch,
        slot: written.row,
        generation: written.serial,
    };
    let seat = Seat {
        place: Place {
            group: written.group,
            slot: written.slot,
            generation: written.generation,
            count: written.count,
            process,
            alone: written.alone,
        },
        listener,
        control: WorkerEnd::from(control),
        row: page
            .row(usize::from(written.row))
            .ok_or(io::ErrorKind::InvalidData)?,
        drain: Duration::from_millis(written.drain_ms),
        stuck: Duration::from_millis(written.stuck_ms),
        clients,
    };
    Ok((seat, log))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
