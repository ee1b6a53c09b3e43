//! Processor time of processes, ended ones too.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What processes had used when they were last looked at.
#[derive(Default)]
pub(crate) struct Processor(Mutex<BTreeMap<i32, Duration>>);

impl Processor {
    /// To be called before a process ends, which takes its figures with it.
    pub(crate) fn remember(&self, pid: impl IntoIterator<Item = i32>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(pid.into_iter().filter_map(|pid| Some((pid, cpu_of(pid)?))));
    }

    /// Of all that run, and of all that were looked at before they ended.
    pub(crate) fn used(&self, running: impl IntoIterator<Item = i32>) -> Duration {
        self.remember(running);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

/// User and system time of a process.
pub(crate) fn cpu_of(pid: i32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat).map(|ticks| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Fields 14 and 15 of proc_pid_stat(5), counted from behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').skip(11).take(2).map(|count| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1";
        assert_eq!(ticks(stat), Some(33));
        assert!(cpu_of(std::process::id().cast_signed()).is_some());
    }
}
