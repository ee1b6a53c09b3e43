//! Images: those that are there, and those that come from a registry or an archive.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::{
    Docker,
    auth::DockerCredentials,
    body_try_stream,
    errors::Error,
    models::{CreateImageInfo, ImageSummary},
    query_parameters::{CreateImageOptionsBuilder, ImportImageOptions, ListImagesOptions},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use meridian_model::ImageReference;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::client::Client;
use crate::{EngineError, Image, Loaded, Login, Pull, PullError, Source};

/// How long a registry may stay silent in the middle of an image, or the engine over an archive that it unpacks.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// Reading an archive, in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

pub(super) async fn list(client: &Client) -> Result<Vec<Image>, EngineError> {
    let images = client
        .call(
            "the list of images",
            |docker| async move { docker.list_images(None::<ListImagesOptions>).await },
        )
        .await?;
    Ok(images.iter().flat_map(references).collect())
}

/// An image once for each of its names and each of its digests.
fn references(image: &ImageSummary) -> impl Iterator<Item = Image> {
    let tags = image.repo_tags.iter().filter(|tag| !tag.starts_with("<none>"));
    let digests = image.repo_digests.iter().filter(|digest| !digest.starts_with("<none>"));
    tags.chain(digests).map(|reference| Image {
        reference: reference.clone(),
        id: image.id.clone(),
        digest: digest_of(reference, &image.repo_digests),
        size_bytes: u64::try_from(image.size).unwrap_or_default(),
    })
}

/// The digest that an image has in the registry which the reference names.
fn digest_of(reference: &str, digests: &[String]) -> Option<String> {
    let name = ImageReference::parse(reference).ok()?.name().to_owned();
    digests
        .iter()
        .filter_map(|known| known.split_once('@'))
        .find_map(|(known, digest)| (known == name).then(|| digest.to_owned()))
}

/// Sees to it that an image is on the node, and does not get it.
pub(super) async fn find(client: &Client, reference: &str) -> Result<(), EngineError> {
    let known =
        client.find("an image", |docker| async move { docker.inspect_image(reference).await }).await?;
    match known {
        Some(_) => Ok(()),
        None => Err(EngineError::NoImage(reference.to_owned())),
    }
}

pub(super) async fn pull(
    client: &Client,
    pull: &Pull,
    progress: &(dyn Fn(Loaded) + Send + Sync),
) -> Result<(), PullError> {
    let docker = client.connected().await.map_err(away)?;
    match &pull.source {
        Source::Registry { login } => {
            from_registry(docker, &pull.reference, login.as_ref(), progress).await?
        }
        Source::Archive(path) => from_archive(docker, path, progress).await?,
    }
    verify(client, &pull.reference).await
}

async fn from_registry(
    docker: Docker,
    reference: &str,
    login: Option<&Login>,
    progress: &(dyn Fn(Loaded) + Send + Sync),
) -> Result<(), PullError> {
    let Some(host) = meridian_model::registry_of(reference) else {
        return Err(PullError::Lasting(format!(
            "the image {reference} is not on this node, and its name says no registry to load it from: build it there, load it \
             from an archive, or name it with its registry"
        )));
    };
    let login = login.map(|login| credentials(host, login)).transpose()?;
    let with_login = login.is_some();
    let options = CreateImageOptionsBuilder::new().from_image(reference).build();
    let answers = docker.create_image(Some(options), None, login);
    let mut layers = Layers::default();
    let note = |info: CreateImageInfo| {
        layers.note(&info);
        progress(layers.loaded());
        info.error_detail.and_then(|detail| detail.message)
    };
    read(answers, &format!("the registry {host}"), note)
        .await
        .map_err(|failure| judge(host, with_login, failure))
}

/// The engine takes them in a header that its client spells in another alphabet than the engine reads; the two differ in what few
/// passwords need. One that needs it would be passed over without a word.
fn credentials(host: &str, login: &Login) -> Result<DockerCredentials, PullError> {
    let credentials = DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.expose().clone()),
        serveraddress: Some(host.to_owned()),
        ..DockerCredentials::default()
    };
    let text = serde_json::to_string(&credentials).unwrap_or_default();
    if STANDARD.encode(text).contains(['+', '/']) {
        return Err(PullError::Lasting(format!(
            "the container engine cannot be told this login for {host}: choose a password of letters and digits"
        )));
    }
    Ok(credentials)
}

async fn from_archive(
    docker: Docker,
    path: &Path,
    progress: &(dyn Fn(Loaded) + Send + Sync),
) -> Result<(), PullError> {
    let unreadable = |error: std::io::Error| {
        PullError::Lasting(format!("the archive {} cannot be read: {error}", path.display()))
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let total_bytes = file.metadata().await.map_err(unreadable)?.len();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let body = ReaderStream::with_capacity(file, PIECE_BYTES).inspect_ok(move |piece| {
        counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
    });
    // The engine answers when it has begun to unpack, which may be after all was sent.
    let docker = docker.with_timeout(SILENCE_LIMIT);
    let answers = docker.import_image(ImportImageOptions::default(), body_try_stream(body), None);
    let told = || progress(Loaded { done_bytes: sent.load(Ordering::Relaxed), total_bytes });
    told();
    let note = |info: bollard::models::BuildInfo| {
        told();
        info.error_detail.and_then(|detail| detail.message)
    };
    read(answers, "the container engine", note).await.map_err(|failure| match failure {
        Failure::Said { message, .. } => {
            PullError::Lasting(format!("the archive {} could not be loaded: {message}", path.display()))
        }
        Failure::Broken(message) => PullError::Passing(message),
    })
}

/// How reading the engine's progress failed.
enum Failure {
    /// Somebody refused, in words.
    Said {
        message: String,
        status: Option<u16>,
    },
    Broken(String),
}

/// Reads progress to its end; `note` gives the error that an answer holds.
async fn read<T>(
    answers: impl Stream<Item = Result<T, Error>>,
    who: &str,
    mut note: impl FnMut(T) -> Option<String>,
) -> Result<(), Failure> {
    let mut answers = std::pin::pin!(answers);
    loop {
        match timeout(SILENCE_LIMIT, answers.next()).await {
            Ok(Some(Ok(answer))) => {
                if let Some(message) = note(answer) {
                    return Err(Failure::Said { message, status: None });
                }
            }
            Ok(Some(Err(error))) => return Err(failure(error)),
            Ok(None) => return Ok(()),
            Err(_) => {
                let limit = SILENCE_LIMIT.as_secs();
                return Err(Failure::Broken(format!("{who} said nothing for {limit} seconds")));
            }
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum: all its others are failures of the connection"
)]
fn failure(error: Error) -> Failure {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            Failure::Said { message, status: Some(status_code) }
        }
        Error::DockerStreamError { error: message } => Failure::Said { message, status: None },
        other => Failure::Broken(format!("the container engine broke off: {other}")),
    }
}

/// The engine hands on what the registry said, in words alone.
fn judge(host: &str, with_login: bool, failure: Failure) -> PullError {
    let (message, status) = match failure {
        Failure::Said { message, status } => (message, status),
        Failure::Broken(message) => return PullError::Passing(message),
    };
    let message = message.trim();
    let says = |words: &[&str]| words.iter().any(|word| message.to_lowercase().contains(word));
    if says(&["unauthorized", "access denied", "authentication required", "no basic auth"]) {
        let advice = if with_login {
            "it refuses this zone's login for it: meridian admin images login sets another"
        } else {
            "it may ask for a login, and this zone has none for it: meridian admin images login"
        };
        return PullError::Lasting(format!("the registry {host} does not give it ({message}); {advice}"));
    }
    if status == Some(404) || says(&["manifest unknown", "not found"]) {
        return PullError::Lasting(format!("the registry {host} does not have it: {message}"));
    }
    PullError::Passing(format!("it could not be loaded from the registry {host}: {message}"))
}

/// The image is there under its reference; where that has a digest, with that digest.
async fn verify(client: &Client, reference: &str) -> Result<(), PullError> {
    let known = client
        .find("an image", |docker| async move { docker.inspect_image(reference).await })
        .await
        .map_err(away)?;
    let Some(known) = known else {
        return Err(PullError::Lasting(format!("what was loaded is not {reference}")));
    };
    let wanted = ImageReference::parse(reference).ok().and_then(|reference| reference.digest());
    let digests = known.repo_digests.unwrap_or_default();
    match wanted {
        Some(wanted) if !digests.iter().any(|digest| digest.ends_with(wanted)) => {
            Err(PullError::Lasting(format!("what was loaded does not have the digest {wanted}")))
        }
        Some(_) | None => Ok(()),
    }
}

fn away(error: EngineError) -> PullError {
    PullError::Passing(error.to_string())
}

/// How far each layer's download has come.
#[derive(Default)]
struct Layers {
    bytes: HashMap<String, (u64, u64)>,
}

impl Layers {
    fn note(&mut self, info: &CreateImageInfo) {
        let Some(id) = &info.id else { return };
        match info.status.as_deref() {
            Some("Downloading") => {
                let detail = info.progress_detail.as_ref();
                let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
                if let Some((Some(current), Some(total))) =
                    detail.map(|detail| (number(detail.current), number(detail.total)))
                {
                    self.bytes.insert(id.clone(), (current, total));
                }
            }
            Some("Download complete" | "Pull complete") => {
                if let Some((current, total)) = self.bytes.get_mut(id) {
                    *current = *total;
                }
            }
            Some(_) | None => {}
        }
    }

    fn loaded(&self) -> Loaded {
        let (done_bytes, total_bytes) =
            self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        Loaded { done_bytes, total_bytes }
    }
}

#[cfg(test)]
mod tests {
    use meridian_runtime::Secret;

    use super::*;

    #[test]
    fn a_refusal_lasts_and_a_registry_that_is_away_does_not() {
        let said = |message: &str, status| {
            judge("registry.example.org", false, Failure::Said { message: message.into(), status })
        };
        let lasting = |error: &PullError| matches!(error, PullError::Lasting(_));
        assert!(lasting(&said("Head \"https://…\": unauthorized: authentication required", None)));
        assert!(lasting(&said("pull access denied for a, repository does not exist", Some(404))));
        assert!(lasting(&said("manifest for a:1 not found: manifest unknown", Some(404))));
        assert!(!lasting(&said("dial tcp 10.0.0.1:5000: connect: connection refused", Some(500))));
        assert!(!lasting(&judge("a.b", true, Failure::Broken("it broke off".into()))));
    }

    #[test]
    fn a_login_that_the_engine_would_pass_over_is_refused_without_being_shown() {
        let login = |password: &str| Login { username: "u".into(), password: Secret::new(password.into()) };
        assert!(credentials("registry.example.org", &login("abcdefghijklmnopqrstuvwxyz-0123456789")).is_ok());
        let refused: Vec<_> = (1..4)
            .filter_map(|length| credentials("registry.example.org", &login(&"~".repeat(length))).err())
            .collect();
        assert!(!refused.is_empty());
        assert!(refused.iter().all(|error| !error.to_string().contains('~')), "{refused:?}");
    }

    #[test]
    fn a_digest_is_that_of_the_references_own_registry() {
        let digests = vec!["a.b/x@sha256:1".to_owned(), "c.d/x@sha256:2".to_owned()];
        assert_eq!(digest_of("c.d/x:1", &digests).as_deref(), Some("sha256:2"));
        assert_eq!(digest_of("x:1", &digests), None);
    }

    #[test]
    fn layers_add_up_and_a_complete_one_counts_whole() {
        let info = |id: &str, status: &str, detail: Option<(i64, i64)>| CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: detail.map(|(current, total)| bollard::models::ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        for step in [
            info("a", "Downloading", Some((10, 100))),
            info("b", "Downloading", Some((5, 50))),
            info("a", "Extracting", Some((1, 300))),
            info("a", "Download complete", None),
            info("c", "Already exists", None),
        ] {
            layers.note(&step);
        }
        assert_eq!(layers.loaded(), Loaded { done_bytes: 105, total_bytes: 150 });
    }
}
