//! The seat of a process that was not forked but executed: what the master wrote down for it, and how it is read.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use serde::{Deserialize, Serialize};
use workhive_ipc::{Row, StatsPage, ToMaster, WorkerEnd, route};
use workhive_worker::{Inherited, Place, Seat};

use crate::exec::Image;
use crate::hosted::Home;
use crate::line::Format;
use crate::{bound, child, exec, logger, router, sys, title};

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
    /// For a program that was not written for this hive, and takes the seat by itself.
    #[serde(default)]
    attached: bool,
    drain_ms: u64,
    stuck_ms: u64,
    control: RawFd,
    page: RawFd,
    rows: usize,
    layout: u32,
    listener: Option<WrittenListener>,
    clients: Option<RawFd>,
    log: Option<WrittenLog>,
    /// Where lines of the log go without a file; without this, to standard error.
    #[serde(default)]
    stream: Option<RawFd>,
    log_level: String,
    log_format: String,
    directory: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenListener {
    socket: RawFd,
    address: String,
    shared: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenLog {
    file: RawFd,
    path: PathBuf,
    standard: bool,
}

/// Writes a seat down for the process that is to take it, and to work in `directory`.
pub(crate) fn write(
    seat: Seat,
    page: &StatsPage,
    directory: Option<&Path>,
    image: &mut Image,
) -> io::Result<()> {
    let row = seat.row.clone();
    let mut written = write_down(seat, page, image)?;
    written.directory = directory.map(Path::to_owned);
    written.put(row, image)
}

/// The same for a program that takes the seat by itself. What it prints is read; what it logs is not to come through there.
pub(crate) fn write_attached(seat: Seat, page: &StatsPage, image: &mut Image) -> io::Result<()> {
    let row = seat.row.clone();
    let mut written = write_down(seat, page, image)?;
    written.attached = true;
    if written.log.is_none() {
        let stream = io::stderr().as_fd().try_clone_to_owned()?;
        written.stream = Some(image.give(stream));
    }
    written.put(row, image)
}

impl Written {
    fn put(&self, row: Row, image: &mut Image) -> io::Result<()> {
        image.set(SEAT, serde_json::to_string(self)?);
        image.set_pid(PID);
        image.report_in(row);
        Ok(())
    }
}

fn write_down(seat: Seat, page: &StatsPage, image: &mut Image) -> io::Result<Written> {
    let Seat {
        place,
        listener,
        control,
        row: _,
        drain,
        stuck,
        clients,
    } = seat;
    let listener = listener.map(|inherited| WrittenListener {
        address: inherited.address.to_string(),
        shared: inherited.shared,
        socket: image.give(inherited.socket),
    });
    let log = logger::file()?.map(|log| WrittenLog {
        file: image.give(log.file),
        path: log.path,
        standard: log.standard,
    });
    Ok(Written {
        slot: place.slot,
        generation: place.generation,
        count: place.count,
        epoch: place.process.epoch,
        row: place.process.slot,
        serial: place.process.generation,
        alone: place.alone,
        attached: false,
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
        stream: None,
        log_level: log::max_level().to_string(),
        log_format: logger::format().to_string(),
        directory: None,
    })
}

/// A seat, and what the master has settled for whoever takes it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) seat: Seat,
    /// It is to take the seat by itself.
    pub(crate) attached: bool,
    pub(crate) log: Option<logger::Brought>,
    pub(crate) stream: Option<OwnedFd>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: Format,
    /// Where it is to work.
    pub(crate) directory: Option<PathBuf>,
}

/// The seat of this process, if it was executed to take one.
pub(crate) fn read() -> Option<io::Result<Taken>> {
    exec::addressed(SEAT).map(|text| take(&text))
}

/// True if this process was started to take a seat by itself, and has not done so yet.
pub(crate) fn attaches() -> bool {
    let written = std::env::var(SEAT).ok();
    written
        .and_then(|text| serde_json::from_str::<Written>(&text).ok())
        .is_some_and(|written| written.attached)
}

/// Takes the seat of this process if it is to be the router, and never returns then.
pub(crate) fn enter_router(program: &str, home: &mut Home) {
    let is_router = std::env::var(SEAT)
        .ok()
        .and_then(|text| serde_json::from_str::<Written>(&text).ok())
        .is_some_and(|written| written.group == router::NAME);
    if is_router && let Some(Ok(mut taken)) = read() {
        taken.settle(program);
        if let Err(error) = taken.enter(home) {
            child::fail(&taken.seat, &error);
            home.leave(1);
        }
        child::work(&workhive_worker::router_program(), taken.seat, home);
    }
}

impl Taken {
    /// From here on the process logs as one of the hive of program `name`.
    pub(crate) fn settle(&mut self, name: &str) {
        let (log, stream) = (self.log.take(), self.stream.take());
        logger::adopt(self.log_level, self.log_format, log, stream);
        logger::set_place(&self.seat.place.to_string());
        exec::forget_variables();
        title::begin(name);
    }

    /// The chores of this process before it takes the seat.
    pub(crate) fn enter(&self, home: &mut Home) -> io::Result<()> {
        child::enter_executed(&self.seat, self.directory.as_deref(), home)
    }
}

/// This process cannot even read its command line: if it was to take a seat, the master is to know why.
pub(crate) fn refuse(reason: &str) {
    let text = exec::addressed(SEAT);
    let written = text.and_then(|text| serde_json::from_str::<Written>(&text).ok());
    if let Some(Ok(control)) = written.map(|written| sys::take_over(written.control)) {
        // If the master does not hear it, it still sees the exit code.
        let _ = WorkerEnd::from(control).send(&ToMaster::boot_failed(reason), None);
    }
}

fn take(text: &str) -> io::Result<Taken> {
    let written: Written = serde_json::from_str(text)?;
    // All are taken before anything can fail: none may be left to programs that this one starts.
    let own = |fd: RawFd| sys::take_over(fd);
    let control = own(written.control)?;
    let page = own(written.page)?;
    let clients = written.clients.map(own).transpose()?;
    let stream = written.stream.map(own).transpose()?;
    let log = match written.log {
        Some(log) => Some(logger::Brought {
            file: own(log.file)?,
            path: log.path,
            standard: log.standard,
        }),
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
    Ok(Taken {
        seat,
        attached: written.attached,
        log,
        stream,
        log_level: written.log_level.parse().unwrap_or(LevelFilter::Info),
        log_format: written.log_format.parse().unwrap_or_default(),
        directory: written.directory,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
