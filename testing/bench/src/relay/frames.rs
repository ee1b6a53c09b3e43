//! Pixels: frames of 4 KiB, thirty a second on each stream. What they cost the relay with many streams, and how much later they arrive
//! through it than straight from the agent, with a third as many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use meridian_runtime::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::client::TlsStream;

use super::{Cores, Goals, Relay, STOP_LIMIT, Samples, Viewers};
use crate::{
    arena::{Meter, Spent},
    order::{FRAME_BYTES, FarEnd, GO, Order, STAMP_BYTES},
    pacer::FRAMES_PER_SECOND,
    report::Goal,
    viewers::Road,
};

const WARM_UP: Duration = Duration::from_millis(500);

pub(super) async fn measure(
    relay: &Relay,
    cores: &Cores,
    viewers: &Viewers,
    streams: usize,
    wanted: Duration,
) -> anyhow::Result<Samples> {
    viewers.wait_until_ready(relay.address).await?;
    let (far_end, few) = (&viewers.stand_in.far_end, streams.div_ceil(3));
    let mut samples = Samples::new();

    let opened = viewers.open(Road::Direct, few, Order::Frames).await?;
    let (_, direct) = watch(relay, cores, opened, far_end, wanted).await?;

    let opened = viewers.open(Road::Relay(relay.address), few, Order::Frames).await?;
    let (spent, relayed) = watch(relay, cores, opened, far_end, wanted).await?;
    for (name, share) in [("p50", 50), ("p99", 99)] {
        let (straight, through) = (at(&direct, share), at(&relayed, share));
        samples.insert(format!("latency_{few}_streams_us_{name}"), through);
        samples.insert(format!("added_latency_us_{name}"), through - straight);
    }
    samples.insert(format!("frames_{few}_streams_arrived_percent"), arrived(&relayed, few, &spent));
    spent.note(&mut samples, &format!("{few}_streams"));

    let opened = viewers.open(Road::Relay(relay.address), streams, Order::Frames).await?;
    let (spent, relayed) = watch(relay, cores, opened, far_end, wanted).await?;
    #[expect(clippy::cast_precision_loss, reason = "frames of a few seconds")]
    let gigabytes = (relayed.len() * FRAME_BYTES) as f64 / 1e9;
    samples.insert("cpu_s_per_gb".into(), spent.relay_s / gigabytes);
    samples.insert(format!("frames_{streams}_streams_arrived_percent"), arrived(&relayed, streams, &spent));
    spent.note(&mut samples, &format!("{streams}_streams"));
    Ok(samples)
}

/// Watches all streams for a while: what the relay spent, and every frame's way in nanoseconds, shortest first.
async fn watch(
    relay: &Relay,
    cores: &Cores,
    streams: Vec<TlsStream<TcpStream>>,
    far_end: &FarEnd,
    wanted: Duration,
) -> anyhow::Result<(Spent, Vec<u64>)> {
    let (tasks, counting) = (Tasks::new(), Arc::new(AtomicBool::new(false)));
    let viewers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (stopping, counting, far_end) = (tasks.stopping(), counting.clone(), far_end.clone());
            tasks.spawn("viewer", async move {
                let mut ways = Vec::new();
                let _ = stopping.run_until_cancelled(view(stream, &far_end, &counting, &mut ways)).await;
                ways
            })
        })
        .collect();
    sleep(WARM_UP).await;
    let meter = Meter::start(relay, cores)?;
    counting.store(true, Ordering::Relaxed);
    sleep(wanted).await;
    counting.store(false, Ordering::Relaxed);
    let spent = meter.stop()?;
    tasks.stop(STOP_LIMIT).await;
    let mut ways = Vec::new();
    for viewer in viewers {
        ways.extend(viewer.await.context("a viewer failed")?);
    }
    ways.sort_unstable();
    anyhow::ensure!(!ways.is_empty(), "no frame arrived");
    Ok((spent, ways))
}

async fn view(
    mut stream: TlsStream<TcpStream>,
    far_end: &FarEnd,
    counting: &AtomicBool,
    ways: &mut Vec<u64>,
) -> anyhow::Result<()> {
    let mut frame = vec![0; FRAME_BYTES];
    stream.write_all(GO).await?;
    loop {
        stream.read_exact(&mut frame).await?;
        if counting.load(Ordering::Relaxed) {
            let mut stamp = [0; STAMP_BYTES];
            stamp.copy_from_slice(&frame[..STAMP_BYTES]);
            ways.push(far_end.now().saturating_sub(u64::from_le_bytes(stamp)));
        }
    }
}

/// A percentile in microseconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of less than a minute")]
fn at(ways: &[u64], percent: usize) -> f64 {
    ways.get((ways.len().saturating_sub(1)) * percent / 100).copied().unwrap_or_default() as f64 / 1000.0
}

/// Below 100 the load could not send what was due, or the relay not carry it.
#[expect(clippy::cast_precision_loss, reason = "frames of a few seconds")]
fn arrived(ways: &[u64], streams: usize, spent: &Spent) -> f64 {
    100.0 * ways.len() as f64 / (streams as f64 * f64::from(FRAMES_PER_SECOND) * spent.wall_s)
}

pub(super) fn goals() -> Goals {
    Goals::from([
        ("cpu_s_per_gb".into(), Goal::AtMost(5.5)),
        ("added_latency_us_p50".into(), Goal::AtMost(90.0)),
    ])
}
