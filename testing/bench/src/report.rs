//! A measurement as it is written down (DESIGN.md §8): one JSON object, and a table for people.

use std::{collections::BTreeMap, fmt, fs, io::Write, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Host;

/// Figures by name. `rounds_x` beside `x` are the figures of all rounds, of which `x` is the median.
pub type Figures = BTreeMap<String, Value>;
/// What the figures of Meridian's own are wanted to be, by the figure's name.
pub type Goals = BTreeMap<String, Goal>;

/// The figures of all rounds have this before their name.
pub(crate) const ROUNDS: &str = "rounds_";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub parameters: Figures,
    pub figures: Figures,
    /// The same figures of what it was run beside.
    #[serde(default)]
    pub peers: BTreeMap<String, Figures>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub goals: Goals,
    pub host: Host,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// At least so many times what the better of the peers has.
    TimesTheBetterPeer(f64),
}

impl Goal {
    /// In words, with how it was met: by our figure, beside the peers'.
    #[must_use]
    pub fn judge(self, ours: f64, peers: &[f64]) -> String {
        let word = |reached| if reached { "reached" } else { "not reached" };
        match self {
            Self::AtLeast(wanted) => format!(">= {wanted}: {}", word(ours >= wanted)),
            Self::AtMost(wanted) => format!("<= {wanted}: {}", word(ours <= wanted)),
            Self::TimesTheBetterPeer(wanted) => {
                let best = peers.iter().copied().fold(0.0, f64::max);
                if best == 0.0 {
                    return format!(">= {wanted} x the better peer: no peer was there");
                }
                let times = ours / best;
                format!(">= {wanted} x the better peer: {}, {times:.2} x", word(times >= wanted))
            }
        }
    }
}

impl Report {
    /// Appends the object as one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, file: &Path) -> anyhow::Result<()> {
        let mut output = fs::OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(output, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }

    /// Meridian's figures and its peers', in columns.
    pub(crate) fn columns(&self) -> Vec<(&str, &Figures)> {
        let peers = self.peers.iter().map(|(name, figures)| (name.as_str(), figures));
        std::iter::once(("meridian", &self.figures)).chain(peers).collect()
    }

    /// How a figure's goal was met; empty when it has none.
    pub(crate) fn verdict(&self, figure: &str) -> String {
        let number = |figures: &Figures| figures.get(figure).and_then(Value::as_f64);
        let (Some(goal), Some(ours)) = (self.goals.get(figure), number(&self.figures)) else {
            return String::new();
        };
        goal.judge(ours, &self.peers.values().filter_map(number).collect::<Vec<_>>())
    }

    /// The names of all figures of any column, without those of single rounds.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.columns().iter().flat_map(|(_, figures)| figures.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !name.starts_with(ROUNDS));
        names
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "{}: {}", self.name, parameters.join(", "))?;
        let Host { processor, cores, memory_mb, kernel } = &self.host;
        writeln!(f, "on {processor}, {cores} cores, {memory_mb} MB, Linux {kernel}")?;
        write!(f, "{:<44}", "")?;
        for (who, _) in self.columns() {
            write!(f, "{who:>14}")?;
        }
        for name in self.names() {
            write!(f, "\n{name:<44}")?;
            for (_, figures) in self.columns() {
                let value = figures.get(name).map(Value::to_string).unwrap_or_default();
                write!(f, "{:>14}", value.trim_matches('"'))?;
            }
            write!(f, "  {}", self.verdict(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_figures_beside_them() {
        assert_eq!(Goal::AtMost(18.0).judge(10.5, &[]), "<= 18: reached");
        assert_eq!(Goal::AtLeast(1300.0).judge(1299.0, &[9.0]), ">= 1300: not reached");
        let twice = Goal::TimesTheBetterPeer(2.0);
        assert_eq!(twice.judge(30.0, &[10.0, 15.0]), ">= 2 x the better peer: reached, 2.00 x");
        assert_eq!(twice.judge(29.0, &[10.0, 15.0]), ">= 2 x the better peer: not reached, 1.93 x");
        assert_eq!(twice.judge(29.0, &[]), ">= 2 x the better peer: no peer was there");
    }

    #[test]
    fn a_report_of_an_earlier_release_is_read() {
        let line = r#"{"name":"n","parameters":{},"figures":{"a":1},"peers":{},
            "host":{"processor":"P","cores":2,"memory_mb":1,"kernel":"K"}}"#;
        let report: Report = serde_json::from_str(line).unwrap();
        assert!(report.goals.is_empty());
        assert_eq!(report.names(), ["a"]);
    }
}
