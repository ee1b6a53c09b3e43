//! `meridian admin workspaces`: entries of the catalogue are made, changed and deleted one by one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use anyhow::Result;
use serde_json::json;
use site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_made_changed_and_deleted_and_the_others_stay() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let before = run(&["workspaces", "list", "--all", "--json"]).await.json();
    assert_eq!(run(&["groups", "create", "Staff"]).await.code, 0);

    let image = "image=registry.example.org/drawing:4";
    let made =
        ["workspaces", "create", "Drawing / 製図", image, "cpu=2", "zones=london", "required_labels=law=uk"];
    let made = run(&made).await;
    assert_eq!((made.code, made.out.as_str()), (0, "made Drawing / 製図\n"), "{made:?}");
    let table = run(&["workspaces", "list", "--all"]).await;
    assert!(table.out.contains("Drawing / 製図") && table.out.contains("drawing:4"), "{table:?}");
    let set = [
        "workspaces",
        "set",
        "Drawing / 製図",
        "name=Drawing",
        "zones=null",
        "groups=Staff",
        "memory_mb=4096",
    ];
    let changed = run(&set).await;
    assert_eq!((changed.code, changed.out.as_str()), (0, "changed Drawing\n"), "{changed:?}");
    let view = run(&["workspaces", "set", "Drawing", "required_labels=", "image_policy=wait", "--json"])
        .await
        .json();
    let (zones, groups) = (&view["zones"], &view["groups"]);
    assert_eq!((zones, groups, &view["required_labels"]), (&json!(null), &json!(["Staff"]), &json!({})));
    assert_eq!(
        (&view["cpu"], &view["memory_mb"], &view["image_policy"]),
        (&json!(2.0), &json!(4096), &json!("wait"))
    );
    let second = run(&["workspaces", "create", "Second", image, "--json"]).await.json();
    let id = second["id"].as_str().unwrap();

    // What is refused says the field, and changes nothing.
    for (wrong, said) in [
        (&["workspaces", "create", "Third", "cpu=1"][..], "image"),
        (&["workspaces", "create", "Drawing", image], "Drawing"),
        (&["workspaces", "set", "Drawing", "zones=atlantis"], "zones"),
        (&["workspaces", "set", "Drawing", "speed=9"], "speed"),
        (&["workspaces", "set", "Emacs", "cpu=1"], "workspace"),
        (&["workspaces", "delete", "Emacs", "--yes"], "workspace"),
    ] {
        let refused = run(wrong).await;
        assert_eq!(refused.code, 3, "{wrong:?}: {refused:?}");
        assert!(
            refused.err.contains(said) || said == "Drawing" && refused.err.contains("name"),
            "{refused:?}"
        );
    }
    assert_eq!(run(&["workspaces", "set", "Drawing"]).await.code, 2);
    assert_eq!(run(&["workspaces", "set", "Drawing", "cpu"]).await.code, 2);

    // Nobody is there to confirm: nothing is deleted.
    let unconfirmed = run(&["workspaces", "delete", "Drawing"]).await;
    assert!(unconfirmed.code == 1 && unconfirmed.err.contains("--yes"), "{unconfirmed:?}");
    let deleted = run(&["workspaces", "delete", "Drawing", "--yes"]).await;
    assert_eq!((deleted.code, deleted.out.starts_with("Drawing is deleted")), (0, true), "{deleted:?}");
    assert_eq!(run(&["workspaces", "delete", id, "--yes"]).await.code, 0);
    assert_eq!(run(&["workspaces", "list", "--all", "--json"]).await.json(), before);
    for command in ["create", "set", "delete"] {
        let help = run(&["workspaces", command, "--help"]).await;
        assert!(help.code == 0 && help.out.contains("Example"), "{help:?}");
    }
    Ok(())
}
