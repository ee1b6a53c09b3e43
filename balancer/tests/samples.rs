//! The sample files in deploy/ are configurations that start.

use std::path::Path;

use meridian_balancer::start;
use meridian_runtime::{Health, Tasks};
use meridian_settings::{BalanceSettings, read_file};

#[tokio::test]
async fn the_samples_start() {
    for name in ["balance-primary.toml", "balance-entry.toml", "balance-private.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
        let sample: BalanceSettings = read_file(&path).unwrap();
        // Their addresses are not this machine's: nothing is dialled, and a free port is listened on.
        let mut settings =
            BalanceSettings { ops_listen: None, listen: "127.0.0.1:0".parse().unwrap(), ..sample };
        for (backend, port) in settings.routes.iter_mut().flat_map(|route| &mut route.backends).zip(1_u16..) {
            backend.address = format!("127.0.0.1:{port}");
        }
        start(settings, &Tasks::new(), &Health::default()).await.unwrap();
    }
}
