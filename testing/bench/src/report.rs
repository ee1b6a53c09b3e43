//! A measurement as it is written down (DESIGN.md §8): one JSON object, and a table for people.

use std::{collections::BTreeMap, fmt, fs, io::Write, path::Path};

use serde::Serialize;
use serde_json::Value;

use crate::Host;

/// Figures by name.
pub type Figures = BTreeMap<String, Value>;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub name: String,
    pub parameters: Figures,
    pub figures: Figures,
    /// The same figures of what it was run beside.
    pub peers: BTreeMap<String, Figures>,
    pub host: Host,
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
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |figures: &Figures| {
            let pairs: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
            pairs.join(", ")
        };
        writeln!(f, "{}: {}", self.name, list(&self.parameters))?;
        let Host { processor, cores, memory_mb, kernel } = &self.host;
        writeln!(f, "on {processor}, {cores} cores, {memory_mb} MB, Linux {kernel}")?;
        let names: Vec<&String> =
            self.figures.keys().filter(|name| !self.figures[*name].is_array()).collect();
        write!(f, "{:<12}", "")?;
        for name in &names {
            write!(f, "{name:>28}")?;
        }
        let ours = ("meridian".to_owned(), self.figures.clone());
        for (who, figures) in std::iter::once(ours).chain(self.peers.clone()) {
            write!(f, "\n{who:<12}")?;
            for name in &names {
                let value = figures.get(*name).map(Value::to_string).unwrap_or_default();
                write!(f, "{:>28}", value.trim_matches('"'))?;
            }
        }
        Ok(())
    }
}
