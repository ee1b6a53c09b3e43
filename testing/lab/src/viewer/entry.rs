//! Opening a path: which entry of the zone, by which ticket or pass.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{client::IntoClientRequest, http::header::SEC_WEBSOCKET_PROTOCOL},
};

/// An entry that has not opened the WebSocket within this time is passed over while there is another to try.
const PASS_OVER_AFTER: Duration = Duration::from_millis(2500);
/// The last one is waited for longer.
const OPEN_WITHIN: Duration = Duration::from_secs(8);

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// An open path, and the entry that it goes through.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    pub(crate) url: String,
}

/// What `connect` answers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) alternates: Vec<String>,
    pub(crate) resume_protocols: Vec<String>,
}

/// The way back to a stream that was attached once: tried before a new ticket is asked for. When it does not lead there, the two
/// take turns.
#[derive(Debug, Default)]
pub(crate) struct WayBack {
    latest: Option<Way>,
    attached: bool,
    tried: bool,
}

impl WayBack {
    pub(crate) fn remember(&mut self, way: Way) {
        self.latest = Some(way);
    }

    pub(crate) fn arrived(&mut self) {
        (self.attached, self.tried) = (true, false);
    }

    /// What to open the next path with; none when a ticket is to be asked for.
    pub(crate) fn next(&mut self) -> Option<Way> {
        let usable = self.attached && !self.tried;
        let way = self.latest.as_ref().filter(|way| usable && !way.resume_protocols.is_empty()).cloned();
        self.tried = way.is_some();
        way.map(|way| Way { protocols: way.resume_protocols.clone(), ..way })
    }
}

/// Opens a path through the first entry that answers, `suspect` last.
pub(crate) async fn open(way: &Way, suspect: Option<&str>) -> Result<Opened> {
    let mut urls: Vec<&str> = std::iter::once(&way.url).chain(&way.alternates).map(String::as_str).collect();
    urls.sort_by_key(|url| Some(*url) == suspect);
    let mut trouble = None;
    for (index, url) in urls.iter().enumerate() {
        let limit = if index + 1 == urls.len() { OPEN_WITHIN } else { PASS_OVER_AFTER };
        match timeout(limit, open_one(url, &way.protocols)).await {
            Ok(Ok(socket)) => return Ok(Opened { socket, url: (*url).to_owned() }),
            Ok(Err(error)) => trouble = Some(error),
            Err(_) => trouble = Some(anyhow::anyhow!("the entry did not answer within {limit:?}")),
        }
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => bail!("there is no entry to try"),
    }
}

async fn open_one(url: &str, protocols: &[String]) -> Result<Socket> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.join(", ").parse()?);
    let authority = request.uri().authority().context("an address without a host")?.as_str().to_owned();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (socket, answer) = client_async(request, stream).await?;
    let chosen = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|name| name.as_bytes());
    if chosen != Some(b"meridian.v1") {
        bail!("another subprotocol was chosen");
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pass_and_a_ticket_take_turns_until_one_of_them_leads_back() {
        let way = Way {
            url: "ws://127.0.0.1/".into(),
            protocols: vec!["ticket".into()],
            alternates: Vec::new(),
            resume_protocols: vec!["pass".into()],
        };
        let mut back = WayBack::default();
        back.remember(way);
        assert!(back.next().is_none());
        back.arrived();
        let protocols = |way: Option<Way>| way.map(|way| way.protocols);
        assert_eq!(protocols(back.next()), Some(vec!["pass".into()]));
        assert_eq!(protocols(back.next()), None);
        assert_eq!(protocols(back.next()), Some(vec!["pass".into()]));
    }
}
