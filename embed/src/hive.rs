//! Hives: the processes of a program, before they run.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::io;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;

use workhive::Group;
use workhive::host;
use workhive::host::{Forked, Host, Signals};

use crate::boundary;
use crate::bytes::{self, Out};
use crate::callback::{Callback, User, call_for, is_inside, wh_destroy_fn};
use crate::codes::{WH_ERR_OPTION, WH_ERR_RUNNING, WH_ERR_STATE, WH_ERR_VALUE, wh_result};
use crate::define::spawn_of;
use crate::error::{Failure, Outcome};
use crate::handles::{Kind, Table};
use crate::log::{Log, wh_log_fn};
use crate::options::WH_SPAWN;
use crate::run::Stage;
use crate::worker::{self, wh_worker};

/// A master with all its processes, before and while it runs. A handle; 0 is none.
pub type wh_hive = u64;

/// Who handles signals: WH_SIGNALS_LIBRARY, unless set, or WH_SIGNALS_HOST.
pub const WH_HIVE_SIGNALS: u32 = 1;
/// How processes come to be whose worker does not say it: WH_SPAWN_FORK, unless set, or WH_SPAWN_EXEC.
pub const WH_HIVE_SPAWN: u32 = 2;
/// 1: wh_hive_start returns in the master too, with WH_ROLE_MASTER, and the host's loop runs it. Only with
/// WH_SPAWN_EXEC. 0 unless set.
pub const WH_HIVE_NESTED: u32 = 3;
/// One line about the program, for --help.
pub const WH_HIVE_ABOUT: u32 = 100;

/// WH_HIVE_SIGNALS: while it runs the library handles INT, TERM, QUIT, HUP, USR1, USR2, TTIN and TTOU, calls the host's
/// handlers too, and puts them back at its end. In a worker TERM and QUIT let it drain, and INT does nothing: the master tells
/// its workers when a terminal's Ctrl-C ends the hive.
pub const WH_SIGNALS_LIBRARY: i64 = 0;
/// WH_HIVE_SIGNALS: in workers and nested masters the host handles them, and calls wh_signal. A master that blocks inside
/// wh_hive_start handles them by the library in any case, since no code of the host runs there.
pub const WH_SIGNALS_HOST: i64 = 1;

/// Makes a copy of the process, as fork(2): -1 if it cannot, which wh_fail_text or else errno explains, 0 in the new process, else the pid of the new one.
pub type wh_fork_fn = Option<unsafe extern "C" fn(user: *mut c_void) -> i64>;
type Fork = unsafe extern "C" fn(user: *mut c_void) -> i64;

/// A hive as the host has described it.
pub(crate) struct Hive {
    pub(crate) name: String,
    pub(crate) about: Option<String>,
    pub(crate) signals: Signals,
    pub(crate) is_nested: bool,
    spawn: i64,
    fork: Option<Rc<Callback<Fork>>>,
    has_log: bool,
    groups: Vec<(Group, bool)>,
    pub(crate) stage: Stage,
}

thread_local! {
    /// Left as it is when the thread ends: see [`User`].
    static HIVES: RefCell<ManuallyDrop<Table<Rc<RefCell<Hive>>>>> =
        const { RefCell::new(ManuallyDrop::new(Table::new(Kind::Hive))) };
}

/// Does something with a hive, which must not call the host.
pub(crate) fn with<R>(hive: wh_hive, what: impl FnOnce(&mut Hive) -> Outcome<R>) -> Outcome<R> {
    let hive = HIVES.with_borrow(|hives| hives.get(hive).map(Rc::clone))?;
    let mut hive = hive.borrow_mut();
    what(&mut hive)
}

/// The same for what can only be done before it was started.
fn define<R>(hive: wh_hive, what: impl FnOnce(&mut Hive) -> Outcome<R>) -> Outcome<R> {
    with(hive, |hive| match hive.stage {
        Stage::Defined => what(hive),
        _ => Err(Failure::known(
            WH_ERR_RUNNING,
            "the hive has been started already",
        )),
    })
}

/// Refuses what would run the loop inside of itself, or take it away from under a callback.
pub(crate) fn not_inside(what: &str) -> Outcome {
    if is_inside() {
        return Err(Failure::made(
            WH_ERR_STATE,
            format!("{what} cannot be called inside a callback"),
        ));
    }
    Ok(())
}

/// This thread has neither hives nor workers left: another one may have them.
pub(crate) fn disown_if_empty() {
    if HIVES.with_borrow(|hives| hives.is_empty()) && worker::none_left() {
        boundary::disown();
    }
}

impl Hive {
    /// What runs it, and its groups.
    pub(crate) fn host(&self) -> (Host, Vec<Group>) {
        let mut host = Host::new().signals(self.signals).nested(self.is_nested);
        if let Some(fork) = self.fork.clone() {
            host = host.fork_with(move || {
                // SAFETY: the host's own function with its own pointer.
                let (forked, why) = call_for(|| unsafe { (fork.function)(fork.user()) });
                let failed = io::Error::last_os_error();
                match (forked, i32::try_from(forked)) {
                    (0, _) => Ok(Forked::Child),
                    (_, Ok(child @ 1..)) => Ok(Forked::Parent { child }),
                    (1.., Err(_)) => Err(io::Error::other(format!("{forked} is no process"))),
                    _ => Err(why.map_or(failed, io::Error::other)),
                }
            });
        }
        let spawn = spawn_of(self.spawn);
        let groups = self.groups.iter().cloned();
        let groups = groups
            .map(|(group, says_spawn)| {
                if says_spawn {
                    group
                } else {
                    group.spawn(spawn)
                }
            })
            .collect();
        (host, groups)
    }
}

impl Drop for Hive {
    fn drop(&mut self) {
        if self.has_log {
            host::log_with(None);
        }
    }
}

/// A hive without workers. `name`: in titles, in the names of pid files, in messages; 1 to 255 bytes without "/" and control
/// characters.
/// Errors: WH_ERR_VALUE.
/// Thread: the first call makes this thread the loop's; all else is called on it. Ownership: the handle is the caller's
/// until wh_hive_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_hive_new(
    name: *const c_char,
    len: usize,
    out: *mut wh_hive,
) -> wh_result {
    boundary::beginning(|| {
        // SAFETY: the caller's promises.
        let (name, out) = unsafe { (bytes::text(name, len)?, Out::new(out)?) };
        if name.is_empty()
            || name.len() > 255
            || name.contains(|c: char| c == '/' || c.is_control())
        {
            return Err(Failure::made(
                WH_ERR_VALUE,
                format!(
                    "a hive's name has 1 to 255 bytes, no '/' and no control characters; \"{}\" does not do",
                    name.escape_debug()
                ),
            ));
        }
        let hive = Hive {
            name: name.to_owned(),
            about: None,
            signals: Signals::Library,
            is_nested: false,
            spawn: 0,
            fork: None,
            has_log: false,
            groups: Vec::new(),
            stage: Stage::Defined,
        };
        out.set(HIVES.with_borrow_mut(|hives| hives.insert(Rc::new(RefCell::new(hive)))));
        Ok(())
    })
}

/// Ends a hive that has not been started, or is over; one that still runs in this process is finished first. The functions
/// that it was to call are destroyed. In a process that the host has forked off a worker nothing is finished, only freed.
/// Errors: WH_ERR_STATE inside a callback. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_hive_free(hive: wh_hive) -> wh_result {
    boundary::freeing(|| {
        not_inside("wh_hive_free")?;
        let stage = with(hive, |hive| match hive.stage {
            Stage::Busy(what) => Err(Failure::made(
                WH_ERR_STATE,
                format!("not now: the hive in this process {what}"),
            )),
            _ => Ok(std::mem::take(&mut hive.stage)),
        })?;
        if boundary::is_copy() {
            // It is the other process's to end it, with its connections.
            std::mem::forget(stage);
        } else {
            stage.finish();
        }
        // Dropped with nothing borrowed: it calls the host.
        let freed = HIVES.with_borrow_mut(|hives| hives.remove(hive))?;
        drop(freed);
        disown_if_empty();
        Ok(())
    })
}

/// Sets an option that is a number: WH_HIVE_SIGNALS, WH_HIVE_SPAWN, WH_HIVE_NESTED.
/// Errors: WH_ERR_OPTION, WH_ERR_VALUE, WH_ERR_RUNNING. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_hive_set_int(hive: wh_hive, option: u32, value: i64) -> wh_result {
    boundary::looking(|| {
        define(hive, |hive| {
            if !matches!(option, WH_HIVE_SIGNALS | WH_HIVE_SPAWN | WH_HIVE_NESTED) {
                return Err(Failure::made(
                    WH_ERR_OPTION,
                    format!("{option} is no option of a hive that is a number"),
                ));
            }
            if !(0..=1).contains(&value) {
                return Err(Failure::made(
                    WH_ERR_VALUE,
                    format!("the option is 0 or 1, not {value}"),
                ));
            }
            match option {
                WH_HIVE_SIGNALS if value == WH_SIGNALS_HOST => hive.signals = Signals::Host,
                WH_HIVE_SIGNALS => hive.signals = Signals::Library,
                WH_HIVE_SPAWN => hive.spawn = value,
                _ => hive.is_nested = value == 1,
            }
            Ok(())
        })
    })
}

/// Sets an option that is a text: WH_HIVE_ABOUT.
/// Errors: WH_ERR_OPTION, WH_ERR_RUNNING. Thread: the loop's. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_hive_set_text(
    hive: wh_hive,
    option: u32,
    text: *const c_char,
    len: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::text(text, len) }?;
        define(hive, |hive| {
            if option != WH_HIVE_ABOUT {
                return Err(Failure::made(
                    WH_ERR_OPTION,
                    format!("{option} is no option of a hive that is a text"),
                ));
            }
            hive.about = Some(text.to_owned());
            Ok(())
        })
    })
}

/// How the process is forked: os.fork, pcntl_fork; fork(2) itself unless set. Called for every process that goes on as a
/// copy of this one, and only while there is one thread.
/// Errors: WH_ERR_RUNNING. Thread: the loop's, as the calls. Ownership: `user` belongs to the library until it calls
/// `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_hive_fork_with(
    hive: wh_hive,
    function: wh_fork_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        // Whichever of the two is left over is dropped with nothing borrowed.
        let mut fork = Some(Rc::new(Callback::new(function, user)?));
        define(hive, |hive| {
            std::mem::swap(&mut hive.fork, &mut fork);
            Ok(())
        })
    })
}

/// Hands every line of the log to the host, instead of to standard error or the log file: its level, one of WH_LOG_*, and
/// what it says, with control characters escaped, without time and place.
/// The function may call nothing but what any thread may; what it logs itself goes to standard error. It is destroyed with
/// the hive.
/// Errors: WH_ERR_RUNNING. Thread: the loop's; the function is called on whichever thread logs. Ownership: `user` belongs to
/// the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_hive_log_with(
    hive: wh_hive,
    function: wh_log_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        let callback = Callback::<Log>::new(function, user)?;
        define(hive, |hive| {
            hive.has_log = true;
            Ok(())
        })?;
        host::log_with(Some(Arc::new(move |level, text: &str| {
            crate::log::call(&callback, level, text);
        })));
        Ok(())
    })
}

/// Adds a worker to the hive.
/// Errors: WH_ERR_VALUE and WH_ERR_OPTION for a definition that makes no sense, WH_ERR_RUNNING.
/// Thread: the loop's. Ownership: on WH_OK the worker is the library's, and its handle is none any more; otherwise it
/// stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_hive_add(hive: wh_hive, worker: wh_worker) -> wh_result {
    boundary::looking(|| {
        let sketch = worker::sketch(worker)?;
        define(hive, |_| Ok(()))?;
        let group = sketch.group()?;
        let says_spawn = sketch.options.number(WH_SPAWN).is_some();
        define(hive, |hive| {
            hive.groups.push((group, says_spawn));
            Ok(())
        })?;
        worker::take(worker)
    })
}
