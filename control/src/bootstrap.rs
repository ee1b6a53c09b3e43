//! What a new deployment begins with: the first administrator, zones, the shipped workspaces.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use meridian_identity::{Authority, IdentityError, LIFETIME_DAYS, NodeKey, web_name};
use meridian_ids::NodeId;
use meridian_model::{Network, Seccomp, ZoneSettings};
use meridian_runtime::{Secret, random_bytes, random_token};
use meridian_settings::{FurnishCertificate, FurnishSettings};

use crate::{
    api::extract::hash_token,
    app::passwords::PasswordError,
    state::AppState,
    store::{Store, StoreError},
    views::{NewWorkspace, Role},
};

/// The first administrator's name.
const ADMINISTRATOR: &str = "admin";
/// Letters and digits that nobody confuses.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const ENROLLMENT_S: f64 = 600.0;
/// How often the front's certificate's age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// A new deployment could not be furnished.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("zone {zone}: alternate_zones names {alternate}, which is no zone")]
    Alternate { zone: String, alternate: String },
    #[error("cannot read or write {path}")]
    File { path: String, source: std::io::Error },
}

/// One workspace of those that Meridian ships.
struct ShippedWorkspace {
    name: &'static str,
    description: &'static str,
    icon: &'static str,
    image: &'static str,
    cpu: f64,
    memory_mb: i64,
    network: Network,
    seccomp: Seccomp,
    shm_mb: i64,
}

impl ShippedWorkspace {
    fn entry(&self) -> NewWorkspace {
        NewWorkspace {
            name: self.name.into(),
            image: self.image.into(),
            cpu: self.cpu,
            memory_mb: self.memory_mb,
            gpu: 0,
            description: self.description.into(),
            icon: self.icon.into(),
            network: self.network,
            seccomp: self.seccomp,
            shm_mb: self.shm_mb,
            home_mb: 1024,
            tmp_mb: 256,
            pids_limit: 1024,
            image_policy: None,
            required_labels: BTreeMap::new(),
            zones: None,
            groups: None,
        }
    }
}

/// The shipped workspaces.
const SHIPPED: [ShippedWorkspace; 3] = [
    ShippedWorkspace {
        name: "Desktop",
        description: "A whole desktop: files, editor, terminal",
        icon: "desktop",
        image: "meridian/desktop:dev",
        cpu: 0.5,
        memory_mb: 1024,
        network: Network::None,
        seccomp: Seccomp::Default,
        shm_mb: 64,
    },
    ShippedWorkspace {
        name: "Browser",
        description: "Chromium in a sandbox of its own",
        icon: "browser",
        image: "meridian/browser:dev",
        cpu: 0.5,
        memory_mb: 1536,
        network: Network::Internet,
        seccomp: Seccomp::Chromium,
        shm_mb: 512,
    },
    ShippedWorkspace {
        name: "Terminal",
        description: "A shell, full screen",
        icon: "terminal",
        image: "meridian/terminal:dev",
        cpu: 0.25,
        memory_mb: 512,
        network: Network::None,
        seccomp: Seccomp::Default,
        shm_mb: 64,
    },
];

/// Sees to what `settings` ask for, at each start of a node; what is there already is left alone.
///
/// # Errors
/// When the database does not answer or a file cannot be read or written.
pub(crate) async fn furnish(state: &AppState, settings: &FurnishSettings) -> Result<(), BootstrapError> {
    let mut made = Vec::new();
    for zone in &settings.zones {
        if see_to_zone(&state.store, &zone.name, &zone.settings).await? {
            made.push(zone);
        }
    }
    // When all are there: each may name any other.
    for zone in made {
        see_to_alternates(&state.store, &zone.name, &zone.settings).await?;
    }
    see_to_workspaces(&state.store).await?;
    see_to_administrator(state, settings).await?;
    for wanted in &settings.enrollments {
        let Some(zone) = state.store.find_zone(&wanted.zone).await? else { continue };
        let token = random_token();
        let hash = hash_token(&token);
        state.store.create_enrollment(&hash.0, wanted.role, Some(zone.id), None, ENROLLMENT_S).await?;
        write_private(&wanted.token_file, &token)?;
    }
    if let Some(wanted) = &settings.certificate {
        write_certificate(&state.deployment.authority, wanted, state.clock.control_now())?;
    }
    Ok(())
}

/// Key and certificate for the front of `meridian up`, which reads them again when they change.
fn write_certificate(
    authority: &Authority,
    wanted: &FurnishCertificate,
    now: Timestamp,
) -> Result<(), BootstrapError> {
    let key = NodeKey::generate()?;
    let issued = authority.issue(&key.request_pem()?, &web_name(NodeId::generate()), &wanted.names, now)?;
    write_private(&wanted.key_file, &key.to_pem())?;
    write_private(&wanted.certificate_file, &issued.certificate_pem)?;
    write_private(&wanted.ca_file, authority.certificate_pem())
}

/// Writes the front's certificate anew at two thirds of its life, for as long as the tasks run.
pub(crate) fn keep_certificate(state: &AppState) {
    let Some(wanted) = state.settings.furnish.as_ref().and_then(|furnish| furnish.certificate.clone()) else {
        return;
    };
    let shared = state.clone();
    let mut issued = state.clock.control_now();
    state.tasks.spawn_until_stop("front certificate", async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = shared.clock.control_now();
            if !renewal_due(issued, now) {
                continue;
            }
            match write_certificate(&shared.deployment.authority, &wanted, now) {
                Ok(()) => issued = now,
                Err(error) => tracing::error!(%error, "the front's certificate could not be renewed"),
            }
        }
    });
}

fn renewal_due(issued: Timestamp, now: Timestamp) -> bool {
    now.duration_since(issued) >= SignedDuration::from_hours(LIFETIME_DAYS * 24 * 2 / 3)
}

/// Makes the zone, or brings up to date what `meridian up` decides anew at each start: how the zone is reached. Says whether it made it.
async fn see_to_zone(store: &Store, name: &str, wanted: &ZoneSettings) -> Result<bool, BootstrapError> {
    let Some(zone) = store.find_zone(name).await? else {
        return match store.create_zone(name, wanted).await {
            Ok(_) => Ok(true),
            Err(error) if error.violates("zones_name_key") => Ok(false),
            Err(error) => Err(error.into()),
        };
    };
    let mut settings = zone.settings.clone();
    settings.upstream_auth_address.clone_from(&wanted.upstream_auth_address);
    settings.private_balancer.clone_from(&wanted.private_balancer);
    settings.proxy_path.clone_from(&wanted.proxy_path);
    if settings != zone.settings {
        store.replace_zone(&zone, name, &settings, &zone.alternates, &zone.labels, None).await?;
    }
    Ok(false)
}

async fn see_to_alternates(store: &Store, name: &str, wanted: &ZoneSettings) -> Result<(), BootstrapError> {
    if wanted.alternate_zones.is_empty() {
        return Ok(());
    }
    let Some(zone) = store.find_zone(name).await? else { return Ok(()) };
    let mut alternates = Vec::new();
    for alternate in &wanted.alternate_zones {
        let found = store.find_zone(alternate).await?;
        let found = found.ok_or_else(|| BootstrapError::Alternate {
            zone: name.to_owned(),
            alternate: alternate.clone(),
        })?;
        alternates.push(found.id);
    }
    store.replace_zone(&zone, name, &zone.settings, &alternates, &zone.labels, None).await?;
    Ok(())
}

async fn see_to_workspaces(store: &Store) -> Result<(), BootstrapError> {
    for shipped in SHIPPED {
        if store.has_workspace(shipped.name).await? {
            continue;
        }
        match store.create_workspace(&shipped.entry(), None).await {
            Err(error) if !error.violates("workspaces_name_key") => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

async fn see_to_administrator(state: &AppState, settings: &FurnishSettings) -> Result<(), BootstrapError> {
    let Some(file) = &settings.admin_password_file else { return Ok(()) };
    if state.store.has_users().await? {
        return Ok(());
    }
    let password = fs::read_to_string(file).map_err(|source| file_error(file, source))?;
    let password = Secret::new(password.trim_end_matches('\n').to_owned());
    let hash = state.passwords.hash(password).await?;
    match state.store.create_user(ADMINISTRATOR, &hash, Role::Admin, false, None).await {
        Ok(_) => match &settings.admin_made_file {
            Some(made) => write_private(made, ADMINISTRATOR),
            None => Ok(()),
        },
        // Another node was faster, with the password that it was given.
        Err(error) if error.violates("users_name") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), BootstrapError> {
    let write = || {
        let _ = fs::remove_file(path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: std::io::Error) -> BootstrapError {
    BootstrapError::File { path: path.display().to_string(), source }
}

/// 100 random bits in four groups of five letters.
#[must_use]
pub fn generated_password() -> String {
    let letters: Vec<char> =
        random_bytes::<20>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fronts_certificate_is_written_anew_well_before_it_ends() {
        meridian_identity::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let wanted = FurnishCertificate {
            names: vec!["localhost".into()],
            certificate_file: file("front.pem"),
            key_file: file("front.key"),
            ca_file: file("ca.pem"),
        };
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let day = |day: i64| start + SignedDuration::from_hours(24 * day);
        let authority = Authority::generate(meridian_ids::DeploymentId::generate(), start).unwrap();
        write_certificate(&authority, &wanted, start).unwrap();
        let first = fs::read(file("front.pem")).unwrap();
        assert!(!renewal_due(start, day(LIFETIME_DAYS * 2 / 3 - 1)));
        assert!(renewal_due(start, day(LIFETIME_DAYS * 2 / 3)));
        write_certificate(&authority, &wanted, day(LIFETIME_DAYS * 2 / 3)).unwrap();
        assert_ne!(fs::read(file("front.pem")).unwrap(), first);
    }
}
