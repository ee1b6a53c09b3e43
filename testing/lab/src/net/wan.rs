//! The wide-area network: a forwarder between the routers' TUN devices that gives each line its distance, and cuts it.
//!
//! It is one thread. A packet waits in the queue of the device it goes to until it is due; packets of one line never overtake each other, and a
//! line whose queue is full loses what comes, as a router does.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tun_rs::{AsyncDevice, SyncDevice};

use super::packet::Packet;
use crate::chance::Chance;

/// What a line may hold before it loses what comes.
const QUEUE_BYTES: usize = 8 << 20;
/// Larger than any packet of these devices.
const PACKET_BYTES: usize = 2048;
/// Packets that are read before the others have their turn.
const BATCH: usize = 64;

/// One way from a region to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) delay: Duration,
    /// Added to the delay, evenly between nothing and this.
    pub(crate) jitter: Duration,
    /// The share of packets that is lost, from 0 to 1.
    pub(crate) loss: f64,
    /// None: as fast as this machine.
    pub(crate) bytes_per_s: Option<u64>,
    /// Nothing passes, and nobody is told.
    pub(crate) cut: bool,
}

/// Who opened how many connections where: source, destination, port.
type Tally = BTreeMap<(Ipv4Addr, Ipv4Addr, u16), u64>;

#[derive(Default)]
struct Shared {
    lines: BTreeMap<(u8, u8), Line>,
    opened: Tally,
}

/// Stops when dropped.
pub(crate) struct Wan {
    shared: Arc<Mutex<Shared>>,
    stop: CancellationToken,
}

impl Wan {
    pub(super) fn start(devices: Vec<(u8, SyncDevice)>, seed: u64) -> Result<Self> {
        let wan = Self { shared: Arc::default(), stop: CancellationToken::new() };
        let (shared, stop) = (Arc::clone(&wan.shared), wan.stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let forward = move || {
            let forwarder =
                Forwarder { shared, chance: RefCell::new(Chance::new(seed)), ports: BTreeMap::new() };
            if let Err(error) = runtime.block_on(forwarder.run(devices, stop)) {
                tracing::error!(%error, "the lab's wide-area network stopped");
            }
        };
        thread::Builder::new().name("wan".into()).spawn(forward)?;
        Ok(wan)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Sets both ways between two regions.
    pub(crate) fn set(&self, one: u8, other: u8, line: Line) {
        let mut shared = self.shared();
        shared.lines.extend([((one, other), line), ((other, one), line)]);
    }

    pub(crate) fn line(&self, from: u8, to: u8) -> Line {
        self.shared().lines.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Cuts or mends both ways between two regions.
    pub(crate) fn cut(&self, one: u8, other: u8, cut: bool) {
        let line = self.line(one, other);
        self.set(one, other, Line { cut, ..line });
    }

    /// How many connections were opened (SYNs were sent) from hosts of a region to an address and port elsewhere.
    pub(crate) fn opened(&self, region: u8, to: Ipv4Addr, port: u16) -> BTreeMap<Ipv4Addr, u64> {
        let shared = self.shared();
        let fits = shared.opened.iter().filter(|((from, destination, asked), _)| {
            from.octets()[2] == region && *destination == to && *asked == port
        });
        fits.map(|((from, ..), count)| (*from, *count)).collect()
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Forwarder {
    shared: Arc<Mutex<Shared>>,
    chance: RefCell<Chance>,
    ports: BTreeMap<u8, Port>,
}

/// The way into one region.
struct Port {
    device: AsyncDevice,
    waiting: RefCell<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    /// By when they are due, then in the order they came.
    packets: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    bytes: usize,
    came: u64,
    /// When the line from a region is free again, and when its latest packet is due.
    lines: BTreeMap<u8, (Instant, Instant)>,
}

impl Forwarder {
    async fn run(mut self, devices: Vec<(u8, SyncDevice)>, stop: CancellationToken) -> Result<()> {
        for (region, device) in devices {
            let device = AsyncDevice::new(device).context("the TUN device")?;
            let port = Port { device, waiting: RefCell::default(), more: Notify::new() };
            self.ports.insert(region, port);
        }
        let reading = join_all(self.ports.iter().map(|(region, port)| self.read(*region, port)));
        let writing = join_all(self.ports.values().map(Port::write));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = reading => {}
            _ = writing => {}
        }
        Ok(())
    }

    async fn read(&self, region: u8, port: &Port) {
        let mut buffer = [0; PACKET_BYTES];
        loop {
            let Ok(length) = port.device.recv(&mut buffer).await else { return };
            self.pass(region, &buffer[..length]);
            for _ in 0..BATCH {
                let Ok(length) = port.device.try_recv(&mut buffer) else { break };
                self.pass(region, &buffer[..length]);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets a packet wait for its time, or loses it.
    fn pass(&self, from: u8, bytes: &[u8]) {
        let Some(packet) = Packet::read(bytes) else { return };
        let to = packet.destination.octets()[2];
        let Some(port) = self.ports.get(&to).filter(|_| to != from) else { return };
        let line = self.note(from, to, packet);
        if line.cut || line.loss > 0.0 && self.chance.borrow_mut().part() < line.loss {
            return;
        }
        let jitter = line.jitter.mul_f64(self.chance.borrow_mut().part());
        if port.waiting.borrow_mut().take(from, line, jitter, bytes, Instant::now()) {
            port.more.notify_one();
        }
    }

    fn note(&self, from: u8, to: u8, packet: Packet) -> Line {
        let mut shared = lock(&self.shared);
        if let Some(port) = packet.opens {
            *shared.opened.entry((packet.source, packet.destination, port)).or_default() += 1;
        }
        shared.lines.get(&(from, to)).copied().unwrap_or_default()
    }
}

impl Waiting {
    /// False when the packet was lost because the queue is full.
    fn take(&mut self, from: u8, line: Line, jitter: Duration, bytes: &[u8], now: Instant) -> bool {
        if self.bytes + bytes.len() > QUEUE_BYTES {
            return false;
        }
        let (free, latest) = self.lines.get(&from).copied().unwrap_or((now, now));
        let takes = line
            .bytes_per_s
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64));
        let sent = free.max(now) + takes;
        let due = (sent + line.delay + jitter).max(latest);
        self.lines.insert(from, (sent, due));
        self.came += 1;
        self.bytes += bytes.len();
        self.packets.push(Reverse((due, self.came, bytes.to_vec())));
        true
    }

    fn due(&self) -> Option<Instant> {
        self.packets.peek().map(|Reverse((due, ..))| *due)
    }

    fn next(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.due()? > now {
            return None;
        }
        let Reverse((.., bytes)) = self.packets.pop()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
}

impl Port {
    async fn write(&self) {
        loop {
            let next = self.waiting.borrow_mut().next(Instant::now());
            match next {
                Some(bytes) => {
                    // A device that takes nothing loses packets, as a network does.
                    if self
                        .device
                        .send(&bytes)
                        .await
                        .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
                    {
                        return;
                    }
                }
                None => self.wait().await,
            }
        }
    }

    /// Until the next packet is due, or another came.
    async fn wait(&self) {
        let due = self.waiting.borrow().due();
        match due {
            // An earlier one may come on a shorter line.
            Some(due) => {
                let _ = timeout_at(due, self.more.notified()).await;
            }
            None => self.more.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[tokio::test]
    async fn packets_of_a_line_keep_their_order_and_its_length() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let line = Line { delay: ms(40), ..Line::default() };
        assert!(waiting.take(1, line, ms(9), b"first", now));
        assert!(waiting.take(1, line, ms(0), b"second", now));
        assert!(waiting.take(3, Line { delay: ms(1), ..line }, ms(0), b"nearer", now));
        assert_eq!(waiting.next(now + ms(1)).as_deref(), Some(&b"nearer"[..]));
        assert_eq!(waiting.next(now + ms(48)), None);
        assert_eq!(waiting.next(now + ms(49)).as_deref(), Some(&b"first"[..]));
        assert_eq!(waiting.next(now + ms(49)).as_deref(), Some(&b"second"[..]));
        assert_eq!((waiting.bytes, waiting.due()), (0, None));
    }

    #[tokio::test]
    async fn a_narrow_line_makes_packets_wait_and_loses_what_it_cannot_hold() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let line = Line { bytes_per_s: Some(1000), ..Line::default() };
        assert!(waiting.take(1, line, ms(0), &[0; 100], now));
        assert!(waiting.take(1, line, ms(0), &[0; 100], now));
        assert!(waiting.next(now + ms(99)).is_none());
        assert!(waiting.next(now + ms(100)).is_some());
        assert!(waiting.next(now + ms(199)).is_none());
        assert!(waiting.next(now + ms(200)).is_some());
        let filled =
            (0..QUEUE_BYTES / 1000).filter(|_| waiting.take(1, line, ms(0), &[0; 1000], now)).count();
        assert_eq!(filled, QUEUE_BYTES / 1000);
        assert!(!waiting.take(1, line, ms(0), &[0; 1000], now));
    }
}
