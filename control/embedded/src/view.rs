//! A data directory below one that PostgreSQL's user may not enter, such as root's home.
//!
//! Those directories are not ours to open. Instead PostgreSQL runs in a mount namespace of its own, in which the two
//! directories it needs are bound to a place that it reaches. Nothing outside sees these mounts, and they end with the
//! last process in there. Only the socket lies in that place for real. Where the kernel or a container's rules refuse
//! this, the error names the directory that is in the way.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{EmbeddedError, account::Account};

/// Binds two pairs of directories, then becomes the command.
const BIND: &str = r#"mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@""#;

/// Where PostgreSQL finds the database's directory and that of its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) home: PathBuf,
    pub(crate) logs: PathBuf,
    /// The real ones, when they are bound there.
    bound: Option<(PathBuf, PathBuf)>,
}

impl View {
    /// Where they are.
    pub(crate) fn direct(home: &Path, logs: &Path) -> Self {
        Self { home: home.to_owned(), logs: logs.to_owned(), bound: None }
    }

    /// In the directory `at`, which is ours and reachable. None when the kernel does not allow it.
    pub(crate) fn bound(
        home: &Path,
        logs: &Path,
        at: &Path,
        account: &Account,
    ) -> Result<Option<Self>, EmbeddedError> {
        let view = Self {
            home: at.join("home"),
            logs: at.join("logs"),
            bound: Some((home.to_owned(), logs.to_owned())),
        };
        account.passage(&view.home)?;
        account.passage(&view.logs)?;
        let mut test = view.command(account, Path::new("test"));
        test.arg("-x").arg(&view.home).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
        // A machine without these programs cannot do it either.
        Ok(test.status().is_ok_and(|status| status.success()).then_some(view))
    }

    /// A command that runs as PostgreSQL's user and sees the directories where this says.
    pub(crate) fn command(&self, account: &Account, program: &Path) -> Command {
        let Some((home, logs)) = &self.bound else {
            let mut command = Command::new(program);
            account.apply(&mut command);
            return command;
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", BIND, "sh"]);
        command.arg(home).arg(&self.home).arg(logs).arg(&self.logs);
        command
            .arg("setpriv")
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid));
        command.args(["--clear-groups", "--"]).arg(program);
        command
    }
}
