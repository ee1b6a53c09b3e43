//! A deployment's zones, groups and workspaces as files: what a file says, and the plan that leads from what is to what the files say.
//!
//! Pure. Everything is judged before anything is planned, and the database carries a plan out in one step or not at all. A zone is
//! known by its id, so that a file with another name renames it; a file without an id, as one writes it by hand, means the zone of
//! its name. A workspace is known by its name, and so is a group (`groups`).

mod groups;

use std::collections::{BTreeMap, BTreeSet};

use meridian_ids::{GroupId, WorkspaceId, ZoneId};
use meridian_model::{ImagePolicy, LoadStrategy, ZoneSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::rules::{Problems, check_desired_images, check_workspace, check_zone, shown};
use crate::{
    store::workspaces::WorkspaceRow,
    views::{ChangeView, GroupFile, NewWorkspace, PlannedView, WorkspaceView},
};

pub use groups::CurrentGroup;

/// A zone's file. What it leaves out is as in a new zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZoneFile {
    /// Stays when the zone is renamed. Left out: the zone of that name, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub id: Option<ZoneId>,
    pub zone_name: String,
    pub allow_origin_domain: String,
    pub upstream_auth_address: String,
    #[schema(value_type = String)]
    pub load_strategy: LoadStrategy,
    pub search_alternate_zones: bool,
    pub alternate_zones: Vec<String>,
    pub isolated: bool,
    pub prioritize_static_agents: bool,
    pub proxy_connections: bool,
    pub proxy_hostname: String,
    pub proxy_path: String,
    pub proxy_port: u16,
    pub proxy_alternates: Vec<String>,
    /// Seconds.
    pub outage_grace: u32,
    pub private_balancer: String,
    pub home_storage: String,
    #[schema(value_type = String)]
    pub image_policy: ImagePolicy,
    /// References of the images that each of its agents loads ahead of need.
    pub desired_images: Vec<String>,
    /// What all its agents have, unless one says otherwise.
    pub labels: BTreeMap<String, String>,
}

impl Default for ZoneFile {
    fn default() -> Self {
        Self::new(None, String::new(), ZoneSettings::default(), BTreeMap::new())
    }
}

impl ZoneFile {
    #[must_use]
    pub fn new(
        id: Option<ZoneId>,
        zone_name: String,
        settings: ZoneSettings,
        labels: BTreeMap<String, String>,
    ) -> Self {
        Self {
            id,
            zone_name,
            allow_origin_domain: settings.allow_origin_domain,
            upstream_auth_address: settings.upstream_auth_address,
            load_strategy: settings.load_strategy,
            search_alternate_zones: settings.search_alternate_zones,
            alternate_zones: settings.alternate_zones,
            isolated: settings.isolated,
            prioritize_static_agents: settings.prioritize_static_agents,
            proxy_connections: settings.proxy_connections,
            proxy_hostname: settings.proxy_hostname,
            proxy_path: settings.proxy_path,
            proxy_port: settings.proxy_port,
            proxy_alternates: settings.proxy_alternates,
            outage_grace: settings.outage_grace_s,
            private_balancer: settings.private_balancer,
            home_storage: settings.home_storage,
            image_policy: settings.image_policy,
            desired_images: Vec::new(),
            labels,
        }
    }

    #[must_use]
    pub fn settings(&self) -> ZoneSettings {
        ZoneSettings {
            allow_origin_domain: self.allow_origin_domain.clone(),
            upstream_auth_address: self.upstream_auth_address.clone(),
            load_strategy: self.load_strategy,
            search_alternate_zones: self.search_alternate_zones,
            alternate_zones: self.alternate_zones.clone(),
            isolated: self.isolated,
            prioritize_static_agents: self.prioritize_static_agents,
            proxy_connections: self.proxy_connections,
            proxy_hostname: self.proxy_hostname.clone(),
            proxy_path: self.proxy_path.clone(),
            proxy_port: self.proxy_port,
            proxy_alternates: self.proxy_alternates.clone(),
            outage_grace_s: self.outage_grace,
            private_balancer: self.private_balancer.clone(),
            home_storage: self.home_storage.clone(),
            image_policy: self.image_policy,
        }
    }

    /// What is wrong with it, as far as it can be seen without a server.
    #[must_use]
    pub fn problems(&self) -> Problems {
        let mut problems = check_zone(&self.zone_name, &self.settings(), &self.labels);
        check_desired_images(&mut problems, &self.desired_images);
        problems
    }

    /// What says the same is the same: images in another order.
    fn canonical(&self) -> Self {
        let mut file = self.clone();
        file.desired_images.sort_unstable();
        file
    }

    pub(crate) fn entry(&self) -> Value {
        json!({"name": self.zone_name, "settings": self.settings(), "labels": self.labels})
    }
}

/// A zone as it is.
#[derive(Clone, Debug, Deserialize)]
pub struct CurrentZone {
    pub id: ZoneId,
    pub name: String,
    pub settings: ZoneSettings,
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub desired_images: Vec<String>,
}

impl CurrentZone {
    #[must_use]
    pub fn file(&self) -> ZoneFile {
        let file =
            ZoneFile::new(Some(self.id), self.name.clone(), self.settings.clone(), self.labels.clone());
        ZoneFile { desired_images: self.desired_images.clone(), ..file }.canonical()
    }
}

/// All zones, groups and workspaces as they are.
#[derive(Debug, Deserialize)]
pub struct Configuration {
    pub zones: Vec<CurrentZone>,
    pub groups: Vec<CurrentGroup>,
    pub workspaces: Vec<WorkspaceRow>,
    /// Stands for exactly this state.
    pub mark: String,
}

/// What the files say; a kind that is none is left alone.
#[derive(Clone, Debug, Default)]
pub struct WantedFiles {
    pub zones: Option<Vec<ZoneFile>>,
    pub groups: Option<Vec<GroupFile>>,
    pub workspaces: Option<Vec<NewWorkspace>>,
    /// Whether what no file names is deleted; else it is left alone, and told.
    pub prune: bool,
    /// Of the members that files name, those who are no users.
    pub unknown_users: Vec<String>,
}

/// Files of one kind that are applied together.
const MOST_ZONES: usize = 1000;
const MOST_GROUPS: usize = 5000;
const MOST_WORKSPACES: usize = 1000;
/// Of all groups together.
const MOST_MEMBERS: usize = 200_000;

impl WantedFiles {
    /// More than is looked at, before anything is looked at.
    #[must_use]
    pub fn too_many(&self) -> Problems {
        let mut problems = Problems::default();
        let mut bound = |field: &str, number: usize, most: usize, what: &str| {
            if number > most {
                problems.add(field, format!("must be at most {most} {what}, and these are {number}"));
            }
        };
        bound("zones", self.zones.as_ref().map_or(0, Vec::len), MOST_ZONES, "files");
        bound("groups", self.groups.as_ref().map_or(0, Vec::len), MOST_GROUPS, "files");
        bound("workspaces", self.workspaces.as_ref().map_or(0, Vec::len), MOST_WORKSPACES, "files");
        let members = self.groups.iter().flatten().flat_map(|file| &file.members).map(Vec::len).sum();
        bound("groups", members, MOST_MEMBERS, "members");
        problems
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub items: Vec<PlannedView>,
    zones: Vec<Value>,
    groups: Vec<Value>,
    members: Vec<Value>,
    workspaces: Vec<Value>,
    delete_zones: Vec<ZoneId>,
    delete_groups: Vec<GroupId>,
    delete_workspaces: Vec<WorkspaceId>,
    listed_zones: Vec<ZoneId>,
    listed_workspaces: Vec<String>,
}

impl Plan {
    /// As `apply_configuration_v1` takes it.
    #[must_use]
    pub fn orders(&self, revision: &str) -> Value {
        json!({"zones": self.zones, "groups": self.groups, "members": self.members, "workspaces": self.workspaces,
            "delete_zones": self.delete_zones, "delete_groups": self.delete_groups,
            "delete_workspaces": self.delete_workspaces, "listed_zones": self.listed_zones,
            "listed_workspaces": self.listed_workspaces, "revision": revision})
    }

    fn note(&mut self, kind: &str, name: &str, action: &str, changes: Vec<ChangeView>) {
        self.items.push(PlannedView { kind: kind.into(), name: name.into(), action: action.into(), changes });
    }
}

/// The plan from what is to what the files say.
///
/// # Errors
/// Everything that is wrong, each with the zone, group or workspace and its field.
pub fn plan(current: &Configuration, wanted: &WantedFiles) -> Result<Plan, Problems> {
    let mut problems = wanted.too_many();
    if !problems.0.is_empty() {
        return Err(problems);
    }
    let mut plan = Plan::default();
    let mut zones: Zones = current.zones.iter().map(|zone| (zone.name.clone(), zone.id)).collect();
    if let Some(files) = &wanted.zones {
        zones = plan_zones(&mut plan, &mut problems, current, files, wanted.prune);
    }
    let mut groups: BTreeSet<String> = current.groups.iter().map(|group| group.name.to_lowercase()).collect();
    if let Some(files) = &wanted.groups {
        groups = groups::plan(&mut plan, &mut problems, &current.groups, files, &zones, wanted);
    }
    if let Some(files) = &wanted.workspaces {
        plan_workspaces(&mut plan, &mut problems, current, files, (&zones, &groups), wanted.prune);
    }
    if problems.0.is_empty() { Ok(plan) } else { Err(problems) }
}

/// The zones that there will be, by name.
type Zones = BTreeMap<String, ZoneId>;

/// Gives the zones that there will be.
fn plan_zones(
    plan: &mut Plan,
    problems: &mut Problems,
    current: &Configuration,
    files: &[ZoneFile],
    prune: bool,
) -> Zones {
    let by_id: BTreeMap<ZoneId, &CurrentZone> = current.zones.iter().map(|zone| (zone.id, zone)).collect();
    let by_name: BTreeMap<&str, &CurrentZone> =
        current.zones.iter().map(|zone| (zone.name.as_str(), zone)).collect();
    let known = |file: &ZoneFile| match file.id {
        Some(id) => by_id.get(&id).copied(),
        None => by_name.get(file.zone_name.as_str()).copied(),
    };
    let listed: BTreeSet<ZoneId> = files.iter().filter_map(known).map(|zone| zone.id).collect();
    let unlisted: Vec<_> = current.zones.iter().filter(|zone| !listed.contains(&zone.id)).collect();
    let kept_names: BTreeSet<&str> =
        unlisted.iter().filter(|_| !prune).map(|zone| zone.name.as_str()).collect();
    let mut names: BTreeSet<&str> = files.iter().map(|file| file.zone_name.as_str()).collect();
    names.extend(&kept_names);
    let (mut seen_names, mut seen_ids) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let place = format!("zones.{}", shown(&file.zone_name));
        problems.under(&place, file.problems());
        let new_name = seen_names.insert(file.zone_name.as_str());
        let new_id = file.id.is_none_or(|id| seen_ids.insert(id));
        if !new_name || !new_id {
            problems.add(&format!("{place}.zone_name"), "two files are about this zone");
        } else if kept_names.contains(file.zone_name.as_str()) {
            problems.add(
                &format!("{place}.id"),
                "another zone has this name: leave the id out, if that one is meant",
            );
        }
        for alternate in &file.alternate_zones {
            if !names.contains(alternate.as_str()) {
                let alternate = shown(alternate);
                problems.add(&format!("{place}.alternate_zones"), format!("{alternate} is not a zone"));
            }
        }
        let found = known(file);
        let id = found.map(|zone| zone.id).or(file.id).unwrap_or_else(ZoneId::generate);
        plan.listed_zones.push(id);
        let before = found.map(|zone| ZoneFile { id: file.id, ..zone.file() });
        let file = file.canonical();
        if before.as_ref() != Some(&file) {
            plan.zones.push(json!({"id": id, "entry": file.entry(), "desired_images": file.desired_images}));
            let action = if before.is_some() { "change" } else { "create" };
            plan.note("zone", &file.zone_name, action, changes(before.as_ref(), &file));
        }
    }
    let kept = if prune { Vec::new() } else { unlisted.clone() };
    for zone in unlisted {
        if prune {
            plan.delete_zones.push(zone.id);
        }
        plan.note("zone", &zone.name, if prune { "delete" } else { "unlisted" }, Vec::new());
    }
    files
        .iter()
        .zip(&plan.listed_zones)
        .map(|(file, id)| (file.zone_name.clone(), *id))
        .chain(kept.into_iter().map(|zone| (zone.name.clone(), zone.id)))
        .collect()
}

fn plan_workspaces(
    plan: &mut Plan,
    problems: &mut Problems,
    current: &Configuration,
    files: &[NewWorkspace],
    (zones, groups): (&Zones, &BTreeSet<String>),
    prune: bool,
) {
    let by_name: BTreeMap<&str, &WorkspaceRow> =
        current.workspaces.iter().map(|row| (row.entry.name.as_str(), row)).collect();
    let mut listed = BTreeSet::new();
    for file in files {
        let place = format!("workspaces.{}", shown(&file.name));
        problems.under(&place, check_workspace(file));
        if !listed.insert(file.name.as_str()) {
            problems.add(&format!("{place}.name"), "two files are about this workspace");
        }
        for zone in file.zones.iter().flatten().filter(|zone| !zones.contains_key(*zone)) {
            problems.add(&format!("{place}.zones"), format!("{} is not a zone", shown(zone)));
        }
        for group in file.groups.iter().flatten() {
            if !groups.contains(&group.to_lowercase()) {
                problems.add(&format!("{place}.groups"), format!("{} is not a group", shown(group)));
            }
        }
        let found = by_name.get(file.name.as_str()).copied();
        plan.listed_workspaces.push(file.name.clone());
        let before = found.map(|row| workspace_file(row.entry.clone()));
        if before.as_ref() != Some(file) {
            let id = found.map_or_else(WorkspaceId::generate, |row| row.entry.id);
            plan.workspaces
                .push(json!({"id": id, "version": found.map(|row| row.version), "entry": file.entry()}));
            let action = if before.is_some() { "change" } else { "create" };
            plan.note("workspace", &file.name, action, changes(before.as_ref(), file));
        }
    }
    for row in current.workspaces.iter().filter(|row| !listed.contains(row.entry.name.as_str())) {
        if prune {
            plan.delete_workspaces.push(row.entry.id);
        }
        plan.note("workspace", &row.entry.name, if prune { "delete" } else { "unlisted" }, Vec::new());
    }
}

/// An entry of the catalogue as its file has it.
#[must_use]
pub fn workspace_file(entry: WorkspaceView) -> NewWorkspace {
    crate::views::WorkspacePatch::default().apply(entry)
}

/// Field by field; of something new, what is not as in any new one is not told apart.
fn changes<T: Serialize>(before: Option<&T>, after: &T) -> Vec<ChangeView> {
    let fields = |value: Option<&T>| match value.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        Some(_) | None => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(Some(after)));
    let mut changes: Vec<ChangeView> = after
        .iter()
        .filter(|(field, to)| before.get(*field) != Some(to))
        .map(|(field, to)| ChangeView {
            field: field.clone(),
            from: before.get(field).cloned().unwrap_or_default(),
            to: to.clone(),
        })
        .collect();
    let gone = before.iter().filter(|(field, _)| !after.contains_key(*field));
    changes.extend(gone.map(|(field, from)| ChangeView {
        field: field.clone(),
        from: from.clone(),
        to: Value::Null,
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Configuration {
        let zone = |name: &str| CurrentZone {
            id: ZoneId::generate(),
            name: name.into(),
            settings: ZoneSettings::default(),
            labels: BTreeMap::new(),
            desired_images: vec!["registry.example.org/a:1".into(), "registry.example.org/b:1".into()],
        };
        Configuration {
            zones: vec![zone("london"), zone("virginia")],
            workspaces: Vec::new(),
            groups: Vec::new(),
            mark: String::new(),
        }
    }

    fn files(current: &Configuration) -> Vec<ZoneFile> {
        current.zones.iter().map(CurrentZone::file).collect()
    }

    fn actions(current: &Configuration, zones: Vec<ZoneFile>, prune: bool) -> Vec<(String, String)> {
        let wanted = WantedFiles { zones: Some(zones), prune, ..WantedFiles::default() };
        let plan = plan(current, &wanted).unwrap();
        plan.items.into_iter().map(|item| (item.name, item.action)).collect()
    }

    #[test]
    fn what_was_exported_changes_nothing() {
        let current = current();
        assert!(actions(&current, files(&current), true).is_empty());
    }

    #[test]
    fn an_id_renames_and_what_no_file_names_is_deleted_only_when_asked() {
        let current = current();
        let renamed = ZoneFile { zone_name: "thames".into(), ..current.zones[0].file() };
        let pair = |name: &str, action: &str| (name.to_owned(), action.to_owned());
        assert_eq!(
            actions(&current, vec![renamed.clone()], false),
            [pair("thames", "change"), pair("virginia", "unlisted")]
        );
        assert_eq!(
            actions(&current, vec![renamed], true),
            [pair("thames", "change"), pair("virginia", "delete")]
        );
        let by_hand = ZoneFile { id: None, isolated: true, ..current.zones[0].file() };
        assert_eq!(actions(&current, vec![by_hand], false)[0], pair("london", "change"));
        let mut shuffled = current.zones[0].file();
        shuffled.desired_images.reverse();
        assert_eq!(actions(&current, vec![shuffled.clone()], false), [pair("virginia", "unlisted")]);
        shuffled.desired_images.pop();
        assert_eq!(actions(&current, vec![shuffled], false)[0], pair("london", "change"));
    }

    #[test]
    fn more_files_than_are_looked_at_are_refused_at_their_kind() {
        let file = |number: usize| ZoneFile { zone_name: format!("zone-{number}"), ..ZoneFile::default() };
        let zones = |number: usize| WantedFiles {
            zones: Some((0..number).map(file).collect()),
            ..WantedFiles::default()
        };
        assert!(plan(&current(), &zones(MOST_ZONES)).is_ok());
        let Problems(problems) = plan(&current(), &zones(MOST_ZONES + 1)).unwrap_err();
        let told: Vec<_> =
            problems.iter().map(|problem| (problem.field.as_str(), &*problem.message)).collect();
        assert_eq!(told, [("zones", "must be at most 1000 files, and these are 1001")]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let current = current();
        let mut zones = files(&current);
        zones[0].proxy_path = "api".into();
        zones[0].desired_images.push("registry.example.org/without-a-tag".into());
        zones[1].alternate_zones = vec!["atlantis".into()];
        zones.push(ZoneFile { id: None, ..zones[1].clone() });
        let wanted = WantedFiles { zones: Some(zones), ..WantedFiles::default() };
        let Problems(problems) = plan(&current, &wanted).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "zones.london.proxy_path",
                "zones.london.desired_images",
                "zones.virginia.alternate_zones",
                "zones.virginia.zone_name",
                "zones.virginia.alternate_zones"
            ]
        );
    }
}
