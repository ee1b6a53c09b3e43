//! Opening a path: which entry of the zone, by which ticket or pass.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        http::{Uri, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

use crate::{site::resolve, trust::Trust};

/// An entry that has not opened the WebSocket within this time is passed over while there is another to try.
const PASS_OVER_AFTER: Duration = Duration::from_millis(2500);
/// The last one is waited for longer.
const OPEN_WITHIN: Duration = Duration::from_secs(8);

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// An open path, and the entry that it goes through.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    pub(crate) address: SocketAddr,
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
pub(crate) async fn open(way: &Way, trust: &Trust, suspect: Option<SocketAddr>) -> Result<Opened> {
    let entries = std::iter::once(&way.url).chain(&way.alternates).map(|url| entries(url, suspect));
    let entries: Vec<_> = entries.collect::<Result<Vec<_>>>()?.concat();
    let mut trouble = None;
    for (index, (url, address)) in entries.iter().enumerate() {
        let limit = if index + 1 == entries.len() { OPEN_WITHIN } else { PASS_OVER_AFTER };
        match timeout(limit, open_one(url, *address, &way.protocols, trust)).await {
            Ok(Ok(socket)) => return Ok(Opened { socket, address: *address }),
            Ok(Err(error)) => trouble = Some(error),
            Err(_) => trouble = Some(anyhow::anyhow!("the entry did not answer within {limit:?}")),
        }
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => bail!("there is no entry to try"),
    }
}

/// The addresses behind one URL, `suspect` last.
fn entries(url: &str, suspect: Option<SocketAddr>) -> Result<Vec<(String, SocketAddr)>> {
    let parsed: Uri = url.parse()?;
    let host = parsed.host().context("an address without a host")?;
    let port = parsed.port_u16().unwrap_or(443);
    let found = host.parse::<IpAddr>().map_or_else(|_| resolve(host), |address| vec![address]);
    let mut addresses: Vec<_> = found.into_iter().map(|address| SocketAddr::from((address, port))).collect();
    addresses.sort_by_key(|address| Some(*address) == suspect);
    Ok(addresses.into_iter().map(|address| (url.to_owned(), address)).collect())
}

async fn open_one(url: &str, address: SocketAddr, protocols: &[String], trust: &Trust) -> Result<Socket> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.join(", ").parse()?);
    let name = request.uri().host().context("an address without a host")?.to_owned();
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(trust.tls()).connect(ServerName::try_from(name)?, stream).await?;
    let (socket, answer) = match client_async(request, stream).await {
        Err(Error::Http(refusal)) => {
            let body = refusal.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            bail!("{}: {body}", refusal.status());
        }
        opened => opened?,
    };
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
