//! The viewer's address: the socket's, or what a trusted proxy in front says it is.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Addresses whose X-Forwarded-For counts, and whose PROXY headers are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Vec<Network>);

#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Trusted {
    /// Reads addresses and CIDR blocks; the first that is neither comes back as the error.
    pub(crate) fn read(texts: &[String]) -> Result<Self, String> {
        texts
            .iter()
            .map(|text| Network::read(text).ok_or_else(|| text.clone()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The last address on the way that is not trusted.
    pub(crate) fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.holds(peer) {
            return peer;
        }
        let lines: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let mut nearest = peer;
        for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = text.trim().parse::<IpAddr>() else { return nearest };
            nearest = address.to_canonical();
            if !self.holds(nearest) {
                return nearest;
            }
        }
        nearest
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse().ok()?, prefix.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, bits_of(address).1)
            }
        };
        (prefix <= bits_of(address).1).then_some(Self { address, prefix })
    }

    fn holds(self, address: IpAddr) -> bool {
        let ((ours, width), (theirs, other)) = (bits_of(self.address), bits_of(address));
        width == other && (self.prefix == 0 || (ours ^ theirs) >> (width - self.prefix) == 0)
    }
}

fn bits_of(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn address(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let texts: Vec<String> = trusted.iter().map(|text| (*text).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        Trusted::read(&texts).unwrap().client_address(peer, &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_viewer_is() {
        assert_eq!(address(&[], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(address(&["10.0.0.0/8"], "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(address(&["10.0.0.0/8"], "::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(address(&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(address(&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(address(&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6, rubbish"]), "10.1.2.3");
        assert_eq!(address(&["::/0", "0.0.0.0/0"], "10.1.2.3", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(address(&["2001:db8::/32"], "2001:db9::1", &["10.0.0.1"]), "2001:db9::1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/", "::/129"] {
            assert_eq!(Trusted::read(&[text.to_owned()]).err().as_deref(), Some(text));
        }
    }
}
