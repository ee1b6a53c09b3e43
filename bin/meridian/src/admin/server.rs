//! The server that `meridian admin` speaks to, and as whom.

use std::{fmt::Write as _, fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Duration};

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::output::read_secret;
use crate::exit::Failure;

const LIMIT: Duration = Duration::from_secs(30);
/// Whoever follows events longer opens them again.
const EVENTS_LIMIT: Duration = Duration::from_secs(120);
/// Events keep their connection alive in half of this.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// A session with everything that is said of it has a few kilobytes.
const MOST_OF_AN_EVENT: usize = 1 << 20;
/// Lists are read page by page, and no further: more than anybody reads. Whoever needs all of more has the API.
pub const MOST: usize = 100_000;
/// A zone's entry, however far.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Access {
    /// The console's address, such as https://meridian.example.org.
    #[arg(long, global = true, env = "MERIDIAN_URL")]
    url: Option<String>,
    /// A login's token.
    #[arg(long, global = true, env = "MERIDIAN_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    #[arg(long, global = true, env = "MERIDIAN_USERNAME")]
    username: Option<String>,
    /// Better through the environment: arguments can be seen by every user of this machine.
    #[arg(long, global = true, env = "MERIDIAN_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Trust this authority's certificate (PEM file) besides the usual ones.
    #[arg(long, global = true, env = "MERIDIAN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What `meridian admin login` keeps.
#[derive(Serialize, Deserialize)]
struct Profile {
    url: String,
    token: String,
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

pub struct Server {
    profile: Profile,
    http: reqwest::Client,
}

impl Server {
    /// By flags and environment, or by the profile. Whoever names a server, or brings a key, is never taken to the profile's instead.
    pub async fn open(access: &Access) -> Result<Self, Failure> {
        if let (Some(url), Some(token)) = (&access.url, &access.api_key) {
            return Self::new(url.clone(), token.clone(), access.ca_file.clone());
        }
        if access.username.is_some() {
            return Self::sign_in(access).await;
        }
        if access.api_key.is_some() {
            return Err(Failure::new("a key is given, and no server that it is for")
                .hint("Set MERIDIAN_URL besides MERIDIAN_API_KEY, or add --url ADDRESS"));
        }
        let nobody = || {
            Failure::new("no server is known, or not who you are")
                .hint("Run `meridian admin login --url ADDRESS --username NAME`, or set MERIDIAN_URL and MERIDIAN_API_KEY")
        };
        let text = fs::read_to_string(profile_path()?).map_err(|_| nobody())?;
        let profile: Profile = serde_json::from_str(&text).map_err(|_| nobody())?;
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        if let Some(url) = access.url.as_deref().filter(|url| bare(url) != bare(&profile.url)) {
            return Err(Failure::new(format!("you are signed in at {}, and not at {url}", profile.url))
                .hint(format!(
                    "Run `meridian admin login --url {url} --username NAME`, or set MERIDIAN_API_KEY"
                )));
        }
        Self::new(profile.url, profile.token, profile.ca_file.or_else(|| access.ca_file.clone()))
    }

    /// With a name and a password; the password is asked for when nothing has it.
    pub async fn sign_in(access: &Access) -> Result<Self, Failure> {
        let url = access.url.clone().unwrap_or_else(|| "http://127.0.0.1:8080".into());
        let username = access
            .username
            .clone()
            .ok_or_else(|| Failure::new("no user is named").hint("Add --username NAME"))?;
        let password = match &access.password {
            Some(password) => password.clone(),
            None => read_secret(&format!("Password of {username}: "))?,
        };
        let mut server = Self::new(url, String::new(), access.ca_file.clone())?;
        let body = json!({"username": username, "password": password});
        let login = server.call(Method::POST, "/auth/login", Some(body)).await?;
        server.profile.token = login["token"].as_str().unwrap_or_default().to_owned();
        Ok(server)
    }

    fn new(url: String, token: String, ca_file: Option<PathBuf>) -> Result<Self, Failure> {
        let http = meridian_node::upstream_http(ca_file.as_deref())?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { profile: Profile { url, token, ca_file }, http })
    }

    pub fn url(&self) -> &str {
        &self.profile.url
    }

    /// Keeps the login for later commands, for this user alone.
    pub fn keep(&self) -> Result<(), Failure> {
        let path = profile_path()?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(serde_json::to_string_pretty(&self.profile)?.as_bytes())?;
        Ok(())
    }

    /// Forgets what [`Self::keep`] kept; nothing kept is nothing to forget.
    pub fn forget(&self) -> Result<(), Failure> {
        match fs::remove_file(profile_path()?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A list of the API page after page, as if it were one page: at most so many.
    pub async fn list(&self, path: &str, most: usize) -> Result<Value, Failure> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self
                .call(Method::GET, &format!("{path}{join}limit={}{cursor}", most.clamp(1, 1000)), None)
                .await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) if items.len() < most => cursor = format!("&cursor={}", segment(next)),
                Some(_) | None => break,
            }
        }
        items.truncate(most);
        Ok(json!({"items": items, "next": null}))
    }

    /// Whether a zone's entry answers where a page measures the distance to it; why not, in words.
    pub async fn probe(&self, address: &str) -> Result<(), String> {
        let answer = self.http.get(address).timeout(PROBE_LIMIT).send().await;
        match answer.map(|answer| answer.status()) {
            // Whatever else stands there answers with something.
            Ok(StatusCode::NO_CONTENT) => Ok(()),
            Ok(status) => Err(format!("something else does ({status})")),
            Err(error) => Err(Failure::from(error).to_string()),
        }
    }

    /// The server-sent events at a path.
    pub async fn events(&self, path: &str) -> Result<Events, Failure> {
        let request = self.http.get(format!("{}/api/v1{path}", self.profile.url));
        let request = request.bearer_auth(&self.profile.token).timeout(EVENTS_LIMIT).send();
        let answer = timeout(LIMIT, request).await??;
        Ok(Events { answer: answer.error_for_status()?, text: Vec::new() })
    }

    /// One call of the API; the error envelope becomes the failure.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let mut request =
            self.http.request(method, format!("{}/api/v1{path}", self.profile.url)).timeout(LIMIT);
        if !self.profile.token.is_empty() {
            request = request.bearer_auth(&self.profile.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| {
            Failure::from(error)
                .hint("Is Meridian running there? The address is that of the console; MERIDIAN_URL or --url names it")
                .code(4)
        })?;
        let status = answer.status();
        let text = answer.text().await?;
        if status.is_success() {
            return if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) };
        }
        Err(refusal(status, &text))
    }
}

/// Server-sent events, one object each.
pub struct Events {
    answer: reqwest::Response,
    text: Vec<u8>,
}

impl Events {
    /// The next object; none when the server ended them, fell silent, or says what is none.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                // Other lines keep the connection alive.
                if let Some(data) = line.strip_prefix(b"data:") {
                    return serde_json::from_slice(data).ok();
                }
                continue;
            }
            let more = timeout(SILENCE_LIMIT, self.answer.chunk()).await.ok()?.ok()??;
            if self.text.len() + more.len() > MOST_OF_AN_EVENT {
                return None;
            }
            self.text.extend_from_slice(&more);
        }
    }
}

/// A text as one segment of a path or one value of a query, whatever is in it.
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn refusal(status: StatusCode, text: &str) -> Failure {
    let envelope: Value = serde_json::from_str(text).unwrap_or_default();
    let error = &envelope["error"];
    let Some(message) = error["message"].as_str() else {
        return Failure::new(format!("the server answered {status}, and not as Meridian does")).code(4);
    };
    let failure = Failure::new(message).code(3);
    match error["hint"].as_str() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn profile_path() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    folder
        .map(|folder| folder.join("meridian/profile.json"))
        .ok_or_else(|| Failure::new("no home directory is known"))
}
