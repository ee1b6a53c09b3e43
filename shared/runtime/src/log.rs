//! Logging: JSON lines for machines, short lines on a terminal. Every line of a role's carries `role`, `zone` and `node`.

use std::{fmt::Display, io::IsTerminal};

use json_subscriber::JsonLayer;
use tracing::{Span, field};
use tracing_subscriber::{
    EnvFilter, fmt, fmt::MakeWriter, fmt::time::SystemTime, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

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
        registry.with(json_lines(std::io::stderr)).try_init()
    };
}

/// One object a line, the fields of the event and of all spans around it side by side. An event must therefore not name a field
/// as a span around it does: who is spoken of is `peer`, the speaker's own `node` is there already.
fn json_lines<S, W>(writer: W) -> JsonLayer<S, W>
where
    S: tracing::Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    let mut lines = JsonLayer::new(writer);
    lines.with_timer("timestamp", SystemTime);
    lines.with_level("level");
    lines.with_target("target");
    lines.with_flattened_event();
    lines.with_top_level_flattened_span_list();
    lines
}

/// The span in which a role runs. It counts as an error's, so that no filter leaves its fields out.
#[must_use]
pub fn role_span(role: &'static str) -> Span {
    tracing::error_span!("role", role, zone = field::Empty, node = field::Empty)
}

/// Fills in, once they are known, which node of which zone writes in this role's span. A node of no zone has an empty one.
pub fn name_node(zone: &str, node: impl Display) {
    let span = Span::current();
    span.record("zone", zone);
    span.record("node", field::display(node));
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::Instrument;

    use super::*;
    use crate::Tasks;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_line_says_who_wrote_it_in_tasks_and_requests_too() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new("warn"))
            .with(json_lines(move || writer.clone()));
        let _guard = tracing::subscriber::set_default(subscriber);
        let role = async {
            name_node("london", "n1");
            let tasks = Tasks::new();
            let request = tracing::warn_span!("request", request_id = "r1");
            tasks.spawn("work", async { tracing::warn!(session.id = 7, "at \"work\"") }.instrument(request));
            tasks.spawn("other", async { tracing::warn!("elsewhere") });
            assert!(tasks.stop(std::time::Duration::from_secs(5)).await);
        };
        role.instrument(role_span("agent")).await;

        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let read: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read.len(), 2);
        for line in &read {
            assert_eq!(
                (&line["role"], &line["zone"], &line["node"]),
                (&"agent".into(), &"london".into(), &"n1".into())
            );
        }
        assert_eq!(read[0]["message"], "at \"work\"");
        assert_eq!((&read[0]["session.id"], &read[0]["request_id"]), (&7.into(), &"r1".into()));
    }
}
