//! What outlives the processes of a Meridian: the database of one that was not stopped softly, which is in a session of its own, and the
//! mounts of workspaces' displays, which agents leave for their next start.

use std::{fs, path::Path, time::Duration};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

const ENDED_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ends the database of one data directory; blocks until it has ended.
pub(crate) fn end_database(data: &Path) {
    let Some(pid) = database(data).filter(|pid| belongs(*pid, data)) else { return };
    let Some(process) = Pid::from_raw(pid) else { return };
    // Fast shutdown; what is in it is going to be removed anyway.
    let _ = kill_process(process, Signal::INT);
    for _ in 0..ENDED_LIMIT.as_millis() / LOOK_EVERY.as_millis() {
        if fs::metadata(format!("/proc/{pid}")).is_err() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let _ = kill_process(process, Signal::KILL);
}

/// Unmounts everything below a folder.
pub(crate) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for place in places.filter(|place| place.starts_with(folder)) {
        // What cannot be unmounted keeps its folder, where it is seen.
        let _ = unmount(place, UnmountFlags::DETACH);
    }
}

fn database(data: &Path) -> Option<i32> {
    let text = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Whether a process names the data directory among its arguments: its id may be another's by now.
fn belongs(pid: i32, data: &Path) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains(&*data.to_string_lossy())
}
