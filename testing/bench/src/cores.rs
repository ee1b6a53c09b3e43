//! One core for the relay that is measured, the others for the load: neither takes the other's time.

use std::{fs, io};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// How the machine's cores are shared out, for as long as this lives. On a machine with one core, not at all.
pub(crate) struct Cores {
    all: CpuSet,
    relay: CpuSet,
    load: CpuSet,
}

impl Cores {
    /// Moves this process to all cores but one.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub(crate) fn split() -> anyhow::Result<Self> {
        let all = sched_getaffinity(None)?;
        let (mut relay, mut load) = (CpuSet::new(), all);
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| all.is_set(*core));
        match last {
            Some(core) if all.count() > 1 => {
                relay.set(core);
                load.unset(core);
            }
            Some(_) | None => relay = all,
        }
        let cores = Self { all, relay, load };
        move_threads(&cores.load)?;
        Ok(cores)
    }

    /// How many cores the load has.
    pub(crate) fn for_load(&self) -> u32 {
        self.load.count()
    }

    /// Runs `start`, which starts a process, so that this process is on the relay's core from its first moment: it counts one core, and
    /// makes as many threads.
    pub(crate) fn start_on_relay_core<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        sched_setaffinity(None, &self.relay)?;
        let started = start();
        sched_setaffinity(None, &self.load)?;
        started
    }

    /// Moves a process that runs already, with all its threads, to the relay's core. What it starts later is there too.
    pub(crate) fn move_to_relay_core(&self, process: Pid) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()))? {
            if let Some(thread) = thread_of(&entry?) {
                sched_setaffinity(Some(thread), &self.relay)?;
            }
        }
        Ok(())
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // Whoever measures nothing any more loses nothing by staying where it is.
        let _ = move_threads(&self.all);
    }
}

/// Threads that are made later are where those are that make them.
fn move_threads(cores: &CpuSet) -> anyhow::Result<()> {
    for entry in fs::read_dir("/proc/self/task")? {
        let Some(thread) = thread_of(&entry?) else { continue };
        // A thread may have ended meanwhile.
        let _ = sched_setaffinity(Some(thread), cores);
    }
    Ok(())
}

fn thread_of(entry: &fs::DirEntry) -> Option<Pid> {
    entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)
}
