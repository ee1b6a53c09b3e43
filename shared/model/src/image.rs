//! References of images, such as `registry.example.org:5000/team/desktop:1` or `…/desktop@sha256:…`.
//!
//! The first part is a registry's host when it looks like one. A name without a host is the node's own: an engine would look for it in a public
//! registry, where anyone may have taken the name.

use serde::{Deserialize, Serialize};

/// What becomes of a launch where an agent does not have the workspace's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImagePolicy {
    /// The agent is passed over: the workspace starts at once somewhere else, or nowhere.
    #[default]
    Elsewhere,
    /// The agent is taken where none that has the image fits, and loads it; the session waits.
    Wait,
}

impl ImagePolicy {
    pub const ALL: [Self; 2] = [Self::Elsewhere, Self::Wait];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Wait => "wait",
        }
    }
}

/// A longer one is no reference.
pub const MAX_REFERENCE_BYTES: usize = 512;
const HEX_DIGITS: usize = 64;

/// A reference that names exactly one image: with a tag, a digest, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReference<'a> {
    text: &'a str,
    name: &'a str,
    digest: Option<&'a str>,
}

impl<'a> ImageReference<'a> {
    /// Reads a reference; the error says what is wrong with it, fit to follow its name.
    ///
    /// # Errors
    /// When it is no reference, or names neither a tag nor a digest.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > MAX_REFERENCE_BYTES {
            return Err("must be an image reference of at most 512 bytes");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("must end in a whole digest: @sha256: and 64 hexadecimal digits");
        }
        // A colon after the last slash begins a tag; one before belongs to a host's port.
        let from = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[from..].split_once(':') {
            Some((last, tag)) => (&rest[..from + last.len()], Some(tag)),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("has a tag that is none: it has at most 128 of a-z, A-Z, 0-9 and . _ -");
        }
        if !is_name(name) {
            return Err("must be an image reference, such as registry.example.org/desktop:1");
        }
        if tag.is_none() && digest.is_none() {
            return Err("must say which: with a tag, such as :1, or a digest");
        }
        Ok(Self { text, name, digest })
    }

    /// The registry's host, with its port if it has one.
    #[must_use]
    pub fn registry(&self) -> Option<&'a str> {
        registry_of(self.name)
    }

    /// The name without tag and digest.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// The same as engines list it: those of Docker's public registry are listed without its host.
    #[must_use]
    pub fn familiar(&self) -> &'a str {
        let short = self.text.strip_prefix("docker.io/");
        short.map_or(self.text, |short| short.strip_prefix("library/").unwrap_or(short))
    }
}

/// The registry's host that a name begins with.
#[must_use]
pub fn registry_of(name: &str) -> Option<&str> {
    name.split_once('/').map(|(host, _)| host).filter(|host| is_registry(host))
}

/// Whether a text reads as a registry's host, with or without a port.
#[must_use]
pub fn is_registry(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let begins_and_ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (host.contains(['.', ':']) || host == "localhost")
        && host.len() <= 255
        && name.bytes().all(fits)
        && begins_and_ends(name.as_bytes().first())
        && begins_and_ends(name.as_bytes().last())
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == HEX_DIGITS && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_tag(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with(['.', '-'])
}

fn is_name(name: &str) -> bool {
    let path = match registry_of(name) {
        Some(host) => &name[host.len() + 1..],
        None => name,
    };
    path.split('/').all(|part| {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        part.bytes().all(fits) && ends(part.as_bytes().first()) && ends(part.as_bytes().last())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_reference_has_a_host_only_where_its_name_begins_with_one() {
        for (reference, host) in [
            ("registry.example.org/a:1", Some("registry.example.org")),
            ("localhost/a:1", Some("localhost")),
            ("localhost:5000/a:1", Some("localhost:5000")),
            ("10.0.0.1:5000/a/b:1", Some("10.0.0.1:5000")),
            ("meridian/desktop:dev", None),
            ("debian:12", None),
            ("a/b/c:1", None),
        ] {
            assert_eq!(ImageReference::parse(reference).unwrap().registry(), host, "{reference}");
        }
    }

    #[test]
    fn what_names_no_one_image_is_refused() {
        let cut = &DIGEST[..DIGEST.len() - 1];
        let upper = format!("a@{}", DIGEST.to_uppercase());
        for wrong in [
            "",
            "debian",
            "registry.example.org/a",
            "a b:1",
            "A:1",
            "a:",
            "a:.1",
            "/a:1",
            "a//b:1",
            "a/:1",
            "a\n:1",
            "a@",
            "a@sha256:12",
            "https://a/b:1",
            "-a:1",
            &format!("a@{cut}"),
            &upper,
            &format!("{}:1", "a".repeat(600)),
        ] {
            assert!(ImageReference::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_found_beside_a_tag_and_the_public_registry_is_not_listed() {
        let text = format!("registry.example.org:5000/a/b:1@{DIGEST}");
        let both = ImageReference::parse(&text).unwrap();
        assert_eq!((both.name(), both.digest()), ("registry.example.org:5000/a/b", Some(DIGEST)));
        for (text, listed) in [
            ("docker.io/library/debian:12", "debian:12"),
            ("docker.io/acme/desktop:1", "acme/desktop:1"),
            ("registry.example.org/a:1", "registry.example.org/a:1"),
        ] {
            assert_eq!(ImageReference::parse(text).unwrap().familiar(), listed);
        }
    }
}
