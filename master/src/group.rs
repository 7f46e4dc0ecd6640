//! The definition of one group of processes, whatever they do.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use workhive_worker::{Address, Program};

use crate::kept::listener;
use crate::manners::Manners;
use crate::router;

/// Most processes in one group.
pub(crate) const MAX_COUNT: usize = 1024;

/// Most processes of a hive when it starts.
const MAX_ALL: usize = 4096;

/// Longest name of a group, in bytes: what fits in a row of the stats page.
const MAX_NAME: usize = 63;

/// The longest that anything a group does may take.
const LONGEST: Duration = Duration::from_hours(24);

/// One group of processes: what they run, how many there are, where they listen.
///
/// A definition that makes no sense is kept with its reason, and refused when the hive starts; so builders can be
/// chained without a `Result` at every link.
///
/// ```
/// use workhive::{Group, Program};
///
/// let group = Group::new("ticker", Program::new("none", |_seat| 0)).count(2);
/// assert_eq!(group.problem(), None);
/// assert!(group.count(0).problem().is_some());
/// ```
#[derive(Clone)]
pub struct Group {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) count: u16,
    pub(crate) address: Option<Address>,
    pub(crate) reuse_port: bool,
    pub(crate) backlog: u32,
    pub(crate) reloadable: bool,
    pub(crate) uid_name: Option<String>,
    pub(crate) gid_name: Option<String>,
    pub(crate) drain: Duration,
    pub(crate) boot_timeout: Duration,
    pub(crate) stuck_after: Duration,
    pub(crate) max_requests: Option<u64>,
    pub(crate) max_lifetime: Option<Duration>,
    /// In bytes.
    pub(crate) max_memory: Option<u64>,
    pub(crate) manners: Manners,
    /// Why there must not be more than one process, if that is so.
    pub(crate) one_process: Option<String>,
    pub(crate) spawn: Spawn,
    /// The program that its processes execute, if it is not this one.
    pub(crate) command: Option<Command>,
    problem: Option<String>,
}

/// How a process comes to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spawn {
    /// By fork(2) alone: within a millisecond, sharing the memory of what the program had loaded. Only a process with one
    /// thread can do it.
    #[default]
    Fork,
    /// By fork(2) and execve(2): the program is started anew with the same arguments and finds its place by itself, in
    /// [`run_all`](crate::run_all). What it does before that is done in every process, as the user that the process runs
    /// as. A reload runs the program file as it is then. A program with several threads can do it too.
    Exec,
}

/// The program of somebody else, and how its processes are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// Where it listens besides the group's own address.
    pub(crate) more: Vec<Address>,
    /// It takes its seat by itself, and is a process like others from then on. Otherwise it knows nothing of workhive.
    pub(crate) attaches: bool,
    /// It says by itself when it is ready, `sd_notify(3)`; otherwise it is when it has lived for a second.
    pub(crate) notifies: bool,
    /// What tells it to finish.
    pub(crate) stop_signal: Signal,
}

impl Group {
    /// A group of one process that listens nowhere.
    ///
    /// The name has 1 to 63 bytes, without control characters and without `=`.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("ticker", Program::new("none", |_seat| 0));
    /// ```
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        let name = name.into();
        let mut group = Self {
            name: String::new(),
            program,
            count: 1,
            address: None,
            reuse_port: false,
            backlog: 4096,
            reloadable: true,
            uid_name: None,
            gid_name: None,
            drain: Duration::from_secs(10),
            boot_timeout: Duration::from_mins(1),
            stuck_after: Duration::from_mins(1),
            max_requests: None,
            max_lifetime: None,
            max_memory: None,
            manners: Manners::default(),
            one_process: None,
            spawn: Spawn::default(),
            command: None,
            problem: None,
        };
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.contains(|c: char| c.is_control() || c == '=')
        {
            group.refuse(format!(
                "the name of a group has 1 to {MAX_NAME} bytes, no control characters and no '='; \"{}\" does not do",
                name.escape_debug()
            ));
        }
        group.name = name;
        group
    }

    /// A group that cannot be: starting it fails with `reason`, and exit code 2.
    ///
    /// ```
    /// let group = workhive::Group::invalid("a worker needs an address");
    /// assert_eq!(group.problem(), Some("a worker needs an address"));
    /// ```
    pub fn invalid(reason: impl Into<String>) -> Self {
        let mut group = Self::new("invalid", Program::new("none", |_| 1));
        group.refuse(reason.into());
        group
    }

    /// What its processes run; for those who seat one without a master, in a fuzz target.
    #[doc(hidden)]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Refuses to start with more than one process, for the reason given.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).one_process_only("it counts in memory");
    /// ```
    pub fn one_process_only(mut self, why: impl Into<String>) -> Self {
        self.one_process = Some(why.into());
        self
    }

    /// Marks the group as one that cannot be; the first reason stays.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("none", |_| 0)).refused("no protocol");
    /// assert_eq!(group.problem(), Some("no protocol"));
    /// ```
    pub fn refused(mut self, reason: impl Into<String>) -> Self {
        self.refuse(reason.into());
        self
    }

    fn refuse(&mut self, reason: String) {
        self.problem.get_or_insert(reason);
    }

    /// Why the group cannot be started, if it cannot.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("", Program::new("none", |_| 0));
    /// assert!(group.problem().is_some());
    /// ```
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// How its processes come to be; [`Spawn::Fork`] unless set.
    ///
    /// ```
    /// use workhive::{Group, Program, Spawn};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).spawn(Spawn::Exec);
    /// ```
    pub fn spawn(mut self, spawn: Spawn) -> Self {
        self.spawn = spawn;
        self
    }

    /// Number of processes, 1 to 1024.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("ticker", Program::new("none", |_| 0)).count(4);
    /// ```
    pub fn count(mut self, count: usize) -> Self {
        match u16::try_from(count) {
            Ok(fits) if (1..=MAX_COUNT).contains(&count) => self.count = fits,
            _ => self.refuse(format!(
                "the count of group \"{}\" must be 1 to {MAX_COUNT}, not {count}",
                self.name
            )),
        }
        self
    }

    /// Where the group listens. The master binds it, and the queue of waiting connections outlives every process.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).address("127.0.0.1:1234".parse()?);
    /// # Ok::<(), workhive_worker::AddressError>(())
    /// ```
    pub fn address(mut self, address: Address) -> Self {
        self.address = Some(address);
        self
    }

    /// One `SO_REUSEPORT` socket for each process (socket(7)), so that the kernel spreads connections evenly; without
    /// it all processes accept from one socket, whoever is free. Only for TCP.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).reuse_port(true);
    /// ```
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Length of each accept queue, in connections (listen(2)); 4096 unless set, and never more than
    /// `net.core.somaxconn`.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).backlog(128);
    /// ```
    pub fn backlog(mut self, connections: u32) -> Self {
        if connections == 0 {
            self.refuse(format!(
                "the backlog of group \"{}\" must be at least 1",
                self.name
            ));
        }
        self.backlog = connections;
        self
    }

    /// Whether a reload replaces the processes (the default), or only tells them about it.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).reloadable(false);
    /// ```
    pub fn reloadable(mut self, reloadable: bool) -> Self {
        self.reloadable = reloadable;
        self
    }

    /// The user that the processes run as. The master must be root; the user's own groups come along.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).user("www-data");
    /// ```
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.uid_name = Some(name.into());
        self
    }

    /// The Unix group that the processes run as, instead of the user's own.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).user("www-data").unix_group("adm");
    /// ```
    pub fn unix_group(mut self, name: impl Into<String>) -> Self {
        self.gid_name = Some(name.into());
        self
    }

    /// How long a process may take to finish what it has in hand when it is replaced or stopped; then it is killed.
    /// 10 s unless set, a day at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).drain(Duration::from_secs(30));
    /// ```
    pub fn drain(mut self, window: Duration) -> Self {
        if window > LONGEST {
            self.refuse(format!(
                "the drain of group \"{}\" must not be longer than a day",
                self.name
            ));
        }
        self.drain = window;
        self
    }

    /// How long a process may take to become ready; then it has failed, and is killed. A minute unless set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).boot_timeout(Duration::from_secs(5));
    /// assert!(group.boot_timeout(Duration::ZERO).problem().is_some());
    /// ```
    pub fn boot_timeout(mut self, time: Duration) -> Self {
        self.check_time("boot timeout", time);
        self.boot_timeout = time;
        self
    }

    /// How long a process may be at one turn of its loop, a callback above all; then it is stuck, and is killed within
    /// two seconds more. A minute unless set. One that waits for events is never stuck, nor is one that was stopped
    /// (SIGSTOP).
    ///
    /// ```
    /// use std::time::Duration;
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).stuck_after(Duration::from_secs(5));
    /// assert!(group.stuck_after(Duration::ZERO).problem().is_some());
    /// ```
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.check_time("time after which a process is stuck", time);
        self.stuck_after = time;
        self
    }

    /// After how many messages (requests, lines, frames) a process is replaced, as by a reload: the new one is ready
    /// before the old one finishes what it has in hand. Up to a tenth more, so that not all are replaced together, and
    /// one at a time. Never unless set.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).max_requests(100_000);
    /// assert!(group.max_requests(0).problem().is_some());
    /// ```
    pub fn max_requests(mut self, messages: u64) -> Self {
        self.check_limit("max_requests", messages == 0);
        self.max_requests = Some(messages);
        self
    }

    /// How old a process may become before it is replaced, as with [`max_requests`](Self::max_requests).
    ///
    /// ```
    /// use std::time::Duration;
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).max_lifetime(Duration::from_secs(24 * 3600));
    /// assert!(group.max_lifetime(Duration::ZERO).problem().is_some());
    /// ```
    pub fn max_lifetime(mut self, age: Duration) -> Self {
        self.check_limit("max_lifetime", age.is_zero());
        self.max_lifetime = Some(age);
        self
    }

    /// How much memory a process may have before it is replaced, as with [`max_requests`](Self::max_requests): what is
    /// resident, in bytes, at two looks in a row, one second apart.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).max_memory(512 << 20);
    /// assert!(group.max_memory(0).problem().is_some());
    /// ```
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.check_limit("max_memory", bytes == 0);
        self.max_memory = Some(bytes);
        self
    }

    fn check_limit(&mut self, what: &str, is_nothing: bool) {
        if is_nothing {
            self.refuse(format!(
                "{what} of group \"{}\" must be more than nothing; leave it away for no limit",
                self.name
            ));
        }
    }

    fn check_time(&mut self, what: &str, time: Duration) {
        if time.is_zero() || time > LONGEST {
            self.refuse(format!(
                "the {what} of group \"{}\" must be more than nothing, and a day at most",
                self.name
            ));
        }
    }

    /// `protocol://address`, or "-" if it listens nowhere.
    pub(crate) fn listener(&self, address: Option<&Address>) -> String {
        match address {
            None => "-".to_owned(),
            // What is spoken there is the program's own affair.
            Some(address @ Address::Unix(_)) if self.command.is_some() => address.to_string(),
            Some(address) => listener(self.program.protocol(), address),
        }
    }

    /// A group whose processes execute the program of somebody else.
    pub(crate) fn of_command(name: impl Into<String>, command: Command) -> Self {
        let mut group = Self::new(name, Program::new("tcp", |_| 1));
        group.command = Some(command);
        group
    }

    /// True if its processes run a program that knows nothing of workhive.
    pub(crate) fn is_foreign(&self) -> bool {
        self.command
            .as_ref()
            .is_some_and(|command| !command.attaches)
    }

    /// True if its processes are copies of the master.
    pub(crate) fn forks(&self) -> bool {
        self.command.is_none() && self.spawn == Spawn::Fork
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        let more = self.command.iter().flat_map(|command| &command.more);
        self.address.iter().chain(more)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("count", &self.count)
            .field("address", &self.address)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the groups of a hive, each for itself and all together.
pub(crate) fn check(groups: &[Group]) -> Result<(), String> {
    if groups.is_empty() {
        return Err("there is no group to run".to_owned());
    }
    let all: usize = groups.iter().map(|group| usize::from(group.count)).sum();
    if all > MAX_ALL {
        return Err(format!(
            "a hive has {MAX_ALL} processes at the most, all groups together, and not {all}"
        ));
    }
    for (index, group) in groups.iter().enumerate() {
        if let Some(why) = &group.one_process
            && group.count > 1
        {
            return Err(format!(
                "group \"{}\" cannot have {} processes: {why}",
                group.name, group.count
            ));
        }
        if let Some(problem) = group.problem() {
            return Err(problem.to_owned());
        }
        if group.name == router::NAME {
            return Err(format!(
                "a group cannot be called \"{}\": that is the process which connects the others. Choose another name",
                router::NAME
            ));
        }
        if group.reuse_port && matches!(group.address, Some(Address::Unix(_))) {
            return Err(format!(
                "group \"{}\" cannot use reuse_port: Unix sockets have no SO_REUSEPORT. Leave it away",
                group.name
            ));
        }
        for earlier in &groups[..index] {
            if earlier.name == group.name {
                return Err(format!(
                    "two groups have the name \"{}\"; give each its own",
                    group.name
                ));
            }
            let same = group.address.is_some() && earlier.address == group.address;
            if same && !matches!(group.address, Some(Address::Tcp(address)) if address.port() == 0)
            {
                return Err(format!(
                    "groups \"{}\" and \"{}\" both listen at {}",
                    earlier.name,
                    group.name,
                    group.listener(group.address.as_ref())
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Group {
        Group::new(name, Program::new("none", |_| 0))
    }

    #[test]
    fn the_first_problem_of_a_group_stays() {
        let group = group("a").count(0).count(2000).backlog(0);
        assert_eq!(
            group.problem(),
            Some("the count of group \"a\" must be 1 to 1024, not 0")
        );
    }

    #[test]
    fn names_must_fit_the_tables() {
        assert!(group("").problem().is_some());
        assert!(group("a=b").problem().is_some());
        assert!(group("a\nb").problem().is_some());
        assert!(group(&"x".repeat(64)).problem().is_some());
        assert!(group(&"x".repeat(63)).problem().is_none());
    }

    #[test]
    fn groups_that_collide_are_refused_with_both_names() {
        let one = group("one").address("127.0.0.1:80".parse().unwrap());
        let two = group("two").address("127.0.0.1:80".parse().unwrap());
        let error = check(&[one.clone(), two]).unwrap_err();
        assert!(
            error.contains("\"one\"") && error.contains("\"two\""),
            "{error}"
        );
        assert!(check(&[one.clone(), one]).unwrap_err().contains("name"));
        let any = "127.0.0.1:0".parse::<Address>().unwrap();
        assert_eq!(
            check(&[group("a").address(any.clone()), group("b").address(any)]),
            Ok(())
        );
        assert!(check(&[]).is_err());
        let many = ["a", "b", "c", "d", "e"].map(|name| group(name).count(1024));
        assert!(check(&many).unwrap_err().contains("5120"));
        assert_eq!(check(&many[..4]), Ok(()));
        let error = check(&[group("router")]).unwrap_err();
        assert!(error.contains("\"router\""), "{error}");
    }
}
