//! Waiting for a condition, never for a time.

use std::{fmt::Debug, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, timeout_at};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until the check succeeds; its error is the state seen, and the last one is told when the limit has passed.
///
/// # Errors
/// When the check did not succeed within the limit.
pub async fn wait_for<T, S: Debug>(
    what: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<T, S>,
) -> Result<T> {
    let ends_at = Instant::now() + limit;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut last = None;
    loop {
        look.tick().await;
        match timeout_at(ends_at, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => last = Some(state),
            Err(_) => {
                bail!("waited {limit:?} for {what}; the last check did not return, before it: {last:?}")
            }
        }
        if Instant::now() >= ends_at {
            bail!("waited {limit:?} for {what}; last seen: {last:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_state_is_reported() {
        let mut seen = 0;
        let counting = async || {
            seen += 1;
            Err::<(), _>(format!("look {seen}"))
        };
        let error = wait_for("the moon", Duration::from_millis(50), counting).await.unwrap_err().to_string();
        assert!(error.contains("the moon") && error.contains("look "), "{error}");
        let stuck = async || std::future::pending::<Result<(), ()>>().await;
        assert!(wait_for("never", Duration::from_millis(20), stuck).await.is_err());
    }

    #[tokio::test]
    async fn it_returns_as_soon_as_the_check_succeeds() {
        let mut left = 3;
        let counting = async || {
            left -= 1;
            if left == 0 { Ok("there") } else { Err(left) }
        };
        assert_eq!(wait_for("zero", Duration::from_secs(10), counting).await.unwrap(), "there");
    }
}
