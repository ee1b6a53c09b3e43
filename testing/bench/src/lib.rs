//! Benchmarks that anyone can run again, beside the field's best in the same run.
//!
//! A figure here is a ratio or a count taken side by side: machines are noisy, so nothing is asserted, and every report names its host.
//! All traffic is on loopback, and every run is bounded in streams and time.

mod arena;
mod balance;
mod control;
mod cores;
mod document;
mod host;
mod launch;
mod order;
mod pacer;
mod process;
mod relay;
mod report;
mod stand_in;
mod viewers;

pub use balance::{BalanceBench, BalanceLoad};
pub use control::{ControlBench, MAX_AGENTS, MAX_ROWS};
pub use document::document;
pub use host::Host;
pub use launch::{LaunchBench, MAX_RUNS};
pub use relay::{MAX_STREAMS, RelayBench, RelayLoad};
pub use report::{Figures, Goal, Goals, Report};
