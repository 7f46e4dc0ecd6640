//! The user and group that processes run as.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group as UnixGroup, Uid, User};

use crate::Group;

/// Resolved before the first fork, so that a name that does not exist fails the start and not every process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    user: Option<(CString, Uid)>,
    group: Option<Gid>,
}

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
            let c_name = CString::new(name.as_str())
                .map_err(|_| format!("\"{name}\" is no name of a user"))?;
            found.user = Some((c_name, user.uid));
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
        // Asking for what one already is needs no rights.
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let same = found.user.as_ref().is_none_or(|(_, wanted)| *wanted == uid)
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
        let user = self.user.as_ref().map(|(_, uid)| *uid);
        user.filter(|uid| *uid != own)
    }

    /// Becomes them, for good. Anything short of complete success is an error, and the caller must not go on: it
    /// would serve the network with rights that it was told to give up.
    pub(crate) fn assume(&self) -> io::Result<()> {
        let failed =
            |what: &str, errno: nix::Error| io::Error::other(format!("{what}: {}", errno.desc()));
        // The order matters: without root, neither groups nor users can be changed any more.
        match (&self.user, self.group) {
            (Some((name, _)), Some(gid)) => {
                nix::unistd::initgroups(name, gid)
                    .map_err(|errno| failed("cannot take the user's groups", errno))?;
            }
            (None, Some(gid)) => {
                nix::unistd::setgroups(&[gid])
                    .map_err(|errno| failed("cannot leave root's groups", errno))?;
            }
            (_, None) => {}
        }
        if let Some(gid) = self.group {
            nix::unistd::setresgid(gid, gid, gid)
                .map_err(|errno| failed("cannot take the group", errno))?;
        }
        if let Some((_, uid)) = &self.user {
            nix::unistd::setresuid(*uid, *uid, *uid)
                .map_err(|errno| failed("cannot take the user", errno))?;
            if !uid.is_root()
                && nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))
                    .is_ok()
            {
                return Err(io::Error::other("the process could become root again"));
            }
        }
        Ok(())
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
