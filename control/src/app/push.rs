//! The push: desired state straight to its agent, through the zone's private balancer, right after it was committed.
//!
//! Haste only. A push that fails, comes late or twice changes nothing: the watch and the heartbeat bring the same, and the agent
//! refuses what is older than it knows. So nothing is repeated here, and nothing waits for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use meridian_identity::{NodeName, NodeTls};
use meridian_model::NodeRole;
use meridian_runtime::Tasks;
use meridian_wire::agent_paths;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::TlsConnector;

use crate::store::sessions::Push;

/// From the dial to the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Pushes on their way at once; more are left to the watch.
const AT_ONCE: usize = 256;

/// Why a push did not arrive.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the agent cannot be reached")]
    Dial(#[from] std::io::Error),
    #[error("the connection to the agent broke")]
    Http(#[from] hyper::Error),
    #[error("the agent answered {0}")]
    Refused(http::StatusCode),
    #[error("the push could not be put into a request")]
    Request,
    #[error("the agent did not answer in time")]
    Silent,
}

/// Pushes. Clones share the bound.
#[derive(Clone)]
pub struct Pusher {
    tls: NodeTls,
    places: Arc<Semaphore>,
    tasks: Tasks,
}

impl Pusher {
    #[must_use]
    pub fn new(tls: NodeTls, tasks: Tasks) -> Self {
        Self { tls, places: Arc::new(Semaphore::new(AT_ONCE)), tasks }
    }

    /// Sends it in the background.
    pub fn push(&self, push: Push) {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        if push.address.is_empty() {
            return;
        }
        let tls = self.tls.clone();
        self.tasks.spawn_until_stop("push", async move {
            let _place = place;
            let sent = timeout(LIMIT, send(&tls, &push)).await.unwrap_or(Err(PushError::Silent));
            if let Err(error) = sent {
                tracing::debug!(%error, peer = %push.node_id, "a push did not arrive; the watch brings the same");
            }
        });
    }
}

async fn send(tls: &NodeTls, push: &Push) -> Result<(), PushError> {
    let name = NodeName { node: push.node_id, role: NodeRole::Agent, zone: Some(push.zone_id) }.to_string();
    let server = ServerName::try_from(name.clone()).map_err(|_| PushError::Request)?;
    let socket = TcpStream::connect(&push.address).await?;
    socket.set_nodelay(true)?;
    let stream = TlsConnector::from(tls.client_config()).connect(server, socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(agent_paths::PUSH)
        .header(header::HOST, name)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(push.update.to_string())))
        .map_err(|_| PushError::Request)?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(PushError::Refused(answer.status())) }
    };
    tokio::select! {
        answered = exchange => answered,
        ended = connection => ended.map_err(PushError::from).and(Err(PushError::Silent)),
    }
}
