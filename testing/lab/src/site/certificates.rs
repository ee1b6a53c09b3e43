//! The certificates of public addresses, which people's browsers and the nodes trust in the lab.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::plan::Folder;

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
    Ok(fs::set_permissions(folder.secret("public.key"), fs::Permissions::from_mode(0o600))?)
}
