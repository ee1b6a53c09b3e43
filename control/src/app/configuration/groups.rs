//! Groups as files. A group is known by its name, whatever its case, and so are its members. The two that are always there keep their names,
//! and are never deleted.

use std::collections::{BTreeMap, BTreeSet};

use meridian_ids::{GroupId, ZoneId};
use meridian_model::GroupSettings;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Plan, WantedFiles, Zones, changes};
use crate::{
    app::rules::{EVERYONE, LAST_PRIORITY, Problems, check_group, check_members, shown},
    views::{GroupFile, NewGroup},
};

impl GroupFile {
    /// What is wrong with it, as far as it can be seen without a server.
    #[must_use]
    pub fn problems(&self) -> Problems {
        let mut problems = check_group(&self.group());
        if let Some(members) = &self.members {
            check_members(&mut problems, &self.name, members);
        }
        problems
    }

    fn group(&self) -> NewGroup {
        NewGroup {
            name: self.name.clone(),
            priority: self.priority,
            description: self.description.clone(),
            permissions: self.permissions.clone(),
            settings: self.settings.clone(),
        }
    }
}

/// A group as it is.
#[derive(Clone, Debug, Deserialize)]
pub struct CurrentGroup {
    pub id: GroupId,
    pub name: String,
    pub priority: i32,
    pub description: String,
    pub system: Option<String>,
    /// With zones by their names.
    pub settings: Map<String, Value>,
    pub permissions: Vec<String>,
    /// None: everybody.
    #[serde(default)]
    pub members: Option<Vec<String>>,
    pub version: i64,
}

impl CurrentGroup {
    /// Administrators may everything, also what a later release invents: their permissions are in no file.
    #[must_use]
    pub fn file(&self) -> GroupFile {
        let permissions = if self.administers() { Vec::new() } else { self.permissions.clone() };
        canonical(&GroupFile {
            name: self.name.clone(),
            priority: self.priority,
            description: self.description.clone(),
            permissions,
            members: self.members.clone(),
            settings: self.settings.clone(),
        })
    }

    fn administers(&self) -> bool {
        self.system.as_deref() == Some("administrators")
    }
}

/// What says the same is the same: `2` and `2.0`, permissions and members in another order.
fn canonical(group: &GroupFile) -> GroupFile {
    let mut group = group.clone();
    group.permissions.sort_unstable();
    group.permissions.dedup();
    if let Some(members) = &mut group.members {
        members.sort_unstable();
    }
    group.description = group.description.trim().to_owned();
    let read = GroupSettings::read(&group.settings).ok();
    if let Some(Ok(Value::Object(settings))) = read.map(serde_json::to_value) {
        group.settings = settings;
    }
    group
}

/// Gives the names of the groups that there will be, in lower case: as such a group is known.
pub(super) fn plan(
    plan: &mut Plan,
    problems: &mut Problems,
    current: &[CurrentGroup],
    files: &[GroupFile],
    zones: &Zones,
    all: &WantedFiles,
) -> BTreeSet<String> {
    let prune = all.prune;
    let unknown: BTreeSet<String> = all.unknown_users.iter().map(|name| name.to_lowercase()).collect();
    let by_name: BTreeMap<String, &CurrentGroup> =
        current.iter().map(|group| (group.name.to_lowercase(), group)).collect();
    let mut names = BTreeSet::new();
    for file in files {
        let (place, name) = (format!("groups.{}", shown(&file.name)), file.name.to_lowercase());
        let found = by_name.get(&name).copied();
        problems.under(&place, file.problems());
        for member in file.members.iter().flatten() {
            if unknown.contains(&member.to_lowercase()) {
                problems.add(&format!("{place}.members"), format!("{} is not a user", shown(member)));
            }
        }
        if !names.insert(name) {
            problems.add(&format!("{place}.name"), "two files are about this group");
        }
        check_system(problems, &place, found, file);
        let mut before = found.map(CurrentGroup::file);
        let mut wanted = canonical(&with_known_members(file, found));
        if found.is_some_and(CurrentGroup::administers) {
            wanted.permissions.clear();
        }
        let settings = by_ids(problems, &place, &wanted, before.as_ref(), zones);
        let id = found.map_or_else(GroupId::generate, |group| group.id);
        match (&wanted.members, &mut before) {
            (Some(members), before) => {
                let old = before.as_ref().and_then(|before| before.members.clone()).unwrap_or_default();
                let (members, old): (BTreeSet<_>, BTreeSet<_>) =
                    (members.iter().collect(), old.iter().collect());
                let add: Vec<_> = members.difference(&old).collect();
                let remove: Vec<_> = old.difference(&members).collect();
                if !add.is_empty() || !remove.is_empty() {
                    plan.members.push(json!({"id": id, "name": wanted.name, "add": add, "remove": remove}));
                }
            }
            // Who belongs to it is not this file's business.
            (None, Some(before)) => before.members = None,
            (None, None) => {}
        }
        if before.as_ref() == Some(&wanted) {
            continue;
        }
        let action = if before.is_some() { "change" } else { "create" };
        plan.note("group", &file.name, action, changes(before.as_ref(), &wanted));
        let apart_from_members = |group: &GroupFile| GroupFile { members: None, ..group.clone() };
        if before.as_ref().map(apart_from_members) == Some(apart_from_members(&wanted)) {
            continue;
        }
        let permissions = match found {
            Some(group) if group.administers() => &group.permissions,
            Some(_) | None => &wanted.permissions,
        };
        plan.groups.push(json!({
            "id": id, "version": found.map(|group| group.version),
            "name": wanted.name, "priority": wanted.priority, "description": wanted.description,
            "settings": settings, "permissions": permissions,
        }));
    }
    let unlisted: Vec<_> =
        current.iter().filter(|group| !names.contains(&group.name.to_lowercase())).collect();
    for group in unlisted {
        if group.system.is_some() || !prune {
            names.insert(group.name.to_lowercase());
        }
        if group.system.is_some() {
            continue;
        }
        if prune {
            plan.delete_groups.push(group.id);
        }
        plan.note("group", &group.name, if prune { "delete" } else { "unlisted" }, Vec::new());
    }
    names
}

/// The file with those who belong to the group already named as they are, whatever case the file has.
fn with_known_members(file: &GroupFile, found: Option<&CurrentGroup>) -> GroupFile {
    let known = found.iter().flat_map(|group| group.members.iter().flatten());
    let known: BTreeMap<String, &String> = known.map(|name| (name.to_lowercase(), name)).collect();
    let mut file = file.clone();
    for member in file.members.iter_mut().flatten() {
        if let Some(known) = known.get(&member.to_lowercase()) {
            member.clone_from(known);
        }
    }
    file
}

fn check_system(problems: &mut Problems, place: &str, found: Option<&CurrentGroup>, file: &GroupFile) {
    let Some(group) = found.filter(|group| group.system.is_some()) else { return };
    if group.name != file.name {
        problems.add(&format!("{place}.name"), format!("{} cannot be renamed", group.name));
    }
    if group.name == EVERYONE && file.priority != LAST_PRIORITY {
        problems.add(&format!("{place}.priority"), format!("must be {LAST_PRIORITY}: it comes last"));
    }
}

/// A group's settings with zones by their ids. A zone that is gone is named by its id, and stays where it was.
fn by_ids(
    problems: &mut Problems,
    place: &str,
    group: &GroupFile,
    before: Option<&GroupFile>,
    zones: &Zones,
) -> Map<String, Value> {
    let mut settings = group.settings.clone();
    for field in ["allowed_zones", "home_zone"] {
        let Some(value) = settings.get_mut(field) else { continue };
        let was =
            before.and_then(|before| before.settings.get(field)).map(Value::to_string).unwrap_or_default();
        let mut name_by_id = |name: &mut Value| {
            let Some(text) = name.as_str() else { return };
            match zones.get(text) {
                Some(id) => *name = json!(id),
                None if was.contains(text) && text.parse::<ZoneId>().is_ok() => {}
                None => {
                    let text = shown(text);
                    problems.add(&format!("{place}.settings.{field}"), format!("{text} is not a zone"));
                }
            }
        };
        match value.as_array_mut() {
            Some(names) => names.iter_mut().for_each(&mut name_by_id),
            None => name_by_id(value),
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::configuration::{Configuration, WantedFiles, plan as plan_all};

    fn file(value: Value) -> GroupFile {
        serde_json::from_value(value).unwrap()
    }

    fn current() -> Configuration {
        let group = |name: &str, system: Option<&str>, more: Value| {
            let mut group = json!({"id": GroupId::generate(), "name": name, "priority": 10, "description": "",
                "system": system, "settings": {}, "permissions": [], "version": 3});
            group.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            serde_json::from_value(group).unwrap()
        };
        let zone = json!({"id": ZoneId::generate(), "name": "london", "labels": {},
            "settings": meridian_model::ZoneSettings::default()});
        Configuration {
            zones: vec![serde_json::from_value(zone).unwrap()],
            groups: vec![
                group("Administrators", Some("administrators"), json!({"permissions": ["users:view"]})),
                group(
                    "Desk",
                    None,
                    json!({"settings": {"max_cpu": 2.0, "home_zone": "london"}, "members": ["bob", "Ada"]}),
                ),
                group("Everyone", Some("everyone"), json!({"priority": LAST_PRIORITY})),
            ],
            workspaces: Vec::new(),
            mark: String::new(),
        }
    }

    fn planned(groups: Vec<GroupFile>, prune: bool) -> Vec<(String, String)> {
        let wanted = WantedFiles { groups: Some(groups), prune, ..WantedFiles::default() };
        let plan = plan_all(&current(), &wanted).unwrap();
        plan.items.into_iter().map(|item| (item.name, item.action)).collect()
    }

    #[test]
    fn what_was_exported_or_says_the_same_changes_nothing() {
        let exported: Vec<_> = current().groups.iter().map(CurrentGroup::file).collect();
        assert!(planned(exported, true).is_empty());
        let settings = json!({"home_zone": "london", "max_cpu": 2});
        let by_hand = json!({"name": "Desk", "priority": 10, "settings": settings});
        assert!(
            planned(vec![file(by_hand)], true).is_empty(),
            "2 is 2.0; what is always there needs no file"
        );
    }

    #[test]
    fn members_join_and_leave_as_the_file_says_and_stay_where_it_says_nothing() {
        let desk = |members: Value| {
            let settings = json!({"home_zone": "london", "max_cpu": 2});
            file(json!({"name": "Desk", "priority": 10, "settings": settings, "members": members}))
        };
        assert!(planned(vec![desk(json!(["ada", "bob"]))], true).is_empty(), "whatever the case and order");
        assert!(planned(vec![desk(Value::Null)], true).is_empty());
        let wanted = WantedFiles { groups: Some(vec![desk(json!(["Cy", "ADA"]))]), ..WantedFiles::default() };
        let orders = plan_all(&current(), &wanted).unwrap().orders("");
        let members = &orders["members"][0];
        assert_eq!((&members["add"], &members["remove"]), (&json!(["Cy"]), &json!(["bob"])));
        assert_eq!(orders["groups"], json!([]), "nothing else of it changes");
        let unknown = WantedFiles { unknown_users: vec!["cy".into()], ..wanted };
        let Problems(problems) = plan_all(&current(), &unknown).unwrap_err();
        assert_eq!(problems[0].field, "groups.Desk.members");
    }

    #[test]
    fn what_no_file_names_is_deleted_only_when_asked_and_what_is_always_there_never() {
        let pair = |name: &str, action: &str| (name.to_owned(), action.to_owned());
        let new = || vec![file(json!({"name": "New"}))];
        assert_eq!(planned(new(), false), [pair("New", "create"), pair("Desk", "unlisted")]);
        assert_eq!(planned(new(), true), [pair("New", "create"), pair("Desk", "delete")]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_its_place() {
        let groups = vec![
            file(json!({"name": "Everyone", "priority": 7, "members": []})),
            file(json!({"name": "administrators"})),
            file(json!({"name": "Desk", "settings": {"home_zone": "atlantis"}})),
            file(json!({"name": "desk"})),
        ];
        let wanted = WantedFiles { groups: Some(groups), ..WantedFiles::default() };
        let Problems(problems) = plan_all(&current(), &wanted).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "groups.Everyone.members",
                "groups.Everyone.priority",
                "groups.administrators.name",
                "groups.Desk.settings.home_zone",
                "groups.desk.name"
            ]
        );
    }
}
