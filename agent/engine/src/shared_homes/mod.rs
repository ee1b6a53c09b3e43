//! Homes on storage that several agents share: where each lies, whose it is, and whether it is still this agent's.
//!
//! `{storage}/{home}/` has the claims to a home ([`claims`]) and the file that is the home. A folder that has nothing mounted on it looks like a
//! storage that is empty; so the storage must have a file called [`MARK`], which whoever sets it up puts there once, and everything here
//! looks for it first. Everything here waits for the storage.

pub(crate) mod claims;
pub(crate) mod watch;

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use meridian_ids::{HomeId, NodeId, SessionId};
use meridian_model::SharedHome;

use claims::{Claim, Claims, Refusal, Wish, remove};

/// Only what has it is the storage.
pub const MARK: &str = "meridian-home-storage";

/// Why a session of this agent's may not write to its home now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The storage does not answer, or is not mounted: nobody knows whose the home is.
    Away(String),
    /// Another writer has it.
    Overtaken { by: NodeId },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(reason) => write!(f, "the storage of its home does not answer: {reason}"),
            Self::Overtaken { by } => write!(f, "its home was taken over by agent {by}"),
        }
    }
}

/// One storage, as one agent uses it.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    path: PathBuf,
    agent: NodeId,
}

impl Storage {
    pub(crate) fn new(path: &Path, agent: NodeId) -> Self {
        Self { path: path.to_owned(), agent }
    }

    /// Whether it is there, and takes what is written.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn probe(&self) -> io::Result<()> {
        self.check()?;
        let probe = self.path.join(format!(".probe-{}", self.agent));
        fs::write(&probe, b"written to see whether it can be")?;
        fs::remove_file(probe)
    }

    /// Whether it is there; the device that it is.
    fn check(&self) -> io::Result<u64> {
        let mark = self.path.join(MARK);
        fs::metadata(&mark).map(|found| found.dev()).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                let missing = format!(
                    "{} is missing: nothing is mounted there, or it was never set up",
                    mark.display()
                );
                io::Error::new(io::ErrorKind::NotFound, missing)
            } else {
                error
            }
        })
    }

    fn claims(&self, home: HomeId) -> Claims {
        Claims::of(self.path.join(home.to_string()))
    }

    /// Takes a home for a session: the claim, and the path of its file, which is there or is to be made by its holder.
    ///
    /// # Errors
    /// When the storage does not answer.
    pub(crate) fn take(
        &self,
        home: HomeId,
        session: SessionId,
        shared: &SharedHome,
    ) -> io::Result<Result<(Claim, PathBuf), Refusal>> {
        let device = self.check()?;
        let claims = self.claims(home);
        let taken = claims.take(&Wish { agent: self.agent, session, shared })?;
        if fs::metadata(claims.folder())?.dev() != device {
            // Unmounted in between: what was written went beside the storage.
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was unmounted just now"));
        }
        Ok(taken.map(|claim| {
            let path = claims.folder().join(&claim.image);
            (claim, path)
        }))
    }

    /// The file that a claim's own is to be copied from; none where it is to be made anew.
    pub(crate) fn source(&self, home: HomeId, claim: &Claim) -> Option<PathBuf> {
        claim.copy_of.as_ref().map(|name| self.claims(home).folder().join(name))
    }

    /// Gives a home up after its session, and removes the files of writers before it.
    ///
    /// # Errors
    /// When the storage does not answer: the home is held on.
    pub(crate) fn give_up(&self, home: HomeId, session: SessionId) -> io::Result<()> {
        self.check()?;
        let claims = self.claims(home);
        if let Some(last) = claims.latest()?.filter(|last| self.is_ours(last, session)) {
            let made = claims.folder().join(&last.image).try_exists()?;
            for file in images(claims.folder())?.into_iter().filter(|file| made && *file != last.image) {
                remove(&claims.folder().join(file))?;
            }
        }
        claims.give_up(self.agent, session)
    }

    fn is_ours(&self, claim: &Claim, session: SessionId) -> bool {
        claim.held && claim.agent == self.agent && claim.session == session
    }

    /// Whether a session may go on writing to its home.
    pub(crate) fn trouble(&self, home: HomeId, session: SessionId) -> Option<Trouble> {
        match self.check().and_then(|_| self.claims(home).latest()) {
            Err(error) => Some(Trouble::Away(error.to_string())),
            Ok(Some(last)) if self.is_ours(&last, session) => None,
            Ok(Some(last)) => Some(Trouble::Overtaken { by: last.agent }),
            Ok(None) => Some(Trouble::Away("the home is not on it any more".into())),
        }
    }

    /// Removes a home for good. Several agents may be at it.
    ///
    /// # Errors
    /// When the storage does not answer.
    pub(crate) fn remove(&self, home: HomeId, shared: &SharedHome) -> io::Result<Result<(), Refusal>> {
        self.check()?;
        let claims = self.claims(home);
        let Some(last) = claims.latest()? else { return clear(&claims).map(Ok) };
        // Whoever removes a home claims it under the home's own id.
        let remover = SessionId(home.0);
        if last.session != remover {
            match claims.take(&Wish { agent: self.agent, session: remover, shared })? {
                Ok(_) => {}
                Err(refusal @ (Refusal::Held { .. } | Refusal::Overtaken)) => return Ok(Err(refusal)),
                // Another agent was faster.
                Err(Refusal::Missing) => {}
            }
        }
        clear(&claims).map(Ok)
    }
}

/// What was written goes before the claim that says that it is being removed.
fn clear(claims: &Claims) -> io::Result<()> {
    for file in images(claims.folder())? {
        remove(&claims.folder().join(file))?;
    }
    claims.clear()
}

/// The files in a home's folder that are, or were, the home.
fn images(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if [".img", ".new"].iter().any(|end| name.ends_with(end)) {
            found.push(name);
        }
    }
    Ok(found)
}
