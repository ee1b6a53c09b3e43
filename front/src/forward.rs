//! What of a message's head is handed on, and what the front says about where it came from. Pure.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that are between two neighbours only (RFC 9110 §7.6.1), besides those that Connection names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Other ways to say the same, which nobody may smuggle in.
const IMPOSTORS: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
];

/// Takes out what is not to be handed on.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Says where a request came from, in place of whatever the client said.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, client: IpAddr, secure: bool) {
    for name in &IMPOSTORS {
        headers.remove(name);
    }
    let scheme = HeaderValue::from_static(if secure { "https" } else { "http" });
    headers.insert(FORWARDED_PROTO, scheme);
    headers.remove(FORWARDED_FOR);
    if let Ok(address) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, address);
    }
    match headers.get(header::HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
}

/// Whether a request or an answer asks for another protocol.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let lists_upgrade = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    lists_upgrade && headers.contains_key(header::UPGRADE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_is_between_neighbours_goes_no_further() {
        let mut found = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("cookie", "stays"),
        ]);
        drop_hop_by_hop(&mut found);
        assert_eq!(found, headers(&[("cookie", "stays")]));
    }

    #[test]
    fn a_client_cannot_say_where_it_comes_from() {
        let mut found = headers(&[
            ("host", "work.example.org"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-proto", "gopher"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        set_forwarded(&mut found, "::ffff:192.0.2.1".parse().unwrap(), true);
        let expected = headers(&[
            ("host", "work.example.org"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "work.example.org"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn an_upgrade_says_so_twice() {
        assert!(is_upgrade(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])));
        assert!(!is_upgrade(&headers(&[("upgrade", "websocket")])));
        assert!(!is_upgrade(&headers(&[("connection", "upgrade")])));
    }
}
