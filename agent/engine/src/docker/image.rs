//! Images: those that are there, and those that a registry has.

use std::{collections::HashMap, time::Duration};

use bollard::{
    auth::DockerCredentials,
    models::CreateImageInfo,
    query_parameters::{CreateImageOptionsBuilder, ListImagesOptions},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::client::{Client, judge};
use crate::{EngineError, Image, Step};

/// How long a registry may stay silent in the middle of an image.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn list(client: &Client) -> Result<Vec<Image>, EngineError> {
    let images = client
        .call(
            "the list of images",
            |docker| async move { docker.list_images(None::<ListImagesOptions>).await },
        )
        .await?;
    let tagged = images.into_iter().flat_map(|image| {
        let id = image.id;
        image.repo_tags.into_iter().map(move |reference| Image { reference, id: id.clone() })
    });
    Ok(tagged.filter(|image| !image.reference.starts_with("<none>")).collect())
}

/// Sees to it that an image is on the node.
pub(super) async fn ensure(
    client: &Client,
    reference: &str,
    steps: &(dyn Fn(Step) + Send + Sync),
) -> Result<(), EngineError> {
    steps(Step::Image { message: format!("looking for {reference}"), percent: None });
    let known =
        client.find("an image", |docker| async move { docker.inspect_image(reference).await }).await?;
    if known.is_some() {
        return Ok(());
    }
    if !names_registry(reference) {
        return Err(EngineError::Refused(format!(
            "the image {reference} is not on this node, and its name says no registry to load it from: build it there, or name it with its registry"
        )));
    }
    pull(client, reference, steps).await.map_err(|error| match error {
        EngineError::Refused(reason) => EngineError::Refused(format!(
            "the image {reference} is not on this node and could not be loaded: {reason}"
        )),
        unavailable @ EngineError::Unavailable(_) => unavailable,
    })
}

/// Whether the name begins with a registry's host. Names without one are the node's own: the engine would look for them in a public
/// registry, where anyone may have taken the name.
fn names_registry(reference: &str) -> bool {
    reference.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

async fn pull(
    client: &Client,
    reference: &str,
    steps: &(dyn Fn(Step) + Send + Sync),
) -> Result<(), EngineError> {
    let docker = client.connected().await?;
    let options = CreateImageOptionsBuilder::new().from_image(reference).build();
    let mut answers = std::pin::pin!(docker.create_image(Some(options), None, None::<DockerCredentials>));
    let mut layers = Layers::default();
    loop {
        match timeout(SILENCE_LIMIT, answers.next()).await {
            Ok(Some(Ok(info))) => {
                if let Some(problem) = info.error_detail.as_ref().and_then(|detail| detail.message.clone()) {
                    return Err(EngineError::Refused(problem));
                }
                layers.note(&info);
                steps(Step::Image { message: format!("loading {reference}"), percent: layers.percent() });
            }
            Ok(Some(Err(error))) => return Err(judge(&error)),
            Ok(None) => return Ok(()),
            Err(_) => return Err(EngineError::Refused("the registry fell silent".into())),
        }
    }
}

/// How far each layer's download has come.
#[derive(Default)]
struct Layers {
    bytes: HashMap<String, (i64, i64)>,
}

impl Layers {
    fn note(&mut self, info: &CreateImageInfo) {
        let detail = info.progress_detail.as_ref();
        if let (Some(id), Some((Some(current), Some(total)))) =
            (&info.id, detail.map(|detail| (detail.current, detail.total)))
            && info.status.as_deref() == Some("Downloading")
        {
            self.bytes.insert(id.clone(), (current, total));
        }
    }

    fn percent(&self) -> Option<u8> {
        let (current, total) =
            self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        (total > 0).then(|| u8::try_from((current * 100 / total).clamp(0, 100)).unwrap_or(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_a_host_names_a_registry() {
        for reference in ["registry.example.org/a:1", "localhost/a", "localhost:5000/a", "10.0.0.1:5000/a/b"]
        {
            assert!(names_registry(reference), "{reference}");
        }
        for reference in ["meridian/desktop:dev", "debian", "debian:12", "a/b/c"] {
            assert!(!names_registry(reference), "{reference}");
        }
    }
}
