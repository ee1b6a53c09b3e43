//! Follows the configuration file: reads it again on SIGHUP, and by itself when it has changed.
//!
//! The file is looked at, not watched through the kernel: that sees editors that replace files, mounted ones whose link moves, and
//! network file systems alike. A change counts when two looks in a row see the same file, so that one that is being written is
//! left to its writer.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use meridian_settings::{BalanceSettings, SettingsError, read_file};
use tokio::{signal::unix::Signal, time::sleep};

use crate::{balancer::Balancer, metrics::Reload};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What tells one state of a file from another: device, inode, size, time of change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Never returns.
pub(crate) async fn follow(balancer: Arc<Balancer>, path: PathBuf, mut hangup: Signal) {
    // The first look reads too: the file may have changed while the balancer started.
    let (mut read, mut seen): (Option<Stamp>, Stamp) = (None, stamp(&path).await);
    loop {
        let told = tokio::select! {
            Some(()) = hangup.recv() => true,
            () = sleep(LOOK_EVERY) => false,
        };
        let now = stamp(&path).await;
        let changed = now == seen && read != Some(now);
        seen = now;
        if told || changed {
            read = Some(now);
            read_again(&balancer, &path, told).await;
        }
    }
}

async fn read_again(balancer: &Arc<Balancer>, path: &Path, told: bool) {
    let file = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_file::<BalanceSettings>(&file)).await;
    match reading {
        Ok(Ok(settings)) if settings == balancer.table.load().settings => {
            if told {
                tracing::info!("the configuration has not changed");
            }
        }
        // The balancer itself has told what is wrong.
        Ok(Ok(settings)) => drop(balancer.reload_and_tell(settings).await),
        Ok(Err(error)) => refuse(balancer, &error),
        // Only when the runtime stops.
        Err(_) => {}
    }
}

fn refuse(balancer: &Balancer, error: &SettingsError) {
    tracing::error!(%error, "the new configuration is refused, the old one goes on");
    balancer.metrics.reloaded(Reload::Refused);
}

async fn stamp(path: &Path) -> Stamp {
    let found = tokio::fs::metadata(path).await.ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
