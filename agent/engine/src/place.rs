//! Where a workspace and its agent meet: a directory of sockets that only they can enter.
//!
//! `{run_directory}/{owner}/{session}/stream`: the upper folders are the agent's alone (0700); the leaf is a small tmpfs that belongs
//! to the container's user, so that a hostile workspace can fill a mebibyte and nothing more, run no program and make no device. The leaf is bound into the
//! container at [`STREAM_DIRECTORY`]. An agent that is not root mounts nothing: its leaf is a plain directory, and the container runs as the agent's own user.

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use meridian_ids::SessionId;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Owner;

/// Where a container finds the directory.
pub const STREAM_DIRECTORY: &str = "/run/stream";
/// The user that images are made for.
const WORKSPACE_USER: u32 = 1000;
/// What programs learn of users where the workspace's is not the images' own.
const PASSWD: &str = "passwd";
const GROUP: &str = "group";

/// The display directories of one agent.
#[derive(Debug)]
pub struct DisplayPlaces {
    root: PathBuf,
    user: u32,
    group: u32,
    is_root: bool,
    /// Set once a mount was refused although this process is root (of a namespace, say).
    refused: AtomicBool,
}

impl DisplayPlaces {
    /// Makes the agent's own folder under `run_directory`.
    ///
    /// # Errors
    /// When it cannot be made, or is not this process's own.
    pub fn open(run_directory: &Path, owner: &Owner) -> io::Result<Self> {
        fs::create_dir_all(run_directory)?;
        let root = run_directory.canonicalize()?.join(owner.short());
        make_private(&root)?;
        let (own_user, own_group) =
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_root = own_user == 0;
        let (user, group) = if is_root { (WORKSPACE_USER, WORKSPACE_USER) } else { (own_user, own_group) };
        Ok(Self { root, user, group, is_root, refused: AtomicBool::new(false) })
    }

    /// The same, for a simulated workspace: a plain directory of this process's own user.
    ///
    /// # Errors
    /// As [`DisplayPlaces::open`].
    pub fn open_unmounted(run_directory: &Path, owner: &Owner) -> io::Result<Self> {
        let places = Self::open(run_directory, owner)?;
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Self { user, group, is_root: false, ..places })
    }

    /// The user and group that a workspace's processes have.
    #[must_use]
    pub fn user(&self) -> (u32, u32) {
        (self.user, self.group)
    }

    /// Files for `/etc/passwd` and `/etc/group` of a workspace whose user the images do not know: without a name for it, programs as
    /// basic as the message bus do not start. `None` where the images' own files do.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn account_files(&self) -> io::Result<Option<(PathBuf, PathBuf)>> {
        let Self { user, group, .. } = self;
        if *user == WORKSPACE_USER && *group == WORKSPACE_USER {
            return Ok(None);
        }
        let passwd = format!(
            "root:x:0:0:root:/root:/usr/sbin/nologin\nuser:x:{user}:{group}::/home/user:/bin/bash\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        let group = format!("root:x:0:\nuser:x:{group}:\nnogroup:x:65534:\n");
        Ok(Some((self.account_file(PASSWD, &passwd)?, self.account_file(GROUP, &group)?)))
    }

    fn account_file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(path);
        }
        // Whole or not at all; containers that run keep the file that they were started with.
        let temporary = self.root.join(format!("{name}.new"));
        fs::write(&temporary, text)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644))?;
        fs::rename(&temporary, &path)?;
        Ok(path)
    }

    /// Whether the leaf is bounded; if not, a workspace can fill what the run directory lies on.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.is_root && !self.refused.load(Ordering::Relaxed)
    }

    /// The directory of a session, whether it exists or not.
    #[must_use]
    pub fn leaf(&self, session: SessionId) -> PathBuf {
        self.root.join(session.to_string()).join("stream")
    }

    /// Makes a session's directory, or completes one that a crash left half made. What is in it stays.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn prepare(&self, session: SessionId) -> io::Result<PathBuf> {
        let folder = self.root.join(session.to_string());
        make_private(&folder)?;
        let leaf = self.leaf(session);
        make_folder(&leaf)?;
        if is_mounted(&leaf)? {
            return Ok(leaf);
        }
        if self.is_root {
            match self.mount(&leaf) {
                Ok(()) => return Ok(leaf),
                Err(rustix::io::Errno::PERM) => self.refused.store(true, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        fs::set_permissions(&leaf, fs::Permissions::from_mode(0o700))?;
        std::os::unix::fs::chown(&leaf, Some(self.user), Some(self.group))?;
        Ok(leaf)
    }

    fn mount(&self, leaf: &Path) -> rustix::io::Result<()> {
        let options = format!("size=1m,nr_inodes=64,mode=0700,uid={},gid={}", self.user, self.group);
        let options = CString::new(options).expect("numbers have no zero byte");
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("meridian", leaf, "tmpfs", flags, options.as_c_str())
    }

    /// Unmounts and removes a session's directory; nothing to remove is a success.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
        let leaf = self.leaf(session);
        // As often as it was mounted: a crash between mounting and noticing may have stacked two.
        while is_mounted(&leaf)? {
            unmount(&leaf, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        }
        match fs::remove_dir_all(self.root.join(session.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A folder that is really one, ours, and nobody else's to enter.
fn make_private(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        let text = format!("{} is not a directory of this agent's user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Whether a directory is the root of a file system that lies on another than its parent's.
pub(crate) fn is_mounted(leaf: &Path) -> io::Result<bool> {
    let above = leaf.parent().unwrap_or(leaf);
    match (fs::symlink_metadata(leaf), fs::symlink_metadata(above)) {
        (Ok(leaf), Ok(above)) => Ok(leaf.dev() != above.dev()),
        (Err(error), _) | (_, Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        (Err(_), _) | (_, Err(_)) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use meridian_ids::{DeploymentId, NodeId};

    use super::*;

    #[test]
    fn a_place_is_made_bounded_and_removed_and_each_may_happen_again() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        let places = DisplayPlaces::open(folder.path(), &owner).unwrap();
        let session = SessionId::generate();
        let leaf = places.prepare(session).unwrap();
        fs::write(leaf.join("kept"), "x").unwrap();
        assert_eq!(places.prepare(session).unwrap(), leaf);
        assert!(leaf.join("kept").exists());
        if places.is_bounded() {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let line = mounts.lines().find(|line| line.contains(leaf.to_str().unwrap())).unwrap();
            for option in ["nosuid", "nodev", "noexec", "size=1024k", "uid=1000"] {
                assert!(line.contains(option), "{line}");
            }
            assert!(fs::write(leaf.join("much"), vec![0; 2 << 20]).is_err(), "beyond its size");
        }
        let mode = fs::metadata(leaf.parent().unwrap()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        places.remove(session).unwrap();
        places.remove(session).unwrap();
        assert!(!leaf.exists());
    }

    #[test]
    fn a_user_that_the_images_do_not_know_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        let places = DisplayPlaces::open(folder.path(), &owner).unwrap();
        let of = |user, group| DisplayPlaces {
            root: places.root.clone(),
            user,
            group,
            is_root: false,
            refused: AtomicBool::new(false),
        };
        assert_eq!(of(1000, 1000).account_files().unwrap(), None);
        for _ in 0..2 {
            let (passwd, group) = of(1003, 1004).account_files().unwrap().unwrap();
            assert!(fs::read_to_string(&passwd).unwrap().contains("user:x:1003:1004::/home/user:"));
            assert!(fs::read_to_string(group).unwrap().contains("user:x:1004:"));
            assert_eq!(fs::metadata(passwd).unwrap().mode() & 0o777, 0o644);
        }
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(owner.short())).unwrap();
        assert!(DisplayPlaces::open(folder.path(), &owner).is_err());
    }
}
