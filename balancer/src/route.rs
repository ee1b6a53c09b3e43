//! Which rule a connection falls under. Pure.

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

/// The rules of one address in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    patterns: Vec<(Pattern, usize)>,
}

impl Routes {
    /// Adds the rule with this number, which fits what `sni` says: a name, names that end alike, or everything.
    ///
    /// # Errors
    /// When the name is no server name, or the rule can never have a connection.
    pub(crate) fn add(&mut self, sni: Option<&str>, rule: usize) -> Result<(), BalanceError> {
        if self.patterns.last().is_some_and(|(last, _)| *last == Pattern::Any) {
            return Err(BalanceError::Unreachable);
        }
        let pattern = Pattern::parse(sni)?;
        if self.patterns.iter().any(|(other, _)| *other == pattern) {
            return Err(BalanceError::SameName(sni.unwrap_or_default().into()));
        }
        self.patterns.push((pattern, rule));
        Ok(())
    }

    /// The rule of every connection, when no ClientHello is needed to tell.
    pub(crate) fn only(&self) -> Option<usize> {
        match self.patterns[..] {
            [(Pattern::Any, rule)] => Some(rule),
            _ => None,
        }
    }

    /// The first rule that fits.
    pub(crate) fn find(&self, opening: &Opening) -> Option<usize> {
        self.patterns.iter().find(|(pattern, _)| pattern.fits(opening)).map(|(_, rule)| *rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(names: &[Option<&str>]) -> Result<Routes, BalanceError> {
        let mut routes = Routes::default();
        for (rule, name) in names.iter().enumerate() {
            routes.add(*name, rule)?;
        }
        Ok(routes)
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
        assert!(matches!(routes(&[None, Some("a")]), Err(BalanceError::Unreachable)));
        assert!(matches!(routes(&[Some("a.b"), Some("A.B")]), Err(BalanceError::SameName(_))));
        for name in ["", "*", "*.", "a..b", "a b", "*.*.x"] {
            assert!(matches!(routes(&[Some(name)]), Err(BalanceError::ServerName(_))), "{name}");
        }
        assert_eq!(routes(&[None]).unwrap().only(), Some(0));
    }
}
