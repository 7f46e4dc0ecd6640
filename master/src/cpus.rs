//! Sets of CPUs, as people and the kernel write them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use nix::sched::CpuSet;

/// Where the kernel says which CPUs there are.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// On which CPUs the processes of a group run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Affinity {
    /// Each slot on one, those that are allowed in turn.
    Auto,
    /// All processes on these.
    List(Cpus),
}

/// A set of CPUs: `0,2-5`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpus(BTreeSet<usize>);

impl FromStr for Affinity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::List)
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::List(cpus) => cpus.fmt(f),
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no list of CPUs: write auto, 3, 0,2 or 0-5");
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            if usize::from(last) >= CpuSet::count() {
                return Err(format!(
                    "CPU {last}: they have numbers below {}",
                    CpuSet::count()
                ));
            }
            cpus.extend((first..=last).map(usize::from));
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = left.next() {
            let mut last = first;
            while left.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl From<&CpuSet> for Cpus {
    fn from(set: &CpuSet) -> Self {
        let numbers = 0..CpuSet::count();
        Self(numbers.filter(|cpu| set.is_set(*cpu) == Ok(true)).collect())
    }
}

impl Cpus {
    /// As the kernel takes it.
    pub(crate) fn set(&self) -> nix::Result<CpuSet> {
        let mut set = CpuSet::new();
        for cpu in &self.0 {
            set.set(*cpu)?;
        }
        Ok(set)
    }

    /// The one whose turn it is for a slot; `None` if there is none at all.
    pub(crate) fn of_slot(&self, slot: u16) -> Option<Self> {
        let count = self.0.len();
        let turn = usize::from(slot).checked_rem(count)?;
        let cpu = self.0.iter().nth(turn)?;
        Some(Self(BTreeSet::from([*cpu])))
    }

    /// Refuses CPUs that this machine does not have.
    pub(crate) fn check(&self) -> Result<(), String> {
        // Where the kernel does not say it, it will say whether it takes them.
        let Ok(text) = std::fs::read_to_string(ONLINE) else {
            return Ok(());
        };
        let Ok(there) = text.trim().parse::<Self>() else {
            return Ok(());
        };
        match self.0.difference(&there.0).next() {
            Some(missing) => Err(format!("there is no CPU {missing} here; there are {there}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_have_numbers_and_ranges() {
        for (text, shown) in [
            ("0", "0"),
            ("0,2-5", "0,2-5"),
            ("5,4,3,0", "0,3-5"),
            ("1-1", "1"),
            ("0-1023", "0-1023"),
        ] {
            assert_eq!(text.parse::<Cpus>().unwrap().to_string(), shown);
        }
        for bad in [
            "", ",", "1,", "-1", "3-1", "a", "0-1024", "1-2-3", "99999999",
        ] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
        assert_eq!("auto".parse(), Ok(Affinity::Auto));
    }

    #[test]
    fn slots_take_turns() {
        let cpus: Cpus = "1,4-5".parse().unwrap();
        let turns: Vec<_> = (0..5)
            .map(|slot| cpus.of_slot(slot).unwrap().to_string())
            .collect();
        assert_eq!(turns, ["1", "4", "5", "1", "4"]);
        assert_eq!(Cpus::default().of_slot(0), None);
    }

    #[test]
    fn what_the_kernel_takes_says_the_same() {
        let cpus: Cpus = "0,2-5,1023".parse().unwrap();
        assert_eq!(Cpus::from(&cpus.set().unwrap()), cpus);
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_named() {
        let cpus: Cpus = "0,1023".parse().unwrap();
        let error = cpus.check().unwrap_err();
        assert!(error.contains("no CPU 1023"), "{error}");
        assert_eq!("0".parse::<Cpus>().unwrap().check(), Ok(()));
    }
}
