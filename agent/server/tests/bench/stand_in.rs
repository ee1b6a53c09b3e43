//! A display server that a test can look into: it counts its viewers, floods them with known bytes, and keeps what they say.

use std::{
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use meridian_runtime::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

/// What the handshake ends with: a desktop of one pixel, without a name.
const INIT: [u8; 24] = [0, 1, 0, 1, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0];

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct StandIn {
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    opened: AtomicUsize,
    open: AtomicUsize,
    /// Bytes that the latest viewer's socket took.
    flooded: AtomicUsize,
    /// The latest viewer's socket took no more when it was last offered some.
    blocked: AtomicBool,
    heard: Mutex<Vec<u8>>,
    hang_up: Notify,
    /// Its viewers talk to nobody.
    deaf: AtomicBool,
}

impl StandIn {
    /// Takes the place of a session's display. Each viewer is sent `flood` bytes.
    pub(crate) fn start(leaf: &Path, tasks: &Tasks, flood: usize) -> Self {
        let stand_in = Self::default();
        // Through the directory's descriptor: a path may be longer than a socket's address.
        let directory = std::fs::File::open(leaf).unwrap();
        let path = format!("/proc/self/fd/{}/rfb.sock", directory.as_raw_fd());
        std::fs::remove_file(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let (inside, viewers) = (Arc::clone(&stand_in.inside), tasks.clone());
        tasks.spawn_until_stop("stand-in", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let inside = Arc::clone(&inside);
                viewers.spawn_until_stop("stand-in's viewer", async move {
                    inside.opened.fetch_add(1, Ordering::Relaxed);
                    inside.open.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        () = inside.hang_up.notified() => {}
                        _ = inside.serve(socket, flood) => {}
                    }
                    inside.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        stand_in
    }

    /// Handshakes so far.
    pub(crate) fn opened(&self) -> usize {
        self.inside.opened.load(Ordering::Relaxed)
    }

    /// Viewers that are there.
    pub(crate) fn open(&self) -> usize {
        self.inside.open.load(Ordering::Relaxed)
    }

    pub(crate) fn flooded(&self) -> usize {
        self.inside.flooded.load(Ordering::Relaxed)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.inside.blocked.load(Ordering::Relaxed)
    }

    /// What viewers said after their handshakes.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.inside.heard.lock().unwrap().clone()
    }

    /// From the next thing on that a viewer says.
    pub(crate) fn stop_reading(&self) {
        self.inside.deaf.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hang_up(&self) {
        self.inside.hang_up.notify_waiters();
    }
}

impl Inside {
    async fn serve(&self, mut socket: UnixStream, flood: usize) -> std::io::Result<()> {
        socket.write_all(b"RFB 003.008\n").await?;
        socket.read_exact(&mut [0; 12]).await?;
        socket.write_all(&[1, 1]).await?;
        socket.read_exact(&mut [0; 1]).await?;
        socket.write_all(&[0; 4]).await?;
        socket.read_exact(&mut [0; 1]).await?;
        socket.write_all(&INIT).await?;
        let (mut reader, writer) = socket.split();
        let write = async {
            self.flooded.store(0, Ordering::Relaxed);
            let mut at = 0;
            while at < flood {
                match writer.try_write(&flood_bytes(at, 1000.min(flood - at))) {
                    Ok(written) => at += written,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        self.blocked.store(true, Ordering::Relaxed);
                        writer.writable().await?;
                        self.blocked.store(false, Ordering::Relaxed);
                    }
                    Err(error) => return Err(error),
                }
                self.flooded.store(at, Ordering::Relaxed);
            }
            std::future::pending::<std::io::Result<()>>().await
        };
        let read = async {
            let mut bytes = [0; 4096];
            loop {
                if self.deaf.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                match reader.read(&mut bytes).await? {
                    0 => return std::io::Result::Ok(()),
                    count => self.heard.lock().unwrap().extend_from_slice(&bytes[..count]),
                }
            }
        };
        tokio::select! {
            written = write => written,
            heard = read => heard,
        }
    }
}

/// The bytes of the flood from one on.
pub(crate) fn flood_bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
