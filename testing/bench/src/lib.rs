//! Benchmarks that anyone can run again, beside the field's best in the same run.
//!
//! A figure here is a ratio or a count taken side by side: machines are noisy, so nothing is asserted, and every report names its host.
//! All traffic is on loopback, and every run is bounded in streams and time.

mod host;
mod launch;
mod process;
mod relay;
mod report;
mod stand_in;
mod viewers;

pub use host::Host;
pub use launch::{LaunchBench, MAX_RUNS};
pub use relay::{MAX_STREAMS, RelayBench};
pub use report::{Figures, Report};
