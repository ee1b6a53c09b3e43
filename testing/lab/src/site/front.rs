//! What stands at the public entries: `meridian balance`, or the peers for which deploy/ has configurations. Those are played as they ship, with this
//! lab's addresses and files in place of the examples'.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::plan::{EACH, Folder, Part, Zone, web_name};

/// The balancer of the primary's entry and of the zones'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Meridian,
    /// HAProxy, which passes TLS through.
    HaProxy,
    /// nginx, which ends TLS and routes by path.
    Nginx,
}

const HAPROXY_PRIMARY: &str = include_str!("../../../../deploy/haproxy/primary.cfg");
const HAPROXY_ENTRY: &str = include_str!("../../../../deploy/haproxy/entry.cfg");
const NGINX: &str = include_str!("../../../../deploy/nginx/reverse-proxy.conf");
/// The shipped files' addresses.
const WEBS: [&str; 2] = ["10.0.0.11:443", "10.0.0.12:443"];
const PROXIES: [&str; 2] = ["10.1.0.31:8443", "10.1.0.32:8443"];
const LISTEN: &str = "0.0.0.0:443";
const NAME: &str = "meridian.example.org";

impl Front {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meridian => "meridian balance",
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// The program, and its arguments before the configuration's path; none: it is Meridian's own.
    pub(crate) fn program(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Meridian => None,
            Self::HaProxy => Some(("haproxy", &["-db", "-f"])),
            Self::Nginx => Some(("nginx", &["-e", "stderr", "-g", "daemon off;", "-c"])),
        }
    }

    /// A peer's configuration of the primary's entry; `zone` is the one whose streams it routes by path, where it does.
    pub(super) fn primary(self, folder: &Folder, zone: Zone) -> Result<String> {
        let part = Part::primary_balancer();
        let text = if self == Self::HaProxy { HAPROXY_PRIMARY } else { NGINX };
        self.fill(text, folder, &part, zone)
    }

    /// A peer's configuration of a zone's entry.
    pub(super) fn entry(self, folder: &Folder, zone: Zone, number: u8) -> Result<String> {
        let part = Part::entry(zone, number);
        let text = if self == Self::HaProxy { HAPROXY_ENTRY } else { NGINX };
        self.fill(text, folder, &part, zone)
    }

    fn fill(self, text: &str, folder: &Folder, part: &Part, zone: Zone) -> Result<String> {
        let webs: Vec<_> = (1..=EACH).map(|number| Part::web(number).public()).collect();
        let proxies: Vec<_> = (1..=EACH).map(|number| Part::proxy(zone, number).public()).collect();
        let addresses = |examples: [&'static str; 2], ours: Vec<SocketAddr>| {
            examples.into_iter().zip(ours).map(|(example, ours)| (example, ours.to_string()))
        };
        let path = |name: &str| folder.secret(name).display().to_string();
        let mut changes: Vec<(&str, String)> = vec![(LISTEN, part.public().to_string())];
        if text != HAPROXY_ENTRY {
            changes.extend(addresses(WEBS, webs));
            changes.push((NAME, web_name().to_owned()));
        }
        if text != HAPROXY_PRIMARY {
            changes.extend(addresses(PROXIES, proxies));
        }
        if self == Self::Nginx {
            changes.extend([
                ("/etc/meridian/ca.pem", path("ca.pem")),
                ("/etc/meridian/public.pem", path("public.pem")),
                ("/etc/meridian/public.key", path("public.key")),
                ("error_log /var/log/nginx/error.log warn;", nginx_files(folder, part)),
            ]);
        }
        let mut filled = text.to_owned();
        for (example, ours) in changes {
            ensure!(filled.contains(example), "a shipped configuration does not say {example} any more");
            filled = filled.replace(example, &ours);
        }
        Ok(filled)
    }
}

/// nginx's own files, of which each process here has its own.
fn nginx_files(folder: &Folder, part: &Part) -> String {
    let pid = folder.data(part).with_extension("pid");
    format!("error_log stderr warn;\npid {};", pid.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::LONDON;

    #[test]
    fn shipped_configurations_take_our_addresses() {
        let folder = Folder {
            root: "/lab".into(),
            run: "/run/lab".into(),
            engine: "simulated",
            front: Front::HaProxy,
        };
        let primary = Front::HaProxy.primary(&folder, LONDON).unwrap();
        assert!(primary.contains("server web-1 10.77.1.11:443 check"), "{primary}");
        let entry = Front::HaProxy.entry(&folder, LONDON, 2).unwrap();
        assert!(entry.contains("bind 10.77.2.22:443") && !entry.contains("10.1.0."), "{entry}");
        let nginx = Front::Nginx.entry(&folder, LONDON, 1).unwrap();
        assert!(
            nginx.contains("server 10.77.2.31:443 max_fails") && !nginx.contains("/etc/meridian"),
            "{nginx}"
        );
    }
}
