//! Opening a path: which entry of the zone, by which ticket or pass.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error,
        client::IntoClientRequest,
        http::{Uri, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

use crate::{chance::Chance, site::resolve, trust::Trust};

/// A second dial goes out after between one and four times this, a third after twice as long, and so on.
const BESIDE_AFTER: Duration = Duration::from_millis(250);
/// Dials beyond one for each entry.
const MAX_REPEATS: usize = 3;
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

/// How often the way back is tried before a ticket is asked for, as the console does (console/app/stream/entries.ts).
const TRIES_BEFORE_TICKET: u8 = 2;

/// The way back to a stream that was attached once: tried before a new ticket is asked for. When it does not lead there, a ticket is asked
/// for in between.
#[derive(Debug, Default)]
pub(crate) struct WayBack {
    latest: Option<Way>,
    attached: bool,
    tries: u8,
}

impl WayBack {
    pub(crate) fn remember(&mut self, way: Way) {
        self.latest = Some(way);
    }

    pub(crate) fn arrived(&mut self) {
        (self.attached, self.tries) = (true, 0);
    }

    /// What to open the next path with; none when a ticket is to be asked for.
    pub(crate) fn next(&mut self) -> Option<Way> {
        let usable = self.attached && self.tries < TRIES_BEFORE_TICKET;
        let way = self.latest.as_ref().filter(|way| usable && !way.resume_protocols.is_empty()).cloned();
        self.tries = if way.is_some() { self.tries + 1 } else { 0 };
        way.map(|way| Way { protocols: way.resume_protocols.clone(), ..way })
    }
}

/// Opens a path through the first entry that answers, `suspect` last. Dials go out beside one another, each after a longer and random wait, as
/// the console's do (console/app/stream/dial.ts): to entries that were not tried yet, then once more to those that are silent.
pub(crate) async fn open(
    way: &Way,
    trust: &Trust,
    suspect: Option<SocketAddr>,
    chance: &mut Chance,
) -> Result<Opened> {
    let entries = std::iter::once(&way.url).chain(&way.alternates).map(|url| entries(url, suspect));
    let entries: Vec<_> = entries.collect::<Result<Vec<_>>>()?.concat();
    let mut refused = None;
    let dialled = dial(&entries, way, trust, chance, &mut refused);
    match timeout(OPEN_WITHIN, dialled).await {
        Ok(dialled) => dialled,
        // What one entry said tells more than that another said nothing.
        Err(_) => Err(refused.unwrap_or_else(|| anyhow::anyhow!("no entry answered within {OPEN_WITHIN:?}"))),
    }
}

async fn dial(
    entries: &[(String, SocketAddr)],
    way: &Way,
    trust: &Trust,
    chance: &mut Chance,
    refused: &mut Option<anyhow::Error>,
) -> Result<Opened> {
    let first = entries.first().context("there is no entry to try")?;
    let attempt = |(url, address): &(String, SocketAddr)| open_one(url.clone(), *address, way, trust);
    let mut dials: FuturesUnordered<_> = std::iter::once(attempt(first)).collect();
    let (mut untried, mut again) = (entries[1..].iter(), entries.iter().cycle().take(MAX_REPEATS));
    let mut wait = BESIDE_AFTER;
    loop {
        let beside = wait + wait.mul_f64(3.0 * chance.part());
        tokio::select! {
            Some(opened) = dials.next() => match opened {
                Ok(opened) => return Ok(opened),
                // One that refuses is left at once for the next.
                Err(error) => match untried.next() {
                    Some(entry) => dials.push(attempt(entry)),
                    None if dials.is_empty() => return Err(error),
                    None => *refused = Some(error),
                },
            },
            () = sleep(beside) => {
                wait *= 2;
                match untried.next().or_else(|| again.next()) {
                    Some(entry) => dials.push(attempt(entry)),
                    // The limit of all of them together ends the wait.
                    None => wait = OPEN_WITHIN,
                }
            }
        }
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

async fn open_one(url: String, address: SocketAddr, way: &Way, trust: &Trust) -> Result<Opened> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, way.protocols.join(", ").parse()?);
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
    Ok(Opened { socket, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pass_is_tried_twice_before_a_ticket_until_one_of_them_leads_back() {
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
        for _ in 0..2 {
            assert_eq!(protocols(back.next()), Some(vec!["pass".into()]));
            assert_eq!(protocols(back.next()), Some(vec!["pass".into()]));
            assert_eq!(protocols(back.next()), None);
        }
    }
}
