//! Requests to the Web App: one pool of connections over all its nodes, bodies streamed both ways.

use std::{io, net::IpAddr, sync::Arc};

use http::{
    Request, Response, Uri, Version,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    answer::{Body, Missing},
    backends::Backends,
    bounds::{ANSWER_WAIT, MAX_HEAD_BYTES},
    forward::{drop_hop_by_hop, set_forwarded},
};

/// Stands for whichever node is dialled; it never leaves the process.
const AUTHORITY: &str = "web";

type Dial = tower::util::BoxCloneSyncService<Uri, TokioIo<TcpStream>, io::Error>;

pub(crate) struct Web {
    client: Client<Dial, Incoming>,
}

impl Web {
    pub(crate) fn new(nodes: Arc<Backends>) -> Self {
        let dial = tower::service_fn(move |_: Uri| {
            let nodes = nodes.clone();
            async move { nodes.dial().await.map(TokioIo::new) }
        });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(Dial::new(dial));
        Self { client }
    }

    /// Hands a request on and the answer back. The answer's body may take as long as it likes.
    pub(crate) async fn answer(
        &self,
        mut request: Request<Incoming>,
        client: IpAddr,
        secure: bool,
    ) -> Response<Body> {
        drop_hop_by_hop(request.headers_mut());
        set_forwarded(request.headers_mut(), client, secure);
        let path = request.uri().path_and_query().cloned();
        let Some(uri) = path.and_then(internal_uri) else { return Missing::Malformed.answer() };
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        match timeout(ANSWER_WAIT, self.client.request(request)).await {
            Ok(Ok(mut response)) => {
                drop_hop_by_hop(response.headers_mut());
                *response.version_mut() = Version::HTTP_11;
                response.map(Either::Left)
            }
            Ok(Err(error)) if error.is_connect() => Missing::WebAway.answer(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a Web App node broke a request off");
                Missing::Broken.answer()
            }
            Err(_) => Missing::WebSilent.answer(),
        }
    }
}

fn internal_uri(path: PathAndQuery) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static(AUTHORITY));
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}
