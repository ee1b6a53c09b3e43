//! A zone's name, settings and labels.

use std::{collections::BTreeMap, net::IpAddr};

use meridian_model::ZoneSettings;

use super::{MOST_NAMED, Problems};

/// Stands for the host that the browser asked for.
const REQUEST_HOST: &str = "$request_host$";
/// Ways into a zone besides the first: a page tries them one after the other.
const MOST_ALTERNATES: usize = 8;
/// A month: whoever is cut off for longer has other sorrows.
const LONGEST_GRACE_S: u32 = 31 * 24 * 60 * 60;

/// Everything that is wrong with a zone, as far as it can be seen without other zones.
#[must_use]
pub fn check_zone(name: &str, settings: &ZoneSettings, labels: &BTreeMap<String, String>) -> Problems {
    let mut problems = Problems::default();
    if !is_label(name, 40) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        problems.add("zone_name", "must have 1 to 40 of a-z, 0-9 and - (not at its ends)");
    }
    let origin = settings.allow_origin_domain.as_str();
    let origin_host =
        origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or(origin);
    if !is_host_and_port(origin_host) {
        problems.add(
            "allow_origin_domain",
            "must be an origin, such as https://work.example.org, or $request_host$",
        );
    }
    let upstream = settings.upstream_auth_address.as_str();
    let upstream_host = upstream.strip_prefix("https://").or_else(|| upstream.strip_prefix("http://"));
    if !upstream.is_empty() && !upstream_host.is_some_and(|host| is_host_and_port(host.trim_end_matches('/')))
    {
        problems.add(
            "upstream_auth_address",
            "must be the primary's public address, such as https://work.example.org, without a path",
        );
    }
    if settings.proxy_hostname != REQUEST_HOST && !is_host(&settings.proxy_hostname) {
        problems
            .add("proxy_hostname", "must be a host name without scheme, port and path, or $request_host$");
    }
    let path = settings.proxy_path.trim_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    if path.is_empty()
        || path.len() > 128
        || !path.bytes().all(plain)
        || path.contains("//")
        || path.contains("..")
    {
        problems.add("proxy_path", "must have 1 to 128 of a-z, A-Z, 0-9, - _ . ~ and single slashes");
    } else if path == "api" || path.starts_with("api/") {
        problems.add("proxy_path", "must not be api, which is the Web App's own");
    }
    for address in settings.proxy_alternates.iter().take(MOST_ALTERNATES) {
        if !is_host_and_port(address) {
            problems.add("proxy_alternates", "must each be host or host:port, without scheme and path");
        }
    }
    problems.once("proxy_alternates", &settings.proxy_alternates, MOST_ALTERNATES);
    problems.within("outage_grace", settings.outage_grace_s, 0, LONGEST_GRACE_S);
    let balancer = settings.private_balancer.as_str();
    if !(balancer.is_empty() || is_host_and_port(balancer) && has_port(balancer)) {
        problems.add("private_balancer", "must be host:port, or empty");
    }
    if !(settings.home_storage.is_empty() || is_folder(&settings.home_storage)) {
        problems
            .add("home_storage", "must be the path of a folder on its agents, such as /srv/homes, or empty");
    }
    problems.once("alternate_zones", &settings.alternate_zones, MOST_NAMED);
    if settings.alternate_zones.iter().any(|alternate| alternate == name) {
        problems.add("alternate_zones", format!("{name} cannot be its own alternate"));
    }
    if settings.isolated && settings.search_alternate_zones {
        problems
            .add("search_alternate_zones", "must be false where the zone is isolated: it borrows nothing");
    }
    if settings.isolated && !settings.alternate_zones.is_empty() {
        problems.add("alternate_zones", "must be empty where the zone is isolated: it borrows nothing");
    }
    problems.labels("labels", labels);
    problems
}

fn is_label(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A name of the DNS, an address, or the host that is asked for.
fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
        || text == REQUEST_HOST
        || (text.len() <= 253 && text.replace(REQUEST_HOST, "x").split('.').all(|label| is_label(label, 63)))
}

/// A host, as [`is_host`] takes it, with a port or without.
pub fn is_host_and_port(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        Some(_) | None => is_host(text),
    }
}

/// A path from the root, without detours and what could not be in a mount's options.
fn is_folder(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    text.len() <= 200
        && text.bytes().all(plain)
        && text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
}

/// Whether an address names a port besides its host.
pub fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut ZoneSettings)) -> Vec<String> {
        let mut settings = ZoneSettings::default();
        change(&mut settings);
        let Problems(problems) = check_zone("london", &settings, &BTreeMap::new());
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn what_a_zone_is_usually_made_of_is_right() {
        assert!(wrong(|_| {}).is_empty());
        let problems = wrong(|settings| {
            settings.allow_origin_domain = "https://work.example.org:8443".into();
            settings.upstream_auth_address = "https://work.example.org".into();
            settings.proxy_hostname = "london.example.org".into();
            settings.proxy_path = "/desktop-london/".into();
            settings.proxy_alternates = vec!["b.$request_host$".into(), "[fd00::2]:8443".into()];
            settings.private_balancer = "[fd00::1]:7443".into();
            settings.home_storage = "/srv/homes-1".into();
            settings.search_alternate_zones = true;
            settings.alternate_zones = vec!["virginia".into()];
        });
        assert!(problems.is_empty(), "{problems:?}");
        assert!(
            wrong(|settings| settings.upstream_auth_address = "http://$request_host$:8080".into()).is_empty()
        );
        assert!(wrong(|settings| settings.private_balancer = "127.0.0.1:7443".into()).is_empty());
    }

    #[test]
    fn each_setting_is_judged_at_its_field() {
        type Change = fn(&mut ZoneSettings);
        let cases: [(&str, Change); 23] = [
            ("allow_origin_domain", |zone| zone.allow_origin_domain = String::new()),
            ("allow_origin_domain", |zone| zone.allow_origin_domain = "https://a.example.org/path".into()),
            ("upstream_auth_address", |zone| zone.upstream_auth_address = "work.example.org".into()),
            ("upstream_auth_address", |zone| zone.upstream_auth_address = "https://a b".into()),
            ("proxy_hostname", |zone| zone.proxy_hostname = "https://london.example.org".into()),
            ("proxy_hostname", |zone| zone.proxy_hostname = "lon\u{7}don".into()),
            ("proxy_hostname", |zone| zone.proxy_hostname = "x".repeat(1 << 20)),
            ("proxy_path", |zone| zone.proxy_path = "///".into()),
            ("proxy_path", |zone| zone.proxy_path = "api".into()),
            ("proxy_path", |zone| zone.proxy_path = "a/../b".into()),
            ("proxy_alternates", |zone| zone.proxy_alternates = vec!["https://b.example.org".into()]),
            ("proxy_alternates", |zone| zone.proxy_alternates = vec!["b".into(), "b".into()]),
            ("proxy_alternates", |zone| {
                zone.proxy_alternates = (0..9).map(|number| format!("entry-{number}")).collect();
            }),
            ("outage_grace", |zone| zone.outage_grace_s = u32::MAX),
            ("private_balancer", |zone| zone.private_balancer = "balancer".into()),
            ("private_balancer", |zone| zone.private_balancer = "balancer:0".into()),
            ("home_storage", |zone| zone.home_storage = "srv/homes".into()),
            ("home_storage", |zone| zone.home_storage = "/srv/../etc".into()),
            ("home_storage", |zone| zone.home_storage = "/srv/ho mes".into()),
            ("alternate_zones", |zone| zone.alternate_zones = vec!["a".into(), "a".into()]),
            ("alternate_zones", |zone| zone.alternate_zones = vec!["london".into()]),
            ("alternate_zones", |zone| {
                zone.alternate_zones = (0..=MOST_NAMED).map(|number| format!("zone-{number}")).collect();
            }),
            ("search_alternate_zones", |zone| {
                zone.isolated = true;
                zone.search_alternate_zones = true;
            }),
        ];
        for (number, (field, change)) in cases.into_iter().enumerate() {
            assert_eq!(wrong(change), [field], "case {number}");
        }
        for name in ["", "-a", "a-", "A", "a b", "zürich", "a\n", &"a".repeat(41)] {
            let Problems(problems) = check_zone(name, &ZoneSettings::default(), &BTreeMap::new());
            assert_eq!(problems.len(), 1, "{name:?}");
        }
    }
}
