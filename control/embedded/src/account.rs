//! Who runs PostgreSQL, and whether that user reaches the data.
//!
//! PostgreSQL refuses to run as root. Started by root, Meridian runs it as an unprivileged user; started by anyone else, as
//! that user. Directories of our own are opened to that user for passing through and nothing else: their group becomes the
//! user's group with the x bit alone, so that no third user gains anything. Directories that are not ours are never changed.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::EmbeddedError;

/// The unprivileged users that a root-started PostgreSQL may run as, in this order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

const ROOT: u32 = 0;

/// The user that PostgreSQL runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The name of the user that Meridian runs as.
    pub(crate) ours: String,
    /// Meridian is root and PostgreSQL is not.
    pub(crate) switched: bool,
}

impl Account {
    /// For a cluster directory: its owner if there is one already.
    pub(crate) fn find(cluster: &Path) -> Result<Self, EmbeddedError> {
        let our_uid = rustix::process::geteuid().as_raw();
        let our_name = lookup(&our_uid.to_string()).map_or_else(|| our_uid.to_string(), |user| user.name);
        let owner = match fs::symlink_metadata(cluster) {
            Ok(meta) => Some((meta.uid(), meta.gid())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(EmbeddedError::file("look at", cluster, error)),
        };
        let (name, uid, gid) = match owner {
            Some((uid, gid)) if uid != ROOT && (our_uid == ROOT || our_uid == uid) => {
                (lookup(&uid.to_string()).map_or_else(|| uid.to_string(), |user| user.name), uid, gid)
            }
            Some((uid, _)) if our_uid != ROOT => {
                let owner = lookup(&uid.to_string()).map_or_else(|| uid.to_string(), |user| user.name);
                return Err(EmbeddedError::NotOurs { path: cluster.to_owned(), owner, runs_as: our_name });
            }
            _ if our_uid == ROOT => {
                let user =
                    UNPRIVILEGED.iter().find_map(|name| lookup(name)).ok_or(EmbeddedError::NoAccount)?;
                (user.name, user.uid, user.gid)
            }
            _ => (our_name.clone(), our_uid, rustix::process::getegid().as_raw()),
        };
        Ok(Self { name, uid, gid, ours: our_name, switched: our_uid == ROOT })
    }

    /// Makes a command run as this user, with no other group.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Makes a directory if there is none; it is ours, and PostgreSQL's user may pass through it.
    pub(crate) fn passage(&self, directory: &Path) -> Result<(), EmbeddedError> {
        make(directory, 0o700)?;
        let meta = fs::symlink_metadata(directory)
            .map_err(|error| EmbeddedError::file("look at", directory, error))?;
        if !self.switched || self.may_pass(meta.uid(), meta.gid(), meta.mode()) || meta.uid() != ROOT {
            return Ok(());
        }
        // A group that already has a use here, other than root's own, keeps it: then the person must decide.
        if meta.mode() & 0o070 != 0 && meta.gid() != ROOT {
            return Err(EmbeddedError::Unreachable {
                directory: directory.to_owned(),
                user: self.name.clone(),
            });
        }
        chown(directory, None, Some(self.gid))
            .and_then(|()| {
                fs::set_permissions(directory, fs::Permissions::from_mode(meta.mode() & 0o707 | 0o010))
            })
            .map_err(|error| EmbeddedError::file("let PostgreSQL's user pass through", directory, error))
    }

    /// Makes a directory if there is none, which belongs to PostgreSQL's user alone.
    pub(crate) fn own(&self, directory: &Path) -> Result<(), EmbeddedError> {
        make(directory, 0o700)?;
        if self.switched {
            std::os::unix::fs::lchown(directory, Some(self.uid), Some(self.gid))
                .map_err(|error| EmbeddedError::file("hand to PostgreSQL's user", directory, error))?;
        }
        Ok(())
    }

    /// Checks, as the user, that a directory can be entered; names the first one on the way that cannot.
    pub(crate) fn check_reach(&self, directory: &Path) -> Result<(), EmbeddedError> {
        if !self.switched || self.can_enter(directory)? {
            return Ok(());
        }
        let mut way: Vec<&Path> = directory.ancestors().collect();
        way.reverse();
        let mut blocked = directory;
        for step in way {
            if !self.can_enter(step)? {
                blocked = step;
                break;
            }
        }
        Err(EmbeddedError::Unreachable { directory: blocked.to_owned(), user: self.name.clone() })
    }

    /// Asks the kernel, so that access lists and mount options count too.
    fn can_enter(&self, directory: &Path) -> Result<bool, EmbeddedError> {
        let mut test = Command::new("test");
        test.arg("-x").arg(directory).current_dir("/").stdin(Stdio::null());
        self.apply(&mut test);
        let status =
            test.status().map_err(|source| EmbeddedError::Program { program: "test".to_owned(), source })?;
        Ok(status.success())
    }

    fn may_pass(&self, uid: u32, gid: u32, mode: u32) -> bool {
        let bit = if uid == self.uid {
            0o100
        } else if gid == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// Makes a directory and its parents. An existing one keeps its mode.
pub(crate) fn make(directory: &Path, mode: u32) -> Result<(), EmbeddedError> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(|error| EmbeddedError::file("make", parent, error))?;
    }
    match fs::DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(EmbeddedError::file("make", directory, error))
        }
        _ if directory.is_dir() => Ok(()),
        _ => Err(EmbeddedError::file("make", directory, io::ErrorKind::NotADirectory.into())),
    }
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// A user by name or number: from the file, or through `getent` where users come from elsewhere.
fn lookup(key: &str) -> Option<User> {
    let from_file = fs::read_to_string("/etc/passwd").ok().and_then(|text| parse(&text, key));
    from_file.or_else(|| {
        let output = Command::new("getent").args(["passwd", key]).stdin(Stdio::null()).output().ok()?;
        parse(&String::from_utf8_lossy(&output.stdout), key)
    })
}

fn parse(passwd: &str, key: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let user = User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        (name == key || uid == key).then_some(user)
    })
}

/// The path in one spelling, so that what PostgreSQL writes down can be compared.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, EmbeddedError> {
    path.canonicalize().map_err(|error| EmbeddedError::file("find", path, error))
}
