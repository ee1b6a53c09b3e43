//! A relay by splice(2): socket to pipe to socket. A pipe is taken from a pool when a direction can be read, and given back when
//! it is empty, so that an idle stream holds none.

use std::{cell::RefCell, io, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

/// As large as an ordinary user may make a pipe.
const PIPE_BYTES: usize = 1 << 20;
/// Pipes kept for the next one to need one.
const POOLED: usize = 64;

type Pipe = (OwnedFd, OwnedFd);

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

fn take() -> io::Result<Pipe> {
    if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
        return Ok(pipe);
    }
    let pipe = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&pipe.1, PIPE_BYTES)?;
    Ok(pipe)
}

fn give_back(pipe: Pipe) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED {
            pool.push(pipe);
        }
    });
}

pub async fn relay(client: TcpStream, server: TcpStream) {
    let _ = tokio::join!(one_way(&client, &server), one_way(&server, &client));
}

async fn one_way(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        from.readable().await?;
        let pipe = take()?;
        let read =
            from.try_io(Interest::READABLE, || Ok(splice(from, None, &pipe.1, None, PIPE_BYTES, flags)?));
        let mut left = match read {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                give_back(pipe);
                continue;
            }
            Err(error) => return Err(error),
        };
        while left > 0 {
            let written =
                to.async_io(Interest::WRITABLE, || Ok(splice(&pipe.0, None, to, None, left, flags)?));
            left -= written.await?;
        }
        give_back(pipe);
    }
    rustix::net::shutdown(to, rustix::net::Shutdown::Write)?;
    Ok(())
}
