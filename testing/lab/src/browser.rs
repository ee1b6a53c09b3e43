//! Real browsers among the viewers: pages of one headless Chromium, in the people's network, each of which signs in to the real console and opens a
//! session there.
//!
//! What reaches a page is read off the browser's own account of its WebSockets, so that verdicts and pauses are those that the console met. What
//! the person sees is asked of the page: the same session, no error at any time, nothing that is still the matter, and a picture that
//! is drawn anew after it was wiped off.

mod devtools;
mod page;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use meridian_runtime::Tasks;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

pub(crate) use self::page::Page;
use self::{
    devtools::{DevTools, Pages},
    page::Login,
};

/// Where distributions put it.
const PLACES: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Chromium writes here where it listens.
const PORT_FILE: &str = "DevToolsActivePort";
/// Shows Chromium names that no name server knows, and runs it. It ends with the lab, however that ends.
const LAUNCHER: &str = "mount --bind \"$1\" /etc/hosts && shift && exec setpriv --pdeathsig KILL -- \"$@\"";
const FLAGS: [&str; 15] = [
    "--headless",
    // The sandbox is not to be had for root, and the lab's own pages are all that it shows.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--mute-audio",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    // All pages are in front.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
];

/// What pages need to know of the Meridian that they open.
pub(crate) struct Setting {
    /// Where the browser keeps what it has; short-lived.
    pub(crate) folder: PathBuf,
    /// The console's address.
    pub(crate) url: String,
    pub(crate) password: String,
    /// Lines as in /etc/hosts.
    pub(crate) hosts: String,
    /// The fingerprint of the one key that is trusted, as Chromium wants it.
    pub(crate) trusted_key: String,
}

/// One Chromium; killed when dropped.
pub(crate) struct Browsers {
    process: Child,
    pub(crate) pages: Vec<Page>,
}

impl Browsers {
    /// Opens a page for each session, all at once; returns when each shows its desktop.
    pub(crate) async fn open(
        setting: &Setting,
        sessions: &[String],
        tasks: &Tasks,
        began: Instant,
    ) -> Result<Self> {
        let profile = setting.folder.join("profile");
        fs::create_dir_all(&profile)?;
        let mut browsers = Self { process: launch(setting, &profile)?, pages: Vec::new() };
        let pages: Pages = Arc::default();
        let address = browsers.address(&profile).await?;
        let devtools = DevTools::connect(&address, Arc::clone(&pages), began, tasks).await?;
        let login = Login { url: &setting.url, password: &setting.password };
        for session in sessions {
            let seen = Arc::<Mutex<_>>::default();
            let page = Page::open(&devtools, &pages, session, &login, seen).await;
            browsers.pages.push(page.with_context(|| format!("a browser's page of session {session}"))?);
        }
        Ok(browsers)
    }

    /// `PORT/PATH` of its debugger.
    async fn address(&mut self, profile: &Path) -> Result<String> {
        let until = Instant::now() + START_LIMIT;
        loop {
            let told = fs::read_to_string(profile.join(PORT_FILE)).unwrap_or_default();
            if let Some((port, path)) = told.trim().split_once('\n') {
                return Ok(format!("{port}{path}"));
            }
            if let Some(ended) = self.process.try_wait()? {
                anyhow::bail!("Chromium ended with {ended}");
            }
            ensure!(Instant::now() < until, "Chromium does not listen after {START_LIMIT:?}");
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Browsers {
    fn drop(&mut self) {
        // Its helpers are of its group.
        let group = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn launch(setting: &Setting, profile: &Path) -> Result<Child> {
    let chromium = PLACES.into_iter().find(|place| Path::new(place).exists()).context(
        "browsers among the viewers need Chromium: deploy/install/need.sh chromium installs it, --browsers 0 does without",
    )?;
    let hosts = setting.folder.join("hosts");
    fs::write(&hosts, &setting.hosts)?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", LAUNCHER, "sh"])
        .arg(hosts)
        .arg(chromium)
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--ignore-certificate-errors-spki-list={}", setting.trusted_key))
        .arg("about:blank")
        .env("HOME", profile)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is the lab's to hear.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().context("`unshare` cannot be run: the lab needs util-linux")
}
