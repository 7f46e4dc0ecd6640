//! A program file of the test's own, which changes while the program runs, as an installation changes it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The file. It goes when this is dropped.
#[derive(Debug)]
pub struct ProgramFile {
    original: PathBuf,
    path: PathBuf,
    directory: TempDir,
}

impl ProgramFile {
    /// A file that is, for now, the program at `original`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(original: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = Self {
            original: original.into(),
            path: directory.path().join("program"),
            directory,
        };
        file.restore();
        file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, as text.
    ///
    /// # Panics
    /// If the temporary directory's name is no text.
    pub fn as_str(&self) -> &str {
        self.path.to_str().expect("a readable path")
    }

    /// Becomes another program: those that run the old one keep it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn replace(&self, content: &str) {
        // By a process of its own: a file that this one has open for writing, a moment ago, another thread's child may
        // still have open, and then it cannot be executed (execve(2), ETXTBSY).
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg("cat > new && chmod +x new && mv new program")
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = shell.stdin.take().expect("its input");
        input.write_all(content.as_bytes()).expect("it reads");
        drop(input);
        assert!(shell.wait().expect("its end").success());
    }

    /// Becomes the original again.
    ///
    /// # Panics
    /// If it cannot be changed.
    pub fn restore(&self) {
        let link = self.path.with_extension("link");
        symlink(&self.original, &link).expect("a link");
        fs::rename(&link, &self.path).expect("a file");
    }

    /// Becomes a script that waits until somebody writes a line to the pipe that is returned, and then is the original.
    ///
    /// # Panics
    /// If there cannot be a pipe.
    pub fn wait(&self) -> PathBuf {
        let go = self.path.with_extension("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        self.replace(&format!(
            "#!/bin/sh\nread line < {}\nexec {} \"$@\"\n",
            go.display(),
            self.original.display()
        ));
        go
    }
}
