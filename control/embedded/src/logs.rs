//! PostgreSQL's own log: it starts a new file at 8 MB; here the oldest are removed, and the last lines read for an error.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::layout::Layout;

/// With PostgreSQL's 8 MB a file: 64 MB.
const KEPT_FILES: usize = 8;
/// PostgreSQL's smallest step when it writes.
const WAL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 8;

/// Removes all but the newest files. The log is no reason to fail: what cannot be removed stays until the next time.
pub(crate) fn prune(directory: &Path) {
    let files = files(directory);
    for file in files.iter().take(files.len().saturating_sub(KEPT_FILES)) {
        if let Err(error) = fs::remove_file(file) {
            tracing::warn!(file = %file.display(), error = %error, "an old log file of PostgreSQL stays");
        }
    }
}

/// PostgreSQL's files, oldest first: the names carry the time.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("postgresql-") && name.ends_with(".log"))
    });
    let mut files: Vec<_> = ours.map(|entry| entry.path()).collect();
    files.sort_unstable();
    files
}

/// The last words of a server that did not start.
pub(crate) fn tail(layout: &Layout) -> String {
    let early = last_lines(&layout.start_log).unwrap_or_default();
    let late = files(&layout.logs).last().and_then(|file| last_lines(file).ok()).unwrap_or_default();
    // The early log ends by saying that the rest is in the other.
    let words = if late.contains("FATAL") || early.is_empty() { late } else { early };
    if words.is_empty() { "it left no log".to_owned() } else { words }
}

/// From what a program said, or from the disk itself: a full one takes no log either.
pub(crate) fn disk_is_full(said: &str, layout: &Layout) -> bool {
    let too_little =
        |disk: rustix::fs::StatVfs| disk.f_bavail.saturating_mul(disk.f_frsize) < WAL_SEGMENT_BYTES;
    said.contains("No space left on device") || rustix::fs::statvfs(&layout.data).is_ok_and(too_little)
}

fn last_lines(path: &Path) -> io::Result<String> {
    // The directory is PostgreSQL's; a link in it must not make root read something else aloud.
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_log_files_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        for number in 10..30 {
            fs::write(directory.path().join(format!("postgresql-20260101-0000{number}.log")), "x").unwrap();
        }
        fs::write(directory.path().join("notes.txt"), "x").unwrap();
        prune(directory.path());
        let left = files(directory.path());
        assert_eq!(left.len(), KEPT_FILES);
        assert!(left[0].ends_with("postgresql-20260101-000022.log"), "{left:?}");
        assert!(directory.path().join("notes.txt").exists());
    }
}
