//! What a Meridian that was not stopped softly leaves: its roles, its database, its display directories. Only what belongs to one data
//! directory is touched.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::Signal;
use serde_json::Value;

use crate::site::signal;

/// Where agents of root meet their workspaces.
const RUN_DIRECTORY: &str = "/run/meridian";
const ENDED_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes of the roles, by the names of their pid files.
pub(crate) fn roles(data: &Path) -> BTreeMap<String, i32> {
    let files = fs::read_dir(data.join("run")).into_iter().flatten().flatten();
    let role = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
        Some((name, fs::read_to_string(path).ok()?.trim().parse().ok()?))
    };
    files.filter_map(|file| role(&file.path())).collect()
}

/// Kills and removes it all; blocks for a moment. Nothing is there after a soft stop but display directories.
pub(crate) fn end(data: &Path) {
    for pid in roles(data).into_values().filter(|pid| belongs(*pid, data)) {
        let _ = signal(pid, Signal::KILL);
    }
    if let Some(pid) = database(data).filter(|pid| belongs(*pid, data)) {
        // Fast shutdown; what is in it is going to be removed anyway.
        let _ = signal(pid, Signal::INT);
        wait_until_ended(pid);
    }
    for agent in fs::read_dir(data.join("nodes")).into_iter().flatten().flatten() {
        if let Some(folder) = display_folder(&agent.path()) {
            // It is there only where Meridian runs as root.
            let _ = fs::remove_dir_all(Path::new(RUN_DIRECTORY).join(folder));
        }
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

fn wait_until_ended(pid: i32) {
    for _ in 0..ENDED_LIMIT.as_millis() / LOOK_EVERY.as_millis() {
        if fs::metadata(format!("/proc/{pid}")).is_err() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let _ = signal(pid, Signal::KILL);
}

/// The name that an agent gives its folder of display directories (agent/engine/src/place.rs).
fn display_folder(agent: &Path) -> Option<String> {
    let node: Value = serde_json::from_slice(&fs::read(agent.join("node.json")).ok()?).ok()?;
    let owner = format!("{}/{}", node["deployment_id"].as_str()?, node["node_id"].as_str()?);
    Some(hex::encode(digest(&SHA256, owner.as_bytes()))[..10].to_owned())
}
