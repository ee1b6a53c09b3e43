//! The console's built files, embedded in the executable.
//!
//! In debug builds they are read from `console/dist` at run time; in release builds they are part of the binary.

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "dist"]
#[allow_missing = true]
struct Dist;

/// One file of the console.
pub struct File {
    pub bytes: Cow<'static, [u8]>,
    pub content_type: String,
    /// Quoted, as in the header.
    pub etag: String,
}

/// The file at `path`, which has no leading slash.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    let file = Dist::get(path)?;
    let hash = file.metadata.sha256_hash();
    let etag = hash.iter().take(16).fold(String::from("\""), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    });
    Some(File { content_type: file.metadata.mimetype().to_owned(), bytes: file.data, etag: etag + "\"" })
}
