//! The first administrator's password, and what the person at the terminal is told.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use meridian_control::generated_password;

use crate::exit::Failure;

/// What to say once everything is ready.
pub struct Welcome {
    /// Where the Web App reads the password, should it have to make the first administrator.
    pub password_file: PathBuf,
    /// Where it says that it did.
    pub made_file: PathBuf,
    /// Shown once, when it was made up here and became the administrator's.
    made_up: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Welcome {
    pub fn prepare(secrets: &Path, ca_file: Option<PathBuf>) -> Result<Self, Failure> {
        let (password_file, made_file) =
            (secrets.join("first-password"), secrets.join("first-password-used"));
        let _ = fs::remove_file(&made_file);
        #[expect(clippy::disallowed_methods, reason = "the executable reads the environment")]
        let given = std::env::var("MERIDIAN_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty());
        let made_up = given.is_none().then(generated_password);
        write_private(&password_file, given.as_ref().or(made_up.as_ref()).map_or("", String::as_str))?;
        Ok(Self { password_file, made_file, made_up, ca_file })
    }

    /// Says where to go and how to get in, on standard error: standard output has the one line that programs read.
    pub fn say(&self, url: &str) -> Result<(), Failure> {
        let mut out = std::io::stderr().lock();
        writeln!(out, "\n  Meridian is ready   {url}")?;
        match (self.made_file.exists(), &self.made_up) {
            (true, Some(password)) => {
                writeln!(out, "  user                admin")?;
                writeln!(out, "  password            {password}   (shown this once)")?;
            }
            (true, None) => {
                writeln!(out, "  user                admin, with the password in MERIDIAN_ADMIN_PASSWORD")?
            }
            (false, _) => writeln!(out, "  user                admin, with the password of the first start")?,
        }
        if let Some(ca_file) = &self.ca_file {
            writeln!(out, "  certificate         browsers trust it once they know {}", ca_file.display())?;
        }
        writeln!(out, "  Ctrl-C stops Meridian; the workspaces go on.\n")?;
        // Said: neither is needed again.
        let _ = fs::remove_file(&self.made_file);
        let _ = fs::remove_file(&self.password_file);
        Ok(())
    }
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
