//! By what a hive is known on its machine: its pid file and its control socket.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use workhive_worker::Address;

/// Longest part of a file name that comes from the program's name, and from the address.
const MAX_PART: usize = 40;

/// Where a hive keeps its pid file and its control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The program's name, for people.
    pub(crate) name: String,
    /// The pid file. It is locked for as long as the hive lives.
    pub(crate) pid_file: PathBuf,
    /// The control socket, beside the pid file.
    pub(crate) socket: PathBuf,
    /// Where programs of this machine reach the router, beside the pid file.
    pub(crate) push_socket: PathBuf,
    /// Where programs that know nothing of workhive say that they are ready, beside the pid file.
    pub(crate) notify_socket: PathBuf,
    /// Where a daemon logs, beside the pid file, unless it is told otherwise.
    pub(crate) log_file: PathBuf,
    /// True if the directory is ours to make.
    own_directory: bool,
}

impl Identity {
    /// The identity of program `name`, whose first group listens at `first`; or the one that `pid_file` gives.
    pub(crate) fn new(name: &str, first: Option<&Address>, pid_file: Option<&Path>) -> Self {
        if let Some(pid_file) = pid_file {
            return Self {
                name: name.to_owned(),
                pid_file: pid_file.to_owned(),
                socket: beside(pid_file, "sock"),
                push_socket: beside(pid_file, "push.sock"),
                notify_socket: beside(pid_file, "notify.sock"),
                log_file: beside(pid_file, "log"),
                own_directory: false,
            };
        }
        let uid = nix::unistd::geteuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let stem = stem(name, first);
        let pid_file = directory(runtime.as_deref(), uid).join(format!("{stem}.pid"));
        Self {
            name: name.to_owned(),
            socket: beside(&pid_file, "sock"),
            push_socket: beside(&pid_file, "push.sock"),
            notify_socket: beside(&pid_file, "notify.sock"),
            log_file: beside(&pid_file, "log"),
            pid_file,
            own_directory: true,
        }
    }

    /// The same identity by absolute paths, which mean the same wherever the process stands later.
    pub(crate) fn absolute(mut self) -> Self {
        for path in [
            &mut self.pid_file,
            &mut self.socket,
            &mut self.push_socket,
            &mut self.notify_socket,
            &mut self.log_file,
        ] {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        self
    }

    /// Makes the directory, unless the user named one: mode 0700, and nobody else's.
    ///
    /// In /tmp anybody could have made it first, with a control socket in it that obeys somebody else.
    pub(crate) fn make_directory(&self) -> io::Result<()> {
        let Some(directory) = self.pid_file.parent().filter(|_| self.own_directory) else {
            return Ok(());
        };
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("cannot make {}: {error}", directory.display()),
                ));
            }
        }
        self.check_directory()
    }

    /// Lets other users through the directory, unless the user named one: to the files in it that are theirs. They see
    /// nothing else of it.
    pub(crate) fn open_directory(&self) -> io::Result<()> {
        let Some(directory) = self.pid_file.parent().filter(|_| self.own_directory) else {
            return Ok(());
        };
        std::fs::set_permissions(directory, Permissions::from_mode(0o711))
    }

    /// Refuses a directory that belongs to somebody else or lets others in.
    pub(crate) fn check_directory(&self) -> io::Result<()> {
        let Some(directory) = self.pid_file.parent().filter(|_| self.own_directory) else {
            return Ok(());
        };
        let found = std::fs::symlink_metadata(directory)?;
        match distrust(&found, nix::unistd::geteuid().as_raw()) {
            None => Ok(()),
            Some(why) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} {why}; remove it, or use --pid-file",
                    directory.display()
                ),
            )),
        }
    }
}

/// The pid file's path with another extension.
fn beside(pid_file: &Path, extension: &str) -> PathBuf {
    let path = pid_file.with_extension(extension);
    // A pid file of that name already: two files need two names.
    if path == pid_file {
        path.with_extension(format!("{extension}.{extension}"))
    } else {
        path
    }
}

fn distrust(found: &Metadata, uid: u32) -> Option<&'static str> {
    if !found.is_dir() {
        Some("is not a directory")
    } else if found.uid() != uid {
        Some("belongs to another user")
    } else if found.mode() & 0o022 != 0 {
        Some("can be written by others")
    } else {
        None
    }
}

fn directory(runtime: Option<&Path>, uid: u32) -> PathBuf {
    match runtime {
        Some(runtime) if runtime.is_absolute() => runtime.join("workhive"),
        _ if uid == 0 => PathBuf::from("/run/workhive"),
        _ => PathBuf::from(format!("/tmp/workhive-{uid}")),
    }
}

fn stem(name: &str, first: Option<&Address>) -> String {
    let name = sanitized(name);
    match first {
        Some(Address::Unix(path)) => {
            // The same words mean another socket elsewhere.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            format!("{name}-unix{}", sanitized(&path.display().to_string()))
        }
        Some(address) => format!("{name}-{}", sanitized(&address.to_string())),
        None => name,
    }
}

/// Letters, digits and `._` stay, all else becomes `_`. What is too long is cut, with a checksum so that two long
/// names stay two: the path of a Unix socket has at most 107 bytes (unix(7)).
fn sanitized(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let safe = safe.trim_start_matches(['.', '-']);
    if safe.len() <= MAX_PART {
        return safe.to_owned();
    }
    // FNV-1a.
    let sum = text.bytes().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{}~{sum:08x}", &safe[safe.len() - (MAX_PART - 9)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_program_and_its_first_address() {
        let address = "127.0.0.1:1234".parse().unwrap();
        assert_eq!(stem("push", Some(&address)), "push-127.0.0.1_1234");
        assert_eq!(
            stem("push", Some(&"[::1]:80".parse().unwrap())),
            "push-___1__80"
        );
        assert_eq!(
            stem("push", Some(&"unix:/run/a.sock".parse().unwrap())),
            "push-unix_run_a.sock"
        );
        assert_eq!(stem("my app", None), "my_app");
        assert_eq!(stem("../../etc/passwd", None), "_.._etc_passwd");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let one = stem(&format!("{}1", "x".repeat(200)), None);
        let two = stem(&format!("{}2", "x".repeat(200)), None);
        assert_ne!(one, two);
        assert!(one.len() <= MAX_PART, "{one}");
    }

    #[test]
    fn the_directory_is_the_users_own() {
        assert_eq!(
            directory(Some(Path::new("/run/user/7")), 7),
            Path::new("/run/user/7/workhive")
        );
        assert_eq!(directory(None, 0), Path::new("/run/workhive"));
        assert_eq!(directory(None, 7), Path::new("/tmp/workhive-7"));
        assert_eq!(
            directory(Some(Path::new("relative")), 7),
            Path::new("/tmp/workhive-7")
        );
    }

    #[test]
    fn a_pid_file_of_the_users_choice_brings_its_socket_and_its_log_along() {
        for (pid_file, socket, log_file) in [
            ("/srv/push.pid", "/srv/push.sock", "/srv/push.log"),
            ("/srv/push.sock", "/srv/push.sock.sock", "/srv/push.log"),
            ("/srv/push.log", "/srv/push.sock", "/srv/push.log.log"),
        ] {
            let identity = Identity::new("push", None, Some(Path::new(pid_file)));
            assert_eq!(identity.socket, Path::new(socket));
            assert_eq!(identity.push_socket, Path::new("/srv/push.push.sock"));
            assert_eq!(identity.log_file, Path::new(log_file));
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        let found = std::fs::symlink_metadata(directory.path()).unwrap();
        assert_eq!(distrust(&found, uid), None);
        assert!(distrust(&found, uid + 1).is_some());
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let found = std::fs::symlink_metadata(directory.path()).unwrap();
        assert!(distrust(&found, uid).is_some());
    }
}
