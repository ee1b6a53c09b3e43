//! Who may open streams: the page's origin against the zone's Allow Origin Domain.
//!
//! A missing Origin is a program, not a page, and allowed: a page cannot leave it out. `$request_host$` compares hosts without
//! ports. A setting that names a scheme or a port means them.

use http::{HeaderMap, Uri, header};

use crate::Refusal;

const REQUEST_HOST: &str = "$request_host$";

/// The host that the browser asked for, without port, lower case: a DNS name or an address, fit for a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHost(String);

impl RequestHost {
    /// Reads the one Host header.
    ///
    /// # Errors
    /// When there is none, more than one, or it is no host.
    pub fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        const WRONG: Refusal = Refusal::Malformed("it needs exactly one Host header");
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(WRONG) };
        let text = value.to_str().map_err(|_| WRONG)?;
        let authority: http::uri::Authority = text.parse().map_err(|_| WRONG)?;
        let host = authority.host();
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || text.contains('@') || !host.bytes().all(fit) {
            return Err(WRONG);
        }
        Ok(Self(host.to_ascii_lowercase()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Puts the host in the place of `$request_host$`.
    #[must_use]
    pub fn fill(&self, address: &str) -> String {
        address.replace(REQUEST_HOST, &self.0)
    }
}

/// The setting `allow_origin_domain`, filled in for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin {
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
}

impl AllowedOrigin {
    /// `None` when the setting is not understood: then no page is allowed.
    #[must_use]
    pub fn new(setting: &str, host: &RequestHost) -> Option<Self> {
        let filled = host.fill(setting.trim());
        let (scheme, rest) = match filled.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, filled.as_str()),
        };
        let authority: http::uri::Authority = rest.trim_end_matches('/').parse().ok()?;
        Some(Self { scheme, host: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
    }

    fn allows(&self, origin: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (origin.scheme_str(), origin.host()) else { return false };
        let standard = if scheme == "https" { 443 } else { 80 };
        self.scheme.as_deref().is_none_or(|wanted| wanted == scheme)
            && host.eq_ignore_ascii_case(&self.host)
            && self.port.is_none_or(|wanted| wanted == origin.port_u16().unwrap_or(standard))
    }
}

/// Judges a request's Origin.
pub(crate) fn check(headers: &HeaderMap, setting: &str, host: &RequestHost) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(Refusal::Origin);
    }
    let origin = value.to_str().ok().and_then(read_origin).ok_or(Refusal::Origin)?;
    let allowed = AllowedOrigin::new(setting, host).ok_or(Refusal::Origin)?;
    if allowed.allows(&origin) { Ok(()) } else { Err(Refusal::Origin) }
}

/// An origin is a scheme and an authority and nothing else (RFC 6454 §6.1); `null` is none.
fn read_origin(text: &str) -> Option<Uri> {
    let (scheme, rest) = text.split_once("://")?;
    if !matches!(scheme, "http" | "https") || rest.contains(['/', '@', '?', '#', ' ', ',']) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn judge(setting: &str, host: &str, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let host = RequestHost::read(&headers).unwrap();
        check(&headers, setting, &host).is_ok()
    }

    #[test]
    fn the_host_asked_for_is_compared_without_ports() {
        let asked = "Work.Example.org:8443";
        for origin in ["https://work.example.org", "http://work.example.org:8080", "https://WORK.example.org"]
        {
            assert!(judge("$request_host$", asked, &[origin]), "{origin}");
        }
        for origin in [
            "https://evil.example.org",
            "https://work.example.org.evil.org",
            "https://xwork.example.org",
            "null",
            "",
            "file://",
            "ftp://work.example.org",
            "chrome-extension://work.example.org",
            "https://work.example.org@evil.org",
            "https://evil.org/work.example.org",
            "https://work.example.org, https://evil.org",
        ] {
            assert!(!judge("$request_host$", asked, &[origin]), "{origin}");
        }
        assert!(judge("$request_host$", asked, &[]), "no page");
        assert!(!judge("$request_host$", asked, &["https://work.example.org"; 2]), "two origins");
    }

    #[test]
    fn a_setting_means_the_scheme_and_port_it_names() {
        let judge = |setting, origin| judge(setting, "proxy.example.org", &[origin]);
        assert!(judge("https://work.example.org", "https://work.example.org"));
        assert!(judge("https://work.example.org/", "https://work.example.org:8443"));
        assert!(judge("work.example.org", "http://work.example.org"));
        assert!(judge("https://work.example.org:443", "https://work.example.org"));
        assert!(!judge("https://work.example.org", "http://work.example.org"));
        assert!(!judge("https://work.example.org:443", "https://work.example.org:444"));
        assert!(!judge("https://work.example.org", "https://proxy.example.org"));
        assert!(!judge("", "https://work.example.org"), "no setting allows no page");
        assert!(judge("https://[::1]", "https://[::1]:99"));
    }

    #[test]
    fn a_host_header_is_one_and_a_host() {
        let read = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            RequestHost::read(&headers)
        };
        assert_eq!(read(&["A.b:1"]).unwrap().as_str(), "a.b");
        assert_eq!(read(&["[::1]:80"]).unwrap().fill("https://$request_host$:9"), "https://[::1]:9");
        for hosts in [&[][..], &["a", "a"], &[""], &["u@a"], &["a/b"], &["a b"], &["a%2fb"]] {
            assert!(read(hosts).is_err(), "{hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_same_host_is_ever_allowed(origin in "(https?://)?[a-z.@:/\\[\\]0-9-]{0,30}") {
            let value = HeaderValue::from_str(&origin).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("a.example"));
            headers.insert(header::ORIGIN, value);
            let host = RequestHost::read(&headers).unwrap();
            if check(&headers, "$request_host$", &host).is_ok() {
                let uri: Uri = origin.parse().unwrap();
                prop_assert_eq!(uri.host(), Some("a.example"));
            }
        }
    }
}
