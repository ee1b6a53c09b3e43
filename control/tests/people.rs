//! Accounts and groups, as administrators change them.

mod support;

use anyhow::Result;
use futures_util::future::join;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, FakeProxy, PASSWORD, Site,
    people::{code, field, id_of, join_group, leave_group, make_group, patch_user, text},
};

const NEW_PASSWORD: &str = "another long password";

#[tokio::test]
async fn whoever_must_choose_a_new_password_may_do_nothing_else_first() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let body = json!({"username": "ada", "password": PASSWORD, "must_change_password": true});
    assert_eq!(admin.send(Method::POST, "/api/v1/users", Some(body)).await?.0, StatusCode::CREATED);
    let (status, login) = site.anonymous().try_sign_in("ada", PASSWORD).await?;
    assert_eq!((status, &login["user"]["must_change_password"]), (StatusCode::OK, &json!(true)), "{login}");
    let ada = Client { token: login["token"].as_str().map(str::to_owned), ..site.anonymous() };
    let (status, me) = ada.send(Method::GET, "/api/v1/auth/me", None).await?;
    assert_eq!(
        (status, &me["must_change_password"]),
        (StatusCode::OK, &json!(true)),
        "a page loaded anew asks again"
    );
    for (method, path) in [
        (Method::GET, "/api/v1/sessions"),
        (Method::GET, "/api/v1/workspaces"),
        (Method::GET, "/api/v1/zones"),
        (Method::GET, "/api/v1/api-keys"),
        (Method::GET, "/api/v1/users"),
        (Method::GET, "/api/v1/sessions/0190a5de-0000-7000-8000-000000000000"),
        (Method::DELETE, "/api/v1/sessions/0190a5de-0000-7000-8000-000000000000"),
        (Method::POST, "/api/v1/sessions/0190a5de-0000-7000-8000-000000000000/connect"),
    ] {
        let (status, answer) = ada.send(method, path, None).await?;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::FORBIDDEN, "password_change_required"),
            "{path}: {answer}"
        );
    }
    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        ada.send(Method::POST, "/api/v1/auth/password", Some(body)).await
    };
    let (status, answer) = change("wrong password", NEW_PASSWORD).await?;
    assert_eq!(
        (status, code(&answer), field(&answer)),
        (StatusCode::FORBIDDEN, "wrong_password", "current_password")
    );
    let (status, answer) = change(PASSWORD, PASSWORD).await?;
    assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, "new_password"));
    let (status, answer) = change(PASSWORD, "short").await?;
    assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, "new_password"));
    assert_eq!(change(PASSWORD, NEW_PASSWORD).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(
        ada.send(Method::GET, "/api/v1/sessions", None).await?.0,
        StatusCode::OK,
        "the same login goes on"
    );
    assert_eq!(site.anonymous().try_sign_in("ada", PASSWORD).await?.0, StatusCode::UNAUTHORIZED);
    let other = site.anonymous().sign_in("ada", NEW_PASSWORD).await?;
    let body = json!({"current_password": NEW_PASSWORD, "new_password": PASSWORD});
    assert_eq!(
        other.send(Method::POST, "/api/v1/auth/password", Some(body)).await?.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        ada.send(Method::GET, "/api/v1/sessions", None).await?.0,
        StatusCode::UNAUTHORIZED,
        "every other login ended"
    );
    Ok(())
}

#[tokio::test]
async fn a_locked_account_opens_nothing_and_its_sessions_go_on() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let (ada, admin) = (site.user("ada").await?, site.admin().await?);
    let id = id_of(&ada).await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let session = text(&ada.launch(&desktop, "london", "one").await?.1, "id");
    agent.say(&session, 1, Observation::Running).await?;
    let proxy = FakeProxy::enroll(&site).await?;
    let connect = format!("/api/v1/sessions/{session}/connect");
    let ticket = proxy.ticket(&ada, &connect).await?;

    let (status, user) = patch_user(&admin, &id, json!({"locked": true})).await?;
    assert_eq!((status, &user["locked"]), (StatusCode::OK, &json!(true)));
    assert_eq!(ada.send(Method::GET, "/api/v1/sessions", None).await?.0, StatusCode::UNAUTHORIZED);
    let (status, answer) = site.anonymous().try_sign_in("ada", PASSWORD).await?;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "account_locked"), "{answer}");
    let (status, answer) = site.anonymous().try_sign_in("ada", "wrong password").await?;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::UNAUTHORIZED, "bad_credentials"),
        "only who knows the password is told"
    );
    assert_eq!(proxy.ask(&ticket, &"a".repeat(32)).await?.0, StatusCode::OK, "what runs goes on");
    assert_eq!(admin.state_of(&session).await?, "running");
    let cut: Option<bool> = site
        .sql()
        .await?
        .query_one("SELECT bool_or(cut_before IS NOT NULL) FROM sessions", &[])
        .await?
        .get(0);
    assert_eq!(cut, Some(false));

    assert_eq!(patch_user(&admin, &id, json!({"locked": false})).await?.0, StatusCode::OK);
    site.anonymous().sign_in("ada", PASSWORD).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_users_sessions_end_with_the_reason_and_the_name_is_free_again() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let (ada, admin) = (site.user("ada").await?, site.admin().await?);
    let id = id_of(&ada).await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let session = text(&ada.launch(&desktop, "london", "one").await?.1, "id");
    agent.say(&session, 1, Observation::Running).await?;
    let path = format!("/api/v1/users/{id}");
    let (status, answer) = admin.send(Method::DELETE, &path, None).await?;
    assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "user_has_sessions"), "unconfirmed: {answer}");
    assert_eq!(admin.state_of(&session).await?, "running");
    let (status, answer) = admin.send(Method::DELETE, &format!("{path}?end_sessions=true"), None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");

    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (text(&seen, "state").as_str(), text(&seen, "reason").as_str()),
        ("ending", "its user was deleted")
    );
    agent.say(&session, 2, Observation::Gone).await?;
    assert_eq!(admin.state_of(&session).await?, "ended");
    assert_eq!(site.store().audit_counters().await?, 0);
    assert_eq!(ada.send(Method::GET, "/api/v1/sessions", None).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(admin.send(Method::GET, &path, None).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(
        patch_user(&admin, &id, json!({"disabled": false})).await?.0,
        StatusCode::NOT_FOUND,
        "it stays deleted"
    );
    let again = site.user("ada").await?;
    assert_ne!(id_of(&again).await?, id);
    let (_, list) = again.send(Method::GET, "/api/v1/sessions?ended=true", None).await?;
    assert_eq!(list["items"], json!([]), "another person of that name has none of it");
    Ok(())
}

#[tokio::test]
async fn an_account_is_renamed_and_its_password_set_and_a_taken_name_refused() -> Result<()> {
    let site = Site::start().await?;
    let (ada, admin) = (site.user("ada").await?, site.admin().await?);
    site.user("bob").await?;
    let id = id_of(&ada).await?;
    let (status, answer) = patch_user(&admin, &id, json!({"name": "BOB"})).await?;
    assert_eq!((status, code(&answer), field(&answer)), (StatusCode::CONFLICT, "name_taken", "name"));
    for (name, why) in
        [("", "empty"), ("a\u{0}b", "control"), ("a\u{202e}b", "direction"), (&"x".repeat(60_000), "long")]
    {
        let (status, answer) = patch_user(&admin, &id, json!({"name": name})).await?;
        assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, "name"), "{why}");
    }
    let (status, user) = patch_user(&admin, &id, json!({"name": "Ада 阿达"})).await?;
    assert_eq!((status, text(&user, "name").as_str()), (StatusCode::OK, "Ада 阿达"));
    assert_eq!(
        ada.send(Method::GET, "/api/v1/sessions", None).await?.0,
        StatusCode::OK,
        "who is signed in stays so"
    );
    let (status, user) =
        patch_user(&admin, &id, json!({"password": NEW_PASSWORD, "must_change_password": true})).await?;
    assert_eq!((status, &user["must_change_password"]), (StatusCode::OK, &json!(true)));
    assert_eq!(ada.send(Method::GET, "/api/v1/sessions", None).await?.0, StatusCode::UNAUTHORIZED);
    site.anonymous().sign_in("ада 阿达", NEW_PASSWORD).await?;
    let (_, found) = admin.send(Method::GET, "/api/v1/users?search=阿", None).await?;
    assert_eq!(found["items"][0]["id"], json!(id));
    // A limit of the account's own, and back to what groups say.
    let (_, user) = patch_user(&admin, &id, json!({"session_limit": 3})).await?;
    assert_eq!((&user["session_limit"], &user["session_limit_own"]), (&json!(3), &json!(true)));
    let (_, user) = patch_user(&admin, &id, json!({"session_limit": null})).await?;
    assert_eq!((&user["session_limit"], &user["session_limit_own"]), (&json!(10), &json!(false)));
    let (status, answer) = patch_user(&admin, &id, json!({"session_limit": 10_001})).await?;
    assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, "session_limit"));
    Ok(())
}

#[tokio::test]
async fn the_last_administrator_stays_whoever_removes_whom_at_once() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let admin_id = id_of(&admin).await?;
    let (status, answer) = leave_group(&admin, "Administrators", "admin").await?;
    assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "last_administrator"));
    for patch in [json!({"locked": true}), json!({"disabled": true})] {
        assert_eq!(patch_user(&admin, &admin_id, patch).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(
        admin.send(Method::DELETE, &format!("/api/v1/users/{admin_id}"), None).await?.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let bob = site.user("bob").await?;
    let bob_id = id_of(&bob).await?;
    assert_eq!(join_group(&admin, "Administrators", "bob").await?.0, StatusCode::NO_CONTENT);
    assert_eq!(text(&bob.send(Method::GET, "/api/v1/auth/me", None).await?.1, "role"), "admin");
    // A locked administrator is none that could help.
    assert_eq!(patch_user(&admin, &bob_id, json!({"locked": true})).await?.0, StatusCode::OK);
    let (status, answer) = leave_group(&admin, "Administrators", "admin").await?;
    assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "last_administrator"));
    assert_eq!(patch_user(&admin, &bob_id, json!({"locked": false})).await?.0, StatusCode::OK);
    let bob = site.anonymous().sign_in("bob", PASSWORD).await?;
    for _ in 0..8 {
        let (one, other) =
            join(leave_group(&admin, "Administrators", "bob"), leave_group(&bob, "Administrators", "admin"))
                .await;
        let gone = [one?, other?].iter().filter(|(status, _)| *status == StatusCode::NO_CONTENT).count();
        assert_eq!(gone, 1, "one of the two, and never both");
        let left = site
            .sql()
            .await?
            .query_one(
                "SELECT count(*), min(user_id::text) FROM group_members m JOIN groups g ON g.id = m.group_id
                WHERE g.system = 'administrators'",
                &[],
            )
            .await?;
        assert_eq!(left.get::<_, i64>(0), 1);
        let (who, back) =
            if left.get::<_, String>(1) == admin_id { (&admin, "bob") } else { (&bob, "admin") };
        assert_eq!(join_group(who, "Administrators", back).await?.0, StatusCode::NO_CONTENT);
    }
    Ok(())
}

#[tokio::test]
async fn nobody_gives_away_or_takes_away_what_they_lack() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let admin_id = id_of(&admin).await?;
    let helper = site.user("helper").await?;
    let granted = json!({"name": "Help desk", "priority": 20, "permissions": ["users:view", "users:modify", "users:create",
        "users:delete", "groups:view", "groups:modify", "groups:create", "groups:delete"]});
    let desk = make_group(&admin, granted).await?;
    join_group(&admin, &desk, "helper").await?;
    let keepers =
        make_group(&admin, json!({"name": "Keepers", "priority": 30, "permissions": ["zones:modify"]}))
            .await?;
    site.user("ada").await?;
    let beyond = |(status, answer): (StatusCode, Value), what: &str| {
        assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "beyond_you"), "{what}: {answer}");
    };
    beyond(join_group(&helper, "Administrators", "helper").await?, "to become one");
    beyond(leave_group(&helper, "Administrators", "admin").await?, "to strip one");
    beyond(join_group(&helper, &keepers, "helper").await?, "a group with more");
    let group = |id: &str| format!("/api/v1/groups/{id}");
    let patch = json!({"permissions": ["users:view", "zones:modify"]});
    beyond(helper.send(Method::PATCH, &group(&desk), Some(patch)).await?, "a permission more");
    beyond(
        helper.send(Method::PATCH, &group(&keepers), Some(json!({"permissions": []}))).await?,
        "taken away",
    );
    beyond(helper.send(Method::DELETE, &group(&keepers), None).await?, "deleted");
    let new = json!({"name": "New", "permissions": ["audit:view"]});
    beyond(helper.send(Method::POST, "/api/v1/groups", Some(new)).await?, "a new group with more");
    let new = json!({"username": "eve", "password": PASSWORD, "role": "admin"});
    beyond(helper.send(Method::POST, "/api/v1/users", Some(new)).await?, "an administrator made");
    beyond(
        patch_user(&helper, &admin_id, json!({"password": NEW_PASSWORD})).await?,
        "an administrator's password",
    );
    beyond(
        helper.send(Method::DELETE, &format!("/api/v1/users/{admin_id}"), None).await?,
        "an administrator deleted",
    );
    beyond(
        helper
            .send(Method::POST, "/api/v1/api-keys", Some(json!({"name": "x", "permissions": ["zones:view"]})))
            .await?,
        "a key with more",
    );
    // What they have, they may give.
    let new = json!({"name": "Viewers", "priority": 40, "permissions": ["users:view"]});
    let viewers = make_group(&helper, new).await?;
    assert_eq!(join_group(&helper, &viewers, "ada").await?.0, StatusCode::NO_CONTENT);
    let ada = text(&helper.send(Method::GET, "/api/v1/users/ada", None).await?.1, "id");
    assert_eq!(patch_user(&helper, &ada, json!({"locked": true})).await?.0, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_group_is_said_at_its_field_and_nothing_is_written() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let id = make_group(&admin, json!({"name": "Makers", "priority": 50, "settings": {"session_limit": 5}}))
        .await?;
    let path = format!("/api/v1/groups/{id}");
    let before = admin.send(Method::GET, &path, None).await?.1;
    for (patch, wanted) in [
        (json!({"settings": {"session_limt": 1}}), "settings.session_limt"),
        (json!({"settings": {"time_limit_s": 59}}), "settings.time_limit_s"),
        (json!({"settings": {"workspace_session_limit": 6}}), "settings.workspace_session_limit"),
        (json!({"settings": {"allowed_zones": ["atlantis"]}}), "settings.allowed_zones"),
        (json!({"settings": {"allowed_zones": ["london"], "home_zone": "virginia"}}), "settings.home_zone"),
        (json!({"settings": {"session_limit": 2}, "permissions": ["zones:fly"]}), "permissions"),
        (json!({"priority": 0}), "priority"),
        (json!({"priority": 1_000_000}), "priority"),
        (json!({"description": "x".repeat(1001)}), "description"),
        (json!({"name": " "}), "name"),
    ] {
        let (status, answer) = admin.send(Method::PATCH, &path, Some(patch.clone())).await?;
        assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{patch}: {answer}");
    }
    assert_eq!(admin.send(Method::GET, &path, None).await?.1, before);
    for (group, patch, wanted) in [
        ("Everyone", json!({"name": "All"}), "name"),
        ("Everyone", json!({"priority": 1}), "priority"),
        ("Administrators", json!({"permissions": []}), "permissions"),
    ] {
        let (status, answer) =
            admin.send(Method::PATCH, &format!("/api/v1/groups/{group}"), Some(patch)).await?;
        assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{answer}");
    }
    for group in ["Everyone", "Administrators"] {
        let (status, _) = admin.send(Method::DELETE, &format!("/api/v1/groups/{group}"), None).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(join_group(&admin, "Everyone", "admin").await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn what_happened_is_found_by_who_what_and_when() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    for number in 0..5 {
        make_group(&admin, json!({"name": format!("Group {number}"), "priority": 10 + number})).await?;
    }
    site.anonymous().try_sign_in("admin", "wrong password").await?;
    let list = async |query: &str| -> Result<Vec<Value>> {
        let (status, list) = admin.send(Method::GET, &format!("/api/v1/audit?{query}"), None).await?;
        anyhow::ensure!(status == StatusCode::OK, "{list}");
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    };
    let made = list("action=create_group").await?;
    assert_eq!(made.len(), 5);
    assert_eq!((text(&made[0], "target").as_str(), &made[0]["user"]["name"]), ("Group 4", &json!("admin")));
    assert!(!text(&made[0], "address").is_empty() && !text(&made[0], "request_id").is_empty());
    assert_eq!(list("action=create_group&target=Group%202").await?.len(), 1);
    assert_eq!(list("action=sign_in&outcome=refused&user=admin").await?.len(), 1);
    let third = text(&made[2], "at");
    assert_eq!(list(&format!("action=create_group&since={}", third.replace('+', "%2B"))).await?.len(), 3);
    assert_eq!(list(&format!("action=create_group&until={}", third.replace('+', "%2B"))).await?.len(), 2);
    // Page by page, nothing twice and nothing left out.
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let (_, page) = admin
            .send(Method::GET, &format!("/api/v1/audit?action=create_group&limit=2{cursor}"), None)
            .await?;
        seen.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    for (query, wanted) in [("since=yesterday", "since"), ("limit=0", "limit"), ("cursor=x", "cursor")] {
        let (status, answer) = admin.send(Method::GET, &format!("/api/v1/audit?{query}"), None).await?;
        assert_eq!((status, field(&answer)), (StatusCode::UNPROCESSABLE_ENTITY, wanted), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn people_are_listed_page_by_page() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    site.sql()
        .await?
        .execute(
            "INSERT INTO users (id, name, password_hash, role) SELECT gen_random_uuid(), 'user ' || n, '', 'user' FROM generate_series(1, 25) n",
            &[],
        )
        .await?;
    let (mut cursor, mut names) = (String::new(), Vec::new());
    loop {
        let (_, page) = admin.send(Method::GET, &format!("/api/v1/users?limit=10{cursor}"), None).await?;
        names.extend(page["items"].as_array().into_iter().flatten().map(|user| text(user, "name")));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((names.len(), &names), (26, &sorted));
    let (_, members) = admin.send(Method::GET, "/api/v1/groups/Everyone/members?limit=1000", None).await?;
    assert_eq!(members["items"].as_array().map(Vec::len), Some(26));
    Ok(())
}
