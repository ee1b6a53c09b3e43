//! The certificates of public addresses, which people's browsers and the nodes trust in the lab.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};

use super::plan::Folder;

/// The file with the fingerprint of the public addresses' key.
pub(super) const FINGERPRINT: &str = "public.fingerprint";

/// Of a key, as Chromium names the keys that it trusts whoever signed them.
fn fingerprint(key: &KeyPair) -> String {
    STANDARD.encode(digest(&SHA256, &key.subject_public_key_info()))
}

/// An authority of its own and one certificate for all names.
pub(super) fn make_certificates(folder: &Folder, names: &[String]) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "The lab's public authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    fs::write(folder.secret("ca.pem"), parameters.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    fs::write(folder.secret("public.pem"), certificate.pem())?;
    fs::write(folder.secret("public.key"), key.serialize_pem())?;
    fs::write(folder.secret(FINGERPRINT), fingerprint(&key))?;
    Ok(fs::set_permissions(folder.secret("public.key"), fs::Permissions::from_mode(0o600))?)
}
