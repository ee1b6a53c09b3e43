//! Meridian's own certificate authority.

use std::time::Duration;

use jiff::Timestamp;
use meridian_ids::DeploymentId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

use crate::{IdentityError, NodeName};

/// How long a node's certificate lives, in days. It is renewed at two thirds.
pub const LIFETIME_DAYS: i64 = 30;
const AUTHORITY_YEARS: i64 = 10;
/// A certificate is good a little before it was made, for nodes whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(10 * 60);

/// The authority: its key and certificate. Web App nodes alone open it.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority for a deployment.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(deployment: DeploymentId, now: Timestamp) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| IdentityError::Key)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named(&format!("Meridian {deployment}"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut parameters, now, AUTHORITY_YEARS * 365);
        let certificate = parameters.self_signed(&key).map_err(IdentityError::Sign)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Reads a stored authority.
    ///
    /// # Errors
    /// When certificate or key are not what [`Authority::generate`] makes.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| IdentityError::Key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), issuer })
    }

    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The secret key, to be sealed and stored.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs a node's request: its key, our names. `extra_names` are further DNS names or addresses (a public listener's).
    ///
    /// # Errors
    /// When the request is malformed or its own signature is wrong.
    pub fn issue(
        &self,
        request_pem: &str,
        name: &NodeName,
        extra_names: &[String],
        now: Timestamp,
    ) -> Result<IssuedCertificate, IdentityError> {
        let request =
            CertificateSigningRequestParams::from_pem(request_pem).map_err(IdentityError::Request)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named(&name.to_string());
        for text in std::iter::once(&name.to_string()).chain(extra_names) {
            parameters.subject_alt_names.push(alternative_name(text)?);
        }
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut parameters, now, LIFETIME_DAYS);
        let certificate =
            parameters.signed_by(&request.public_key, &self.issuer).map_err(IdentityError::Sign)?;
        let public_point = rcgen::PublicKeyData::der_bytes(&request.public_key).to_vec();
        Ok(IssuedCertificate { certificate_pem: certificate.pem(), public_point })
    }
}

/// A certificate and the uncompressed public point in it.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    pub certificate_pem: String,
    pub public_point: Vec<u8>,
}

fn named(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text.chars().take(64).collect::<String>());
    name
}

fn alternative_name(text: &str) -> Result<SanType, IdentityError> {
    match text.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(text.to_owned().try_into().map_err(IdentityError::Request)?)),
    }
}

fn set_validity(parameters: &mut CertificateParams, now: Timestamp, days: i64) {
    let start = rcgen::date_time_ymd(1970, 1, 1)
        + Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    parameters.not_before = start - BACKDATE;
    parameters.not_after = start + Duration::from_secs(u64::try_from(days).unwrap_or_default() * 86_400);
}
