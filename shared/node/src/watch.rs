//! The watch: one endless answer of JSON lines, which brings changes within milliseconds. A silent one is dropped.

use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use meridian_runtime::Backoff;
use meridian_wire::{Update, node_paths};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    client::{NodeClient, Source, pause},
    heartbeat::Causes,
    link::LinkError,
};

/// The Web App sends an empty line more often than this.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
const MAX_LINE_BYTES: usize = 8 << 20;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(client: NodeClient, source: Source, updates: mpsc::Sender<Update>) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match watch_once(&client, &source, &updates, &mut backoff).await {
            Ok(reason) => tracing::debug!(reason, "the watch ended"),
            Err(error) => tracing::debug!(error = %Causes(&error), "the watch cannot be opened"),
        }
        pause(backoff.next_wait()).await;
    }
}

async fn watch_once(
    client: &NodeClient,
    source: &Source,
    updates: &mpsc::Sender<Update>,
    backoff: &mut Backoff,
) -> Result<&'static str, LinkError> {
    let mut link = client.link();
    let mut body = link.get(&format!("{}?since={}", node_paths::WATCH, source().since)).await?;
    let mut lines = Lines::default();
    loop {
        let chunk = match timeout(SILENCE_LIMIT, next_chunk(&mut body)).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok("closed by the other side"),
            Err(_) => return Ok("silent for too long"),
        };
        backoff.reset();
        lines.push(&chunk);
        while let Some(line) = lines.next() {
            match serde_json::from_slice::<Update>(&line) {
                Ok(update) => client.deliver(update, updates).await,
                Err(error) => {
                    tracing::error!(%error, "a line of the watch is not understood");
                    return Ok("not understood");
                }
            }
        }
        if lines.rest() > MAX_LINE_BYTES {
            return Ok("a line is too long");
        }
    }
}

async fn next_chunk(body: &mut Incoming) -> Option<bytes::Bytes> {
    loop {
        let frame = body.frame().await?.ok()?;
        if let Ok(data) = frame.into_data() {
            return Some(data);
        }
    }
}

/// Cuts bytes into lines; empty ones are signs of life and not handed out.
#[derive(Default)]
struct Lines {
    bytes: BytesMut,
    /// How far the bytes were searched already.
    searched: usize,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
    }

    fn rest(&self) -> usize {
        self.bytes.len()
    }

    fn next(&mut self) -> Option<BytesMut> {
        loop {
            let Some(at) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let line = self.bytes.split_to(self.searched + at + 1);
            self.searched = 0;
            if line.len() > 1 {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut_and_empty_ones_do_not_come() {
        let text = b"{\"a\":1}\n\n\n{\"b\":2}\nrest";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for chunk in text.chunks(size) {
                lines.push(chunk);
                while let Some(line) = lines.next() {
                    found.push(line.to_vec());
                }
            }
            assert_eq!(found, [b"{\"a\":1}\n".to_vec(), b"{\"b\":2}\n".to_vec()], "in pieces of {size}");
            assert_eq!(lines.rest(), 4);
        }
    }
}
