//! What a zone needs of the world around it: names in the DNS, names in certificates; and what is unwise about it as it is. Pure.

use std::net::IpAddr;

use meridian_model::{NodeRole, ZoneSettings};

use crate::views::{CertificateNeedView, DnsNeedView, NodeView, RequirementsView, WarningView};

const REQUEST_HOST: &str = "$request_host$";
/// Of each role, so that one may go.
const LEAST: usize = 2;
/// A Web App node beside its database has a round trip well below this, also on a busy machine.
const FAR_MS: f64 = 10.0;

/// What is asked about.
pub struct ZoneNeeds<'a> {
    pub zone: &'a str,
    pub settings: &'a ZoneSettings,
    /// The primary's public address.
    pub public_url: &'a str,
    /// The Web App nodes, and the zone's own.
    pub nodes: &'a [NodeView],
    /// The names of those of its alternates that are isolated.
    pub isolated: &'a [String],
}

#[must_use]
pub fn requirements(needs: &ZoneNeeds<'_>) -> RequirementsView {
    let mut view = RequirementsView { zone: needs.zone.to_owned(), ..RequirementsView::default() };
    let settings = needs.settings;
    let primary = host(needs.public_url);
    name(&mut view, primary, "the primary balancer, or the Web App nodes", "the Web App nodes");
    if !settings.proxy_connections {
        for agent in agents_of(needs) {
            let address = agent.direct_address.as_deref().unwrap_or_default();
            name(&mut view, host(address), &format!("the agent {}", agent.name), &agent.name);
        }
    } else {
        for address in std::iter::once(&settings.proxy_hostname).chain(&settings.proxy_alternates) {
            name(
                &mut view,
                host(address),
                "a balancer in front of this zone's proxies, or this zone's proxies",
                "this zone's proxies",
            );
        }
    }
    for url in [&settings.allow_origin_domain, &settings.upstream_auth_address] {
        name(&mut view, host(url), "the primary balancer, or the Web App nodes", "the Web App nodes");
    }
    if let Some((balancer, _)) = settings.private_balancer.rsplit_once(':') {
        // It passes TLS through: the certificates behind it are Meridian's own.
        dns(&mut view, balancer, "this zone's private balancers");
    }
    warn_of_counts(&mut view, needs);
    warn_of_nodes(&mut view, needs);
    warn_of_addresses(&mut view, needs, primary);
    view
}

fn name(view: &mut RequirementsView, host: &str, points_to: &str, held_by: &str) {
    if host.is_empty() || host.contains(REQUEST_HOST) {
        return;
    }
    dns(view, host, points_to);
    if !view.certificates.iter().any(|need| need.name == host && need.held_by == held_by) {
        view.certificates.push(CertificateNeedView { name: host.to_owned(), held_by: held_by.to_owned() });
    }
}

fn dns(view: &mut RequirementsView, host: &str, points_to: &str) {
    let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    if is_name && !view.dns.iter().any(|need| need.name == host) {
        view.dns.push(DnsNeedView { name: host.to_owned(), points_to: points_to.to_owned() });
    }
}

fn warn(view: &mut RequirementsView, code: &str, field: Option<&str>, message: String) {
    view.warnings.push(WarningView { code: code.to_owned(), field: field.map(str::to_owned), message });
}

fn warn_of_counts(view: &mut RequirementsView, needs: &ZoneNeeds<'_>) {
    let ready = |role: NodeRole| {
        let here = |node: &&NodeView| node.role == NodeRole::Web || node.zone.as_deref() == Some(needs.zone);
        needs.nodes.iter().filter(here).filter(|node| node.role == role && node.state == "ready").count()
    };
    let mut wanted = vec![
        (NodeRole::Web, "Web App node", "Web App nodes"),
        (NodeRole::Agent, "agent of this zone", "agents of this zone"),
    ];
    if needs.settings.proxy_connections {
        wanted.push((NodeRole::Proxy, "proxy of this zone", "proxies of this zone"));
    }
    for (role, one, many) in wanted {
        let count = ready(role);
        if count < LEAST {
            let said = match count {
                0 => format!("no {one}"),
                1 => format!("only one {one}"),
                _ => format!("only {count} {many}"),
            };
            let message =
                format!("{said} can take work; with fewer than {LEAST}, none may fail or be upgraded");
            warn(view, &format!("few_{role}"), None, message);
        }
    }
}

fn agents_of<'a>(needs: &ZoneNeeds<'a>) -> impl Iterator<Item = &'a NodeView> {
    let zone = needs.zone;
    needs.nodes.iter().filter(move |node| node.role == NodeRole::Agent && node.zone.as_deref() == Some(zone))
}

fn warn_of_nodes(view: &mut RequirementsView, needs: &ZoneNeeds<'_>) {
    for node in needs.nodes.iter().filter(|node| node.role == NodeRole::Web) {
        let Some(round_trip_ms) = node.database_ms.filter(|ms| *ms > FAR_MS) else { continue };
        let message = format!(
            "the Web App node {} is {round_trip_ms} ms away from the database, and every click there waits that long: run it beside \
             the database",
            node.name
        );
        warn(view, "web_far", None, message);
    }
    if needs.settings.proxy_connections {
        return;
    }
    for agent in agents_of(needs).filter(|agent| agent.direct_address.is_none()) {
        let message = format!(
            "browsers are sent to the agent {} itself, and it has not said where: its configuration needs direct.listen and direct.address",
            agent.name
        );
        warn(view, "no_direct_address", Some("proxy_connections"), message);
    }
}

fn warn_of_addresses(view: &mut RequirementsView, needs: &ZoneNeeds<'_>, primary: &str) {
    let settings = needs.settings;
    let upstream = host(&settings.upstream_auth_address);
    if !upstream.is_empty() && !upstream.contains(REQUEST_HOST) {
        let is_there = |node: &&NodeView| {
            let public = node.public_address.as_deref().unwrap_or_default();
            node.role == NodeRole::Web && [node.address.as_str(), public].map(host).contains(&upstream)
        };
        let node = needs.nodes.iter().find(is_there);
        // One address, one warning: the first says enough.
        if is_internal(upstream) {
            warn(
                view,
                "upstream_internal",
                Some("upstream_auth_address"),
                format!(
                    "{upstream} is an internal name or address; it should be the primary balancer's public name"
                ),
            );
        } else if let Some(node) = node {
            warn(
                view,
                "upstream_one_node",
                Some("upstream_auth_address"),
                format!(
                    "{upstream} is the Web App node {}; it should be the balancer in front of all",
                    node.name
                ),
            );
        } else if upstream.parse::<IpAddr>().is_ok() {
            warn(
                view,
                "upstream_one_node",
                Some("upstream_auth_address"),
                format!(
                    "{upstream} is one machine's address; when that is away, nobody in this zone can connect"
                ),
            );
        }
    }
    let same_host = settings.proxy_hostname == REQUEST_HOST || settings.proxy_hostname == primary;
    if settings.proxy_connections && same_host && settings.proxy_port == 0 {
        warn(
            view,
            "shared_entry",
            Some("proxy_hostname"),
            format!(
                "streams go to the Web App's own host and port: something in front must route /{}/ to this zone after TLS",
                settings.proxy_path.trim_matches('/')
            ),
        );
    }
    for alternate in settings.alternate_zones.iter().filter(|name| needs.isolated.contains(name)) {
        warn(
            view,
            "isolated_alternate",
            Some("alternate_zones"),
            format!("{alternate} is isolated and lends nothing: no workspace of this zone ever goes there"),
        );
    }
    if settings.search_alternate_zones && settings.alternate_zones.is_empty() {
        warn(
            view,
            "any_alternate",
            Some("alternate_zones"),
            "when this zone is full, workspaces go to any zone that is not isolated, however far".into(),
        );
    }
}

/// A URL's host, or a `host:port`'s.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    }
}

fn is_internal(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            // 100.64.0.0/10 is shared behind carriers' and clouds' address translation.
            let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || shared
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => {
            let local = [".internal", ".local", ".lan", ".localdomain", ".home.arpa"];
            !host.contains('.') || local.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut ZoneSettings)) -> RequirementsView {
        let mut settings = ZoneSettings::default();
        change(&mut settings);
        let needs = ZoneNeeds {
            zone: "london",
            settings: &settings,
            public_url: "https://work.example.org",
            nodes: &[],
            isolated: &["enclave".to_owned()],
        };
        requirements(&needs)
    }

    fn codes(view: &RequirementsView) -> Vec<&str> {
        view.warnings.iter().map(|warning| warning.code.as_str()).collect()
    }

    #[test]
    fn names_are_listed_once_with_who_holds_their_certificate() {
        let view = of(|settings| {
            settings.proxy_hostname = "london.example.org".into();
            settings.proxy_alternates = vec!["b.london.example.org:8443".into()];
            settings.upstream_auth_address = "https://work.example.org".into();
            settings.allow_origin_domain = "https://work.example.org".into();
            settings.private_balancer = "balancer.london.example.org:7443".into();
        });
        let names: Vec<_> = view.dns.iter().map(|need| need.name.as_str()).collect();
        assert_eq!(
            names,
            ["work.example.org", "london.example.org", "b.london.example.org", "balancer.london.example.org"]
        );
        let held: Vec<_> =
            view.certificates.iter().map(|need| (need.name.as_str(), need.held_by.as_str())).collect();
        assert_eq!(
            held,
            [
                ("work.example.org", "the Web App nodes"),
                ("london.example.org", "this zone's proxies"),
                ("b.london.example.org", "this zone's proxies")
            ]
        );
        assert_eq!(codes(&view), ["few_web", "few_agent", "few_proxy"]);
    }

    #[test]
    fn an_upstream_that_is_internal_or_one_machine_is_told() {
        for internal in [
            "https://10.1.2.3",
            "https://100.100.1.1",
            "http://web-1:8080",
            "https://web.internal",
            "https://[fd00::1]",
        ] {
            let view = of(|settings| settings.upstream_auth_address = internal.into());
            assert!(codes(&view).contains(&"upstream_internal"), "{internal}: {view:?}");
        }
        let view = of(|settings| settings.upstream_auth_address = "https://203.0.113.9".into());
        assert!(codes(&view).contains(&"upstream_one_node"));
        let view = of(|settings| settings.upstream_auth_address = "https://work.example.org".into());
        assert!(!codes(&view).iter().any(|code| code.starts_with("upstream")));
    }

    #[test]
    fn nodes_that_are_far_or_do_not_say_where_they_are_are_told() {
        let node = |name: &str, role: &str, more: serde_json::Value| -> NodeView {
            let mut node = serde_json::json!({
                "id": meridian_ids::NodeId::generate(), "name": name, "role": role, "address": "", "version": "", "state": "ready",
                "zone": if role == "web" { serde_json::Value::Null } else { "london".into() },
                "sessions": 0, "cpu_total": 0.0, "cpu_used": 0.0, "memory_mb_total": 0, "memory_mb_used": 0, "images": [],
                "network_modes": [], "quarantined": [], "problems": [],
            });
            let more = more.as_object().cloned().unwrap_or_default();
            node.as_object_mut().unwrap().extend(more);
            serde_json::from_value(node).unwrap()
        };
        let nodes = [
            node(
                "web-1",
                "web",
                serde_json::json!({"database_ms": 0.4, "address": "127.0.0.1:8444", "public_address": "web-1.example.org:443"}),
            ),
            node("web-2", "web", serde_json::json!({"database_ms": 83.0})),
            node("agent-1", "agent", serde_json::json!({"direct_address": "agent-1.example.org:8446"})),
            node("agent-2", "agent", serde_json::json!({})),
        ];
        let settings = ZoneSettings {
            proxy_connections: false,
            // Of a node on the same machine, as everything is under `meridian up`: told once.
            upstream_auth_address: "http://127.0.0.1:8443".into(),
            ..ZoneSettings::default()
        };
        let of_nodes = |settings: &ZoneSettings, nodes: &[NodeView]| {
            let public_url = "https://work.example.org";
            requirements(&ZoneNeeds { zone: "london", settings, public_url, nodes, isolated: &[] })
        };
        let view = of_nodes(&settings, &nodes);
        let told = &view.warnings;
        assert_eq!(
            told.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(),
            ["web_far", "no_direct_address", "upstream_internal"]
        );
        assert!(
            told[0].message.contains("web-2 is 83 ms") && told[1].message.contains("agent-2"),
            "{told:?}"
        );
        let held: Vec<_> = view.certificates.iter().map(|need| need.held_by.as_str()).collect();
        assert_eq!(held, ["the Web App nodes", "agent-1", "the Web App nodes"]);
        let by_name =
            ZoneSettings { upstream_auth_address: "https://web-1.example.org".into(), ..settings.clone() };
        let view = of_nodes(&by_name, &nodes);
        let told = view.warnings.iter().find(|warning| warning.code == "upstream_one_node").unwrap();
        assert!(told.message.contains("is the Web App node web-1;"), "{told:?}");
        let alone = of_nodes(&settings, &nodes[..1]);
        let said: Vec<_> = alone.warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert!(
            said[0].starts_with("only one Web App node can") && said[1].starts_with("no agent of"),
            "{said:?}"
        );
    }

    #[test]
    fn an_alternate_that_lends_nothing_is_told() {
        let told = |alternates: &[&str]| {
            let view = of(|settings| {
                settings.search_alternate_zones = true;
                settings.alternate_zones = alternates.iter().map(|name| (*name).to_owned()).collect();
            });
            codes(&view).contains(&"isolated_alternate")
        };
        assert!(told(&["virginia", "enclave"]) && !told(&["virginia"]));
    }

    #[test]
    fn a_shared_entry_needs_something_in_front() {
        assert!(codes(&of(|_| {})).contains(&"shared_entry"));
        assert!(!codes(&of(|settings| settings.proxy_port = 8443)).contains(&"shared_entry"));
    }
}
