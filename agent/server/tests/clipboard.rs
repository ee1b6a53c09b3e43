//! A workspace's helper that dies under a stream: the clipboard is back when the helper is.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use bench::{
    Bench, LIMIT,
    viewer::{Heard, Viewer},
};
use meridian_model::Transport;
use meridian_stream::{Channel, Frame};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

/// A helper in place of the simulated one.
struct Helper {
    directory: File,
    listener: Option<UnixListener>,
}

impl Helper {
    fn start(leaf: &Path) -> Self {
        let mut helper = Self { directory: File::open(leaf).unwrap(), listener: None };
        helper.rise();
        helper
    }

    /// Through the directory's descriptor: a path may be longer than a socket's address.
    fn socket(&self) -> PathBuf {
        format!("/proc/self/fd/{}/helper.sock", self.directory.as_raw_fd()).into()
    }

    fn rise(&mut self) {
        std::fs::remove_file(self.socket()).unwrap();
        self.listener = Some(UnixListener::bind(self.socket()).unwrap());
    }

    /// The agent's next connection.
    async fn agent(&self) -> BufReader<UnixStream> {
        let (socket, _) = timeout(LIMIT, self.listener.as_ref().unwrap().accept()).await.unwrap().unwrap();
        BufReader::new(socket)
    }
}

/// A text each way.
async fn works(viewer: &mut Viewer, agent: &mut BufReader<UnixStream>, text: &str) {
    agent.write_all(format!("{{\"type\":\"text\",\"text\":\"{text}\"}}\n").as_bytes()).await.unwrap();
    let expected = format!(r#"{{"type":"text","text":"{text}"}}"#);
    loop {
        match timeout(LIMIT, viewer.hear()).await.unwrap() {
            Heard::Record(Channel::Clipboard, heard) => {
                assert_eq!(heard, expected);
                break;
            }
            Heard::Record(..) | Heard::Display(_) => {}
            heard @ (Heard::Frame(_) | Heard::Closed) => panic!("no text but {heard:?}"),
        }
    }
    viewer.send(Channel::Clipboard, expected.as_bytes()).await;
    let mut line = String::new();
    timeout(LIMIT, agent.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.contains(text), "{line}");
}

#[tokio::test]
async fn a_helper_that_dies_is_found_again_and_one_that_makes_no_sense_is_left_for_the_next() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let mut helper = Helper::start(&bench.leaf(session));
    let grant = bench.grant(session, Transport::MeridianV1);
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.shake_hands().await;
    let mut agent = helper.agent().await;
    works(&mut viewer, &mut agent, "first").await;

    // It dies with all its connections, and another takes its place.
    drop(agent);
    helper.rise();
    let mut agent = helper.agent().await;
    works(&mut viewer, &mut agent, "second").await;

    // It is away for a while, and nothing is set meanwhile; the stream does not mind.
    helper.listener = None;
    drop(agent);
    viewer.send(Channel::Clipboard, br#"{"type":"text","text":"lost"}"#).await;
    viewer.send_frame(Frame::Ping { token: 7 }).await;
    while viewer.hear().await != Heard::Frame(Frame::Pong { token: 7 }) {}
    helper.rise();
    let mut agent = helper.agent().await;
    works(&mut viewer, &mut agent, "third").await;

    agent.write_all(b"nonsense\n").await.unwrap();
    let mut agent = helper.agent().await;
    works(&mut viewer, &mut agent, "fourth").await;
    bench.end().await;
}
