//! A host: a network namespace with a thread in it, through which processes and sockets come to be there.

use std::{
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

type Work = Box<dyn FnOnce() + Send>;
/// Work that waits for the thread; all of it is short.
const QUEUE: usize = 16;

pub(crate) struct Host {
    name: String,
    namespace: Arc<File>,
    work: mpsc::SyncSender<Work>,
}

impl Host {
    /// Makes the namespace.
    ///
    /// # Errors
    /// Where the caller may not: it takes root.
    pub(crate) fn make(name: &str) -> Result<Self> {
        let (work, queue) = mpsc::sync_channel::<Work>(QUEUE);
        let (made, is_made) = mpsc::sync_channel(1);
        let living = move || {
            let namespace = unshare(CloneFlags::CLONE_NEWNET)
                .map_err(std::io::Error::from)
                .and_then(|()| File::open("/proc/thread-self/ns/net"));
            let lives = namespace.is_ok();
            // Nobody waits any more where the maker has gone.
            let _ = made.send(namespace);
            if lives {
                queue.into_iter().for_each(|work| work());
            }
        };
        // The kernel shows 15 bytes of a thread's name.
        thread::Builder::new().name(name.to_owned()).spawn(living)?;
        let namespace = is_made.recv()?.context(
            "a network namespace cannot be made: the lab must run as root, because its hosts are network namespaces",
        )?;
        Ok(Self { name: name.to_owned(), namespace: Arc::new(namespace), work })
    }

    /// Does something short on this host: what it opens and starts is there.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, is_done) = mpsc::sync_channel(1);
        let work: Work = Box::new(move || {
            let _ = done.send(work());
        });
        self.work.send(work).ok().context("the host has gone")?;
        is_done.recv().with_context(|| format!("work on {} did not end", self.name))
    }

    /// What is mounted on this host from now on is seen by its own processes alone, and is gone with them.
    pub(crate) fn own_mounts(&self) -> Result<()> {
        self.within(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            Ok(mount_change("/", private)?)
        })?
    }

    /// Moves the calling thread to this host.
    pub(crate) fn enter(namespace: &File) -> Result<()> {
        Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
    }

    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.namespace)
    }

    /// Where other programs find the namespace while this is held.
    pub(crate) fn namespace(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// Lines for `ip -batch`.
    pub(crate) fn configure(&self, lines: &str) -> Result<()> {
        let (name, lines) = (self.name.clone(), lines.to_owned());
        self.within(move || {
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("`ip` cannot be run: the lab needs iproute2")?;
            ip.stdin.take().context("standard input")?.write_all(lines.as_bytes())?;
            let output = ip.wait_with_output()?;
            let trouble = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "the network of {name}: {}", trouble.trim());
            Ok(())
        })?
    }
}
