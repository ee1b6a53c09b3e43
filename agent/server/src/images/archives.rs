//! Archives of images on this host, for where no registry can be reached: each a file as `docker save` writes it, with one image.
//!
//! The directory is the operator's; what others may write to is not loaded. An archive is chosen by the reference that it says itself, is
//! bounded, and holds nothing besides, so that loading one image never replaces another. Where a file `NAME.tar.sha256` lies beside it, it must
//! have that sum.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest;
use meridian_model::ImageReference;
use meridian_settings::AgentSettings;
use serde::Deserialize;

/// Files of the directory that are looked at.
const MAX_FILES: usize = 256;
/// Entries of an archive; an image has a few for each layer.
const MAX_ENTRIES: usize = 20_000;
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// A file as it was when its names were read.
type Stamp = (u64, i64, i64);

pub(super) struct Archives {
    directory: Option<PathBuf>,
    max_bytes: u64,
    /// Names of files that have not changed since they were read.
    known: Mutex<HashMap<PathBuf, (Stamp, Vec<String>)>>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "RepoTags", default)]
    repo_tags: Option<Vec<String>>,
}

impl Archives {
    pub(super) fn new(settings: &AgentSettings) -> Self {
        Self {
            directory: settings.archive_directory.clone(),
            max_bytes: settings.archive_max_mb.saturating_mul(1 << 20),
            known: Mutex::default(),
        }
    }

    /// The archive that has an image, if there is one. Reads files.
    ///
    /// # Errors
    /// Why the archive that has it may not be loaded, in words.
    pub(super) fn find(&self, reference: &str) -> Result<Option<PathBuf>, String> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let listed_as = ImageReference::parse(reference).map_or(reference, |parsed| parsed.familiar());
        for path in self.files(directory)? {
            let tags = match self.tags(&path) {
                Ok(tags) => tags,
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "not an archive of an image");
                    continue;
                }
            };
            if tags.iter().any(|tag| tag == listed_as) {
                return self.check(&path, &tags).map(|()| Some(path));
            }
        }
        Ok(None)
    }

    fn files(&self, directory: &Path) -> Result<Vec<PathBuf>, String> {
        let unreadable = |error: io::Error| {
            format!("the directory of archives {} cannot be read: {error}", directory.display())
        };
        match fs::metadata(directory) {
            Ok(metadata) => guarded(&metadata, directory)?,
            // Nobody put anything there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                files.push(path);
            }
        }
        files.sort();
        files.truncate(MAX_FILES);
        Ok(files)
    }

    fn tags(&self, path: &Path) -> io::Result<Vec<String>> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let stamp = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if let Some((known, tags)) = self.lock().get(path)
            && *known == stamp
        {
            return Ok(tags.clone());
        }
        let tags = read_tags(&mut File::open(path)?)?;
        let mut known = self.lock();
        if known.len() >= MAX_FILES {
            known.clear();
        }
        known.insert(path.to_owned(), (stamp, tags.clone()));
        Ok(tags)
    }

    fn check(&self, path: &Path, tags: &[String]) -> Result<(), String> {
        let shown = path.display();
        let unreadable = |error: io::Error| format!("the archive {shown} cannot be read: {error}");
        let metadata = fs::symlink_metadata(path).map_err(unreadable)?;
        guarded(&metadata, path)?;
        if metadata.len() > self.max_bytes {
            return Err(format!(
                "the archive {shown} has {} MB, and archive_max_mb of this agent allows {}",
                metadata.len() >> 20,
                self.max_bytes >> 20
            ));
        }
        if tags.len() > 1 {
            return Err(format!(
                "the archive {shown} has other images besides ({}): save each into an archive of its own",
                tags.join(", ")
            ));
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".sha256");
        let wanted = match fs::read_to_string(&beside) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        let found = sum(path).map_err(unreadable)?;
        if wanted.split_whitespace().next().is_some_and(|wanted| wanted.eq_ignore_ascii_case(&found)) {
            Ok(())
        } else {
            Err(format!(
                "the archive {shown} does not have the sum that lies beside it: it is damaged, or was replaced"
            ))
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Vec<String>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What anybody may write to is nobody's word.
fn guarded(metadata: &Metadata, path: &Path) -> Result<(), String> {
    if metadata.permissions().mode() & 0o002 == 0 {
        Ok(())
    } else {
        Err(format!("{} can be written by everybody on this host: nothing is loaded from it", path.display()))
    }
}

fn sum(path: &Path) -> io::Result<String> {
    let (mut file, mut context) = (File::open(path)?, digest::Context::new(&digest::SHA256));
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => context.update(&piece[..length]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The references that an archive says of itself: those of `manifest.json`, found by walking the heads of its entries.
fn read_tags(archive: &mut (impl Read + Seek)) -> io::Result<Vec<String>> {
    let broken = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    for _ in 0..MAX_ENTRIES {
        let mut head = [0; BLOCK as usize];
        archive.read_exact(&mut head)?;
        if head.iter().all(|byte| *byte == 0) {
            return Err(broken("it has no manifest.json"));
        }
        let size = octal(&head[124..136]).ok_or_else(|| broken("an entry's size is not understood"))?;
        let name_end = head[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        if &head[..name_end] == b"manifest.json" {
            if size > MAX_MANIFEST_BYTES {
                return Err(broken("its manifest.json is too large"));
            }
            let mut text = Vec::new();
            archive.take(size).read_to_end(&mut text)?;
            let manifests: Vec<Manifest> = serde_json::from_slice(&text)?;
            return Ok(manifests
                .into_iter()
                .flat_map(|manifest| manifest.repo_tags.unwrap_or_default())
                .collect());
        }
        let blocks = size.div_ceil(BLOCK).saturating_mul(BLOCK);
        archive
            .seek(SeekFrom::Current(i64::try_from(blocks).map_err(|_| broken("an entry is too large"))?))?;
    }
    Err(broken("it has too many entries"))
}

/// A number as tar writes it: octal digits, or from eight gibibytes on, the bytes themselves.
fn octal(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (head, tail) = field.split_at(field.len() - 8);
        let is_small = head[0] == 0x80 && head[1..].iter().all(|byte| *byte == 0);
        return is_small.then(|| tail.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, body: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
        let mut bytes = [head, body.to_vec()].concat();
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
        bytes
    }

    fn archive(tags: &[&str]) -> Vec<u8> {
        let manifest = serde_json::json!([{"Config": "x.json", "RepoTags": tags, "Layers": []}]).to_string();
        [entry("blobs/sha256/layer", &[7; 1000]), entry("manifest.json", manifest.as_bytes()), vec![0; 1024]]
            .concat()
    }

    fn archives(directory: &Path) -> Archives {
        Archives { directory: Some(directory.to_owned()), max_bytes: 1 << 20, known: Mutex::default() }
    }

    #[test]
    fn an_archive_is_found_by_the_name_it_says_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.tar"), archive(&["meridian/a:1"])).unwrap();
        fs::write(folder.path().join("b.tar"), b"rubbish").unwrap();
        fs::write(folder.path().join("c.tar"), archive(&["debian:12"])).unwrap();
        let archives = archives(folder.path());
        assert_eq!(archives.find("meridian/a:1"), Ok(Some(folder.path().join("a.tar"))));
        assert_eq!(archives.find("docker.io/library/debian:12"), Ok(Some(folder.path().join("c.tar"))));
        assert_eq!(archives.find("meridian/a:2"), Ok(None));
        // Read again when it changes.
        fs::write(folder.path().join("a.tar"), [archive(&["meridian/a:2"]), vec![0; 512]].concat()).unwrap();
        assert_eq!(archives.find("meridian/a:2"), Ok(Some(folder.path().join("a.tar"))));
    }

    #[test]
    fn a_directory_that_is_not_there_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(archives(&folder.path().join("none")).find("meridian/a:1"), Ok(None));
    }

    #[test]
    fn what_is_damaged_too_large_open_to_all_or_holds_more_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let refused = |archives: &Archives| archives.find("meridian/a:1").unwrap_err();
        fs::write(&path, archive(&["meridian/a:1"])).unwrap();
        let right = sum(&path).unwrap();
        let beside = folder.path().join("a.tar.sha256");
        fs::write(&beside, format!("{right}  a.tar\n")).unwrap();
        assert!(archives(folder.path()).find("meridian/a:1").is_ok());
        fs::write(&beside, "0123").unwrap();
        assert!(refused(&archives(folder.path())).contains("damaged"));
        fs::remove_file(&beside).unwrap();
        let small = Archives { max_bytes: 100, ..archives(folder.path()) };
        assert!(refused(&small).contains("archive_max_mb"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refused(&archives(folder.path())).contains("everybody"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, archive(&["meridian/a:1", "meridian/terminal:dev"])).unwrap();
        assert!(refused(&archives(folder.path())).contains("meridian/terminal:dev"));
        std::os::unix::fs::symlink(&path, folder.path().join("0.tar")).unwrap();
        assert!(refused(&archives(folder.path())).contains("a.tar has"), "a link is passed over");
    }

    #[test]
    fn rubbish_is_told_apart_without_reading_on_for_ever() {
        let endless = [entry("a", &[]), vec![0xff; 4096]].concat();
        for bytes in [Vec::new(), vec![0; 4096], b"short".to_vec(), endless, entry("manifest.json", b"{")] {
            assert!(read_tags(&mut io::Cursor::new(bytes)).is_err());
        }
        assert_eq!(octal(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(2 << 32));
        assert_eq!(octal(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
