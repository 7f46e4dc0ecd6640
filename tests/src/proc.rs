//! What `/proc` tells about processes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All processes whose environment has this variable: a program that was started with it, and all that it forked,
/// whatever sessions and groups they have made themselves since.
pub fn family(variable: &str) -> Vec<u32> {
    pids()
        .filter(|pid| {
            !is_zombie(*pid)
                && fs::read(format!("/proc/{pid}/environ"))
                    .unwrap_or_default()
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == variable.as_bytes())
        })
        .collect()
}

/// The living children of a process, in the order of their ids.
pub fn children(parent: u32) -> Vec<u32> {
    let mut found: Vec<u32> = pids()
        .filter(|pid| {
            stat(*pid).is_some_and(|fields| {
                fields[0] != "Z" && fields[0] != "X" && fields[1] == parent.to_string()
            })
        })
        .collect();
    found.sort_unstable();
    found
}

/// True for the router of a hive; one that was forked a moment ago does not show it yet.
pub fn is_router(pid: u32) -> bool {
    name(pid).is_some_and(|name| name == "router[0]")
}

/// The name that a process has for `ps -o comm`.
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// True while a process runs; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] == "Z")
}

/// What a process keeps in memory (`VmRSS`), in KiB.
///
/// # Panics
/// If there is no such process.
pub fn rss_kib(pid: u32) -> u64 {
    kib(pid, "VmRSS:")
}

/// What a process keeps in memory of its own (`RssAnon`), in KiB: without the pages of its program's file and of shared
/// memory.
///
/// # Panics
/// If there is no such process.
pub fn own_memory_kib(pid: u32) -> u64 {
    kib(pid, "RssAnon:")
}

fn kib(pid: u32, name: &str) -> u64 {
    status_field(pid, name)
        .and_then(|value| value.trim_end_matches("kB").trim().parse().ok())
        .unwrap_or_else(|| panic!("process {pid} has no {name}"))
}

/// A line of `/proc/PID/status`, without its name.
pub fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// The processor time that a process has used.
///
/// # Panics
/// If there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    // proc_pid_stat(5): fields 14 and 15, of which the state is the third.
    let fields = stat(pid).unwrap_or_else(|| panic!("there is no process {pid}"));
    let ticks: u64 = [11, 12]
        .map(|n| fields[n].parse::<u64>().expect("a number"))
        .iter()
        .sum();
    // USER_HZ is 100 on every machine that Linux still runs on.
    Duration::from_millis(ticks * 10)
}

/// The children of a process that have ended and were not waited for.
pub fn zombies(parent: u32) -> usize {
    let parent = parent.to_string();
    pids()
        .filter(|pid| stat(*pid).is_some_and(|fields| fields[0] == "Z" && fields[1] == parent))
        .count()
}

/// Where the open descriptors of a process lead: `socket:[17]`, `anon_inode:[eventpoll]`, `/dev/null`...
pub fn descriptors(pid: u32) -> Vec<(i32, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    found.sort();
    found
}

/// Whether a descriptor is open and stays so in a program that the process executes (no `O_CLOEXEC`, open(2)).
pub fn survives_exec(pid: u32, number: i32) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 0o2_000_000 == 0)
}

/// How many threads a process has.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Sends a signal to a process; that it has ended meanwhile is no error.
pub fn signal(pid: u32, signal: Signal) {
    // ESRCH: it has ended, and what was to be told it does not matter any more.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/PID/stat` from the state on: state, parent, process group...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<String> = rest.split_ascii_whitespace().map(str::to_owned).collect();
    (fields.len() > 2).then_some(fields)
}
