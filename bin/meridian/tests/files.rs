//! Zones, groups and workspaces as files, from the command line: what is written out goes in again without a trace, and what is wrong
//! changes nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use serde_json::json;
use site::{PASSWORD, Site};
use tempfile::TempDir;

const KINDS: [&str; 3] = ["zones", "groups", "workspaces"];

struct Folders {
    site: Site,
    folder: TempDir,
}

impl Folders {
    /// A deployment in which everything has something that is easily written otherwise than read.
    async fn start() -> Result<Self> {
        let folders = Self { site: Site::start().await?, folder: TempDir::new()? };
        for (arguments, input) in [
            (&["users", "create", "Ада \"Lovelace\""][..], PASSWORD),
            (
                &[
                    "zones",
                    "create",
                    "virginia",
                    "labels={\"law\": \"us \\\"east\\\"\"}",
                    "search_alternate_zones=true",
                    "alternate_zones=london",
                    "outage_grace=0",
                    "proxy_alternates=b.$request_host$,[fd00::2]:8443",
                ],
                "",
            ),
            (&["images", "want", "virginia", "registry.example.org/two:1", "registry.example.org/one:1"], ""),
            (
                &["groups", "create", "Büro / 東京 \\ 'x'", "--priority", "20", "--permission", "users:view"],
                "",
            ),
            (
                &[
                    "groups",
                    "set",
                    "Büro / 東京 \\ 'x'",
                    "allowed_zones=virginia,london",
                    "max_cpu=1.1",
                    "home_zone=london",
                ],
                "",
            ),
            (&["groups", "add", "Büro / 東京 \\ 'x'", "Ада \"Lovelace\""], ""),
        ] {
            let ended = folders.site.admin(None, arguments, input).await;
            assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        }
        Ok(folders)
    }

    async fn run(&self, arguments: &[&str]) -> site::Ended {
        self.site.admin(None, arguments, "").await
    }

    fn of(&self, kind: &str) -> PathBuf {
        self.folder.path().join(kind)
    }

    async fn export(&self, kind: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let ended = self.run(&[kind, "export", self.of(kind).to_str().unwrap()]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        bytes(&self.of(kind))
    }
}

fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_is_applied_without_effect_and_exported_byte_by_byte_the_same() -> Result<()> {
    let folders = Folders::start().await?;
    for kind in KINDS {
        let folder = folders.of(kind);
        let path = folder.to_str().unwrap();
        let before = folders.export(kind).await;
        assert!(before.len() > 1, "{kind}: {before:?}");
        let checked =
            Command::new(env!("CARGO_BIN_EXE_meridian")).args(["check-config", kind, path]).output()?;
        assert!(checked.status.success(), "{checked:?}");
        let diff = folders.run(&[kind, "diff", path]).await;
        assert_eq!((diff.code, diff.out.as_str()), (0, "Nothing differs\n"));
        let applied = folders.run(&[kind, "apply", path, "--prune", "--revision", "r1"]).await;
        assert_eq!((applied.code, applied.out.as_str()), (0, "Nothing differs\n"), "{applied:?}");
        assert_eq!(folders.export(kind).await, before, "{kind}");
        // And when everything was otherwise meanwhile.
        for (file, text) in &before {
            let text = String::from_utf8(text.clone())?;
            let other = match kind {
                "zones" => text.replace("outage_grace = ", "outage_grace = 1"),
                "groups" => text.replace("description = \"\"", "description = \"other\""),
                _ => text.replace("description = \"", "description = \"other "),
            };
            fs::write(file, other)?;
        }
        let changed = folders.run(&[kind, "apply", path]).await;
        assert!(changed.code == 0 && changed.out.contains("Applied"), "{changed:?}");
        assert_ne!(bytes(&folder), before, "{kind}");
        // What is there differs from the files that were written first, and whoever may only view is told.
        for (file, text) in &before {
            fs::write(file, text)?;
        }
        let name = format!("{kind}-auditor");
        let key = folders.run(&["keys", "create", &name, "--permission", &format!("{kind}:view")]).await;
        let auditor =
            async |arguments: &[&str]| folders.site.admin(Some(key.out.trim()), arguments, "").await;
        let differs = auditor(&[kind, "diff", path]).await;
        assert!(differs.code == 1 && differs.out.contains("Nothing was written"), "{differs:?}");
        assert!(differs.err.contains("from what the files say"), "{differs:?}");
        let as_json = auditor(&[kind, "diff", path, "--json"]).await;
        let plan: serde_json::Value = serde_json::from_str(&as_json.out)?;
        assert!(as_json.code == 1 && plan["applied"] == false && plan["plan"][0]["changes"].is_array());
        assert_eq!(auditor(&[kind, "apply", path, "--dry-run"]).await.code, 0);
        assert_eq!(auditor(&[kind, "apply", path]).await.code, 3);
        let back = folders.run(&[kind, "apply", path]).await;
        assert!(back.code == 0 && back.out.contains("Applied"), "{back:?}");
        assert_eq!(folders.export(kind).await, before, "{kind}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_wrong_change_nothing_and_say_where() -> Result<()> {
    let folders = Folders::start().await?;
    let before = folders.export("zones").await;
    let folder = folders.of("zones");
    let path = folder.to_str().unwrap();
    let (london, new) = (folder.join("london.toml"), folder.join("new.toml"));
    let whole = fs::read_to_string(&london)?;
    let half = &whole[..whole.find("request_host").unwrap()];
    for (file, text, said) in [
        (&london, half, &["london.toml"][..]),
        (&new, "zone_name = \"oslo\"\nspeed = 9\n", &["new.toml", "speed"]),
        (&new, "zone_name = \"oslo\"\nproxy_path = \"api\"\n", &["new.toml", "proxy_path"]),
        (&new, "zone_name = \"london\"\n", &["london.toml", "new.toml"]),
        (&new, &whole.replace("\"london\"", "\"oslo\""), &["london.toml", "new.toml"]),
        (&new, "zone_name = \"oslo\"\nalternate_zones = [\"atlantis\"]\n", &["oslo", "atlantis"]),
        (
            &new,
            "zone_name = \"oslo\"\nisolated = true\nalternate_zones = [\"london\"]\n",
            &["alternate_zones"],
        ),
    ] {
        fs::write(file, text)?;
        // Beside what is wrong there is something that would change.
        fs::write(folder.join("virginia.toml"), "zone_name = \"virginia\"\noutage_grace = 77\n")?;
        let refused = folders.run(&["zones", "apply", path]).await;
        assert!(
            refused.code != 0 && said.iter().all(|said| refused.err.contains(said)),
            "{text}: {refused:?}"
        );
        for (file, text) in &before {
            fs::write(file, text)?;
        }
        let _ = fs::remove_file(&new);
        assert_eq!(folders.run(&["zones", "diff", path]).await.out, "Nothing differs\n", "{text}");
    }
    let empty = TempDir::new()?;
    let refused = folders.run(&["zones", "apply", empty.path().to_str().unwrap(), "--prune"]).await;
    assert!(refused.code != 0 && refused.err.contains("no .toml file"), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_file_names_is_deleted_only_when_asked() -> Result<()> {
    let folders = Folders::start().await?;
    let there = async |kind: &str| -> usize {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(folders.run(&[kind, "export", path]).await.code, 0);
        bytes(folder.path()).len()
    };
    for (kind, file) in
        [("groups", "b-ro---------x-.toml"), ("workspaces", "terminal.toml"), ("zones", "virginia.toml")]
    {
        let before = folders.export(kind).await;
        let folder = folders.of(kind);
        let path = folder.to_str().unwrap();
        let removed = before.keys().find(|path| path.ends_with(file));
        fs::remove_file(removed.unwrap_or_else(|| panic!("no {file} in {:?}", before.keys())))?;
        let many = there(kind).await;
        let kept = folders.run(&[kind, "apply", path]).await;
        assert!(kept.code == 0 && kept.out.contains("--prune deletes it"), "{kept:?}");
        let told = folders.run(&[kind, "apply", path, "--prune", "--dry-run"]).await;
        assert!(told.out.contains("\n- ") || told.out.starts_with("- "), "{told:?}");
        assert_eq!(there(kind).await, many);
        let pruned = folders.run(&[kind, "apply", path, "--prune"]).await;
        assert!(pruned.code == 0 && pruned.out.contains("Applied"), "{pruned:?}");
        assert_eq!(there(kind).await, many - 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_removes_files_of_its_own_kind_alone() -> Result<()> {
    let folders = Folders::start().await?;
    let zones = folders.export("zones").await;
    let path = folders.of("zones");
    let path = path.to_str().unwrap();
    for kind in ["groups", "workspaces"] {
        let refused = folders.run(&[kind, "export", path]).await;
        assert!(refused.code == 1 && refused.err.contains("london.toml"), "{refused:?}");
        assert_eq!(bytes(Path::new(path)), zones);
    }
    // A zone that is gone takes its file with it.
    assert_eq!(folders.run(&["groups", "unset", "Büro / 東京 \\ 'x'", "allowed_zones"]).await.code, 0);
    assert_eq!(folders.run(&["zones", "delete", "virginia", "--yes"]).await.code, 0);
    let left = folders.export("zones").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(folders.run(&["zones", "list", "--json"]).await.json()["items"][0]["name"], json!("london"));
    Ok(())
}
