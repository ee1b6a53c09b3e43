//! A node's own key and where it keeps what it is.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use crate::IdentityError;

/// A node's private key: ECDSA P-256, for TLS and for signing calls.
pub struct NodeKey {
    pub(crate) pair: KeyPair,
}

impl NodeKey {
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| IdentityError::Key)?;
        Ok(Self { pair })
    }

    /// # Errors
    /// When the text is no ECDSA P-256 key in PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| IdentityError::Key)?;
        Ok(Self { pair })
    }

    /// The secret itself, to be written to the node's disk.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The public point, uncompressed (65 bytes): what the control plane keeps to check signed calls with.
    #[must_use]
    pub fn public_point(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    /// A certificate request. It carries no name: the authority decides those.
    ///
    /// # Errors
    /// When signing fails.
    pub fn request_pem(&self) -> Result<String, IdentityError> {
        let request =
            CertificateParams::default().serialize_request(&self.pair).map_err(IdentityError::Sign)?;
        request.pem().map_err(IdentityError::Sign)
    }
}

/// The files in a node's data directory that say who it is.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    folder: PathBuf,
}

impl NodeFiles {
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether an identity was saved here.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.folder.join("node.json").is_file()
    }

    /// Saves everything, the file that makes it count last.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(
        &self,
        key: &NodeKey,
        certificate: &str,
        ca: &str,
        description: &str,
    ) -> Result<(), IdentityError> {
        fs::create_dir_all(&self.folder).map_err(|source| file_error(&self.folder, source))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
            .map_err(|source| file_error(&self.folder, source))?;
        // Key and certificate are one file, so that no crash leaves a key with another key's certificate.
        write_secret(&self.folder.join("identity.pem"), &format!("{}{certificate}", key.to_pem()))?;
        write_secret(&self.folder.join("ca.pem"), ca)?;
        write_secret(&self.folder.join("node.json"), description)
    }

    /// Reads `(key, certificate PEM, CA PEM, description)`.
    ///
    /// # Errors
    /// When a file is missing or not what it should be.
    pub fn load(&self) -> Result<(NodeKey, String, String, String), IdentityError> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            fs::read_to_string(&path).map_err(|source| file_error(&path, source))
        };
        let identity = read("identity.pem")?;
        let start = identity.find("-----BEGIN CERTIFICATE-----").ok_or(IdentityError::Key)?;
        let (key, certificate) = identity.split_at(start);
        Ok((NodeKey::from_pem(key)?, certificate.to_owned(), read("ca.pem")?, read("node.json")?))
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_secret(path: &Path, text: &str) -> Result<(), IdentityError> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_folder_and_is_readable_by_its_owner_alone() {
        let folder = std::env::temp_dir().join(format!("meridian-identity-{}", std::process::id()));
        let files = NodeFiles::new(&folder);
        assert!(!files.exist());
        let key = NodeKey::generate().unwrap();
        files.save(&key, "-----BEGIN CERTIFICATE-----\nx\n", "ca", "{}").unwrap();
        let (again, certificate, ca, description) = files.load().unwrap();
        assert_eq!(again.public_point(), key.public_point());
        assert_eq!(
            (certificate.as_str(), ca.as_str(), description.as_str()),
            ("-----BEGIN CERTIFICATE-----\nx\n", "ca", "{}")
        );
        let mode = fs::metadata(folder.join("identity.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }
}
