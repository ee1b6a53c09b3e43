//! `meridian admin` against a Web App: what it prints, asks, and ends with.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};
use site::{PASSWORD, Site};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn people_are_administered_from_the_command_line() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let made = site.admin(None, &["users", "create", "ada", "--must-change-password"], PASSWORD).await;
    assert_eq!((made.code, made.out.as_str()), (0, "made ada\n"), "{made:?}");
    let list = run(&["users", "list"]).await;
    assert!(list.out.starts_with("NAME") && list.out.contains("new password due"), "{list:?}");
    assert_eq!(run(&["users", "lock", "ada"]).await.code, 0);
    assert_eq!(run(&["users", "show", "ada"]).await.json()["locked"], true);
    assert_eq!(run(&["users", "unlock", "ada"]).await.code, 0);
    assert_eq!(run(&["users", "rename", "ada", "Ada / Ада"]).await.code, 0);
    assert_eq!(run(&["users", "show", "ada / ада"]).await.json()["name"], "Ada / Ада");

    let home = async || run(&["users", "show", "ada / ада"]).await.json()["home_zone"].clone();
    let set = run(&["users", "set-home-zone", "Ada / Ада", "london"]).await;
    assert_eq!((set.code, set.out.as_str()), (0, "Ada / Ада is at home in london\n"), "{set:?}");
    assert_eq!(home().await, "london");
    let unknown = run(&["users", "set-home-zone", "Ada / Ада", "atlantis"]).await;
    assert!(unknown.code == 3 && unknown.err.contains("no zone atlantis"), "{unknown:?}");
    assert_eq!(run(&["users", "set-home-zone", "Ada / Ада", "groups"]).await.code, 0);
    assert_eq!(home().await, Value::Null);

    assert_eq!(
        run(&["groups", "create", "Guests", "--priority", "20", "--permission", "users:view"]).await.code,
        0
    );
    let set = ["groups", "set", "Guests", "view_only=true", "allowed_zones=london", "time_limit_s=3600"];
    assert_eq!(run(&set).await.code, 0);
    assert_eq!(run(&["groups", "unset", "Guests", "time_limit_s"]).await.code, 0);
    let settings = &run(&["groups", "show", "Guests"]).await.json()["settings"];
    assert_eq!(settings, &json!({"view_only": true, "allowed_zones": ["london"]}));
    let refused = run(&["groups", "set", "Guests", "view_onyl=true"]).await;
    assert!(refused.code == 3 && refused.err.contains("view_onyl"), "{refused:?}");
    assert_eq!(run(&["groups", "add", "Guests", "Ada / Ада"]).await.code, 0);
    let policy = run(&["policy", "show", "Ada / Ада"]).await;
    let line = policy.out.lines().find(|line| line.starts_with("view_only")).unwrap_or_default();
    assert!(line.contains("true") && line.contains("Guests (priority 20)"), "{policy:?}");
    assert_eq!(run(&["groups", "grant", "Guests", "audit:view"]).await.code, 0);
    assert_eq!(run(&["groups", "withdraw", "Guests", "users:view"]).await.code, 0);
    assert_eq!(run(&["groups", "show", "Guests"]).await.json()["permissions"], json!(["audit:view"]));
    assert_eq!(run(&["groups", "members", "Guests", "--json"]).await.json()["items"][0]["name"], "Ada / Ада");

    // Nobody is there to confirm: nothing is deleted.
    let unconfirmed = run(&["users", "delete", "Ada / Ада"]).await;
    assert!(unconfirmed.code == 1 && unconfirmed.err.contains("--yes"), "{unconfirmed:?}");
    assert_eq!(run(&["users", "delete", "Ada / Ада", "--yes"]).await.code, 0);
    assert_eq!(run(&["users", "show", "Ada / Ада"]).await.code, 3);
    let last = run(&["groups", "remove", "Administrators", "admin"]).await;
    assert!(last.code == 3 && last.err.contains("last administrator"), "{last:?}");
    let audit = run(&["audit", "--action", "delete_user", "--user", "admin"]).await;
    assert!(audit.out.contains("Ada / Ада") && audit.out.lines().count() == 2, "{audit:?}");
    assert_eq!(
        run(&["audit", "--limit", "3", "--json"]).await.json()["items"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(run(&["audit", "--since", "yesterday"]).await.code, 3);
    assert_eq!(run(&["users", "fly"]).await.code, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_printed_alone_works_and_is_revoked() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let made =
        run(&["keys", "create", "ci", "--permission", "zones:view", "--zone", "london", "--days", "7"]).await;
    let key = made.out.trim();
    assert!(made.code == 0 && key.starts_with("mk_") && !key.contains(char::is_whitespace), "{made:?}");
    assert_eq!(site.admin(Some(key), &["zones", "list"], "").await.code, 0);
    let refused = site.admin(Some(key), &["users", "list"], "").await;
    assert!(refused.code == 3 && refused.err.contains("users:view"), "{refused:?}");
    let list = run(&["keys", "list", "--json"]).await;
    assert!(!list.out.contains(key), "{list:?}");
    let id = list.json()["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(run(&["keys", "revoke", &id, "--yes"]).await.code, 0);
    assert_eq!(site.admin(Some(key), &["zones", "list"], "").await.code, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_wanted_and_logins_set_without_a_password_on_the_command_line() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let (one, two) = ("registry.example.org/one:1", "registry.example.org/two:1");
    assert_eq!(run(&["images", "want", "london", one, two]).await.code, 0);
    let list = run(&["images", "list", "london"]).await;
    assert!(list.out.contains(one) && list.out.contains(two), "{list:?}");
    let refused = run(&["images", "want", "london", "no tag"]).await;
    assert!(refused.code == 3 && refused.err.contains("reference"), "{refused:?}");
    assert_eq!(run(&["images", "unwant", "london", two]).await.code, 0);
    assert_eq!(run(&["images", "unwant", "london", two]).await.code, 3);
    let matrix = run(&["images", "matrix", "--zone", "london"]).await;
    assert!(
        matrix.out.contains("warning: london registry.example.org/one:1: the zone has no agent"),
        "{matrix:?}"
    );
    let json = run(&["images", "matrix", "--zone", "london", "--warnings", "--json"]).await.json();
    assert_eq!(json["items"].as_array().map(Vec::len), Some(1), "{json}");

    let login = ["images", "login", "london", "registry.example.org", "--user", "puller"];
    let set = site.admin(None, &login, "of the registry alone\n").await;
    assert!(set.code == 0 && !set.out.contains("alone"), "{set:?}");
    let logins = run(&["images", "logins", "london", "--json"]).await;
    assert_eq!(logins.json()["items"][0]["username"], "puller");
    assert!(!logins.out.contains("alone"), "{logins:?}");
    assert_eq!(run(&["images", "logout", "london", "registry.example.org", "--yes"]).await.code, 0);
    assert_eq!(run(&["images", "logins", "london"]).await.out, "The zone has no logins for registries\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_moved_and_moved_back_from_the_command_line() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    assert_eq!(run(&["zones", "create", "virginia"]).await.code, 0);
    assert_eq!(site.admin(None, &["users", "create", "ada"], PASSWORD).await.code, 0);
    let home = async || {
        let policy = run(&["policy", "show", "ada"]).await;
        let line =
            policy.out.lines().find(|line| line.starts_with("home_zone")).unwrap_or_default().to_owned();
        line.contains("virginia")
    };
    let look = run(&["zones", "reassign", "--user", "ada", "--to", "virginia", "--dry-run", "--json"]).await;
    assert_eq!((&look.json()["people"], home().await), (&json!(1), false), "only looked at");
    let look = run(&["zones", "reassign", "--user", "ada", "--to", "virginia", "--dry-run"]).await.out;
    assert!(look.starts_with("1 person to virginia; no session is to be launched again\n"), "{look}");
    assert_eq!(run(&["zones", "reassignments"]).await.out, "Nobody was moved yet\n");
    let unconfirmed = run(&["zones", "reassign", "--user", "ada", "--to", "virginia"]).await;
    assert!(unconfirmed.code == 1 && unconfirmed.err.contains("--yes") && !home().await, "{unconfirmed:?}");
    let moved = run(&["zones", "reassign", "--user", "ada", "--to", "virginia", "--yes"]).await;
    assert!(moved.code == 0 && moved.out.contains("undo-reassignment") && home().await, "{moved:?}");
    assert_eq!(run(&["zones", "reassign", "--to", "virginia"]).await.code, 2);
    let list = run(&["zones", "reassignments", "--json"]).await.json();
    let id = list["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(run(&["zones", "undo-reassignment", &id]).await.code, 0);
    assert!(!home().await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_written_to_files_and_applied_from_them() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let folder = TempDir::new()?;
    let path = folder.path().to_str().unwrap();
    assert_eq!(run(&["groups", "create", "Desk", "--priority", "20"]).await.code, 0);
    assert_eq!(run(&["groups", "export", path]).await.code, 0);
    let file = folder.path().join("desk.toml");
    let before = std::fs::read_to_string(&file)?;
    assert_eq!(run(&["groups", "diff", path]).await.out, "Nothing differs\n");
    std::fs::write(&file, before.replace("[settings]", "[settings]\nmax_cpu = 2"))?;
    let told = run(&["groups", "apply", path, "--dry-run"]).await;
    assert!(told.out.contains("~ group Desk") && told.out.contains("Nothing was written"), "{told:?}");
    assert!(run(&["groups", "apply", path]).await.out.contains("Applied"));
    assert_eq!(run(&["groups", "apply", path]).await.out, "Nothing differs\n", "again without effect");
    let check =
        Command::new(env!("CARGO_BIN_EXE_meridian")).args(["check-config", "groups", path]).output()?;
    assert!(check.status.success(), "{check:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn homes_are_listed_reset_and_those_of_nobody_deleted_from_the_command_line() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    assert_eq!(run(&["homes", "list"]).await.out, "You have no homes\n");
    assert_eq!(
        run(&["homes", "list", "--all", "--state", "free", "--json"]).await.json()["items"],
        json!([])
    );
    assert_eq!(run(&["homes", "list", "--state", "free"]).await.code, 2, "a filter is for everybody's");
    assert_eq!(run(&["homes", "list", "--all", "--state", "cosy"]).await.code, 2);
    let nobody = run(&["homes", "list", "--all", "--of", "nobody"]).await;
    assert!(nobody.code == 3 && nobody.err.contains("user"), "{nobody:?}");
    let unconfirmed = run(&["homes", "reset", "0190a5de-0000-7000-8000-000000000000"]).await;
    assert!(unconfirmed.code == 1 && unconfirmed.err.contains("--yes"), "{unconfirmed:?}");
    assert_eq!(run(&["homes", "reset", "0190a5de-0000-7000-8000-000000000000", "--yes"]).await.code, 3);
    let nobodys = "0190a5de-0000-7000-8000-000000000000";
    assert_eq!(run(&["homes", "release", nobodys, "--force", "--yes"]).await.code, 3);
    let unasked = run(&["homes", "release", nobodys, "--force"]).await;
    assert!(unasked.code == 1 && unasked.err.contains("--yes"), "{unasked:?}");
    let deleted = run(&["homes", "delete", "--yes"]).await;
    assert!(deleted.code == 0 && deleted.out.starts_with("0 homes are being removed"), "{deleted:?}");
    assert_eq!(run(&["homes", "delete", "--yes", "--json"]).await.json()["deleted"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_not_as_it_should_be_and_changes_nothing() -> Result<()> {
    let site = Site::start().await?;
    let set = ["zones", "set", "london", "proxy_hostname=nowhere.invalid"];
    assert_eq!(site.admin(None, &set, "").await.code, 0);
    let found = site.admin(None, &["doctor", "--json"], "").await;
    assert_eq!(found.code, 1, "{found:?}");
    let list: Value = serde_json::from_str(&found.out).unwrap();
    let codes: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    for code in ["few_agent", "few_proxy", "name_unresolved", "entry_silent"] {
        assert!(codes.iter().any(|found| **found == code), "{code}: {list}");
    }
    assert!(found.err.contains("things are not as they should be"), "{found:?}");
    let shown = site.admin(None, &["doctor", "--zone", "london"], "").await;
    assert!(shown.out.contains("nowhere.invalid does not resolve"), "{shown:?}");
    assert_eq!(site.admin(None, &["doctor", "--zone", "atlantis"], "").await.code, 3);
    Ok(())
}
