//! A Web App, and `meridian admin` against it.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]

mod agent;

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

pub use agent::Agent;
use anyhow::Result;
use meridian_control::{
    Web,
    store::{MIGRATIONS_KEY, Store},
};
use meridian_harness::TestDatabase;
use meridian_model::ZoneSettings;
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{FurnishSettings, FurnishZone, WebSettings};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PASSWORD: &str = "a long enough password";

/// A Web App with one zone, and commands that go to it.
pub struct Site {
    pub web: Web,
    _database: TestDatabase,
    _folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A migrated database of this test alone.
pub async fn database() -> Result<TestDatabase> {
    TestDatabase::new(MIGRATIONS_KEY, |config| async move {
        Store::new(config, 1, Duration::from_secs(60))?.prepare(&Tasks::new()).await?;
        Ok(())
    })
    .await
}

impl Site {
    pub async fn start() -> Result<Self> {
        meridian_identity::install_crypto_provider();
        let database = database().await?;
        let folder = TempDir::new()?;
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        let settings: WebSettings = serde_json::from_value(json!({
            "name": "web-1", "data": folder.path(), "listen": "127.0.0.1:0", "node_listen": "127.0.0.1:0", "node_advertise": "",
            "public_url": "http://127.0.0.1", "master_key_file": folder.path().join("master.key"),
        }))?;
        let furnish = FurnishSettings {
            admin_password_file: Some(password),
            admin_made_file: None,
            zones: vec![FurnishZone { name: "london".into(), settings: ZoneSettings::default() }],
            enrollments: Vec::new(),
            certificate: None,
        };
        let settings = WebSettings { furnish: Some(furnish), ..settings };
        let web =
            Web::start(settings, database.config(), Clock::system(), Tasks::new(), Health::default()).await?;
        Ok(Self { web, _database: database, _folder: folder })
    }

    /// A command that is yet to be started, with pipes.
    pub fn command(&self, key: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command.arg("admin").args(arguments).env_clear();
        command.env("MERIDIAN_URL", format!("http://{}", self.web.address));
        match key {
            Some(key) => command.env("MERIDIAN_API_KEY", key),
            None => command.env("MERIDIAN_USERNAME", "admin").env("MERIDIAN_PASSWORD", PASSWORD),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command as the administrator, or with a key; `input` is what is piped in.
    pub async fn admin(&self, key: Option<&str>, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(key, arguments);
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            Ended {
                code: output.status.code().unwrap(),
                out: String::from_utf8(output.stdout).unwrap(),
                err: String::from_utf8(output.stderr).unwrap(),
            }
        })
        .await
        .unwrap()
    }
}
