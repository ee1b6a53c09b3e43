//! A disk of a part's own, which can be filled, and made slow, under what runs on it.
//!
//! ```text
//! the part's files ── ext4 ── loop device ── a file by FUSE, served here ── a sparse file
//!                     full: no block is free       slow: every request takes its time, one after the other
//! ```
//!
//! So everything above the device is the kernel's own, as on a host with such a disk: writes wait in memory, and what waits for the device
//! waits for its journal too. All of it is mounted on the part's host alone (a mount namespace), and goes with it, however the lab ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, INodeNo, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyWrite, Request, Session, SessionACL, WriteFlags,
};
use rustix::mount::{MountFlags, mount};

use crate::net::Host;

/// A part's data directory is small; the rest of it is the file system's own.
const BYTES: u64 = 32 << 20;
const BLOCK: u32 = 4096;
const FILLER: &str = "filler";

/// Dropped, it is fast, so that what runs on it can end.
pub(crate) struct Disk {
    host: Arc<Host>,
    folder: PathBuf,
    speed: Arc<Speed>,
}

#[derive(Debug, Default)]
struct Speed {
    /// What a request takes, in milliseconds.
    each_ms: AtomicU64,
    /// Requests that took so long.
    slowed: AtomicU64,
}

impl Disk {
    /// Puts a new disk under a folder of a host; `image` is the file that is on it. Blocks for some hundred milliseconds.
    pub(super) fn attach(host: &Arc<Host>, image: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.context("/dev/fuse cannot be opened: the lab's slow disks are files by FUSE")?;
        let speed = Arc::<Speed>::default();
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(image)?;
        file.set_len(BYTES)?;
        let slow = SlowFile { file, speed: Arc::clone(&speed) };
        host.own_mounts()?;
        let (number, over) = (device.as_raw_fd(), image.to_owned());
        host.within(move || {
            let options = format!("fd={number},rootmode=100600,user_id=0,group_id=0\0");
            let options = std::ffi::CStr::from_bytes_until_nul(options.as_bytes()).ok();
            mount("meridian-lab", &over, "fuse", MountFlags::NODEV | MountFlags::NOSUID, options)
        })?
        .context("a file by FUSE cannot be mounted")?;
        serve(slow, device.into())?;
        let (image, below) = (image.to_owned(), folder.to_owned());
        host.within(move || make(&image, &below))??;
        Ok(Self { host: Arc::clone(host), folder: folder.to_owned(), speed })
    }

    /// From now on every request to the device takes so long.
    pub(crate) fn slow(&self, each: Duration) {
        let each = u64::try_from(each.as_millis()).unwrap_or(u64::MAX);
        self.speed.each_ms.store(each, Ordering::Release);
    }

    /// Requests that took so long.
    pub(crate) fn slowed(&self) -> u64 {
        self.speed.slowed.load(Ordering::Acquire)
    }

    /// Leaves not a block.
    pub(crate) fn fill(&self) -> Result<()> {
        let filler = self.folder.join(FILLER);
        self.host.within(move || {
            let mut file = File::create(&filler)?;
            for piece in [1 << 20, BLOCK as usize, 1] {
                let piece = vec![7; piece];
                let refused = loop {
                    if let Err(error) = file.write_all(&piece) {
                        break error;
                    }
                };
                ensure!(
                    refused.kind() == io::ErrorKind::StorageFull,
                    "the disk could not be filled: {refused}"
                );
            }
            Ok(file.sync_all()?)
        })?
    }

    /// There is room again.
    pub(crate) fn free(&self) -> Result<()> {
        let (folder, filler) = (self.folder.clone(), self.folder.join(FILLER));
        // Blocks are free once the journal says so.
        self.host.within(move || fs::remove_file(filler).and_then(|()| File::open(folder)?.sync_all()))??;
        Ok(())
    }

    /// A file on it.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.folder.join(name);
        self.host.within(move || fs::read(file)).ok()?.ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.slow(Duration::ZERO);
    }
}

/// Answers the kernel until nothing is mounted any more; in threads of its own, outside the host, which would not end otherwise.
fn serve(slow: SlowFile, device: OwnedFd) -> Result<()> {
    let session = Session::from_fd(slow, device, SessionACL::Owner, Config::default())?;
    let living = move || {
        if let Err(error) = session.run() {
            tracing::debug!(%error, "a disk of the lab ended");
        }
    };
    thread::Builder::new().name("disk".into()).spawn(living)?;
    Ok(())
}

/// A file system on the device, in its place.
fn make(image: &Path, folder: &Path) -> Result<()> {
    let options = ["-q", "-F", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0,nodiscard"];
    run(Command::new("mkfs.ext4").args(options).arg(image), "e2fsprogs")?;
    run(Command::new("mount").args(["-o", "loop,noatime"]).args([image, folder]), "util-linux")
}

fn run(command: &mut Command, package: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().with_context(|| format!("`{program}` cannot be run: the lab needs {package}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
}

/// A file system that is one file; one request at a time is answered, as a disk without a queue does.
struct SlowFile {
    file: File,
    speed: Arc<Speed>,
}

impl SlowFile {
    fn take_time(&self) {
        let each = self.speed.each_ms.load(Ordering::Acquire);
        if each > 0 {
            self.speed.slowed.fetch_add(1, Ordering::AcqRel);
            thread::sleep(Duration::from_millis(each));
        }
    }
}

impl Filesystem for SlowFile {
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let never = SystemTime::UNIX_EPOCH;
        let attributes = FileAttr {
            ino,
            size: BYTES,
            blocks: BYTES / 512,
            atime: never,
            mtime: never,
            ctime: never,
            crtime: never,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        };
        reply.attr(&Duration::MAX, &attributes);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.take_time();
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        match self.file.read_at(&mut bytes, offset) {
            Ok(length) => reply.data(&bytes[..length]),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.take_time();
        let length = u32::try_from(data.len());
        match (self.file.write_all_at(data, offset), length) {
            (Ok(()), Ok(length)) => reply.written(length),
            (Err(_), _) | (_, Err(_)) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.take_time();
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
