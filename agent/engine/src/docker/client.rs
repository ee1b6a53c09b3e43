//! Calls to the Docker Engine, each with a limit, and what their failures mean.

use std::{future::Future, path::PathBuf, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use tokio::{sync::OnceCell, time::timeout};

use crate::EngineError;

pub(super) struct Client {
    socket: PathBuf,
    wait: Duration,
    /// Made when the engine first answers: the version that both speak has to be agreed on.
    docker: OnceCell<Docker>,
}

impl Client {
    pub(super) fn new(socket: PathBuf, wait: Duration) -> Self {
        Self { socket, wait, docker: OnceCell::new() }
    }

    pub(super) async fn connected(&self) -> Result<Docker, EngineError> {
        let connect = self.docker.get_or_try_init(|| async {
            let path = self.socket.to_string_lossy();
            Docker::connect_with_unix(&path, self.wait.as_secs().max(1), API_DEFAULT_VERSION)?
                .negotiate_version()
                .await
        });
        match timeout(self.wait, connect).await {
            Ok(Ok(docker)) => Ok(docker.clone()),
            Ok(Err(error)) => Err(EngineError::Unavailable(words(&error))),
            Err(_) => Err(self.slow("its version")),
        }
    }

    /// Makes one call. `what` says in words what was asked for.
    pub(super) async fn call<T, F, R>(&self, what: &str, ask: F) -> Result<T, EngineError>
    where
        F: FnOnce(Docker) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let docker = self.connected().await?;
        match timeout(self.wait, ask(docker)).await {
            Ok(answer) => answer.map_err(|error| judge(&error)),
            Err(_) => Err(self.slow(what)),
        }
    }

    /// The same, where the thing may not be there.
    pub(super) async fn find<T, F, R>(&self, what: &str, ask: F) -> Result<Option<T>, EngineError>
    where
        F: FnOnce(Docker) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let docker = self.connected().await?;
        match timeout(self.wait, ask(docker)).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            // 304: it is so already.
            Ok(Err(Error::DockerResponseServerError { status_code: 404 | 304, .. })) => Ok(None),
            Ok(Err(error)) => Err(judge(&error)),
            Err(_) => Err(self.slow(what)),
        }
    }

    fn slow(&self, what: &str) -> EngineError {
        EngineError::Unavailable(format!("{what} did not come within {} seconds", self.wait.as_secs()))
    }
}

/// An answer of the engine's is a refusal; none is an engine that is away.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enum: all its others are failures of the connection"
)]
pub(super) fn judge(error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code: 503, .. } => EngineError::Unavailable(words(error)),
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            EngineError::Refused(message.trim().to_owned())
        }
        _ => EngineError::Unavailable(words(error)),
    }
}

/// An error with its causes, on one line.
fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let further = error.to_string();
        if !text.contains(&further) {
            text = format!("{text}: {further}");
        }
        cause = error.source();
    }
    text
}
