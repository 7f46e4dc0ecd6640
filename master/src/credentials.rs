//! The user and group that processes run as.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group as UnixGroup, Uid, User};

use crate::Group;

/// Resolved before the first fork, so that a name that does not exist fails the start and not every process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    user: Option<Uid>,
    group: Option<Gid>,
    /// The supplementary groups: the user's own, looked up before the fork, because looking up takes memory and locks.
    groups: Vec<Gid>,
}

/// What may fail on the way to other rights. The numbers are left in the stats page by processes that cannot say it in
/// words.
const GROUPS: u16 = 10;
const GROUP: u16 = 11;
const USER: u16 = 12;
const ROOT_AGAIN: u16 = 13;

impl Credentials {
    /// What the group asks for, if this process may do it.
    pub(crate) fn of(group: &Group) -> Result<Self, String> {
        let mut found = Self::default();
        if let Some(name) = &group.uid_name {
            let user = User::from_name(name)
                .map_err(|error| format!("cannot look up the user \"{name}\": {error}"))?
                .ok_or_else(|| {
                    format!("there is no user \"{name}\" for group \"{}\"", group.name)
                })?;
            found.user = Some(user.uid);
            found.group = Some(user.gid);
        }
        if let Some(name) = &group.gid_name {
            let unix = UnixGroup::from_name(name)
                .map_err(|error| format!("cannot look up the Unix group \"{name}\": {error}"))?
                .ok_or_else(|| {
                    format!(
                        "there is no Unix group \"{name}\" for group \"{}\"",
                        group.name
                    )
                })?;
            found.group = Some(unix.gid);
        }
        if let Some(gid) = found.group {
            found.groups = match &group.uid_name {
                Some(name) => {
                    let c_name = CString::new(name.as_str())
                        .map_err(|_| format!("\"{name}\" is no name of a user"))?;
                    nix::unistd::getgrouplist(&c_name, gid).map_err(|error| {
                        format!("cannot look up the groups of \"{name}\": {error}")
                    })?
                }
                None => vec![gid],
            };
        }
        // Asking for what one already is needs no rights.
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let same = found.user.is_none_or(|wanted| wanted == uid)
            && found.group.is_none_or(|wanted| wanted == gid);
        if uid.is_root() {
            Ok(found)
        } else if same {
            Ok(Self::default())
        } else {
            Err(format!(
                "group \"{}\" is to run as another user or Unix group, which only root can do; start as root, or leave \
                 user and group away",
                group.name
            ))
        }
    }

    /// The user, if it is another one than this process's.
    pub(crate) fn another_user(&self) -> Option<Uid> {
        let own = nix::unistd::geteuid();
        self.user.filter(|uid| *uid != own)
    }

    /// Becomes them, for good. Anything short of complete success is an error, and the caller must not go on: it
    /// would serve the network with rights that it was told to give up.
    pub(crate) fn assume(&self) -> io::Result<()> {
        self.assume_now().map_err(|(step, errno)| {
            io::Error::other(format!("{}: {}", describe_step(step), errno.desc()))
        })
    }

    /// The same by system calls alone, for the time between fork(2) and execve(2). An error is the step, and why.
    pub(crate) fn assume_now(&self) -> Result<(), (u16, Errno)> {
        // The order matters: without root, neither groups nor users can be changed any more.
        if let Some(gid) = self.group {
            nix::unistd::setgroups(&self.groups).map_err(|errno| (GROUPS, errno))?;
            nix::unistd::setresgid(gid, gid, gid).map_err(|errno| (GROUP, errno))?;
        }
        if let Some(uid) = self.user {
            nix::unistd::setresuid(uid, uid, uid).map_err(|errno| (USER, errno))?;
            let root = Uid::from_raw(0);
            if !uid.is_root() && nix::unistd::setresuid(root, root, root).is_ok() {
                return Err((ROOT_AGAIN, Errno::EPERM));
            }
        }
        Ok(())
    }
}

/// A step of [`Credentials::assume_now`] in words.
pub(crate) fn describe_step(step: u16) -> &'static str {
    match step {
        GROUPS => "cannot take the supplementary groups",
        GROUP => "cannot take the group",
        USER => "cannot take the user",
        ROOT_AGAIN => "the process could become root again",
        _ => "a step that this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use workhive_worker::Program;

    use super::*;

    #[test]
    fn names_that_do_not_exist_are_refused_by_name() {
        let group = Group::new("a", Program::new("none", |_| 0));
        let error = Credentials::of(&group.clone().user("no-such-user")).unwrap_err();
        assert!(error.contains("no-such-user"), "{error}");
        let error = Credentials::of(&group.clone().unix_group("no-such-group")).unwrap_err();
        assert!(error.contains("no-such-group"), "{error}");
        assert!(Credentials::of(&group).is_ok());
    }
}
