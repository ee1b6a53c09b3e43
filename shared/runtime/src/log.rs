//! Logging: JSON lines for machines, short lines on a terminal.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Human,
    /// Human on a terminal, else JSON.
    Auto,
}

/// Starts logging to standard error. `filter` is as in `RUST_LOG`, such as `info,meridian_agent=debug`. Again does nothing.
pub fn init_logging(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let human = match format {
        LogFormat::Json => false,
        LogFormat::Human => true,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    // An error only means that logging runs already.
    let _ = if human {
        registry.with(fmt::layer().compact().with_target(false).with_writer(std::io::stderr)).try_init()
    } else {
        registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .try_init()
    };
}
