//! Which rule a connection falls under. Pure.

use meridian_settings::BalanceSettings;

use crate::{BalanceError, hello::Opening};

/// What a rule fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This server name.
    Exact(String),
    /// Every name that ends in this, which begins with a dot.
    Suffix(String),
    /// Everything, plain TCP too.
    Any,
}

impl Pattern {
    fn parse(text: Option<&str>) -> Result<Self, BalanceError> {
        let Some(text) = text else { return Ok(Self::Any) };
        let text = text.to_ascii_lowercase();
        let (name, wild) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        let well_formed = !name.is_empty()
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            });
        match (well_formed, wild) {
            (false, _) => Err(BalanceError::ServerName(text)),
            (true, true) => Ok(Self::Suffix(format!(".{name}"))),
            (true, false) => Ok(Self::Exact(text)),
        }
    }

    fn fits(&self, opening: &Opening) -> bool {
        match (self, opening) {
            (Self::Any, _) => true,
            (Self::Exact(wanted), Opening::Tls(Some(name))) => wanted == name,
            (Self::Suffix(suffix), Opening::Tls(Some(name))) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (Self::Exact(_) | Self::Suffix(_), Opening::Tls(None) | Opening::Plain) => false,
        }
    }
}

/// The rules in their order.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    patterns: Vec<Pattern>,
}

impl Routes {
    /// # Errors
    /// When a rule's name is no server name, or a rule can never have a connection or a backend.
    pub(crate) fn new(settings: &BalanceSettings) -> Result<Self, BalanceError> {
        let mut patterns: Vec<Pattern> = Vec::with_capacity(settings.routes.len());
        for route in &settings.routes {
            if patterns.last() == Some(&Pattern::Any) {
                return Err(BalanceError::Unreachable);
            }
            if route.backends.is_empty() {
                return Err(BalanceError::NoBackend(route.sni.clone().unwrap_or_else(|| "any".into())));
            }
            patterns.push(Pattern::parse(route.sni.as_deref())?);
        }
        if patterns.is_empty() { Err(BalanceError::NoRoute) } else { Ok(Self { patterns }) }
    }

    /// The rule of every connection, when no ClientHello is needed to tell.
    pub(crate) fn only(&self) -> Option<usize> {
        matches!(self.patterns[..], [Pattern::Any]).then_some(0)
    }

    /// The first rule that fits.
    pub(crate) fn find(&self, opening: &Opening) -> Option<usize> {
        self.patterns.iter().position(|pattern| pattern.fits(opening))
    }
}

#[cfg(test)]
mod tests {
    use meridian_settings::{BackendSettings, RouteSettings};

    use super::*;

    fn routes(names: &[Option<&str>]) -> Result<Routes, BalanceError> {
        let backend = BackendSettings { address: "127.0.0.1:1".into() };
        let route = |name: &Option<&str>| RouteSettings {
            sni: name.map(str::to_owned),
            backends: vec![backend.clone()],
        };
        Routes::new(&BalanceSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            routes: names.iter().map(route).collect(),
            ops_listen: None,
            hello_wait_s: 5,
            dial_wait_s: 5,
            check_period_s: 1,
            drain_wait_s: 1,
            max_connections: 10,
        })
    }

    fn tls(name: &str) -> Opening {
        Opening::Tls(Some(name.into()))
    }

    #[test]
    fn the_first_rule_that_fits_has_the_connection() {
        let routes = routes(&[Some("web.meridian"), Some("*.agent.z.meridian"), None]).unwrap();
        assert_eq!(routes.find(&tls("web.meridian")), Some(0));
        assert_eq!(routes.find(&tls("a.agent.z.meridian")), Some(1));
        assert_eq!(routes.find(&tls("agent.z.meridian")), Some(2), "a suffix needs something before it");
        assert_eq!(routes.find(&tls("xagent.z.meridian")), Some(2));
        assert_eq!((routes.find(&Opening::Plain), routes.find(&Opening::Tls(None))), (Some(2), Some(2)));
        assert_eq!(routes.only(), None);
    }

    #[test]
    fn without_a_rule_for_everything_the_rest_fits_nothing() {
        let routes = routes(&[Some("web.meridian")]).unwrap();
        assert_eq!(routes.find(&tls("other")), None);
        assert_eq!((routes.find(&Opening::Plain), routes.find(&Opening::Tls(None))), (None, None));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        assert!(matches!(routes(&[]), Err(BalanceError::NoRoute)));
        assert!(matches!(routes(&[None, Some("a")]), Err(BalanceError::Unreachable)));
        for name in ["", "*", "*.", "a..b", "a b", "*.*.x"] {
            assert!(matches!(routes(&[Some(name)]), Err(BalanceError::ServerName(_))), "{name}");
        }
        assert_eq!(routes(&[None]).unwrap().only(), Some(0));
    }
}
