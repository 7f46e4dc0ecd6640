//! The master's `unsafe` calls into the system: fork, process descriptors, signal dispositions.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{ForkResult, Pid};

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<u64> {
    // A directory has one link for its name, one for ".", and one for each directory in it; proc(5): task/ has one
    // directory for each thread.
    Ok(std::fs::metadata("/proc/self/task")?
        .nlink()
        .saturating_sub(2))
}

/// Refuses to fork when this process has a second thread: in the child, that thread's locks would stay locked for ever.
pub(crate) fn ready_to_fork() -> io::Result<()> {
    let threads = threads()?;
    if threads > 1 {
        return Err(io::Error::other(format!(
            "the process has {threads} threads, and only a single-threaded process can fork. Start threads in \
             on_worker_start, not before, or use --spawn exec"
        )));
    }
    // What waits in standard output's buffer would come out twice. If it cannot come out now, it could not later.
    let _ = io::stdout().flush();
    Ok(())
}

/// fork(2), in a process with one thread.
pub(crate) fn fork() -> io::Result<ForkResult> {
    ready_to_fork()?;
    // SAFETY: with one thread, the child's copy of every lock and of the allocator is in a consistent state, so it
    // may go on to run any code. Nothing else starts a thread between the check above and this call.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Ends this process and runs nothing of it: no handler of its exit, no destructor (_exit(2)).
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes a number, and does not return.
    unsafe { libc::_exit(code) }
}

/// Unmaps the pages from `start` to `end`, which must be of private mappings of files that have no page of this process's
/// own: the next access maps them again, with the same content (madvise(2), `MADV_DONTNEED`).
pub(crate) fn drop_pages(start: usize, end: usize) -> io::Result<()> {
    let address = NonNull::new(std::ptr::with_exposed_provenance_mut(start))
        .ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a page of a private mapping that is not the process's own has the file's content before and after, so
    // nothing that any code can see changes. The caller has looked, with one thread, that none is its own.
    unsafe { madvise(address, end - start, MmapAdvise::MADV_DONTNEED) }?;
    Ok(())
}

/// What a child was about to do when it could not go on; the numbers are left in the stats page.
pub(crate) const EXECUTE: u16 = 1;
pub(crate) const DIRECTORY: u16 = 2;
pub(crate) const DESCRIPTORS: u16 = 3;
pub(crate) const DETACH: u16 = 4;

/// All that [`fork_exec`] needs, so that the child takes no memory.
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a CStr,
    /// Without the null pointer at the end.
    pub(crate) args: &'a [*const libc::c_char],
    /// `NAME=value` with a zero at the end.
    pub(crate) env: &'a mut [Vec<u8>],
    /// Which of them end in [`PID_DIGITS`] digits that are to become the child's pid.
    pub(crate) pids: &'a [usize],
    pub(crate) directory: Option<&'a CStr>,
    /// They become 3, 4, 5 and so on.
    pub(crate) fds: &'a [RawFd],
    /// As long as `fds`.
    pub(crate) spare: Vec<RawFd>,
    pub(crate) stdio: [Option<RawFd>; 3],
    pub(crate) foreign: bool,
    /// Signals do what they usually do; otherwise those that everybody is sent are ignored.
    pub(crate) usual_signals: bool,
    /// In a session of its own, and nobody's child.
    pub(crate) detached: bool,
    /// The signal that the child gets when this process is gone.
    pub(crate) orphaned: Option<Signal>,
    pub(crate) mask: SigSet,
    /// What is done last, by system calls alone: giving up rights.
    pub(crate) chores: &'a dyn Fn() -> Result<(), (u16, Errno)>,
    /// How the child says what it could not do, by system calls or stores alone.
    pub(crate) failed: &'a dyn Fn(u16, Errno),
}

/// Room for a pid: the digits of a 32-bit number.
pub(crate) const PID_DIGITS: usize = 10;

/// Signals that the master catches. execve(2) makes their dispositions the usual ones; but a child that is told to go as
/// soon as it is there must not run the master's handler and go on.
const CAUGHT: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What everybody is sent must not hit one of ours before it has its own dispositions.
pub(crate) const IGNORED_AT_FIRST: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// fork(2), and execve(2) in the child; returns in the parent. Works in a process with several threads: between the two
/// calls the child makes system calls and writes to memory that it has, and no more (signal-safety(7)).
pub(crate) fn fork_exec(plan: &mut Plan<'_>) -> io::Result<Pid> {
    let _ = io::stdout().flush();
    let with_end = |pointers: &mut dyn Iterator<Item = *const libc::c_char>| {
        let mut all: Vec<_> = pointers.collect();
        all.push(std::ptr::null());
        all
    };
    let args = with_end(&mut plan.args.iter().copied());
    let parent = nix::unistd::getpid();
    let env = with_end(&mut plan.env.iter().map(|variable| variable.as_ptr().cast()));
    // SAFETY: the child calls nothing but `become_program`, which takes neither memory nor locks and never returns.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => become_program(plan, &args, &env, parent),
    }
}

/// The child's side. Never returns, never allocates, never unwinds: every step is a system call or a copy.
fn become_program(
    plan: &mut Plan<'_>,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
    parent: Pid,
) -> ! {
    let prepared = if plan.detached {
        detach().and_then(|()| prepare(plan, parent))
    } else {
        prepare(plan, parent)
    };
    let (step, errno) = match prepared {
        Ok(()) => {
            // SAFETY: all three are made of zero-terminated strings that live, the lists end with a null pointer.
            unsafe { libc::execve(plan.program.as_ptr(), args.as_ptr(), env.as_ptr()) };
            (EXECUTE, Errno::last())
        }
        Err(failure) => failure,
    };
    (plan.failed)(step, errno);
    // The shell's numbers: 127 for a program that is not there, 126 for one that cannot be executed.
    let code = if (step, errno) == (EXECUTE, Errno::ENOENT) {
        127
    } else {
        126
    };
    // SAFETY: ends this process without running anything of it.
    unsafe { libc::_exit(code) }
}

/// Goes on in a child of this process, which has left its starter's session and ends.
fn detach() -> Result<(), (u16, Errno)> {
    let failed = |errno| (DETACH, errno);
    nix::unistd::setsid().map_err(failed)?;
    // Not fork(3): what a host has registered to be run around it may take locks that nobody will ever release here.
    // SAFETY: without flags and a stack the call is fork(2), and what the child does is made of system calls.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    match Errno::result(child).map_err(failed)? {
        0 => Ok(()),
        _ => exit_now(0),
    }
}

fn prepare(plan: &mut Plan<'_>, parent: Pid) -> Result<(), (u16, Errno)> {
    let pid = nix::unistd::getpid().as_raw().cast_unsigned();
    for index in plan.pids {
        if let Some(variable) = plan.env.get_mut(*index) {
            let at = variable.len().saturating_sub(PID_DIGITS + 1);
            write_number(pid, &mut variable[at..]);
        }
    }
    if plan.foreign {
        // A group of its own: Ctrl-C is for the master, and what the program starts can be ended with it.
        nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))
            .map_err(|errno| (DESCRIPTORS, errno))?;
    }
    if plan.usual_signals {
        for signal in [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU]
            .into_iter()
            .chain(CAUGHT)
        {
            let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: a default disposition runs no code of ours.
            unsafe { sigaction(signal, &usual) }.map_err(|errno| (DESCRIPTORS, errno))?;
        }
    }
    if !plan.usual_signals {
        for signal in IGNORED_AT_FIRST {
            let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: to ignore a signal runs no code.
            unsafe { sigaction(signal, &ignored) }.map_err(|errno| (DESCRIPTORS, errno))?;
        }
    }
    arrange(plan).map_err(|errno| (DESCRIPTORS, errno))?;
    if let Some(directory) = plan.directory {
        nix::unistd::chdir(directory).map_err(|errno| (DIRECTORY, errno))?;
    }
    (plan.chores)()?;
    if let Some(signal) = plan.orphaned {
        // After the rights: giving them up ends it, prctl(2) PR_SET_PDEATHSIG.
        nix::sys::prctl::set_pdeathsig(signal).map_err(|errno| (DESCRIPTORS, errno))?;
        if nix::unistd::getppid() != parent {
            return Err((DESCRIPTORS, Errno::ESRCH));
        }
    }
    plan.mask
        .thread_set_mask()
        .map_err(|errno| (DESCRIPTORS, errno))
}

/// Puts the descriptors where the program looks for them, and closes the rest on execve(2).
fn arrange(plan: &mut Plan<'_>) -> Result<(), Errno> {
    let first = crate::exec::FIRST_FD;
    let end = first + RawFd::try_from(plan.fds.len()).unwrap_or(RawFd::MAX - first);
    let check = |result: libc::c_int| Errno::result(result).map(drop);
    // Out of the way first: one may stand where another one is to go.
    for (spare, fd) in plan.spare.iter_mut().zip(plan.fds) {
        // SAFETY: takes and returns numbers.
        *spare = Errno::result(unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, end) })?;
    }
    for (target, fd) in (0..).zip(plan.stdio) {
        if let Some(fd) = fd {
            // SAFETY: takes and returns numbers.
            check(unsafe { libc::dup2(fd, target) })?;
        } else {
            // A host such as Node keeps its own from the programs that it starts. One that is closed stays so.
            // SAFETY: takes numbers.
            unsafe { libc::fcntl(target, libc::F_SETFD, 0) };
        }
    }
    for (target, fd) in (first..).zip(&plan.spare) {
        // SAFETY: takes and returns numbers; the copy has no close-on-exec flag (dup(2)).
        check(unsafe { libc::dup2(*fd, target) })?;
    }
    // Our own are close-on-exec already; this is for what others left open in this process. Kernels before 5.11 do
    // not know it.
    // SAFETY: takes numbers.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            end,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Ok(())
}

/// Writes a number in digits, and a zero behind it.
fn write_number(mut number: u32, room: &mut [u8]) {
    let mut digits = [0; 10];
    let mut length = 0;
    while length == 0 || number > 0 {
        digits[length] = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
    }
    for (to, digit) in room
        .iter_mut()
        .zip(digits[..length].iter().rev().chain([&0]))
    {
        *to = *digit;
    }
}

/// Makes a descriptor that came through execve(2) ours: it must not go further. The environment says which, and whoever has
/// written there may be wrong: the standard streams stay whose they are, and none is taken twice.
pub(crate) fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if fd < crate::exec::FIRST_FD || taken.contains(&fd) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("descriptor {fd} is none that this process was given"),
        ));
    }
    // SAFETY: takes and returns numbers.
    let flags = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    taken.insert(fd);
    // SAFETY: it is open, as the call above has shown, the caller has it from whoever executed this program, for it alone,
    // and nobody has it from here.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A copy of a descriptor, close-on-exec, with a higher number than this.
pub(crate) fn copy_beyond(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(number + 1))?;
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes a descriptor that a program has sent us, whatever it is.
pub(crate) fn discard(fd: RawFd) {
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // A socket that was told to linger would keep us waiting until its peer has taken everything (socket(7)). An error
    // means that it is no socket.
    let off = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    let _ = setsockopt(&fd, sockopt::Linger, &off);
}

/// A descriptor for a process that this one has forked and not yet reaped (`pidfd_open(2)`). Close-on-exec.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to exactly the process behind the descriptor, never to a later one with the same number
/// (`pidfd_send_signal(2)`).
pub(crate) fn pidfd_send(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill(2)".
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal as libc::c_int,
            no_info,
            0,
        )
    };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ignores a signal; one that is pending is thrown away (signal(7)).
pub(crate) fn ignore(signal: Signal) -> io::Result<()> {
    dispose(signal, SigHandler::SigIgn)
}

/// Lets a signal be noticed by nobody. Unlike one that is ignored it has its usual effect again in the programs that this
/// process executes (execve(2)).
pub(crate) fn swallow(signal: Signal) -> io::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::SA_RESTART | SaFlags::SA_ONSTACK,
        // One at a time: on an alternate stack there may be room for two or three.
        SigSet::all(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Writes to a pipe that may have lost its reader: that is an error and no signal, whatever the process has it do.
pub(crate) fn without_sigpipe<T>(write: impl FnOnce() -> T) -> T {
    let pipe = SigSet::from_iter([Signal::SIGPIPE]);
    let before = pipe.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let waited = pends(Signal::SIGPIPE);
    let written = write();
    // It is sent to the thread that writes (pipe(7)), so it is ours unless one was there before.
    if !waited && pends(Signal::SIGPIPE) {
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the set and the time live, and nothing is to be told about the signal.
        unsafe { libc::sigtimedwait(pipe.as_ref(), std::ptr::null_mut(), &raw const at_once) };
    }
    if let Ok(before) = before {
        // Cannot fail with a mask that the kernel itself gave (pthread_sigmask(3)).
        let _ = before.thread_set_mask();
    }
    written
}

/// True for a signal that has come, for this thread or for the process, and waits because it is blocked.
fn pends(signal: Signal) -> bool {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call writes the set to the room that it is given.
    if unsafe { libc::sigpending(pending.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call above has written it.
    unsafe { libc::sigismember(pending.as_ptr(), signal as i32) == 1 }
}

/// Eight random bytes (getrandom(2)).
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is as long as is said, and writable. So few bytes come at once and whole (getrandom(2)), or not
    // at all on a kernel that lacks the call: then they stay zero, and nothing is spread.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}

/// Gives a signal its default effect.
pub(crate) fn restore(signal: Signal) -> io::Result<()> {
    dispose(signal, SigHandler::SigDfl)
}

fn dispose(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: both callers pass a disposition that runs no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// What a signal does in this process (sigaction(2)): its default effect, nothing, or a handler, whoever has made it.
#[derive(Clone, Copy)]
pub(crate) struct Disposition(libc::sigaction);

impl Disposition {
    /// What it does now.
    pub(crate) fn of(signal: Signal) -> io::Result<Self> {
        let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: without a new action the call changes nothing, and writes the present one to the room that it is given.
        let result =
            unsafe { libc::sigaction(signal as i32, std::ptr::null(), found.as_mut_ptr()) };
        Errno::result(result)?;
        // SAFETY: the call has succeeded, so it has written it.
        Ok(Self(unsafe { found.assume_init() }))
    }

    /// Makes the signal do this.
    pub(crate) fn set(self, signal: Signal) -> io::Result<()> {
        // SAFETY: it runs no code, or it is what the kernel has said of this signal before: whoever has made that handler
        // has promised that it may run; all that can differ is the stack on which it does.
        let result =
            unsafe { libc::sigaction(signal as i32, &raw const self.0, std::ptr::null_mut()) };
        Errno::result(result)?;
        Ok(())
    }

    /// Its default effect.
    pub(crate) fn usual() -> Self {
        let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        Self(usual.into())
    }

    /// True if code runs.
    pub(crate) fn is_handler(self) -> bool {
        !self.is_usual() && !self.is_ignored()
    }

    pub(crate) fn is_usual(self) -> bool {
        self.0.sa_sigaction == libc::SIG_DFL
    }

    /// True if nothing happens.
    pub(crate) fn is_ignored(self) -> bool {
        self.0.sa_sigaction == libc::SIG_IGN
    }

    /// True if children whose end it would tell are reaped by the kernel, and by nobody else (SIGCHLD, wait(2)).
    pub(crate) fn reaps(self) -> bool {
        self.is_ignored() || self.0.sa_flags & libc::SA_NOCLDWAIT != 0
    }

    /// The same, on the alternate stack of a thread that has one (sigaltstack(2)), and one at a time: such a stack may have
    /// room for two or three, and several come at once.
    pub(crate) fn on_stack(mut self) -> Self {
        self.0.sa_flags |= libc::SA_ONSTACK;
        // SAFETY: the set lives. It cannot fail.
        unsafe { libc::sigfillset(&raw mut self.0.sa_mask) };
        self
    }
}

impl std::fmt::Debug for Disposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disposition")
            .field("is_handler", &self.is_handler())
            .finish_non_exhaustive()
    }
}

/// Closes every descriptor but the standard streams on execve(2): what the starter left open is not for the programs that
/// processes start.
pub(crate) fn close_rest_on_exec() -> io::Result<()> {
    // SAFETY: takes numbers.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    // Kernels before 5.11 do not know it.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_str().and_then(|fd| fd.parse().ok());
        if let Some(fd) = fd.filter(|fd| *fd > 2) {
            // SAFETY: takes numbers. One that has been closed meanwhile is refused, which is as good.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// What prctl(2) takes for `PR_SET_MM_MAP`: where the parts of a program are in its memory (`struct prctl_mm_map` of
/// linux/prctl.h).
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *const u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes the kernel show these bytes as the arguments of this process. They are to be memory that is no file's, such as
/// the allocator's. Refused when there is a second thread, which could move the end of the heap meanwhile.
pub(crate) fn show_arguments(area: &'static [AtomicU8]) -> io::Result<()> {
    let threads = threads()?;
    if threads > 1 {
        return Err(io::Error::other(format!(
            "the process has {threads} threads"
        )));
    }
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Fields are numbered from 1 in proc(5); behind the name, which may hold anything, comes the third.
    let fields: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split_ascii_whitespace().collect(),
        None => Vec::new(),
    };
    let field = |number: usize| {
        let text = fields.get(number - 3);
        text.and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| io::Error::other(format!("/proc/self/stat has no field {number}")))
    };
    // SAFETY: with an address that it cannot set, the call only tells where the heap ends (brk(2)).
    let brk = unsafe { libc::syscall(libc::SYS_brk, 0) };
    let range = area.as_ptr_range();
    let map = MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: brk.cast_unsigned(),
        start_stack: field(28)?,
        arg_start: range.start.addr() as u64,
        arg_end: range.end.addr() as u64,
        env_start: field(50)?,
        env_end: field(51)?,
        // These stay as they are.
        auxv: std::ptr::null(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: the map is as the kernel wants it, of the size that is told. All in it but the arguments is what the kernel
    // has said of this process, which has no other thread to change it; the arguments are memory that is never freed. The
    // kernel only reads there, on behalf of whoever looks at /proc/PID/cmdline.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::c_ulong::from(libc::PR_SET_MM_MAP.cast_unsigned()),
            &raw const map,
            size_of::<MemoryMap>(),
            libc::c_ulong::from(0_u32),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes variables out of this process's environment. Refused when it has a second thread, which could be reading there.
pub(crate) fn remove_vars(names: &[&str]) -> io::Result<()> {
    let threads = threads()?;
    if threads > 1 {
        return Err(io::Error::other(format!(
            "the process has {threads} threads"
        )));
    }
    for name in names {
        // SAFETY: this is the only thread, so nobody reads or writes the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Ok(())
}

/// The nice value of this process (setpriority(2)), whatever it was before.
pub(crate) fn set_nice(value: i32) -> nix::Result<()> {
    // SAFETY: the call takes three integers and touches no memory.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) }).map(drop)
}

/// Raises this process's limit of open descriptors to what the administrator allows; returns what it was. The usual soft
/// limit is only low for the sake of select(2).
pub(crate) fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}
