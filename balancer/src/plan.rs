//! A configuration, checked: what of it makes sense is here in the types the balancer works with. Touches no socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use meridian_runtime::RelayLimits;
use meridian_settings::{BackendSettings, BalanceSettings, RouteSettings};

use crate::{
    BalanceError,
    dial::DialLimits,
    probe::Probe,
    registry::{self, Expanded, Known},
    route::Routes,
    rule::RuleTerms,
    standing::Thresholds,
};

/// Between two checks: with the default thresholds and limit a dead backend is out in well under two seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// What makes a rule the same one in the next configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleKey {
    pub(crate) listen: SocketAddr,
    pub(crate) sni: Option<String>,
    pub(crate) name: String,
}

/// What holds for every connection.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) trusted: Vec<IpNet>,
    pub(crate) hello_wait: Duration,
    pub(crate) drain_wait: Duration,
    pub(crate) dial: DialLimits,
    pub(crate) relay: RelayLimits,
    pub(crate) max_connections: usize,
}

#[derive(Debug)]
pub(crate) struct PlannedRule {
    pub(crate) key: RuleKey,
    pub(crate) terms: RuleTerms,
    pub(crate) backends: Vec<BackendSettings>,
    /// Addresses among them that the control plane named.
    named: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) terms: Terms,
    pub(crate) listeners: BTreeMap<SocketAddr, Routes>,
    pub(crate) rules: Vec<PlannedRule>,
}

impl Plan {
    /// # Errors
    /// When a part makes no sense, as [`BalanceError`] says.
    pub(crate) fn new(settings: &BalanceSettings, known: &Known) -> Result<Self, BalanceError> {
        registry::check(settings)?;
        let mut plan = Self { terms: terms(settings)?, listeners: BTreeMap::new(), rules: Vec::new() };
        let mut names = BTreeSet::new();
        let taken = settings.routes.iter().filter_map(|route| route.sni.as_deref());
        let taken: BTreeSet<_> = taken.map(str::to_ascii_lowercase).collect();
        for route in &settings.routes {
            let listen = route.listen.unwrap_or(settings.listen);
            // Also where the control plane has named nobody yet.
            plan.listeners.entry(listen).or_default();
            for expanded in registry::expand(route, known, &taken) {
                plan.add(settings, listen, expanded, &mut names)?;
            }
        }
        if !plan.listeners.contains_key(&settings.listen) {
            return Err(BalanceError::NoRoute);
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        settings: &BalanceSettings,
        listen: SocketAddr,
        Expanded { route, named }: Expanded,
        names: &mut BTreeSet<String>,
    ) -> Result<(), BalanceError> {
        self.listeners.entry(listen).or_default().add(route.sni.as_deref(), self.rules.len())?;
        let name = name_of(&route);
        if !names.insert(name.clone()) {
            return Err(BalanceError::SameName(name));
        }
        if route.backends.is_empty() && route.registry.is_none() {
            return Err(BalanceError::NoBackend(name));
        }
        check_backends(&name, &route.backends)?;
        let terms = rule_terms(settings, &route, &name)?;
        let key = RuleKey { listen, sni: route.sni.as_deref().map(str::to_ascii_lowercase), name };
        self.rules.push(PlannedRule { key, terms, backends: route.backends, named });
        Ok(())
    }

    /// Takes the balancer itself out of what the control plane named, since it would go round in circles. `is_local`: whether this machine
    /// has an address.
    ///
    /// # Errors
    /// With the first such backend that the file itself has.
    pub(crate) fn leave_out_itself(&mut self, is_local: impl Fn(IpAddr) -> bool) -> Result<(), BalanceError> {
        let listeners = &self.listeners;
        let is_own = |backend: &BackendSettings| {
            let Ok(address) = backend.address.parse::<SocketAddr>() else { return false };
            listeners.keys().any(|listen| {
                listen.port() == address.port()
                    && (listen.ip() == address.ip()
                        || (listen.ip().is_unspecified() && is_local(address.ip())))
            })
        };
        for rule in &mut self.rules {
            let written = |backend: &&BackendSettings| !rule.named.contains(&backend.address);
            if let Some(backend) = rule.backends.iter().filter(written).find(|backend| is_own(backend)) {
                return Err(BalanceError::Itself(backend.address.clone()));
            }
            rule.backends.retain(|backend| !is_own(backend));
        }
        Ok(())
    }
}

fn terms(settings: &BalanceSettings) -> Result<Terms, BalanceError> {
    let trusted = settings.trusted_proxies.iter().map(|text| network(text)).collect::<Result<_, _>>()?;
    let relay = RelayLimits {
        buffer_bytes: at_least_one(settings.copy_buffer_bytes, "copy_buffer_bytes")?,
        half_close_wait: seconds(settings.half_close_wait_s, "half_close_wait_s")?,
    };
    let dial = DialLimits {
        budget: seconds(settings.dial_wait_s, "dial_wait_s")?,
        second_after: Duration::from_millis(settings.second_dial_ms),
        most: at_least_one(settings.max_dials, "max_dials")?,
    };
    Ok(Terms {
        trusted,
        hello_wait: seconds(settings.hello_wait_s, "hello_wait_s")?,
        drain_wait: Duration::from_secs(settings.drain_wait_s),
        dial,
        relay,
        max_connections: at_least_one(settings.max_connections, "max_connections")?,
    })
}

fn name_of(route: &RouteSettings) -> String {
    match (&route.name, &route.sni, route.listen) {
        (Some(name), _, _) => name.clone(),
        (None, Some(sni), None) => sni.to_ascii_lowercase(),
        (None, Some(sni), Some(listen)) => format!("{}@{listen}", sni.to_ascii_lowercase()),
        (None, None, Some(listen)) => listen.to_string(),
        (None, None, None) => "any".into(),
    }
}

fn check_backends(rule: &str, backends: &[BackendSettings]) -> Result<(), BalanceError> {
    let mut seen = BTreeSet::new();
    for BackendSettings { address, .. } in backends {
        let well_formed = address.rsplit_once(':').is_some_and(|(host, port)| {
            let bracketed = host.starts_with('[') && host.ends_with(']');
            !host.is_empty()
                && (bracketed || !host.contains(':'))
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !well_formed {
            return Err(BalanceError::Address(address.clone()));
        }
        if !seen.insert(address.to_ascii_lowercase()) {
            return Err(BalanceError::SameBackend { rule: rule.into(), address: address.clone() });
        }
    }
    Ok(())
}

fn rule_terms(
    settings: &BalanceSettings,
    route: &RouteSettings,
    name: &str,
) -> Result<RuleTerms, BalanceError> {
    let check = &route.check;
    let interval = match (check.interval_ms, settings.check_period_s) {
        (Some(ms), _) => Duration::from_millis(at_least_one(ms, "check.interval_ms")?),
        (None, Some(period)) => seconds(period, "check_period_s")?,
        (None, None) => INTERVAL,
    };
    Ok(RuleTerms {
        name: name.into(),
        choice: route.choice,
        proxy_protocol: route.proxy_protocol,
        reset_when_unreachable: route.reset_when_unreachable,
        slow_start: Duration::from_secs(route.slow_start_s),
        thresholds: Thresholds {
            rise: at_least_one(check.rise, "check.rise")?,
            fall: at_least_one(check.fall, "check.fall")?,
            eject_after: at_least_one(route.eject_after, "eject_after")?,
        },
        interval,
        probe: Probe::new(check, route)?,
    })
}

fn network(text: &str) -> Result<IpNet, BalanceError> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| BalanceError::Trusted(text.into()))
}

fn seconds(seconds: u64, name: &'static str) -> Result<Duration, BalanceError> {
    at_least_one(seconds, name).map(Duration::from_secs)
}

pub(crate) fn at_least_one<N: PartialEq + Default>(number: N, name: &'static str) -> Result<N, BalanceError> {
    if number == N::default() { Err(BalanceError::Zero(name)) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "listen = \"0.0.0.0:443\"\n";

    fn plan(text: &str) -> Result<Plan, BalanceError> {
        Plan::new(&toml::from_str(&format!("{HEAD}{text}")).unwrap(), &Known::default())
    }

    fn refusal(text: &str) -> String {
        plan(text).unwrap_err().to_string()
    }

    const BACKEND: &str = "backend = [{ address = \"10.0.0.1:443\" }]\n";

    #[test]
    fn the_least_configuration_has_the_defaults() {
        let plan = plan(&format!("[[route]]\n{BACKEND}")).unwrap();
        let rule = &plan.rules[0].terms;
        assert_eq!((&*rule.name, rule.interval), ("any", Duration::from_millis(500)));
        assert_eq!(rule.thresholds, Thresholds { rise: 2, fall: 2, eject_after: 3 });
        assert_eq!(plan.terms.dial.second_after, Duration::from_millis(250));
        assert!(rule.probe.tls.is_none() && rule.probe.question.is_none());
    }

    #[test]
    fn rules_with_an_address_of_their_own_stand_beside_the_others() {
        let own = format!("[[route]]\nlisten = \"0.0.0.0:5432\"\n{BACKEND}");
        let plan = plan(&format!("{own}[[route]]\nsni = \"Web.Meridian\"\n{BACKEND}")).unwrap();
        let only = |address: &str| plan.listeners[&address.parse().unwrap()].only();
        assert_eq!((only("0.0.0.0:5432"), only("0.0.0.0:443")), (Some(0), None));
        let names: Vec<&str> = plan.rules.iter().map(|rule| rule.key.name.as_str()).collect();
        assert_eq!(names, ["0.0.0.0:5432", "web.meridian"]);
        assert_eq!(plan.rules[1].terms.probe.host.as_deref(), Some("Web.Meridian"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let cases = [
            ("route = []", "no route"),
            ("[[route]]\nbackend = []", "has no backend"),
            ("[[route]]\nbackend = [{ address = \"10.0.0.1\" }]", "`10.0.0.1` is no address"),
            ("[[route]]\nbackend = [{ address = \"::1:443\" }]", "`::1:443` is no address"),
            ("[[route]]\nbackend = [{ address = \"a:1\" }, { address = \"A:1\" }]", "more than once"),
            (
                "trusted_proxies = [\"10.0.0.0/40\"]\n[[route]]\nbackend = [{ address = \"a:1\" }]",
                "10.0.0.0/40",
            ),
            ("max_dials = 0\n[[route]]\nbackend = [{ address = \"a:1\" }]", "max_dials"),
            ("[[route]]\ncheck = { rise = 0 }\nbackend = [{ address = \"a:1\" }]", "check.rise"),
            ("[[route]]\ncheck = { body = \"x\" }\nbackend = [{ address = \"a:1\" }]", "`body` needs"),
            (
                "[[route]]\ncheck = { kind = \"http\", path = \"x y\" }\nbackend = [{ address = \"a:1\" }]",
                "no path",
            ),
            (
                "[[route]]\ncheck = { kind = \"http\", status = 7 }\nbackend = [{ address = \"a:1\" }]",
                "7 is no",
            ),
            (
                "[[route]]\nname = \"x\"\nsni = \"a\"\nbackend = [{ address = \"a:1\" }]\n\
                 [[route]]\nname = \"x\"\nsni = \"b\"\nbackend = [{ address = \"a:1\" }]",
                "`x`",
            ),
        ];
        for (text, part) in cases {
            let said = refusal(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in
            ["speed = 1\nroute = []", "[[route]]\ncheck = { speed = 1 }", "[[route]]\nbackend = [{ a = 1 }]"]
        {
            assert!(toml::from_str::<BalanceSettings>(&format!("{HEAD}{text}")).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let text = format!(
            "[[route]]\nlisten = \"[::]:1\"\ncheck = {{ kind = \"https\" }}\n{BACKEND}[[route]]\n{BACKEND}"
        );
        let settings: BalanceSettings = toml::from_str(&format!("{HEAD}{text}")).unwrap();
        assert_eq!(
            toml::from_str::<BalanceSettings>(&toml::to_string(&settings).unwrap()).unwrap(),
            settings
        );
    }

    #[test]
    fn the_balancer_is_no_backend_of_its_own() {
        let local = |ip: IpAddr| ip.is_loopback();
        let with =
            |address: &str| plan(&format!("[[route]]\nbackend = [{{ address = \"{address}\" }}]")).unwrap();
        assert!(with("127.0.0.1:443").leave_out_itself(local).is_err());
        assert!(with("127.0.0.1:444").leave_out_itself(local).is_ok());
        assert!(with("10.0.0.1:443").leave_out_itself(local).is_ok());
    }
}
