use std::time::Duration;

use meridian_runtime::{RelayEnd, RelayLimits, relay_ways};
use prometheus_client::metrics::gauge::Gauge;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const LIMITS: RelayLimits = RelayLimits { buffer_bytes: 2048, half_close_wait: LIMIT };

fn means(most_pipes: usize) -> Means {
    Means { pipes: Pipes::new(most_pipes, Gauge::default()), spliced: Counter::default() }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn relay_sockets(mut client: TcpStream, mut server: TcpStream, means: &Means) -> RelayEnd {
    let (mut forth, mut back) = (SocketWay::default(), SocketWay::default());
    let bytes = LIMITS.buffer_bytes;
    relay_ways(LIMITS, |cx, moved| {
        let mut count = |count| *moved += count;
        let one = forth.poll(cx, &mut client, &mut server, bytes, means, &mut count);
        (one, back.poll(cx, &mut server, &mut client, bytes, means, &mut count))
    })
    .await
}

/// What one end does: says pieces of these sizes, after so many turns of everyone else, and ends.
type Script = Vec<(usize, usize)>;

fn said(script: &Script, seed: u8) -> Vec<u8> {
    let length = script.iter().map(|(size, _)| size).sum();
    (0..length).map(|at: usize| (at / 3) as u8 ^ (at >> 11) as u8 ^ seed).collect()
}

/// Plays a script; all that was heard.
async fn play(socket: TcpStream, script: &Script, words: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = socket.into_split();
    let speaking = async move {
        let mut rest = words;
        for (size, turns) in script {
            for _ in 0..*turns {
                tokio::task::yield_now().await;
            }
            let (piece, later) = rest.split_at(*size);
            writer.write_all(piece).await.unwrap();
            rest = later;
        }
        writer.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut heard), speaking);
    read.unwrap();
    heard
}

/// Two ends talk through the relay; what was spliced of it.
fn talk(client: &Script, server: &Script, most_pipes: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let means = means(most_pipes);
    let (asked, answered) = (said(client, 1), said(server, 2));
    let talking = async {
        let ((viewer, near), (far, backend)) = (sockets().await, sockets().await);
        tokio::join!(
            play(viewer, client, &asked),
            play(backend, server, &answered),
            relay_sockets(near, far, &means),
        )
    };
    let (at_client, at_server, end) =
        runtime.block_on(async { tokio::time::timeout(LIMIT, talking).await.unwrap() });
    assert!(matches!(end, RelayEnd::Closed), "{end:?}");
    assert!(at_client == answered && at_server == asked, "what was heard differs from what was said");
    assert_eq!(means.pipes.held.get(), 0, "every pipe is given back");
    means.spliced.get()
}

#[test]
fn bulk_is_spliced_and_small_talk_is_not() {
    let (bulk, quiet): (Script, Script) = (vec![(3_000_000, 0)], vec![(100, 0), (200, 9)]);
    assert!(talk(&bulk, &quiet, 4) > 1_000_000);
    assert_eq!(talk(&quiet, &vec![(500, 3)], 4), 0);
}

#[test]
fn without_a_pipe_bulk_is_copied() {
    assert_eq!(talk(&vec![(2_000_000, 0)], &vec![(2_000_000, 10)], 0), 0);
}

#[tokio::test]
async fn a_receiver_that_reads_nothing_holds_one_pipe_and_its_end_gives_it_back() {
    let ((mut viewer, near), (far, backend)) = (sockets().await, sockets().await);
    let means = means(1);
    let flooding = async {
        let piece = vec![7; 1 << 20];
        // Until the relay is gone: nobody reads.
        while viewer.write_all(&piece).await.is_ok() {}
    };
    let held = async {
        while means.pipes.held.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, async {
        tokio::select! {
            () = flooding => panic!("it was all taken"),
            end = relay_sockets(near, far, &means) => panic!("{end:?}"),
            () = held => {}
        }
    })
    .await
    .unwrap();
    assert_eq!(means.pipes.held.get(), 0);
    drop(backend);
    assert!(means.pipes.take().is_some(), "a pipe with bytes in it was closed, and another may be made");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_ways_are_identical_however_they_change_between_copying_and_splicing(
        client in prop::collection::vec((prop_oneof![1_usize..300, 10_000_usize..400_000], 0_usize..40), 1..8),
        server in prop::collection::vec((prop_oneof![1_usize..300, 10_000_usize..400_000], 0_usize..40), 1..8),
        most_pipes in 0_usize..3,
    ) {
        talk(&client, &server, most_pipes);
    }
}
