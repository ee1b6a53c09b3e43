//! What agents are told of images: passwords of registries rest sealed, each for its zone and host, and are opened on their way to an agent
//! of that zone, never for anybody else.

use meridian_ids::ZoneId;
use meridian_runtime::Secret;
use serde_json::Value;

use super::seal::Sealer;

/// Seals a password for one registry in one zone.
#[must_use]
pub fn seal_password(sealer: &Sealer, zone: ZoneId, host: &str, password: &Secret<String>) -> Vec<u8> {
    sealer.seal(&purpose(zone, host), password.expose().as_bytes())
}

/// Puts the opened passwords in the place of the sealed ones, in what an agent of `zone` is told. A login that does not open is left out: the
/// agent then says that it needs one.
pub fn open_logins(sealer: &Sealer, zone: ZoneId, orders: &mut Value) {
    let Some(logins) = orders.get_mut("registries").and_then(Value::as_array_mut) else { return };
    logins.retain_mut(|login| {
        let host = login["host"].as_str().unwrap_or_default().to_owned();
        let opened = open(sealer, zone, &host, login);
        let is_open = opened.is_some();
        if let (Some(password), Some(login)) = (opened, login.as_object_mut()) {
            login.remove("sealed_password");
            login.insert("password".into(), password.into());
        } else {
            tracing::error!(zone.id = %zone, host, "the zone's login for a registry does not open: set it again");
        }
        is_open
    });
}

fn open(sealer: &Sealer, zone: ZoneId, host: &str, login: &Value) -> Option<String> {
    let sealed = hex::decode(login["sealed_password"].as_str()?).ok()?;
    let opened = sealer.open_sealed(&purpose(zone, host), &sealed).ok()?;
    String::from_utf8(opened.expose().clone()).ok()
}

fn purpose(zone: ZoneId, host: &str) -> String {
    format!("registry {zone} {host}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_opens_for_its_own_zone_and_registry_alone() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("master.key"), true).unwrap();
        let (london, virginia) = (ZoneId::generate(), ZoneId::generate());
        let password = Secret::new("of london".to_owned());
        let sealed = hex::encode(seal_password(&sealer, london, "a.example.org", &password));
        let orders = |host: &str| json!({"version": "1", "registries": [{"host": host, "username": "u", "sealed_password": sealed}]});
        let mut right = orders("a.example.org");
        open_logins(&sealer, london, &mut right);
        assert_eq!(
            right["registries"],
            json!([{"host": "a.example.org", "username": "u", "password": "of london"}])
        );
        for (zone, host) in [(virginia, "a.example.org"), (london, "b.example.org")] {
            let mut wrong = orders(host);
            open_logins(&sealer, zone, &mut wrong);
            assert_eq!(wrong["registries"], json!([]));
        }
    }
}
