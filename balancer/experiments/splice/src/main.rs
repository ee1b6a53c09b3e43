//! One thread relays between sockets on loopback, by the copying that Meridian ships and by splice(2) through a pipe that is
//! held only while bytes move. What is measured is that thread's processor time (bulk) and the round trip (echoes); the two
//! take turns, because the machine's speed drifts.

#[allow(dead_code, reason = "the shipped module, whole")]
#[path = "../../../../shared/runtime/src/relay.rs"]
mod relay;
mod spliced;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use relay::{RelayLimits, relay, tune};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;
const BULK_BYTES: usize = 3 << 30;
const ECHOES: usize = 20_000;
const LIMITS: RelayLimits = RelayLimits { buffer_bytes: 32 * 1024, half_close_wait: Duration::from_secs(60) };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Copy,
    Splice,
}

/// Relays `streams` connections to `target` on a thread of its own; its processor time comes back when all have ended.
fn start(way: Way, target: SocketAddr, streams: usize) -> (SocketAddr, mpsc::Receiver<f64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, spent) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seconds = runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut relays = tokio::task::JoinSet::new();
            let before = cpu();
            for _ in 0..streams {
                let (client, _) = listener.accept().await.unwrap();
                let server = tokio::net::TcpStream::connect(target).await.unwrap();
                tune(&client).unwrap();
                tune(&server).unwrap();
                relays.spawn(async move {
                    match way {
                        Way::Copy => drop(relay(client, server, LIMITS, |_, _| {}).await),
                        Way::Splice => spliced::relay(client, server).await,
                    }
                });
            }
            while relays.join_next().await.is_some() {}
            cpu() - before
        });
        let _ = done.send(seconds);
    });
    (address, spent)
}

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// MB passed on for each second of the relaying thread's processor time.
fn bulk(way: Way, streams: usize, piece: usize) -> f64 {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, spent) = start(way, sink.local_addr().unwrap(), streams);
    let each = BULK_BYTES / streams;
    let senders: Vec<_> = (0..streams)
        .map(|_| {
            thread::spawn(move || {
                let mut socket = TcpStream::connect(address).unwrap();
                let block = vec![7; piece];
                for _ in 0..each / piece {
                    socket.write_all(&block).unwrap();
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..streams)
        .map(|_| {
            let (mut socket, _) = sink.accept().unwrap();
            thread::spawn(move || {
                let (mut block, mut total) = (vec![0; 256 * 1024], 0);
                while let Ok(count @ 1..) = socket.read(&mut block) {
                    total += count;
                }
                assert_eq!(total, each / piece * piece, "every byte arrives");
            })
        })
        .collect();
    senders.into_iter().chain(receivers).for_each(|thread| thread.join().unwrap());
    BULK_BYTES as f64 / 1e6 / spent.recv().unwrap()
}

/// Median round trip in microseconds, and microseconds of the relaying thread's processor time for each.
fn echo(way: Way, bytes: usize) -> (f64, f64) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, spent) = start(way, server.local_addr().unwrap(), 1);
    let client = thread::spawn(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let (word, mut heard, mut trips) = (vec![7; bytes], vec![0; bytes], Vec::with_capacity(ECHOES));
        for _ in 0..ECHOES {
            let sent = Instant::now();
            socket.write_all(&word).unwrap();
            socket.read_exact(&mut heard).unwrap();
            trips.push(sent.elapsed());
        }
        trips.sort();
        trips[ECHOES / 2].as_secs_f64() * 1e6
    });
    let (mut socket, _) = server.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut word = vec![0; bytes];
    while socket.read_exact(&mut word).is_ok() {
        if socket.write_all(&word).is_err() {
            break;
        }
    }
    drop(socket);
    (client.join().unwrap(), spent.recv().unwrap() * 1e6 / ECHOES as f64)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn compare(what: &str, unit: &str, mut measure: impl FnMut(Way) -> f64) {
    let (mut copied, mut spliced) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copied.push(measure(Way::Copy));
        spliced.push(measure(Way::Splice));
    }
    let show = |figures: &[f64]| {
        let least = figures.iter().copied().fold(f64::MAX, f64::min);
        let most = figures.iter().copied().fold(0.0, f64::max);
        format!("{:.1} ({least:.1}-{most:.1})", median(figures.to_vec()))
    };
    println!("| {what} | {unit} | {} | {} |", show(&copied), show(&spliced));
}

fn main() {
    println!("| | unit | copying | splice |\n|---|---|---|---|");
    for streams in [1, 16] {
        compare(&format!("bulk, {streams} streams, pieces of 64 KiB"), "MB per CPU-second", |way| {
            bulk(way, streams, 64 * 1024)
        });
    }
    for bytes in [64, 4096, 16384] {
        compare(&format!("echo of {bytes} bytes, median"), "us", |way| echo(way, bytes).0);
        compare(&format!("echo of {bytes} bytes, relay's processor time"), "us", |way| echo(way, bytes).1);
    }
}
