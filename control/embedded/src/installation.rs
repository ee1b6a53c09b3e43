//! Finding PostgreSQL's programs.
//!
//! Distributions keep them in different places, several major versions side by side, and often not on the PATH. A cluster
//! can only be run by the major version that made it; a new cluster gets the newest.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::EmbeddedError;

/// How long a program that only prints its version may take.
const PRINT_LIMIT: Duration = Duration::from_secs(10);

/// Directories with versions below them, as (parent, prefix of the name, what follows).
const VERSIONED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/lib64/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
];

/// A major version of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// What Meridian's SQL needs.
    pub const OLDEST: Self = Self(15);

    /// From `postgres (PostgreSQL) 15.18 (Debian …)`, `17beta1` or the `PG_VERSION` file's `15`.
    fn parse(text: &str) -> Option<Self> {
        let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(Self)
    }

    /// The version that made the cluster in this directory; none when there is no cluster.
    pub(crate) fn of_cluster(cluster: &Path) -> Result<Option<Self>, EmbeddedError> {
        let file = cluster.join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::file("read", &file, error)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where to look for PostgreSQL.
#[derive(Clone, Debug)]
pub struct Places {
    /// The usual directories of the distributions are looked at too.
    pub usual: bool,
    /// As in `PATH`.
    pub path: OsString,
}

impl Default for Places {
    fn default() -> Self {
        Self { usual: true, path: env::var_os("PATH").unwrap_or_default() }
    }
}

impl Places {
    /// Nowhere: as on a machine without PostgreSQL.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { usual: false, path: OsString::new() }
    }

    async fn directories(&self) -> Vec<PathBuf> {
        let mut directories: Vec<PathBuf> =
            env::split_paths(&self.path).filter(|dir| dir.is_absolute()).collect();
        let pg_configs: Vec<_> = directories.iter().map(|dir| dir.join("pg_config")).collect();
        for pg_config in pg_configs.iter().filter(|program| program.is_file()) {
            directories.extend(print(pg_config, "--bindir").await.map(PathBuf::from));
        }
        if self.usual {
            for (parent, prefix, rest) in VERSIONED {
                let Ok(entries) = fs::read_dir(parent) else { continue };
                let named = entries.flatten().filter(|entry| {
                    entry
                        .file_name()
                        .to_str()
                        .and_then(|name| name.strip_prefix(prefix))
                        .is_some_and(is_number)
                });
                directories.extend(named.map(|entry| entry.path().join(rest)));
            }
            directories.extend(["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"].map(PathBuf::from));
        }
        directories
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// An installed PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installation {
    pub(crate) version: Version,
    bin: PathBuf,
}

impl Installation {
    /// The installation that fits: the cluster's version, or the newest for a new cluster.
    pub(crate) async fn find(
        places: &Places,
        cluster: Option<Version>,
        data_dir: &Path,
    ) -> Result<Self, EmbeddedError> {
        let mut all = all(places).await;
        let Some(wanted) = cluster else {
            let newest = all.pop_last().map(|(version, bin)| Self { version, bin });
            return match newest {
                Some(newest) if newest.version >= Version::OLDEST => Ok(newest),
                Some(old) => Err(EmbeddedError::NotInstalled { found: vec![(old.bin, old.version)] }),
                None => Err(EmbeddedError::NotInstalled { found: Vec::new() }),
            };
        };
        match all.remove(&wanted) {
            Some(bin) => Ok(Self { version: wanted, bin }),
            None if all.is_empty() => Err(EmbeddedError::NotInstalled { found: Vec::new() }),
            None => Err(EmbeddedError::OtherVersion {
                data_dir: data_dir.to_owned(),
                cluster: wanted,
                installed: all.into_keys().collect(),
            }),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Every installation that has the server and `initdb`, the first found of each major version.
async fn all(places: &Places) -> BTreeMap<Version, PathBuf> {
    let mut all = BTreeMap::new();
    for directory in places.directories().await {
        // Links on the PATH point to the real programs, beside which the others are.
        let Ok(server) = directory.join("postgres").canonicalize() else { continue };
        let Some(bin) = server.parent().filter(|bin| bin.join("initdb").is_file()) else { continue };
        if all.values().any(|known| known == bin) {
            continue;
        }
        if let Some(version) = print(&server, "--version").await.as_deref().and_then(Version::parse) {
            all.entry(version).or_insert_with(|| bin.to_owned());
        }
    }
    all
}

/// What a program prints, without the line's end; none when it fails.
async fn print(program: &Path, argument: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PRINT_LIMIT, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The command that installs PostgreSQL on this distribution.
pub(crate) fn install_hint() -> String {
    hint_for(&fs::read_to_string("/etc/os-release").unwrap_or_default()).to_owned()
}

fn hint_for(os_release: &str) -> &'static str {
    let ids: Vec<_> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .collect();
    let is = |names: &[&str]| ids.iter().any(|id| names.contains(id));
    if is(&["debian", "ubuntu"]) {
        "install it with `apt-get install postgresql`"
    } else if is(&["fedora", "rhel", "centos"]) {
        "install it with `dnf install postgresql-server`"
    } else if is(&["suse", "opensuse"]) {
        "install it with `zypper install postgresql-server`"
    } else if is(&["arch"]) {
        "install it with `pacman -S postgresql`"
    } else if is(&["alpine"]) {
        "install it with `apk add postgresql`"
    } else {
        "install the package postgresql (on some systems postgresql-server) with the system's package manager"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_and_the_cluster_say() {
        for (text, version) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("9.6\n", Some(9)),
            ("15\n", Some(15)),
            ("", None),
            ("postgres", None),
        ] {
            assert_eq!(Version::parse(text), version.map(Version), "{text:?}");
        }
    }

    #[test]
    fn the_hint_names_the_distribution_s_own_command() {
        assert!(hint_for("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").contains("apt-get install"));
        assert!(hint_for("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n").contains("dnf install"));
        assert!(hint_for("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"").contains("zypper"));
        assert!(hint_for("").contains("package manager"));
    }

    #[tokio::test]
    async fn without_an_installation_the_error_says_what_to_install() {
        let error =
            Installation::find(&Places::nowhere(), None, Path::new("/data")).await.unwrap_err().to_string();
        assert!(error.contains("no PostgreSQL 15 or newer is installed"), "{error}");
        assert!(error.contains("--database-url"), "{error}");
    }
}
