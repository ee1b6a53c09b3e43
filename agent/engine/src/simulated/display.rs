//! A display server of a few pixels, which speaks RFB 3.8 well enough for any viewer.
//!
//! It answers each request for an update with one raw rectangle, and notes every message that reaches it.

use std::{io, os::fd::AsRawFd, path::Path, sync::Arc};

use meridian_runtime::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::{Inside, lock};

const WIDTH: u16 = 64;
const HEIGHT: u16 = 48;
/// More than any test sends; older messages are forgotten.
const MAX_NOTED: usize = 4096;

/// Listens in `leaf` under a name; through the directory's descriptor, because a path may be longer than a socket address.
pub(super) fn listen(leaf: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = std::fs::File::open(leaf)?;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

pub(super) fn serve(leaf: &Path, inside: Arc<Inside>, tasks: &Tasks) -> io::Result<()> {
    let listener = listen(leaf, "rfb.sock")?;
    let viewers = tasks.clone();
    tasks.spawn_until_stop("simulated display", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let inside = Arc::clone(&inside);
            viewers.spawn_until_stop("simulated viewer", async move {
                // However a viewer leaves is fine with a display.
                let _ = show(socket, &inside).await;
            });
        }
    });
    Ok(())
}

async fn show(mut socket: UnixStream, inside: &Inside) -> io::Result<()> {
    socket.write_all(b"RFB 003.008\n").await?;
    let mut version = [0; 12];
    socket.read_exact(&mut version).await?;
    socket.write_all(&[1, 1]).await?;
    let _security = socket.read_u8().await?;
    socket.write_all(&[0; 4]).await?;
    let _shared = socket.read_u8().await?;
    socket.write_all(&server_init()).await?;
    loop {
        let message = read_message(&mut socket).await?;
        let answer = (message[0] == 3).then(|| update(&message));
        {
            let mut noted = lock(&inside.messages);
            if noted.len() >= MAX_NOTED {
                noted.remove(0);
            }
            noted.push(message);
        }
        if let Some(answer) = answer {
            socket.write_all(&answer).await?;
        }
    }
}

async fn read_message(socket: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut message = vec![socket.read_u8().await?];
    let head = match message[0] {
        0 => 20,
        2 => 4,
        3 | 150 => 10,
        4 | 6 | 251 => 8,
        5 => 6,
        248 => 9,
        255 => 12,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    message.resize(head, 0);
    socket.read_exact(&mut message[1..]).await?;
    let rest = match message[0] {
        2 => 4 * usize::from(u16::from_be_bytes([message[2], message[3]])),
        6 => usize::from(u16::from_be_bytes([message[6], message[7]])),
        248 => usize::from(message[8]),
        251 => 16 * usize::from(message[6]),
        _ => 0,
    };
    message.resize(head + rest, 0);
    socket.read_exact(&mut message[head..]).await?;
    Ok(message)
}

fn server_init() -> Vec<u8> {
    let mut init = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
    init.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    init.extend(9_u32.to_be_bytes());
    init.extend(b"simulated");
    init
}

/// The part of the picture that a FramebufferUpdateRequest asks for, as far as it is on the display.
fn update(request: &[u8]) -> Vec<u8> {
    let number = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    let (left, top) = (number(2).min(WIDTH), number(4).min(HEIGHT));
    let (width, height) = (number(6).min(WIDTH - left), number(8).min(HEIGHT - top));
    let mut update = vec![0, 0, 0, 1];
    update.extend([left, top, width, height].map(u16::to_be_bytes).concat());
    update.extend(0_i32.to_be_bytes());
    for row in top..top + height {
        let pixels = (left..left + width).map(|column| u32::from(row) * u32::from(WIDTH) + u32::from(column));
        update.extend(pixels.flat_map(|pixel| pixel.wrapping_mul(2_654_435_761).to_be_bytes()));
    }
    update
}
