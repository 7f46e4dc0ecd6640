//! What surrounds the processes of a group: limits, priority, CPUs, umask, working directory.
//!
//! All of it is looked up and put into shape before the fork ([`Manners::prepare`]). What is left for the new process
//! ([`Chores::apply`]) is a row of system calls that takes no memory and no lock: it may also stand between fork and
//! exec in a copy of a process that had other threads (signal-safety(7)).

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::Group;
use crate::cpus::{Affinity, Cpus};
use crate::sys;

/// As the definition of a group has it; what is not set stays as the master has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Without it, as many as the administrator allows.
    pub(crate) nofile: Option<u64>,
    pub(crate) nice: Option<i32>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) oom_score: Option<i32>,
    pub(crate) umask: Option<Umask>,
    pub(crate) directory: Option<PathBuf>,
}

/// Which permissions new files do not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Umask(pub(crate) u32);

impl std::str::FromStr for Umask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mask| digits && *mask <= 0o777)
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no umask: write octal digits such as 027"))
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

/// A nice value, as setpriority(2) takes it.
pub(crate) fn nice(text: &str) -> Result<i32, String> {
    let nice = text.parse().ok().filter(|nice| (-20..=19).contains(nice));
    nice.ok_or_else(|| "it must be -20 to 19".to_owned())
}

/// An adjustment of the score by which the kernel chooses whom to kill when memory runs out (proc(5)).
pub(crate) fn oom_score(text: &str) -> Result<i32, String> {
    let score = text
        .parse()
        .ok()
        .filter(|score| (-1000..=1000).contains(score));
    score.ok_or_else(|| "it must be -1000 to 1000".to_owned())
}

impl Group {
    /// How many descriptors a process may have open, `RLIMIT_NOFILE`, getrlimit(2). As many as the administrator allows
    /// unless set. More than that need root.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).nofile(100_000);
    /// assert!(group.nofile(0).problem().is_some());
    /// ```
    pub fn nofile(mut self, descriptors: u64) -> Self {
        self.manners.nofile = Some(descriptors);
        if descriptors == 0 {
            return self.refuse_manner("limit of open descriptors", "must be at least 1");
        }
        self
    }

    /// The nice value of the processes, -20 (most favoured) to 19, setpriority(2). One below the master's own needs
    /// root.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("reports", Program::new("none", |_| 0)).nice(10);
    /// assert!(group.nice(20).problem().is_some());
    /// ```
    pub fn nice(mut self, value: i32) -> Self {
        self.manners.nice = Some(value);
        match nice(&value.to_string()) {
            Ok(_) => self,
            Err(_) => self.refuse_manner("nice value", &format!("must be -20 to 19, not {value}")),
        }
    }

    /// On which CPUs the processes run: a list such as `0,2-5`, or `auto` for one CPU each, by slot, of those that the
    /// master may use.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).count(4).cpu_affinity("auto");
    /// assert_eq!(group.problem(), None);
    /// assert!(group.cpu_affinity("some").problem().is_some());
    /// ```
    pub fn cpu_affinity(mut self, cpus: impl AsRef<str>) -> Self {
        match cpus.as_ref().parse() {
            Ok(affinity) => self.manners.affinity = Some(affinity),
            Err(error) => return self.refuse_manner("CPU affinity", &format!("is wrong: {error}")),
        }
        self
    }

    /// How much more (up to 1000) or less (down to -1000) likely than others the processes are to be killed when the
    /// system runs out of memory: `oom_score_adj`, proc(5). Less than the master needs root.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).oom_score_adj(500);
    /// assert!(group.oom_score_adj(1001).problem().is_some());
    /// ```
    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.manners.oom_score = Some(score);
        match oom_score(&score.to_string()) {
            Ok(_) => self,
            Err(_) => self.refuse_manner(
                "OOM score adjustment",
                &format!("must be -1000 to 1000, not {score}"),
            ),
        }
    }

    /// Which permissions the files that the processes make do not get, umask(2).
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).umask(0o027);
    /// assert!(group.umask(0o1000).problem().is_some());
    /// ```
    pub fn umask(mut self, mask: u32) -> Self {
        self.manners.umask = Some(Umask(mask));
        if mask > 0o777 {
            return self.refuse_manner("umask", &format!("must be 0 to 0o777, not 0o{mask:o}"));
        }
        self
    }

    /// The working directory of the processes. The master stays where it was started.
    ///
    /// ```
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("push", Program::new("text", |_| 0)).chdir("/srv/push");
    /// ```
    pub fn chdir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.manners.directory = Some(directory.into());
        self
    }

    fn refuse_manner(self, what: &str, why: &str) -> Self {
        let reason = format!("the {what} of group \"{}\" {why}", self.name);
        self.refused(reason)
    }

    /// Takes over what is set in `manners`.
    pub(crate) fn with_manners(mut self, manners: &Manners) -> Self {
        if let Some(descriptors) = manners.nofile {
            self = self.nofile(descriptors);
        }
        if let Some(value) = manners.nice {
            self = self.nice(value);
        }
        if let Some(affinity) = &manners.affinity {
            self.manners.affinity = Some(affinity.clone());
        }
        if let Some(score) = manners.oom_score {
            self = self.oom_score_adj(score);
        }
        if let Some(Umask(mask)) = manners.umask {
            self = self.umask(mask);
        }
        if let Some(directory) = &manners.directory {
            self = self.chdir(directory);
        }
        self
    }
}

/// What this machine does not have for the groups, as far as that can be known before a start.
pub(crate) fn check(groups: &[Group]) -> Result<(), String> {
    for group in groups {
        if let Err(why) = group.manners.check() {
            return Err(format!("group \"{}\": {why}", group.name));
        }
    }
    Ok(())
}

impl Manners {
    fn check(&self) -> Result<(), String> {
        if let Some(Affinity::List(wanted)) = &self.affinity {
            wanted.check()?;
        }
        if let Some(directory) = &self.directory {
            let found = std::fs::metadata(directory).map_err(|error| {
                format!("no working directory {}: {error}", directory.display())
            })?;
            if !found.is_dir() {
                return Err(format!(
                    "the working directory {} is no directory",
                    directory.display()
                ));
            }
        }
        if let Some(wanted) = self.nofile {
            let most = std::fs::read_to_string("/proc/sys/fs/nr_open");
            let most = most.ok().and_then(|text| text.trim().parse::<u64>().ok());
            if let Some(most) = most.filter(|most| wanted > *most) {
                return Err(format!(
                    "{wanted} open descriptors are more than a process can have here, which is {most}: \
                     sysctl -w fs.nr_open={wanted}, or ask for fewer"
                ));
            }
        }
        Ok(())
    }

    /// What the process of a slot has to do about it.
    pub(crate) fn prepare(&self, slot: u16) -> io::Result<Chores> {
        let cpus = match &self.affinity {
            None => None,
            Some(Affinity::List(cpus)) => Some(cpus.clone()),
            Some(Affinity::Auto) => Cpus::from(&sched_getaffinity(Pid::from_raw(0))?).of_slot(slot),
        };
        let directory = match &self.directory {
            Some(directory) => Some(CString::new(directory.as_os_str().as_encoded_bytes())?),
            None => None,
        };
        Ok(Chores {
            nofile: self.nofile,
            usual: None,
            nice: self.nice,
            cpu_set: match &cpus {
                Some(cpus) => Some(cpus.set()?),
                None => None,
            },
            cpus,
            oom_score: self.oom_score.map(|score| score.to_string()),
            umask: self.umask.map(|Umask(mask)| Mode::from_bits_truncate(mask)),
            directory,
        })
    }
}

/// What is to be done in a new process before it gives up its rights.
#[derive(Debug, Clone)]
pub(crate) struct Chores {
    nofile: Option<u64>,
    /// The soft limit without it; as high as the hard one if there is none.
    usual: Option<u64>,
    nice: Option<i32>,
    /// As text for people, and as the kernel takes it.
    cpus: Option<Cpus>,
    cpu_set: Option<CpuSet>,
    oom_score: Option<String>,
    umask: Option<Mode>,
    directory: Option<CString>,
}

/// What a new process could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    what: Chore,
    errno: Errno,
}

/// The numbers are left in the stats page by processes that cannot say it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    Descriptors = 20,
    Nice,
    Cpus,
    OomScore,
    Directory,
}

impl Refused {
    /// As numbers.
    pub(crate) fn code(self) -> (u16, Errno) {
        (self.what as u16, self.errno)
    }

    /// What such numbers mean, if they are of this kind.
    pub(crate) fn from_code(step: u16, errno: i32) -> Option<Self> {
        let all = [
            Chore::Descriptors,
            Chore::Nice,
            Chore::Cpus,
            Chore::OomScore,
            Chore::Directory,
        ];
        let what = all.into_iter().find(|chore| *chore as u16 == step)?;
        let errno = Errno::from_raw(errno);
        Some(Self { what, errno })
    }
}

impl Chores {
    /// With the soft limit of descriptors that the master was started with, for programs that know nothing of ours.
    pub(crate) fn with_usual_descriptors(mut self, soft: Option<u64>) -> Self {
        self.usual = soft;
        self
    }

    /// All but the working directory.
    pub(crate) fn but_directory(mut self) -> Self {
        self.directory = None;
        self
    }

    /// Does it all. No memory is taken and nothing is waited for, see above; what is left to say about a failure is
    /// said by [`explain`](Self::explain), later or elsewhere.
    pub(crate) fn apply(&self) -> Result<(), Refused> {
        let refused = |what| move |errno| Refused { what, errno };
        if let Some(mask) = self.umask {
            umask(mask);
        }
        match self.nofile {
            Some(limit) => setrlimit(Resource::RLIMIT_NOFILE, limit, limit)
                .map_err(refused(Chore::Descriptors))?,
            // The usual soft limit is only low for the sake of select(2). Without more, one can still live.
            None => drop(getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
                let soft = self.usual.map_or(hard, |usual| usual.min(hard));
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
            })),
        }
        if let Some(value) = self.nice {
            sys::set_nice(value).map_err(refused(Chore::Nice))?;
        }
        if let Some(score) = &self.oom_score {
            write_oom_score(score.as_bytes()).map_err(refused(Chore::OomScore))?;
        }
        if let Some(cpus) = &self.cpu_set {
            sched_setaffinity(Pid::from_raw(0), cpus).map_err(refused(Chore::Cpus))?;
        }
        if let Some(directory) = &self.directory {
            nix::unistd::chdir(directory.as_c_str()).map_err(refused(Chore::Directory))?;
        }
        Ok(())
    }

    /// What was refused, for people.
    pub(crate) fn explain(&self, refused: Refused) -> String {
        let Refused { what, errno } = refused;
        let why = errno.desc();
        match what {
            Chore::Descriptors => format!(
                "cannot have {} open descriptors: {why}; more than the hard limit need root, in a container with \
                 CAP_SYS_RESOURCE: raise it (ulimit -Hn, LimitNOFILE= in a unit of systemd), or ask for fewer",
                self.nofile.unwrap_or_default()
            ),
            Chore::Nice => format!(
                "cannot take the nice value {}: {why}; one below the master's needs root, in a container with \
                 CAP_SYS_NICE (LimitNICE= in a unit of systemd)",
                self.nice.unwrap_or_default()
            ),
            Chore::Cpus => format!(
                "cannot run on the CPUs {}: {why}; perhaps a cpuset keeps them from this service: see Cpus_allowed_list \
                 in /proc/self/status",
                self.cpus.as_ref().map(Cpus::to_string).unwrap_or_default()
            ),
            Chore::OomScore => format!(
                "cannot set the OOM score adjustment to {}: {why}; one below the master's needs root, in a \
                 container with CAP_SYS_RESOURCE (OOMScoreAdjust= in a unit of systemd)",
                self.oom_score.as_deref().unwrap_or_default()
            ),
            Chore::Directory => format!(
                "cannot change to the directory {}: {why}",
                self.directory
                    .as_ref()
                    .map(|path| path.to_string_lossy().into_owned())
                    .unwrap_or_default()
            ),
        }
    }
}

fn write_oom_score(score: &[u8]) -> nix::Result<()> {
    let file = nix::fcntl::open(
        c"/proc/self/oom_score_adj",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    nix::unistd::write(&file, score)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use workhive_worker::Program;

    use super::*;

    fn group() -> Group {
        Group::new("push", Program::new("none", |_| 0))
    }

    #[test]
    fn a_umask_is_octal() {
        assert_eq!("027".parse(), Ok(Umask(0o27)));
        assert_eq!("0".parse(), Ok(Umask(0)));
        assert_eq!(Umask(0o27).to_string(), "027");
        for bad in ["", "8", "0o27", "+27", "1000", "-1", "rw"] {
            assert!(bad.parse::<Umask>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_limits() {
        assert_eq!((nice("-20"), nice("19")), (Ok(-20), Ok(19)));
        assert_eq!(
            (oom_score("-1000"), oom_score("1000")),
            (Ok(-1000), Ok(1000))
        );
        for bad in ["", "x", "-21", "20", "1.5"] {
            assert!(nice(bad).is_err(), "{bad}");
        }
        assert!(oom_score("1001").is_err() && oom_score("-1001").is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_name_of_the_group() {
        for (bad, words) in [
            (group().nice(-21), "-20 to 19, not -21"),
            (group().umask(0o1000), "0o1000"),
            (group().nofile(0), "at least 1"),
            (group().oom_score_adj(-2000), "-1000 to 1000"),
            (group().cpu_affinity("x"), "\"x\""),
        ] {
            let problem = bad.problem().unwrap();
            assert!(
                problem.contains(words) && problem.contains("\"push\""),
                "{problem}"
            );
        }
    }

    #[test]
    fn what_this_machine_does_not_have_is_said_before_a_start() {
        for (bad, words) in [
            (group().chdir("/no/such/place"), "/no/such/place"),
            (group().chdir("/etc/passwd"), "no directory"),
            (group().cpu_affinity("1023"), "1023"),
            (group().nofile(u64::MAX), "fs.nr_open"),
        ] {
            let error = check(&[bad]).unwrap_err();
            assert!(
                error.contains(words) && error.contains("\"push\""),
                "{error}"
            );
        }
        let good = group()
            .chdir("/")
            .cpu_affinity("0")
            .nofile(64)
            .nice(5)
            .umask(0o77);
        assert_eq!(check(&[good]), Ok(()));
    }

    #[test]
    fn what_was_refused_is_told_with_its_value_and_a_remedy() {
        let manners = Manners {
            nice: Some(-5),
            ..Manners::default()
        };
        let refused = Refused {
            what: Chore::Nice,
            errno: Errno::EACCES,
        };
        let text = manners.prepare(0).unwrap().explain(refused);
        assert!(
            text.contains("-5") && text.contains("CAP_SYS_NICE"),
            "{text}"
        );
    }
}
