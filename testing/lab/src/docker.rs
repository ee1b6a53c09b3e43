//! Workspaces in real containers: an image of nothing but this executable, whose display shows what viewers can check.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};
use meridian_runtime::Tasks;

/// The image's name: without a registry's, so that agents never look for it elsewhere.
pub(crate) const IMAGE: &str = "meridian/lab:dev";
const ENTRYPOINT: &str = "ENTRYPOINT [\"/meridian\",\"lab\",\"workspace\"]";
/// What containers and volumes of one deployment are labelled with.
const LABEL: &str = "dev.meridian.deployment";

/// What runs inside: a display and a helper, until the container is stopped.
///
/// # Errors
/// When the directory that agent and container share is not there.
pub async fn serve_workspace() -> Result<()> {
    let tasks = Tasks::new();
    meridian_engine::serve_workspace(Path::new(meridian_engine::STREAM_DIRECTORY), &tasks)?;
    tasks.stopping().cancelled().await;
    Ok(())
}

/// Makes the image; some seconds. Blocks.
pub(crate) fn make_image(executable: &Path) -> Result<()> {
    docker(&["version", "--format", "{{.Server.Version}}"])
        .context("this scenario's workspaces are containers: is the Docker daemon running?")?;
    let root = tempfile::Builder::new().prefix("meridian-lab-image-").tempdir()?;
    fs::copy(executable, root.path().join("meridian")).context("the executable")?;
    for library in libraries(executable)? {
        let target = root.path().join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(target.parent().context("a library has a folder")?)?;
        fs::copy(&library, target).with_context(|| format!("{}", library.display()))?;
    }
    let archive = root.path().join("image.tar");
    let tar = Command::new("tar")
        .args(["--exclude", "./image.tar", "-C"])
        .arg(root.path())
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .output()
        .context("`tar` cannot be run")?;
    well("tar", &tar)?;
    docker(&["import", "--change", ENTRYPOINT, &archive.to_string_lossy(), IMAGE]).map(drop)
}

/// The shared libraries that an executable needs, its loader among them.
fn libraries(executable: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(executable).output().context("`ldd` cannot be run")?;
    well("ldd", &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(library).collect())
}

/// `libc.so.6 => /lib/libc.so.6 (0x…)`, or the loader's own line, which begins with its path.
fn library(line: &str) -> Option<PathBuf> {
    let named = line.split_once("=>").map_or(line, |(_, path)| path);
    let path = named.split_whitespace().next()?;
    path.starts_with('/').then(|| path.into())
}

/// Removes what a deployment left on the daemon.
pub(crate) fn remove(deployment: &str) {
    let filter = format!("label={LABEL}={deployment}");
    for (list, remove) in [
        (&["ps", "--all", "--quiet", "--filter"][..], &["rm", "--force", "--volumes"][..]),
        (&["volume", "ls", "--quiet", "--filter"][..], &["volume", "rm", "--force"][..]),
    ] {
        let found = docker(&[list, &[&filter]].concat()).unwrap_or_default();
        let found: Vec<_> = found.split_whitespace().collect();
        if !found.is_empty() {
            // What cannot be removed is seen by whoever looks after the daemon.
            let _ = docker(&[remove, &found].concat());
        }
    }
}

/// How many containers of a deployment run.
pub(crate) fn running(deployment: &str) -> Result<usize> {
    let filter = format!("label={LABEL}={deployment}");
    Ok(docker(&["ps", "--quiet", "--filter", &filter])?.split_whitespace().count())
}

fn docker(arguments: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(arguments).output().context("`docker` cannot be run")?;
    well("docker", &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn well(program: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.trim().is_empty(), "{program} ended with {}", output.status);
    bail!("{program}: {}", said.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_by_their_paths() {
        assert_eq!(library("\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)"), Some("/lib/x/libc.so.6".into()));
        assert_eq!(
            library("\t/lib64/ld-linux-x86-64.so.2 (0x7f)"),
            Some("/lib64/ld-linux-x86-64.so.2".into())
        );
        assert_eq!(library("\tlinux-vdso.so.1 (0x7ffd)"), None);
        assert_eq!(library("\tlibmissing.so => not found"), None);
    }
}
