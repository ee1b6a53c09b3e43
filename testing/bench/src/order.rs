//! What a viewer asks of the far end, in the first bytes that it sends: they come back, and then the far end does as it was told.
//! Bulk and frames wait for one byte more: what came while nobody read it yet would be taken for what flows when all are there.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::pacer::Pacer;

pub(crate) const ORDER_BYTES: usize = 64;
/// A frame: what a desktop in use sends thirty times a second.
pub(crate) const FRAME_BYTES: usize = 4096;
/// Has bulk or frames begin.
pub(crate) const GO: &[u8; 1] = b"g";
const BULK_PIECE_BYTES: usize = 64 * 1024;
/// A frame begins with the time at which it was sent, in nanoseconds since the far end was made.
pub(crate) const STAMP_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send back what comes.
    Echo,
    /// Send as fast as it is taken.
    Bulk,
    /// Send stamped frames when they are due.
    Frames,
}

impl Order {
    const ALL: [Self; 3] = [Self::Echo, Self::Bulk, Self::Frames];

    pub(crate) fn word(self) -> [u8; ORDER_BYTES] {
        match self {
            Self::Echo => [b'e'; ORDER_BYTES],
            Self::Bulk => [b'b'; ORDER_BYTES],
            Self::Frames => [b'f'; ORDER_BYTES],
        }
    }

    fn read(word: [u8; ORDER_BYTES]) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word)
    }
}

/// The far end's memory of when it was made, and its pacer.
#[derive(Clone)]
pub(crate) struct FarEnd {
    pub(crate) made: Instant,
    pub(crate) pacer: Pacer,
}

impl FarEnd {
    /// Takes an order and carries it out until the stream ends.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> anyhow::Result<()> {
        let mut word = [0; ORDER_BYTES];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        match Order::read(word) {
            Some(Order::Echo) => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await?;
                Ok(())
            }
            Some(Order::Bulk) => {
                stream.read_exact(&mut [0; GO.len()]).await?;
                let piece = vec![b'b'; BULK_PIECE_BYTES];
                loop {
                    stream.write_all(&piece).await?;
                }
            }
            Some(Order::Frames) => self.send_frames(stream).await,
            None => anyhow::bail!("an order that nobody gives"),
        }
    }

    async fn send_frames<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> anyhow::Result<()> {
        stream.read_exact(&mut [0; GO.len()]).await?;
        let slot = self.pacer.enter();
        let mut frame = vec![b'f'; FRAME_BYTES];
        let mut rest = [0; 1];
        loop {
            tokio::select! {
                () = slot.due() => {}
                // A viewer says nothing more: this is its end.
                _ = stream.read(&mut rest) => return Ok(()),
            }
            frame[..STAMP_BYTES].copy_from_slice(&self.now().to_le_bytes());
            stream.write_all(&frame).await?;
        }
    }

    /// Nanoseconds since it was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
