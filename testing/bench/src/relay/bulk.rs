//! Bytes as fast as they are taken: megabytes for each second of the relay's processor time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use meridian_runtime::Tasks;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::sleep,
};

use super::{Cores, Goals, Relay, STOP_LIMIT, Samples, Viewers};
use crate::{
    arena::Meter,
    order::{GO, Order},
    report::Goal,
    viewers::Road,
};

/// Streams at once, beside the number that was asked for.
const COUNTS: [usize; 2] = [1, 16];
const READ_BYTES: usize = 256 * 1024;
/// Windows open and buffers grow first.
const WARM_UP: Duration = Duration::from_millis(300);

pub(super) async fn measure(
    relay: &Relay,
    cores: &Cores,
    viewers: &Viewers,
    streams: usize,
    wanted: Duration,
) -> anyhow::Result<Samples> {
    viewers.wait_until_ready(relay.address).await?;
    let mut samples = Samples::new();
    for count in counts(streams) {
        let opened = viewers.open(Road::Relay(relay.address), count, Order::Bulk).await?;
        pull(relay, cores, opened, wanted, &mut samples).await?;
    }
    Ok(samples)
}

/// Reads all streams to nowhere for a while, and notes what that cost the relay.
pub(crate) async fn pull<S>(
    relay: &Relay,
    cores: &Cores,
    streams: Vec<S>,
    wanted: Duration,
    samples: &mut Samples,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (tasks, moved, count) = (Tasks::new(), Arc::new(AtomicU64::new(0)), streams.len());
    for mut stream in streams {
        let moved = moved.clone();
        tasks.spawn_until_stop("reader", async move {
            let mut piece = vec![0; READ_BYTES];
            if stream.write_all(GO).await.is_err() {
                return;
            }
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                moved.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
    }
    sleep(WARM_UP).await;
    let (meter, before) = (Meter::start(relay, cores)?, moved.load(Ordering::Relaxed));
    sleep(wanted).await;
    let bytes = moved.load(Ordering::Relaxed) - before;
    let spent = meter.stop()?;
    tasks.stop(STOP_LIMIT).await;
    #[expect(clippy::cast_precision_loss, reason = "bytes of a few seconds")]
    let megabytes = bytes as f64 / 1e6;
    samples.insert(format!("{count}_streams_mb_per_cpu_s"), megabytes / spent.relay_s);
    spent.note(samples, &format!("{count}_streams"));
    Ok(())
}

pub(crate) fn counts(streams: usize) -> impl Iterator<Item = usize> {
    COUNTS.into_iter().filter(move |count| *count < streams).chain([streams])
}

pub(super) fn goals(streams: usize) -> Goals {
    let goal = |count| (format!("{count}_streams_mb_per_cpu_s"), Goal::TimesTheBetterPeer(2.0));
    counts(streams).map(goal).collect()
}
