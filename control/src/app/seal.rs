//! Sealing: how secrets rest in the database.
//!
//! AES-256-GCM under the master key, which every Web App node has in a file (0600) and no backup contains. What a sealed value is for is
//! bound to it, so that one cannot be put in another's place.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use meridian_runtime::{Secret, random_bytes};
use rustix::fs::{FlockOperation, flock};

/// The key could not be read or a value not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot read or write the master key file {path}")]
    File { path: String, source: std::io::Error },
    #[error("the master key file {path} must hold 64 hex digits and nothing else")]
    Malformed { path: String },
    #[error(
        "the master key does not open what this database holds: it is another deployment's, or was replaced"
    )]
    WrongKey,
}

/// The master key.
pub struct Sealer {
    key: RandomizedNonceKey,
    root: KeyRoot,
}

/// What keys are derived from that rest nowhere: every Web App node derives the same ones.
#[derive(Clone)]
pub struct KeyRoot(Prk);

impl KeyRoot {
    /// 32 bytes that belong to this purpose alone.
    ///
    /// # Panics
    /// Never: 32 bytes are fewer than the derivation gives.
    #[must_use]
    pub fn derive(&self, purpose: &[&[u8]]) -> Secret<[u8; 32]> {
        let mut key = [0; 32];
        let derived = self.0.expand(purpose, HKDF_SHA256).and_then(|derived| derived.fill(&mut key));
        derived.expect("one block of the hash is 32 bytes");
        Secret::new(key)
    }
}

impl Sealer {
    /// Reads the key file; makes one (0600) when it is missing and `may_create`.
    ///
    /// # Errors
    /// As [`SealError`] says.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, SealError> {
        let shown = path.display().to_string();
        let file = |source| SealError::File { path: shown.clone(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => {
                let text = hex::encode(random_bytes::<32>());
                match write_new(path, &text) {
                    Ok(()) => Secret::new(text),
                    // Another node made it in this very moment: that one holds.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        Secret::new(fs::read_to_string(path).map_err(file)?)
                    }
                    Err(error) => return Err(file(error)),
                }
            }
            Err(error) => return Err(file(error)),
        };
        let bytes = hex::decode(text.expose().trim())
            .ok()
            .filter(|bytes| bytes.len() == 32)
            .ok_or(SealError::Malformed { path: shown })?;
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::WrongKey)?;
        let root = KeyRoot(Salt::new(HKDF_SHA256, b"meridian derived keys v1").extract(bytes));
        Ok(Self { key, root })
    }

    /// What keys are derived from.
    #[must_use]
    pub fn root(&self) -> KeyRoot {
        self.root.clone()
    }

    /// Seals `plain` for `purpose`.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .expect("the system's random generator works and secrets are short");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Opens what was sealed for `purpose`.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when key, purpose or bytes differ.
    pub fn open_sealed(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        if sealed.len() < NONCE_LEN {
            return Err(SealError::WrongKey);
        }
        let (nonce, rest) = sealed.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::WrongKey)?;
        let mut rest = rest.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut rest)
            .map_err(|_| SealError::WrongKey)?;
        Ok(Secret::new(plain.to_vec()))
    }
}

/// Writes a file that was not there, for its owner alone, whole or not at all: half a key would stand in the way of every later start, and
/// one that a loss of power takes back leaves a database that nothing opens. Nodes that do it at the same time do it one after the other.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&temporary)?;
    flock(&file, FlockOperation::LockExclusive)?;
    if path.exists() {
        // Whoever else still wants to write finds the file that is there now.
        let _ = fs::remove_file(&temporary);
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    file.set_len(0)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Unlike a rename, a link takes nobody else's place.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(Sealer::open(&path, false).is_err(), "the database is not new, and its key is missing");
        // What is left of a try that a full disk or a loss of power ended.
        fs::write(path.with_extension("new"), "half").unwrap();
        let sealed = Sealer::open(&path, true).unwrap().seal("check", b"x");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Sealer::open(&path, false).unwrap().open_sealed("check", &sealed).is_ok());
        assert!(write_new(&path, "another").is_err());
    }

    #[test]
    fn nodes_that_want_the_key_at_the_same_moment_have_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let barrier = std::sync::Barrier::new(8);
        let open = || {
            barrier.wait();
            Sealer::open(&path, true).unwrap()
        };
        let sealers: Vec<Sealer> = std::thread::scope(|scope| {
            let nodes: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let sealed = sealers[0].seal("check", b"x");
        assert!(sealers.iter().all(|sealer| sealer.open_sealed("check", &sealed).is_ok()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_sealed_value_opens_with_its_key_and_purpose_alone() {
        let (ours, theirs) = (Sealer::from_bytes(&[1; 32]).unwrap(), Sealer::from_bytes(&[2; 32]).unwrap());
        let sealed = ours.seal("authority", b"secret");
        assert_ne!(sealed, ours.seal("authority", b"secret"), "a nonce is used once");
        assert_eq!(ours.open_sealed("authority", &sealed).unwrap().expose(), b"secret");
        assert!(ours.open_sealed("signing", &sealed).is_err());
        assert!(theirs.open_sealed("authority", &sealed).is_err());
        assert!(ours.open_sealed("authority", &sealed[..5]).is_err());
    }

    #[test]
    fn a_derived_key_is_the_same_on_every_node_and_another_for_each_purpose() {
        let root = |byte| Sealer::from_bytes(&[byte; 32]).unwrap().root();
        assert_eq!(root(1).derive(&[b"a", b"b"]), root(1).derive(&[b"a", b"b"]));
        assert_ne!(root(1).derive(&[b"a", b"b"]), root(1).derive(&[b"a", b"c"]));
        assert_ne!(root(1).derive(&[b"a"]), root(2).derive(&[b"a"]));
    }
}
