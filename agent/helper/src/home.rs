//! The first start's home directory: an empty volume gets the image's defaults (`/etc/skel`), a used one is left
//! alone, so that what a user deleted stays deleted.

use std::fs;
use std::io;
use std::path::Path;

const SKELETON: &str = "/etc/skel";

/// Deep enough for any real skeleton, and an end for one that contains itself.
const DEPTH_LIMIT: usize = 16;

/// Copies the image's skeleton into `home` if nothing was ever put there.
pub(crate) fn seed(home: &Path) -> io::Result<()> {
    seed_from(Path::new(SKELETON), home)
}

fn seed_from(skeleton: &Path, home: &Path) -> io::Result<()> {
    if !skeleton.is_dir() || is_used(home)? {
        return Ok(());
    }
    copy_directory(skeleton, home, DEPTH_LIMIT)
}

/// A freshly made file system has `lost+found`, which nobody put there.
fn is_used(home: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(home)? {
        if entry?.file_name() != "lost+found" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn copy_directory(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("the skeleton's directories are nested too deeply"));
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_directory(&entry.path(), &target, depth - 1)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_home_gets_the_skeleton_and_a_used_one_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (skeleton, home) = (root.path().join("skel"), root.path().join("home"));
        fs::create_dir_all(skeleton.join(".config/app")).unwrap();
        fs::write(skeleton.join(".bashrc"), "one").unwrap();
        fs::write(skeleton.join(".config/app/settings"), "two").unwrap();
        std::os::unix::fs::symlink(".bashrc", skeleton.join("link")).unwrap();
        fs::create_dir_all(home.join("lost+found")).unwrap();

        seed_from(&skeleton, &home).unwrap();
        assert_eq!(fs::read_to_string(home.join(".config/app/settings")).unwrap(), "two");
        assert_eq!(fs::read_to_string(home.join("link")).unwrap(), "one");

        fs::remove_file(home.join(".config/app/settings")).unwrap();
        seed_from(&skeleton, &home).unwrap();
        assert!(!home.join(".config/app/settings").exists());
    }

    #[test]
    fn an_image_without_a_skeleton_is_fine() {
        let root = tempfile::tempdir().unwrap();
        seed_from(&root.path().join("none"), root.path()).unwrap();
    }
}
