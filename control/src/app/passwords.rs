//! Passwords: argon2id, outside the database and off the async threads.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use meridian_runtime::Secret;
use tokio::sync::Semaphore;

/// The shortest password that is taken.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// Longer ones are refused before they are hashed.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Hashing failed, or too many sign-ins wait already.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("the password could not be hashed")]
    Hash,
    #[error("too many sign-ins at once")]
    Busy,
}

/// Hashes and checks, a bounded number at a time: each takes 19 MiB and tens of milliseconds of a core.
#[derive(Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    /// What an unknown user's password is checked against, so that the answer takes as long.
    decoy: Arc<str>,
}

impl Passwords {
    /// # Errors
    /// When hashing does not work at all.
    pub fn new(at_once: usize) -> Result<Self, PasswordError> {
        Ok(Self { places: Arc::new(Semaphore::new(at_once)), decoy: hash_now("no such user")?.into() })
    }

    /// # Errors
    /// When hashing fails.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, PasswordError> {
        self.run(move || hash_now(password.expose())).await?
    }

    /// Whether `password` is the one that `stored` was made from; `None` takes as long and is never right.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn verify(
        &self,
        password: Secret<String>,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let fits = self
            .run(move || {
                PasswordHash::new(&stored).is_ok_and(|hash| {
                    Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
                })
            })
            .await?;
        Ok(known && fits)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let wait = std::time::Duration::from_secs(10);
        let place = tokio::time::timeout(wait, self.places.clone().acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)?;
        tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        })
        .await
        .map_err(|_| PasswordError::Hash)
    }
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_an_unknown_user_none() {
        let passwords = Passwords::new(2).unwrap();
        let secret = |text: &str| Secret::new(text.to_owned());
        let stored = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(passwords.verify(secret("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify(secret("wrong horse"), Some(stored)).await.unwrap());
        assert!(!passwords.verify(secret("no such user"), None).await.unwrap());
    }
}
