//! Who is let in where, route by route from the route table itself: the anonymous, a plain user, another user, each low role, and keys.

mod support;

use anyhow::{Context, Result};
use meridian_model::Permission;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Anybody at all.
    Public,
    /// Whoever is signed in.
    SignedIn,
    /// Whoever has the permission.
    Needs(Permission),
    /// Whose session it is, and whoever has one of these; to all others it does not exist. The first only sees it, and is refused.
    Session { sees: Option<Permission>, may: Option<Permission> },
    /// What belongs to the caller; anybody's for whoever has the permission. Somebody else's does not exist.
    Own(Permission),
    /// About the caller; about others for whoever has the permission.
    About(Permission),
}

/// Every route, and who may use it. A route that is not here fails the test.
fn access(method: &str, path: &str) -> Option<Access> {
    use Access::{About, Needs, Own, Public, Session, SignedIn};
    use Permission as P;
    let looked_at = Session { sees: None, may: Some(P::SessionsView) };
    Some(match (method, path) {
        ("POST", "/api/v1/auth/login") => Public,
        ("POST", "/api/v1/auth/logout" | "/api/v1/auth/password") => SignedIn,
        ("GET", "/api/v1/auth/me" | "/api/v1/policy/settings" | "/api/v1/api-keys") => SignedIn,
        ("POST", "/api/v1/api-keys" | "/api/v1/sessions") => SignedIn,
        ("GET", "/api/v1/homes") => SignedIn,
        ("DELETE", "/api/v1/homes/{id}") => Own(P::SessionsDelete),
        ("POST", "/api/v1/homes/{id}/release") => Needs(P::SessionsModify),
        ("DELETE", "/api/v1/homes") => Needs(P::SessionsDelete),
        ("GET", "/api/v1/workspaces" | "/api/v1/zones" | "/api/v1/sessions") => SignedIn,
        ("POST", "/api/v1/zones/measurements") => SignedIn,
        ("GET", "/api/v1/zones/{id}/requirements" | "/api/v1/configuration") => Needs(P::ZonesView),
        ("POST", "/api/v1/zones") => Needs(P::ZonesCreate),
        ("GET", "/api/v1/reassignments") => Needs(P::ZonesView),
        ("POST", "/api/v1/reassignments" | "/api/v1/reassignments/{id}/undo") => Needs(P::ZonesModify),
        ("DELETE", "/api/v1/zones/{id}") => Needs(P::ZonesDelete),
        ("POST", "/api/v1/configuration/apply") => Needs(P::ZonesModify),
        ("GET", "/api/v1/explain" | "/api/v1/refusals") => Needs(P::SessionsView),
        ("POST", "/api/v1/workspaces") => Needs(P::WorkspacesCreate),
        ("PATCH", "/api/v1/workspaces/{id}") => Needs(P::WorkspacesModify),
        ("DELETE", "/api/v1/workspaces/{id}") => Needs(P::WorkspacesDelete),
        ("PATCH", "/api/v1/zones/{id}") => Needs(P::ZonesModify),
        (
            "GET",
            "/api/v1/sessions/{id}" | "/api/v1/sessions/{id}/explanation" | "/api/v1/sessions/{id}/events",
        ) => looked_at,
        ("DELETE", "/api/v1/sessions/{id}") => {
            Session { sees: Some(P::SessionsView), may: Some(P::SessionsDelete) }
        }
        ("POST", "/api/v1/sessions/{id}/connect" | "/api/v1/sessions/{id}/stay") => {
            Session { sees: None, may: None }
        }
        ("POST", "/api/v1/sessions/{id}/watches") => {
            Session { sees: Some(P::SessionsView), may: Some(P::SessionsWatch) }
        }
        (
            "POST",
            "/api/v1/sessions/{id}/watches/{watch}/answer" | "/api/v1/sessions/{id}/watches/{watch}/connect",
        )
        | ("DELETE", "/api/v1/sessions/{id}/watches/{watch}") => Session { sees: None, may: None },
        ("GET", "/api/v1/nodes" | "/api/v1/nodes/health") => Needs(P::NodesView),
        ("PATCH", "/api/v1/nodes/{id}") => Needs(P::NodesModify),
        ("POST", "/api/v1/nodes/{id}/drain" | "/api/v1/nodes/{id}/undrain") => Needs(P::NodesModify),
        ("POST", "/api/v1/nodes/{id}/remove") => Needs(P::NodesDelete),
        ("POST", "/api/v1/nodes/enrollments") => Needs(P::NodesCreate),
        ("GET", "/api/v1/users" | "/api/v1/users/{id}") => Needs(P::UsersView),
        ("POST", "/api/v1/users") => Needs(P::UsersCreate),
        ("PATCH", "/api/v1/users/{id}") => Needs(P::UsersModify),
        ("DELETE", "/api/v1/users/{id}") => Needs(P::UsersDelete),
        ("GET", "/api/v1/users/{id}/policy") => About(P::UsersView),
        ("GET", "/api/v1/groups" | "/api/v1/groups/{id}" | "/api/v1/groups/{id}/members") => {
            Needs(P::GroupsView)
        }
        ("POST", "/api/v1/groups") => Needs(P::GroupsCreate),
        ("PATCH", "/api/v1/groups/{id}") => Needs(P::GroupsModify),
        ("DELETE", "/api/v1/groups/{id}") => Needs(P::GroupsDelete),
        ("PUT" | "DELETE", "/api/v1/groups/{id}/members/{user}") => Needs(P::GroupsModify),
        ("DELETE", "/api/v1/api-keys/{id}") => Own(P::UsersModify),
        ("GET", "/api/v1/images" | "/api/v1/zones/{id}/images" | "/api/v1/zones/{id}/registries") => {
            Needs(P::ImagesView)
        }
        ("PUT", "/api/v1/zones/{id}/images") => Needs(P::ImagesCreate),
        ("DELETE", "/api/v1/zones/{id}/images") => Needs(P::ImagesDelete),
        ("PUT" | "DELETE", "/api/v1/zones/{id}/registries") => Needs(P::ImagesModify),
        ("GET", "/api/v1/audit") => Needs(P::AuditView),
        _ => return None,
    })
}

/// What a route gives beyond the caller's own things when it is asked for more, and who may ask.
const MORE: [(&str, Permission); 6] = [
    ("/api/v1/sessions?all=true", Permission::SessionsView),
    ("/api/v1/homes?all=true", Permission::SessionsView),
    ("/api/v1/workspaces?all=true", Permission::WorkspacesView),
    ("/api/v1/api-keys?all=true", Permission::UsersView),
    ("/api/v1/api-keys?user=admin", Permission::UsersView),
    ("/api/v1/sessions?all=true&user=admin&zone=london", Permission::SessionsView),
];

struct Route {
    method: Method,
    template: String,
    access: Access,
}

fn routes() -> Result<Vec<Route>> {
    let document = serde_json::to_value(meridian_control::api::openapi())?;
    let mut routes = Vec::new();
    for (template, methods) in document["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys().map(|method| method.to_uppercase()) {
            let access = access(&method, template)
                .with_context(|| format!("say in access() who may use {method} {template}"))?;
            routes.push(Route { method: method.parse()?, template: template.clone(), access });
        }
    }
    assert!(routes.len() > 30, "the table of routes was not read");
    routes.extend(MORE.map(|(template, permission)| Route {
        method: Method::GET,
        template: template.to_owned(),
        access: Access::Needs(permission),
    }));
    Ok(routes)
}

/// Things of somebody else's, to be named in paths.
struct Things {
    session: String,
    user: String,
    key: String,
}

impl Route {
    fn path(&self, things: &Things) -> String {
        let nobody = "0190a5de-0000-7000-8000-000000000000";
        let id = match self.template.split('/').nth(3) {
            Some("sessions") => &things.session,
            Some("users") => &things.user,
            Some("api-keys") => &things.key,
            _ => nobody,
        };
        self.template.replace("{id}", id).replace("{user}", nobody).replace("{watch}", nobody)
    }

    /// What changes nothing even for whoever may.
    fn body(&self) -> Option<Value> {
        let nobody = "0190a5de-0000-7000-8000-000000000000";
        match (self.method.as_str(), self.template.as_str()) {
            ("GET" | "DELETE" | "PUT", _) => None,
            ("POST", "/api/v1/sessions") => Some(json!({"workspace_id": nobody})),
            // The session does not run yet, so nobody is asked.
            ("POST", "/api/v1/sessions/{id}/watches") => Some(json!({"reason": "a test"})),
            ("POST", "/api/v1/sessions/{id}/watches/{watch}/answer") => Some(json!({"answer": "decline"})),
            ("POST", "/api/v1/users") => Some(json!({"username": "", "password": "long enough"})),
            ("POST", "/api/v1/zones/measurements") => Some(json!({"zones": []})),
            ("POST", "/api/v1/workspaces") => Some(json!({"name": "", "image": "x"})),
            ("POST", "/api/v1/groups") => Some(json!({"name": ""})),
            ("POST", "/api/v1/api-keys") => Some(json!({"name": "", "permissions": ["sessions:own"]})),
            ("POST", "/api/v1/nodes/enrollments") => Some(json!({"role": "agent", "zone": "atlantis"})),
            ("POST", "/api/v1/auth/password") => Some(json!({"current_password": "", "new_password": ""})),
            ("POST", "/api/v1/auth/login") => Some(json!({"username": "", "password": ""})),
            _ => Some(json!({})),
        }
    }

    /// Only the head of the answer is read: events go on for ever.
    async fn ask(&self, client: &Client, things: &Things) -> Result<StatusCode> {
        let mut request = client.request(self.method.clone(), &self.path(things));
        if let Some(body) = self.body() {
            request = request.json(&body);
        }
        Ok(request.send().await?.status())
    }

    /// Signing in and out is for everybody, and would change who asks.
    fn is_sign_in_or_out(&self) -> bool {
        ["/api/v1/auth/login", "/api/v1/auth/logout"].contains(&self.template.as_str())
    }
}

/// What whoever has exactly `held`, and nothing of these things, must hear.
fn expected(access: Access, held: Option<Permission>) -> Expected {
    let has = |permission: Option<Permission>| permission.is_some() && permission == held;
    match access {
        Access::Public | Access::SignedIn => Expected::In,
        Access::Needs(permission) | Access::About(permission) => {
            if has(Some(permission)) {
                Expected::In
            } else {
                Expected::Exactly(StatusCode::FORBIDDEN)
            }
        }
        Access::Session { sees, may } => {
            if has(may) {
                Expected::In
            } else if has(sees) {
                Expected::Exactly(StatusCode::FORBIDDEN)
            } else {
                Expected::Exactly(StatusCode::NOT_FOUND)
            }
        }
        Access::Own(permission) => {
            if has(Some(permission)) {
                Expected::In
            } else {
                Expected::Exactly(StatusCode::NOT_FOUND)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Not turned away: whatever the answer is, it is about the thing.
    In,
    Exactly(StatusCode),
}

impl Expected {
    fn holds(self, status: StatusCode) -> bool {
        match self {
            Self::In => {
                ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
                    && !status.is_server_error()
            }
            Self::Exactly(wanted) => status == wanted,
        }
    }
}

async fn things(site: &Site, owner: &Client) -> Result<Things> {
    site.agent("london", 4).await?;
    let desktop = site.workspace(owner, "Desktop").await?;
    let text = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
    let session = text(&owner.launch(&desktop, "london", "one").await?.1);
    let user = text(&owner.send(Method::GET, "/api/v1/auth/me", None).await?.1);
    let key = json!({"name": "mine", "permissions": ["sessions:own"]});
    let key = text(&owner.send(Method::POST, "/api/v1/api-keys", Some(key)).await?.1);
    assert!(!session.is_empty() && !user.is_empty() && !key.is_empty());
    Ok(Things { session, user, key })
}

#[tokio::test]
async fn every_route_refuses_the_anonymous_and_the_forged() -> Result<()> {
    let site = Site::start().await?;
    let things = things(&site, &site.user("ada").await?).await?;
    let anonymous = site.anonymous();
    let forged = |token: String| Client { token: Some(token), ..anonymous.clone() };
    let nobodies = [anonymous.clone(), forged("0".repeat(64)), forged(format!("mk_{}", "0".repeat(64)))];
    for route in routes()?.iter().filter(|route| route.template != "/api/v1/auth/login") {
        for client in &nobodies {
            let (status, answer) =
                client.send(route.method.clone(), &route.path(&things), route.body()).await?;
            let code = answer["error"]["code"].as_str();
            let place = format!("{} {}: {answer}", route.method, route.template);
            assert_eq!((status, code), (StatusCode::UNAUTHORIZED, Some("unauthenticated")), "{place}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_plain_user_has_their_own_things_and_nothing_of_others() -> Result<()> {
    let site = Site::start().await?;
    let ada = site.user("ada").await?;
    let things = things(&site, &ada).await?;
    let other = site.user("bob").await?;
    for route in routes()?.iter().filter(|route| !route.is_sign_in_or_out()) {
        let status = route.ask(&other, &things).await?;
        let wanted = expected(route.access, None);
        assert!(
            wanted.holds(status),
            "another user, {} {}: {status}, not {wanted:?}",
            route.method,
            route.template
        );
    }
    // The owner is let in to all of it; what ends or deletes it comes last.
    let mut mine: Vec<_> = routes()?.into_iter().filter(|route| !route.is_sign_in_or_out()).collect();
    mine.sort_by_key(|route| route.method == Method::DELETE);
    for route in &mine {
        let status = route.ask(&ada, &things).await?;
        let wanted = match route.access {
            Access::Needs(_) => Expected::Exactly(StatusCode::FORBIDDEN),
            Access::Public
            | Access::SignedIn
            | Access::Session { .. }
            | Access::Own(_)
            | Access::About(_) => Expected::In,
        };
        assert!(
            wanted.holds(status),
            "the owner, {} {}: {status}, not {wanted:?}",
            route.method,
            route.template
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_low_role_has_its_own_permission_and_no_other() -> Result<()> {
    let site = Site::start().await?;
    let things = things(&site, &site.user("ada").await?).await?;
    let admin = site.admin().await?;
    let low = site.user("low").await?;
    let group = json!({"name": "Low", "priority": 10});
    let (status, group) = admin.send(Method::POST, "/api/v1/groups", Some(group)).await?;
    assert_eq!(status, StatusCode::CREATED, "{group}");
    let group = format!("/api/v1/groups/{}", group["id"].as_str().unwrap_or_default());
    let (status, _) = admin.send(Method::PUT, &format!("{group}/members/low"), None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let routes = routes()?;
    for permission in Permission::ALL {
        let patch = json!({"permissions": [permission]});
        let (status, answer) = admin.send(Method::PATCH, &group, Some(patch)).await?;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let key = json!({"name": permission, "permissions": [permission]});
        let (status, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        let key = Client { token: key["token"].as_str().map(str::to_owned), ..admin.clone() };
        for route in routes.iter().filter(|route| !route.is_sign_in_or_out()) {
            // Who deletes is asked about somebody who is not there.
            let gone = route.method == Method::DELETE && route.template != "/api/v1/sessions/{id}";
            let nobody = Things {
                session: things.session.clone(),
                user: "0190a5de-0000-7000-8000-000000000000".into(),
                key: "0190a5de-0000-7000-8000-000000000000".into(),
            };
            let about = if gone { &nobody } else { &things };
            let wanted = expected(route.access, Some(permission));
            let status = route.ask(&low, about).await?;
            assert!(
                wanted.holds(status),
                "{permission}, {} {}: {status}, not {wanted:?}",
                route.method,
                route.template
            );
            // A key is its user with less, also where that user is an administrator.
            if matches!(route.access, Access::Needs(_) | Access::Session { .. }) {
                let status = route.ask(&key, about).await?;
                let place = format!("a key for {permission}, {} {}", route.method, route.template);
                // It cannot use its user's own sessions either; that it is known is said.
                let unable = route.template.ends_with("/connect") && status == StatusCode::FORBIDDEN;
                assert!(wanted.holds(status) || unable, "{place}: {status}, not {wanted:?}");
            }
        }
    }
    Ok(())
}
