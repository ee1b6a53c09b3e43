//! How many bytes a stream keeps, in the agent's sum of all: what shows that nothing grows when a side does not take what is there for it.

use prometheus_client::metrics::gauge::Gauge;

/// A stream's part of the sum; dropping it takes it out.
pub(super) struct Kept {
    sum: Gauge,
    bytes: i64,
}

impl Kept {
    pub(super) fn new(sum: Gauge) -> Self {
        Self { sum, bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes != self.bytes {
            self.sum.inc_by(bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.sum.dec_by(self.bytes);
    }
}
