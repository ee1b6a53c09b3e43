//! What an administrator may write: every setting judged at its field, before anything is written.
//!
//! Pure: the API, `meridian admin` and `meridian check-config` say the same of the same values. What only the database knows, such as
//! whether a zone exists, is judged there.

mod groups;
mod images;
mod workspaces;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

pub use groups::{EVERYONE, LAST_PRIORITY, check_group, check_members, name_problem};
pub use images::{MAX_IMAGES, MAX_REGISTRIES, check_desired_images, check_image, check_login};
pub use workspaces::check_workspace;
pub use zones::{check_zone, has_port, is_host_and_port};

use crate::views::{FieldView, NodePatch};

const MAX_LABELS: usize = 32;
/// Zones, or groups, that one thing names.
pub const MOST_NAMED: usize = 1000;
/// What is said to be wrong at once. Whoever has more wrong than that begins with these.
const MOST_PROBLEMS: usize = 100;
const SHOWN_CHARS: usize = 128;
/// Overrides beyond this are slips of the keyboard: a mebi-core, an exbibyte.
const MOST_CORES: f64 = 65_536.0;
const MOST_MEMORY_MB: i64 = 1 << 30;
const MOST_GPUS: i64 = 1024;
const MOST_SESSIONS: i64 = 1_000_000;

/// What is wrong, by field. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<FieldView>);

impl Problems {
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        match self.0.len() {
            0..MOST_PROBLEMS => {
                self.0.push(FieldView { field: shown(field), message: message.into() });
            }
            MOST_PROBLEMS => {
                let message = format!("and more is wrong: these are the first {MOST_PROBLEMS}");
                self.0.push(FieldView { field: shown(field), message });
            }
            _ => {}
        }
    }

    /// Another's problems, below a place.
    pub(super) fn under(&mut self, place: &str, Self(others): Self) {
        for other in others {
            self.add(&format!("{place}.{}", other.field), other.message);
        }
    }

    fn within<T: PartialOrd + Copy + std::fmt::Display>(&mut self, field: &str, value: T, low: T, high: T) {
        if !(low..=high).contains(&value) {
            self.add(field, format!("must be between {low} and {high}"));
        }
    }

    /// A text for people: bounded, and nothing that changes how a terminal or a log reads.
    fn text(&mut self, field: &str, value: &str, longest: usize) {
        if value.chars().count() > longest {
            self.add(field, format!("must have at most {longest} characters"));
        }
        if value.chars().any(char::is_control) {
            self.add(field, "must have no control characters");
        }
    }

    /// Names of which none may come twice; so many at most.
    fn once(&mut self, field: &str, names: &[String], most: usize) {
        if names.len() > most {
            return self.add(field, format!("must be at most {most}"));
        }
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(field, format!("{} is named twice", shown(name)));
            }
        }
    }

    fn labels(&mut self, field: &str, labels: &BTreeMap<String, String>) {
        if labels.len() > MAX_LABELS {
            self.add(field, format!("must be at most {MAX_LABELS}"));
        }
        for (key, value) in labels {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
            if !(1..=63).contains(&key.len()) || !key.bytes().all(fits) {
                let key = shown(key);
                self.add(
                    field,
                    format!("\"{key}\" is no label: it has 1 to 63 of a-z, A-Z, 0-9 and . _ - /"),
                );
            } else {
                self.text(&format!("{field}.{key}"), value, 128);
            }
        }
    }
}

/// What somebody wrote, as far as it is fit to be shown to them again.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN_CHARS).collect()
}

/// Overrides, limits and labels of an agent.
#[must_use]
pub fn check_node(patch: &NodePatch) -> Problems {
    let mut problems = Problems::default();
    if let Some(labels) = &patch.labels {
        problems.labels("labels", labels);
    }
    if let Some(Some(cores)) = patch.cpu_override {
        problems.within("cpu_override", cores, 0.0, MOST_CORES);
    }
    if let Some(Some(mb)) = patch.memory_mb_override {
        problems.within("memory_mb_override", mb, 0, MOST_MEMORY_MB);
    }
    if let Some(Some(gpus)) = patch.gpus_override {
        problems.within("gpus_override", gpus, 0, MOST_GPUS);
    }
    if let Some(Some(sessions)) = patch.session_limit {
        problems.within("session_limit", sessions, 0, MOST_SESSIONS);
    }
    for (field, factor) in
        [("cpu_overcommit", patch.cpu_overcommit), ("memory_overcommit", patch.memory_overcommit)]
    {
        if let Some(factor) = factor {
            problems.within(field, factor, 0.1, 100.0);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let patch = NodePatch {
            labels: Some(BTreeMap::from([("a b".into(), "x".into()), ("disk".into(), "fa\u{1b}st".into())])),
            cpu_override: Some(Some(f64::NAN)),
            session_limit: Some(Some(-1)),
            cpu_overcommit: Some(0.0),
            ..NodePatch::default()
        };
        let Problems(problems) = check_node(&patch);
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["labels", "labels.disk", "cpu_override", "session_limit", "cpu_overcommit"]);
    }

    #[test]
    fn long_lists_are_refused_at_their_field_and_what_is_wrong_is_told_in_bounds() {
        let mut problems = Problems::default();
        let names = |number: usize| -> Vec<String> { (0..number).map(|name| name.to_string()).collect() };
        problems.once("zones", &names(MOST_NAMED), MOST_NAMED);
        assert_eq!(problems, Problems::default());
        problems.once("zones", &names(MOST_NAMED + 1), MOST_NAMED);
        assert_eq!(problems.0[0].message, "must be at most 1000");
        for number in 0..1000 {
            problems.add("a", number.to_string());
        }
        assert_eq!(problems.0.len(), MOST_PROBLEMS + 1);
        assert!(problems.0[MOST_PROBLEMS].message.contains("and more is wrong"), "{problems:?}");
        assert_eq!(shown(&"\u{7}x".repeat(1 << 20)), "x".repeat(SHOWN_CHARS));
    }

    #[test]
    fn taking_an_override_away_is_always_right() {
        let patch = NodePatch { cpu_override: Some(None), session_limit: Some(None), ..NodePatch::default() };
        assert_eq!(check_node(&patch), Problems::default());
    }
}
