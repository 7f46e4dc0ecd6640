//! Program code that is not needed any more once the hive has started.
//!
//! The code that reads the command line and the configuration has run for the last time then, yet all pages of the
//! program and its libraries that were ever looked at stay mapped, and with them, if the file lies in large folios in
//! the page cache, everything around them. They belong to the files and not to this process, but count as its resident
//! memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::sys;

/// Unmaps the pages of all code and constants. Those that are needed again are mapped again from the page cache, one
/// minor fault for each run of pages. Not in a process with other threads, which is somebody else's host.
pub(crate) fn give_back() -> io::Result<()> {
    if sys::threads()? != 1 {
        return Ok(());
    }
    unmap()
}

fn unmap() -> io::Result<()> {
    for (start, end) in untouched(own_mappings()?) {
        sys::drop_pages(start, end)?;
    }
    Ok(())
}

fn own_mappings() -> io::Result<impl Iterator<Item = String>> {
    Ok(BufReader::new(File::open("/proc/self/smaps")?)
        .lines()
        .map_while(Result::ok))
}

/// The mappings of files that nobody can write to and that have no page of this process's own: what is in them is in
/// the file. A page that was relocated, or in which a debugger has set a breakpoint, makes its mapping another thing.
fn untouched(smaps: impl Iterator<Item = String>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps {
        // proc(5): `55d0-55e0 r-xp 00095000 fe:00 10019537 /usr/bin/workhive`, and fields `Anonymous: 0 kB` after it.
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        match words[..] {
            ["Anonymous:", amount, ..] => {
                found.extend(candidate.take().filter(|_| amount == "0"));
            }
            [range, "r-xp" | "r--p", _, _, inode, file]
                if inode != "0" && file.starts_with('/') =>
            {
                candidate = range.split_once('-').and_then(|(start, end)| {
                    let number = |text| usize::from_str_radix(text, 16).ok();
                    Some((number(start)?, number(end)?))
                });
            }
            [range, access, ..] if access.len() == 4 && range.contains('-') => candidate = None,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_a_file_as_it_is_here_is_found() {
        let smaps = "\
1000-3000 r--p 00000000 fe:00 7 /bin/w\nRss: 8 kB\nAnonymous: 0 kB\nVmFlags: rd\n\
3000-5000 r-xp 00002000 fe:00 7 /bin/w\nRss: 8 kB\nAnonymous: 4 kB\n\
5000-6000 r--p 00004000 fe:00 7 /bin/w\nAnonymous: 4 kB\n\
6000-7000 rw-p 00005000 fe:00 7 /bin/w\nAnonymous: 0 kB\n\
7000-9000 r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n\
9000-a000 r-xp 00000000 fe:00 8 /lib/a b.so (deleted)\nAnonymous: 0 kB\n";
        let lines = smaps.lines().map(str::to_owned);
        assert_eq!(untouched(lines), [(0x1000, 0x3000), (0x9000, 0xa000)]);
    }

    #[test]
    fn code_that_was_given_back_still_runs() {
        let before = untouched(own_mappings().unwrap());
        assert!(!before.is_empty());
        unmap().unwrap();
        unmap().unwrap();
        let after = untouched(own_mappings().unwrap());
        assert_eq!(before, after);
    }
}
