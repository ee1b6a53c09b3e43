//! Frames due one after another, evenly spread over all streams: as many desktops, which know nothing of each other, would send them.
//! A timer of the runtime counts milliseconds and would let several frames go at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use meridian_runtime::Tasks;
use tokio::sync::Notify;

/// Each stream's frames per second.
pub(crate) const FRAMES_PER_SECOND: u32 = 30;
/// How long to look for streams again when there are none.
const IDLE: Duration = Duration::from_millis(2);
/// A pacer this far behind starts anew instead of sending all that is overdue in one go.
const MOST_BEHIND: Duration = Duration::from_millis(100);

/// Tells streams in turn that a frame is due.
#[derive(Clone, Default)]
pub(crate) struct Pacer(Arc<Mutex<Vec<Arc<Notify>>>>);

/// A stream's place in the turn, given up when this is dropped.
pub(crate) struct Slot {
    pacer: Pacer,
    due: Arc<Notify>,
}

impl Pacer {
    /// Runs until the tasks stop, on a thread of its own.
    pub(crate) fn start(tasks: &Tasks) -> Self {
        let pacer = Self::default();
        let (pacing, stopping) = (pacer.clone(), tasks.stopping());
        thread::spawn(move || {
            let (mut due, mut next) = (Instant::now(), 0);
            while !stopping.is_cancelled() {
                let count = pacing.tell(next);
                next += 1;
                let gap = match u32::try_from(count) {
                    Ok(count @ 1..) => Duration::from_secs(1) / (FRAMES_PER_SECOND * count),
                    Ok(0) | Err(_) => IDLE,
                };
                due += gap;
                let now = Instant::now();
                if now > due + MOST_BEHIND {
                    due = now;
                }
                thread::sleep(due.saturating_duration_since(now));
            }
        });
        pacer
    }

    /// Tells the stream whose turn it is; how many streams there are.
    fn tell(&self, turn: usize) -> usize {
        let streams = self.streams();
        if let Some(stream) = turn.checked_rem(streams.len()).and_then(|index| streams.get(index)) {
            stream.notify_one();
        }
        streams.len()
    }

    pub(crate) fn enter(&self) -> Slot {
        let due = Arc::new(Notify::new());
        self.streams().push(due.clone());
        Slot { pacer: self.clone(), due }
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Until the stream's next frame is due. One that was missed is not made up for.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pacer.streams().retain(|due| !Arc::ptr_eq(due, &self.due));
    }
}
