//! What a running process costs: CPU time of all its threads, ended ones and the kernel's work for it included; memory; wake-ups.

use std::fs;

use anyhow::{Context as _, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::clock;

/// A process's account at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    at_ns: i64,
    cpu_ns: i64,
    wakeups: u64,
}

/// What it used between two moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Seconds of CPU for an hour of sound.
    pub(super) cpu_per_hour: f64,
    /// How often a thread of it was woken (voluntary context switches), per second.
    pub(super) wakeups: f64,
}

/// Memory in KiB, without the programme: the test card plays it out of whoever captures, up to 2 MiB at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Everything it holds (`Rss` of each mapping).
    pub(super) resident: f64,
    /// With what it shares divided among the sharers.
    pub(super) proportional: f64,
}

impl Account {
    /// Reads a process's account.
    ///
    /// # Errors
    /// The process is gone.
    pub(super) fn of(pid: u32) -> Result<Self> {
        // The process's own CPU clock counts in nanoseconds, over all threads that ever ran in it.
        let cpu = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
            .and_then(clock_gettime)
            .with_context(|| format!("reading the CPU time of process {pid}"))?;
        Ok(Self { at_ns: clock::now_ns(), cpu_ns: clock::nanoseconds(cpu), wakeups: wakeups(pid) })
    }

    /// What was used from this moment to `later`.
    pub(super) fn until(&self, later: &Self) -> Use {
        let passed = clock::seconds(later.at_ns - self.at_ns).max(f64::EPSILON);
        Use {
            cpu_per_hour: clock::seconds(later.cpu_ns - self.cpu_ns) / passed * 3600.0,
            wakeups: later.wakeups.saturating_sub(self.wakeups) as f64 / passed,
        }
    }
}

/// Voluntary switches of the threads that live; one that ends takes its count along.
fn wakeups(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .filter_map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum::<f64>() as u64
}

impl Memory {
    /// Reads a process's memory.
    ///
    /// # Errors
    /// The process is gone.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Ok(Self { resident: held(&text, "Rss:"), proportional: held(&text, "Pss:") })
    }
}

/// The sum of a figure over all mappings but the programme's. A mapping's first line ends with the file's name (proc(5)).
fn held(smaps: &str, name: &str) -> f64 {
    let mut is_programme = false;
    let mut sum = 0.0;
    for line in smaps.lines() {
        let is_head = line.split_once(' ').is_some_and(|(range, _)| range.contains('-'));
        is_programme = if is_head { line.ends_with(".s16") } else { is_programme };
        if let Some(figure) = field(line, name).filter(|_| !is_programme) {
            sum += figure;
        }
    }
    sum
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text =
            "VmHWM:\t 9 kB\nVmRSS:\t 10656 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(field(text, "VmRSS:"), Some(10_656.0));
        assert_eq!(field(text, "voluntary_ctxt_switches:"), Some(5.0));
        assert_eq!(field(text, "Pss:"), None);
    }

    #[test]
    fn the_programme_is_nobodys_memory() {
        let smaps = "55d0-55e0 r-xp 00000000 fe:00 17 /usr/bin/box\nRss:  100 kB\nPss:  60 kB\n\
                     7f2e-7f2f r--s 00000000 fe:00 18 /tmp/x/programme.s16\nRss:  2000 kB\nPss:  1000 kB\n\
                     7f30-7f31 rw-p 00000000 00:00 0 \nRss:  20 kB\nPss:  20 kB\n";
        assert_eq!((held(smaps, "Rss:"), held(smaps, "Pss:")), (120.0, 80.0));
    }

    #[test]
    fn an_account_of_this_process_grows() {
        let before = Account::of(std::process::id()).unwrap();
        let work = (0..3_000_000_u64).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n));
        let after = Account::of(std::process::id()).unwrap();
        assert!(before.until(&after).cpu_per_hour > 0.0, "{work}");
        assert!(Memory::of(std::process::id()).unwrap().resident > 0.0);
    }
}
