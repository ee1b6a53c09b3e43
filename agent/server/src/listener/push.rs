//! The control plane's push: an update that comes sooner than the watch would bring it. A hint, taken as any other update.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use meridian_wire::Update;
use tokio::time::timeout;

use super::Front;
use crate::refusal::Refusal;

const MAX_BODY_BYTES: usize = 8 << 20;
const BODY_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn take(
    request: Request<Incoming>,
    front: &Front,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let body = timeout(BODY_LIMIT, Limited::new(request.into_body(), MAX_BODY_BYTES).collect()).await;
    let Ok(Ok(body)) = body else { return Err(Refusal::Malformed("the body is too long or too late")) };
    let update: Update = serde_json::from_slice(&body.to_bytes())
        .map_err(|_| Refusal::Malformed("the body is not an update"))?;
    front.client.admit(&update).await.map_err(|error| Refusal::Update(error.to_string()))?;
    // A full queue means that as much is coming as can be taken; the heartbeat brings this too.
    front.updates.try_send(update).map_err(|_| Refusal::Busy)?;
    Ok(no_content())
}

pub(super) fn no_content() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
