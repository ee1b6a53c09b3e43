//! A group's name, priority, settings and permissions.

use std::collections::BTreeSet;

use meridian_model::{GroupSettings, Permission};

use super::{Problems, shown};
use crate::views::NewGroup;

/// The priority of Everyone, which nobody else has.
pub const LAST_PRIORITY: i32 = 1_000_000;
/// What the group of all users is called; nobody can rename it.
pub const EVERYONE: &str = "Everyone";
/// Those that a file can name.
const MAX_MEMBERS: usize = 10_000;
const MAX_NAME_CHARS: usize = 128;
const MAX_DESCRIPTION_CHARS: usize = 1000;
/// Each of them several times over.
const MAX_PERMISSIONS: usize = 200;

/// Everything that is wrong with a group, as far as it can be seen without the deployment.
#[must_use]
pub fn check_group(group: &NewGroup) -> Problems {
    let mut problems = Problems::default();
    if let Some(message) = name_problem(&group.name) {
        problems.add("name", message);
    }
    let last = if group.name == EVERYONE { LAST_PRIORITY } else { LAST_PRIORITY - 1 };
    problems.within("priority", group.priority, 1, last);
    problems.text("description", &group.description, MAX_DESCRIPTION_CHARS);
    if group.permissions.len() > MAX_PERMISSIONS {
        problems.add("permissions", format!("must be at most {MAX_PERMISSIONS}"));
    } else {
        for permission in group.permissions.iter().filter(|text| Permission::parse(text).is_none()) {
            problems.add("permissions", format!("there is no permission {}", shown(permission)));
        }
    }
    match GroupSettings::read(&group.settings) {
        Ok(settings) => {
            if let Err(error) = settings.check_together() {
                problems.add(&format!("settings.{}", error.field), error.message);
            }
        }
        Err(error) => problems.add(&format!("settings.{}", error.field), error.message),
    }
    problems
}

/// What is wrong with the members that a group's file names, as far as it can be seen without the deployment.
pub fn check_members(problems: &mut Problems, group: &str, members: &[String]) {
    if group == EVERYONE {
        problems.add("members", "must be left out: all users belong to it");
    }
    if members.len() > MAX_MEMBERS {
        problems.add(
            "members",
            format!("must be at most {MAX_MEMBERS}: put more of them in with meridian admin groups"),
        );
        return;
    }
    let mut seen = BTreeSet::new();
    for member in members {
        if let Some(message) = name_problem(member) {
            problems.add("members", format!("the name of a member {message}"));
        } else if !seen.insert(member.to_lowercase()) {
            problems.add("members", format!("{member} is named twice"));
        }
    }
}

/// What is wrong with a name. It may be in any script, without what would make it look like another: control characters and those that turn
/// the direction of what follows.
#[must_use]
pub fn name_problem(name: &str) -> Option<String> {
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let length = name.chars().take(MAX_NAME_CHARS + 1).count();
    if !(1..=MAX_NAME_CHARS).contains(&length) {
        return Some(format!("must have 1 to {MAX_NAME_CHARS} characters"));
    }
    if name.trim() != name {
        return Some("must not begin or end with spaces".into());
    }
    name.chars()
        .any(|letter| letter.is_control() || turns(letter))
        .then(|| "has a character that cannot be seen".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_wrong_with_a_group_is_said_at_its_field() {
        let group = |value: serde_json::Value| -> NewGroup { serde_json::from_value(value).unwrap() };
        let wrong = group(json!({"name": "a\u{202e}b", "priority": 1_000_000, "permissions": ["fly"],
            "settings": {"view_only": true, "clipboard_in": true}}));
        let Problems(problems) = check_group(&wrong);
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["name", "priority", "permissions", "settings.clipboard_in"]);
        let Problems(problems) = check_group(&group(json!({"name": "Desk", "settings": {"speed": 9}})));
        assert_eq!(problems[0].field, "settings.speed");
        let right = json!({"name": "Everyone", "priority": 1_000_000, "settings": {"max_cpu": 2, "home_zone": "oslo"}});
        assert_eq!(check_group(&group(right)), Problems::default());
    }
}
