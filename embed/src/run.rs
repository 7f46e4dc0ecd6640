//! A hive at work in this process.
#![expect(
    clippy::similar_names,
    reason = "argc and argv are what every C program calls them"
)]

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use workhive::host::{HostedMaster, Signals, Started, put_signals_back};
use workhive::{Cli, Program};
use workhive_worker::{Hosting, Running, Seat};

use crate::boundary;
use crate::bytes::Out;
use crate::callback::notice_end;
use crate::codes::{
    WH_ERR_LENGTH, WH_ERR_NO_SEAT, WH_ERR_NULL, WH_ERR_RUNNING, WH_ERR_STATE, WH_ERR_SYSTEM,
    wh_result,
};
use crate::error::{Failure, Outcome};
use crate::hive::{self, Hive, not_inside, wh_hive};
use crate::{mailbox, stats, sys};

/// The process has done what the command line said, and is to end.
pub const WH_ROLE_OVER: i32 = 0;
/// The process is a worker.
pub const WH_ROLE_WORKER: i32 = 1;
/// The process is the master, and is to be run by the host's loop: only with WH_HIVE_NESTED.
pub const WH_ROLE_MASTER: i32 = 2;

/// How far a hive has come in this process.
pub(crate) enum Stage {
    Defined,
    /// Inside of a call, of this function, that may call the host.
    Busy(&'static str),
    /// A worker process that has not begun yet.
    Seated(Box<(Program, Seat)>),
    Running(Running),
    Master(Box<HostedMaster>),
    /// Nothing is left but the exit code.
    Over(i32),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Over(0)
    }
}

impl Stage {
    /// A worker's or a master's; while it lasts callbacks run.
    const TURN: &str = "is in a turn";
    /// Likewise.
    const FINISH: &str = "is being finished";

    /// Ends what still runs, and returns the exit code.
    pub(crate) fn finish(self) -> i32 {
        let code = match self {
            Self::Running(running) => {
                let code = i32::from(running.finish());
                mailbox::close();
                if let Err(error) = put_signals_back() {
                    log::warn!("the host's signal handlers cannot be put back: {error}");
                }
                code
            }
            Self::Master(master) => i32::from(master.finish().code()),
            Self::Over(code) => return code,
            _ => return 0,
        };
        boundary::unsettle();
        code
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Defined => "has not been started",
            Self::Busy(what) => what,
            Self::Seated(_) | Self::Running(_) => "is a worker's",
            Self::Master(_) => "is the master's",
            Self::Over(_) => "is over",
        }
    }
}

fn not_now(stage: &Stage) -> Failure {
    Failure::made(
        WH_ERR_STATE,
        format!("not now: the hive in this process {}", stage.name()),
    )
}

/// Takes the stage out for something that may call the host.
fn take(hive: wh_hive, what: &'static str, fits: impl FnOnce(&Stage) -> bool) -> Outcome<Stage> {
    hive::with(hive, |hive| {
        if !fits(&hive.stage) {
            return Err(not_now(&hive.stage));
        }
        Ok(std::mem::replace(&mut hive.stage, Stage::Busy(what)))
    })
}

fn put(hive: wh_hive, stage: Stage) -> Outcome {
    hive::with(hive, |hive| {
        hive.stage = stage;
        Ok(())
    })
}

/// What this process is to the hive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Master,
}

impl Role {
    pub(crate) fn of(hive: wh_hive) -> Outcome<Self> {
        hive::with(hive, |hive| match &hive.stage {
            Stage::Running(_) | Stage::Busy(Stage::TURN | Stage::FINISH) => Ok(Self::Worker),
            Stage::Master(_) => Ok(Self::Master),
            other => Err(not_now(other)),
        })
    }
}

/// Tells a nested master what a signal would.
pub(crate) fn signal_master(hive: wh_hive, signal: i32) -> Outcome {
    let stage = take(hive, "is being told something", |stage| {
        matches!(stage, Stage::Master(_))
    })?;
    let stage = match stage {
        Stage::Master(mut master) => {
            master.signal(signal);
            Stage::Master(master)
        }
        other => other,
    };
    put(hive, stage)
}

/// # Safety
/// There are `count` strings at `list`, each of which ends in a zero byte.
unsafe fn arguments(count: i32, list: *const *const c_char) -> Outcome<Vec<OsString>> {
    let Ok(count) = usize::try_from(count) else {
        return Err(Failure::made(
            WH_ERR_LENGTH,
            format!("{count} is no number of arguments"),
        ));
    };
    if count > 0 && list.is_null() {
        return Err(Failure::known(
            WH_ERR_NULL,
            "argv is NULL, and argc is not 0",
        ));
    }
    (0..count)
        .map(|index| {
            // SAFETY: the caller's promise: so many pointers are there.
            let argument = unsafe { list.add(index).read_unaligned() };
            if argument.is_null() {
                return Err(Failure::made(
                    WH_ERR_NULL,
                    format!("argv[{index}] is NULL, and argc is {count}"),
                ));
            }
            // SAFETY: the caller's promise: it ends in a zero byte.
            let text = unsafe { CStr::from_ptr(argument) };
            Ok(std::ffi::OsStr::from_bytes(text.to_bytes()).to_owned())
        })
        .collect()
}

fn begin_start<R>(hive: wh_hive, what: impl FnOnce(&mut Hive) -> R) -> Outcome<R> {
    if boundary::is_settled() {
        return Err(Failure::known(
            WH_ERR_RUNNING,
            "another hive runs in this process: one process has one",
        ));
    }
    sys::fill_standard();
    hive::with(hive, |hive| {
        if !matches!(hive.stage, Stage::Defined) {
            return Err(Failure::known(
                WH_ERR_RUNNING,
                "the hive has been started already",
            ));
        }
        hive.stage = Stage::Busy("is being started");
        Ok(what(hive))
    })
}

fn start(hive: wh_hive, mut given: Vec<OsString>) -> Outcome<(i32, i32)> {
    let (cli, host, groups) = begin_start(hive, |hive| {
        let mut cli = Cli::new(hive.name.clone());
        if let Some(about) = &hive.about {
            cli = cli.about(about.clone());
        }
        if given.is_empty() {
            given.push(hive.name.clone().into());
        }
        let (host, groups) = hive.host();
        (cli, host, groups)
    })?;
    // A master that is not nested stays in here until the hive is over; its workers come out of it.
    let (stage, role, code) = match host.start(cli, given, groups) {
        Started::Over(exit) => {
            let code = i32::from(exit.code());
            (Stage::Over(code), WH_ROLE_OVER, code)
        }
        Started::Worker(program, seat) => {
            stats::sit(&seat);
            let stage = Stage::Seated(Box::new((program, seat)));
            (stage, WH_ROLE_WORKER, 0)
        }
        Started::Master(master) => {
            boundary::settle()?;
            (Stage::Master(Box::new(master)), WH_ROLE_MASTER, 0)
        }
    };
    put(hive, stage)?;
    Ok((role, code))
}

fn attach(hive: wh_hive) -> Outcome<(i32, i32)> {
    let (host, groups) = begin_start(hive, |hive| hive.host())?;
    let (stage, given) = match host.attach(groups) {
        Ok(Some((program, seat))) => {
            stats::sit(&seat);
            let stage = Stage::Seated(Box::new((program, seat)));
            (stage, Ok((WH_ROLE_WORKER, 0)))
        }
        Ok(None) => {
            let none =
                "this process was not started by `workhive run --attach`: there is no seat for it";
            (Stage::Defined, Err(Failure::known(WH_ERR_NO_SEAT, none)))
        }
        Err(error) => {
            log::error!("cannot take its seat: {error}");
            (Stage::Over(1), Ok((WH_ROLE_OVER, 1)))
        }
    };
    put(hive, stage)?;
    given
}

/// A worker process begins when it is first run, or its descriptor asked for.
fn begin(hive: wh_hive, nested: bool) -> Outcome {
    let (is_seated, signals) = hive::with(hive, |hive| {
        let is_seated = matches!(hive.stage, Stage::Seated(_));
        Ok((is_seated, hive.signals == Signals::Library))
    })?;
    if !is_seated {
        return Ok(());
    }
    boundary::settle()?;
    let stage = match take(hive, "is beginning", |_| true)? {
        Stage::Seated(seated) => {
            let (program, seat) = *seated;
            match program.begin(seat, Hosting { signals, nested }) {
                Ok(running) => {
                    notice_end();
                    Stage::Running(running)
                }
                // Its master has been told why.
                Err(code) => Stage::Over(i32::from(code)),
            }
        }
        other => other,
    };
    put(hive, stage)
}

fn turn(hive: wh_hive, limit: Option<Duration>) -> Outcome<bool> {
    let stage = take(hive, Stage::TURN, |stage| {
        matches!(stage, Stage::Running(_) | Stage::Master(_) | Stage::Over(_))
    })?;
    let (stage, over) = match stage {
        Stage::Running(mut running) => {
            let over = running.turn(limit);
            (Stage::Running(running), Ok(over))
        }
        Stage::Master(mut master) => {
            let over = master.turn(limit);
            (Stage::Master(master), over)
        }
        other => (other, Ok(true)),
    };
    put(hive, stage)?;
    over.map_err(|error| {
        Failure::made(
            WH_ERR_SYSTEM,
            format!("the hive's loop cannot go on: {error}"),
        )
    })
}

/// Runs a worker process to its end.
fn run_all(hive: wh_hive) -> Outcome<i32> {
    begin(hive, false)?;
    while !turn(hive, None)? {}
    finish(hive)
}

fn finish(hive: wh_hive) -> Outcome<i32> {
    let stage = take(hive, Stage::FINISH, |stage| {
        !matches!(stage, Stage::Defined | Stage::Busy(_))
    })?;
    let code = stage.finish();
    put(hive, Stage::Over(code))?;
    Ok(code)
}

/// Does what the command line says: `argv[0]` is the program's name, then come a verb and options (start, start -d, stop,
/// reload, status, ...; --help lists them). Without a verb it is start.
/// `role` becomes WH_ROLE_OVER: it is done, or has failed, which has been printed; end the process with `exit_code`. Or
/// WH_ROLE_WORKER: this process is a worker, forked or executed anew; run it by wh_run_once, or all at once by wh_loop. Or
/// WH_ROLE_MASTER, with WH_HIVE_NESTED only: run it by wh_run_once. Without that, the master stays inside this call until
/// the hive is over.
/// Errors: WH_ERR_RUNNING if this hive was started before, or another one runs in this process; WH_ERR_STATE inside a callback;
/// WH_ERR_NULL.
/// Thread: the loop's. A process with more than one thread cannot be forked: that is printed, and names `--spawn exec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_hive_start(
    hive: wh_hive,
    argc: i32,
    argv: *const *const c_char,
    role: *mut i32,
    exit_code: *mut i32,
) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_hive_start")?;
        // SAFETY: the caller's promises.
        let (role, exit_code) = unsafe { (Out::new(role)?, Out::new(exit_code)?) };
        // SAFETY: likewise.
        let given = unsafe { arguments(argc, argv) }?;
        let (what, code) = start(hive, given)?;
        role.set(what);
        exit_code.set(code);
        Ok(())
    })
}

/// Runs a worker, or a nested master, to its end, in place of wh_run_once and wh_finish.
/// `exit_code`: with which the process should end. Errors: WH_ERR_STATE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_loop(hive: wh_hive, exit_code: *mut i32) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_loop")?;
        // SAFETY: the caller's promise.
        let exit_code = unsafe { Out::new(exit_code) }?;
        exit_code.set(run_all(hive)?);
        Ok(())
    })
}

/// Takes the seat that the command `workhive run --attach` has for this process: the hive's only worker sits on it, at the
/// address and with the options of that command line. In place of wh_hive_start.
/// role becomes WH_ROLE_WORKER: run it by wh_run_once, or by wh_loop. Or WH_ROLE_OVER: it cannot take its seat, which its
/// master has been told; end the process with exit_code.
/// Errors: WH_ERR_NO_SEAT if this process was not started so; the hive can still be started then. WH_ERR_RUNNING,
/// WH_ERR_STATE inside a callback. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_worker_attach(
    hive: wh_hive,
    role: *mut i32,
    exit_code: *mut i32,
) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_worker_attach")?;
        // SAFETY: the caller's promises.
        let (role, exit_code) = unsafe { (Out::new(role)?, Out::new(exit_code)?) };
        let (what, code) = attach(hive)?;
        role.set(what);
        exit_code.set(code);
        Ok(())
    })
}

/// wh_hive_start, and wh_loop where there is something to run. It returns in every process, which should then end with
/// `exit_code`.
/// Errors and thread: as wh_hive_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_run(
    hive: wh_hive,
    argc: i32,
    argv: *const *const c_char,
    exit_code: *mut i32,
) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_run")?;
        // SAFETY: the caller's promises.
        let (given, exit_code) = unsafe { (arguments(argc, argv)?, Out::new(exit_code)?) };
        let (role, code) = start(hive, given)?;
        exit_code.set(if role == WH_ROLE_OVER {
            code
        } else {
            run_all(hive)?
        });
        Ok(())
    })
}

/// A descriptor that is readable when wh_run_once has something to do, its timers included: for the host's own loop
/// (asyncio, libuv), level-triggered or edge-triggered. It is readable from the beginning: the first turn calls
/// on_worker_start. It stays the same until wh_finish, and is never to be read, closed
/// or changed.
/// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_poll_fd(hive: wh_hive, fd: *mut i32) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let fd = unsafe { Out::new(fd) }?;
        begin(hive, true)?;
        let found = hive::with(hive, |hive| match &hive.stage {
            Stage::Running(running) => Ok(running.poll_fd()),
            Stage::Master(master) => Ok(master.poll_fd()),
            other => Err(not_now(other)),
        })?;
        fd.set(found);
        Ok(())
    })
}

/// One turn of the loop: waits until there is something to do, and does it. The first turn of a worker calls
/// on_worker_start. A wait that a signal interrupts ends the turn.
/// `timeout_ms`: for how long it waits at the most; -1: as long as it takes, 0: not at all. `over` becomes 1 when the
/// process is to end: call wh_finish; else 0.
/// Errors: WH_ERR_STATE inside a callback, or if nothing runs in this process. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_run_once(hive: wh_hive, timeout_ms: i64, over: *mut i32) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_run_once")?;
        // SAFETY: the caller's promise.
        let over = unsafe { Out::new(over) }?;
        let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        begin(hive, true)?;
        over.set(i32::from(turn(hive, limit)?));
        Ok(())
    })
}

/// Ends what runs in this process: says goodbye to the connections that are left, calls on_worker_stop, and frees the loop.
/// Of a nested master that still runs it stops the hive, and waits for its end.
/// `exit_code`: with which the process should end. Errors: WH_ERR_STATE inside a callback, or if nothing was started.
/// Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_finish(hive: wh_hive, exit_code: *mut i32) -> wh_result {
    boundary::looking(|| {
        not_inside("wh_finish")?;
        // SAFETY: the caller's promise.
        let exit_code = unsafe { Out::new(exit_code) }?;
        exit_code.set(finish(hive)?);
        Ok(())
    })
}
