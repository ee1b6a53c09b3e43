//! Zones, groups and workspaces as files: `export`, `diff`, `apply`. One TOML file each, in a folder of the kind's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use meridian_control::{
    app::configuration::{ZoneFile, workspace_file},
    app::rules::{Problems, check_workspace},
    app::words::counted,
    views::{GroupFile, NewWorkspace, WorkspaceView},
};
use meridian_settings::read_file;
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{output::show_one, server::Server};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Files {
    /// Write one TOML file for each into a folder; files there of what exists no more are removed.
    Export { folder: PathBuf },
    /// What applying the files of a folder would change, deletions included. It takes the permission to view alone.
    #[command(
        after_help = "It ends with 0 where nothing differs, and with 1 where something does: fit for a pipeline."
    )]
    Diff { folder: PathBuf },
    /// Make the deployment what the files of a folder say: all of it or nothing.
    Apply(Apply),
}

#[derive(Args)]
pub struct Apply {
    folder: PathBuf,
    /// Only say what would be done; it takes the permission to view alone.
    #[arg(long)]
    dry_run: bool,
    /// Delete what no file names.
    #[arg(long)]
    prune: bool,
    /// What this state is called, such as a commit.
    #[arg(long, default_value = "")]
    revision: String,
}

/// What a folder is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Zones,
    Groups,
    Workspaces,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Zones => "zones",
            Self::Groups => "groups",
            Self::Workspaces => "workspaces",
        }
    }

    /// Reads and judges all files of a folder.
    fn read(self, folder: &Path) -> Result<Value, Failure> {
        match self {
            Self::Zones => Ok(json!(read_zones(folder)?)),
            Self::Groups => Ok(json!(read_groups(folder)?)),
            Self::Workspaces => Ok(json!(read_workspaces(folder)?)),
        }
    }

    /// The files of a folder that are about something of this kind which exists no more. A file of anything else is nobody's to remove: an export
    /// into such a folder is a mistake.
    fn gone(self, folder: &Path, is_written: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Failure> {
        let gone: Vec<_> = toml_files(folder)?.into_iter().filter(|file| !is_written(file)).collect();
        let is_own = |file: &Path| match self {
            Self::Zones => read_file::<ZoneFile>(file).is_ok(),
            Self::Groups => read_file::<GroupFile>(file).is_ok(),
            Self::Workspaces => read_file::<NewWorkspace>(file).is_ok(),
        };
        match gone.iter().find(|file| !is_own(file)) {
            None => Ok(gone),
            Some(stranger) => Err(Failure::new(format!(
                "{} is no file of {}, and exporting would remove it; nothing was written",
                stranger.display(),
                self.key()
            ))
            .hint("Name a folder that has no other .toml files, or take this one away")),
        }
    }
}

pub async fn run(server: &Server, kind: Kind, files: Files, json: bool) -> Result<(), Failure> {
    let (apply, is_diff) = match files {
        Files::Export { folder } => return export(server, kind, &folder).await,
        Files::Diff { folder } => {
            (Apply { folder, dry_run: true, prune: true, revision: String::new() }, true)
        }
        Files::Apply(apply) => (apply, false),
    };
    let mut body = json!({"dry_run": apply.dry_run, "prune": apply.prune, "revision": apply.revision});
    body[kind.key()] = kind.read(&apply.folder)?;
    let answer = server.call(Method::POST, "/configuration/apply", Some(body)).await?;
    if json {
        show_one(&answer)?;
    } else {
        say_plan(&answer)?;
    }
    let differing = answer["plan"].as_array().map_or(0, Vec::len);
    if is_diff && differing > 0 {
        let things = counted(differing, "thing differs", "things differ");
        return Err(Failure::new(format!("{things} from what the files say")));
    }
    Ok(())
}

async fn export(server: &Server, kind: Kind, folder: &Path) -> Result<(), Failure> {
    let all = server.call(Method::GET, "/configuration", None).await?;
    let mut texts: Vec<(String, String)> = Vec::new();
    match kind {
        Kind::Zones => {
            for zone in serde_json::from_value::<Vec<ZoneFile>>(all["zones"].clone())? {
                texts.push((zone.zone_name.clone(), toml::to_string(&zone)?));
            }
        }
        Kind::Groups => {
            let groups: Option<Vec<GroupFile>> = serde_json::from_value(all["groups"].clone())?;
            let groups = groups.ok_or_else(|| {
                Failure::new("you may not view groups").hint("It takes the permission groups:view").code(3)
            })?;
            for group in groups {
                texts.push((group.name.clone(), toml::to_string(&group)?));
            }
        }
        Kind::Workspaces => {
            for entry in serde_json::from_value::<Vec<WorkspaceView>>(all["workspaces"].clone())? {
                texts.push((entry.name.clone(), toml::to_string(&workspace_file(entry))?));
            }
        }
    }
    texts.sort();
    fs::create_dir_all(folder)
        .map_err(|error| Failure::new(format!("{} cannot be made: {error}", folder.display())))?;
    let mut taken = BTreeSet::new();
    let files: Vec<_> =
        texts.into_iter().map(|(name, text)| (folder.join(file_name(&name, &mut taken)), text)).collect();
    let gone = kind.gone(folder, |file| files.iter().any(|(written, _)| written == file))?;
    for (file, text) in &files {
        // What is as it was keeps its time, so that nothing looks changed.
        if fs::read_to_string(file).ok().as_deref() != Some(text.as_str()) {
            // Whole or not at all, whenever this ends.
            let part = file.with_extension("toml.part");
            fs::write(&part, text)?;
            fs::rename(&part, file)?;
        }
    }
    for file in gone {
        fs::remove_file(&file)?;
    }
    print(&format!("{} in {}", counted(files.len(), "file is", "files are"), folder.display()))
}

/// A file's name for a thing of this name: plain letters, and no two alike.
fn file_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let plain: String =
        name.chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() || letter == '-' {
                    letter.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(80)
            .collect();
    let mut file = format!("{plain}.toml");
    let mut number = 2;
    while !taken.insert(file.clone()) {
        file = format!("{plain}-{number}.toml");
        number += 1;
    }
    file
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let entries = fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", folder.display())))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The zones of a folder's files, judged.
pub fn read_zones(folder: &Path) -> Result<Vec<ZoneFile>, Failure> {
    let files: Vec<(PathBuf, ZoneFile)> = read_all(folder)?;
    let ids = files.iter().filter_map(|(path, zone)| Some((path, zone.id?.to_string())));
    once(ids, "the zone with the id")?;
    once(files.iter().map(|(path, zone)| (path, zone.zone_name.clone())), "zone")?;
    judged(files, ZoneFile::problems)
}

/// The groups of a folder's files, judged.
pub fn read_groups(folder: &Path) -> Result<Vec<GroupFile>, Failure> {
    let files: Vec<(PathBuf, GroupFile)> = read_all(folder)?;
    once(files.iter().map(|(path, group)| (path, group.name.to_lowercase())), "group")?;
    judged(files, GroupFile::problems)
}

/// The workspaces of a folder's files, judged.
pub fn read_workspaces(folder: &Path) -> Result<Vec<NewWorkspace>, Failure> {
    let files: Vec<(PathBuf, NewWorkspace)> = read_all(folder)?;
    once(files.iter().map(|(path, entry)| (path, entry.name.clone())), "workspace")?;
    judged(files, check_workspace)
}

fn read_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<(PathBuf, T)>, Failure> {
    let files = toml_files(folder)?;
    if files.is_empty() {
        return Err(Failure::new(format!("{} has no .toml file", folder.display()))
            .hint("An empty folder would mean that nothing shall be left; it is taken for a mistake"));
    }
    files.into_iter().map(|path| Ok((path.clone(), read_file(&path)?))).collect()
}

fn once<'a>(names: impl Iterator<Item = (&'a PathBuf, String)>, what: &str) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for (path, name) in names {
        if let Some(other) = seen.insert(name.clone(), path) {
            let (first, second) = (other.display(), path.display());
            return Err(Failure::new(format!("{first} and {second} are both about {what} {name}")));
        }
    }
    Ok(())
}

fn judged<T>(files: Vec<(PathBuf, T)>, check: impl Fn(&T) -> Problems) -> Result<Vec<T>, Failure> {
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(path, file)| {
            let Problems(problems) = check(file);
            problems
                .into_iter()
                .map(move |problem| format!("{}: {} {}", path.display(), problem.field, problem.message))
        })
        .collect();
    if wrong.is_empty() {
        Ok(files.into_iter().map(|(_, file)| file).collect())
    } else {
        Err(Failure::new(wrong.join("\n")))
    }
}

fn say_plan(answer: &Value) -> Result<(), Failure> {
    let items = answer["plan"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return print("Nothing differs");
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for item in items {
        let sign = match item["action"].as_str() {
            Some("create") => "+",
            Some("delete") => "-",
            Some("unlisted") => " ",
            Some(_) | None => "~",
        };
        let note = if sign == " " { " (no file names it; --prune deletes it)" } else { "" };
        print(&format!("{sign} {} {}{note}", text(&item["kind"]), text(&item["name"])))?;
        for change in item["changes"].as_array().into_iter().flatten() {
            let (from, to) = (&change["from"], &change["to"]);
            let was = if from.is_null() { String::new() } else { format!("{} -> ", shown(from)) };
            print(&format!("    {} = {was}{}", text(&change["field"]), shown(to)))?;
        }
    }
    print(if answer["applied"] == true { "Applied" } else { "Nothing was written" })
}

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_wrong_are_named_with_the_field() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let said = || format!("{:?}", read_zones(folder.path()).unwrap_err());
        assert!(said().contains("no .toml file"));
        write("a.toml", "zone_name = \"london\"\nproxy_path = \"api\"\n");
        assert!(said().contains("a.toml") && said().contains("proxy_path"), "{}", said());
        write("a.toml", "zone_name = \"london\"\nspeed = 9\n");
        assert!(said().contains("a.toml") && said().contains("speed"), "{}", said());
        write("a.toml", "zone_name = \"lon");
        assert!(said().contains("a.toml"), "{}", said());
        write("a.toml", "zone_name = \"london\"\n");
        write("b.toml", "zone_name = \"london\"\n");
        assert!(said().contains("a.toml") && said().contains("b.toml"), "{}", said());
        fs::remove_file(folder.path().join("b.toml")).unwrap();
        let zone = read_zones(folder.path()).unwrap().remove(0);
        assert_eq!(zone.zone_name, "london");
        // What is written is read as the same.
        write("a.toml", &toml::to_string(&zone).unwrap());
        assert_eq!(read_zones(folder.path()).unwrap(), [zone]);

        // Groups alike, with a table of settings at the end.
        let desk = "name = \"Desk\"\npriority = 9\ndescription = \"\"\npermissions = [\"users:view\"]\nmembers = [\"ada\"]\n\n[settings]\nmax_cpu = 2.0\n";
        write("a.toml", desk);
        let group = read_groups(folder.path()).unwrap().remove(0);
        assert_eq!(toml::to_string(&group).unwrap(), desk);
        write("a.toml", "name = \"Desk\"\n[settings]\nspeed = 9\n");
        let said = format!("{:?}", read_groups(folder.path()).unwrap_err());
        assert!(said.contains("a.toml") && said.contains("settings.speed"), "{said}");
        write("a.toml", "name = \"Desk\"\nmembers = [\"ada\", \"Ada\"]\n");
        let said = format!("{:?}", read_groups(folder.path()).unwrap_err());
        assert!(said.contains("members") && said.contains("twice"), "{said}");
        write("a.toml", "zone_name = \"london\"\ndesired_images = [\"registry.example.org/a\"]\n");
        let said = format!("{:?}", read_zones(folder.path()).unwrap_err());
        assert!(said.contains("desired_images") && said.contains("which"), "{said}");
    }

    #[test]
    fn names_of_any_script_have_files_of_their_own() {
        let mut taken = BTreeSet::new();
        let names: Vec<_> =
            ["Büro", "B/ro", "../etc", "desk top"].map(|name| file_name(name, &mut taken)).into();
        assert_eq!(names, ["b-ro.toml", "b-ro-2.toml", "---etc.toml", "desk-top.toml"]);
    }
}
