//! The machine that a report was made on.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    pub processor: String,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
}

impl Host {
    /// Reads what the kernel says; what it does not say is left empty.
    #[must_use]
    pub fn this() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field(&processors, "model name").unwrap_or_default().to_owned(),
            // Not those that this thread may use: while relays are measured, one is theirs.
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mb: field(&memory, "MemTotal").and_then(kib).unwrap_or_default() / 1024,
            kernel: release.trim().to_owned(),
        }
    }
}

/// The value of `name: value` in one of the kernel's tables.
pub(crate) fn field<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    let line = table.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// The number of `1234 kB`.
pub(crate) fn kib(value: &str) -> Option<u64> {
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let table = "Rss:  9 kB\nPss:   1234 kB\nPss_Anon: 5 kB\n";
        assert_eq!(field(table, "Pss").and_then(kib), Some(1234));
        assert_eq!(field(table, "Nothing"), None);
        assert!(Host::this().cores > 0);
    }
}
