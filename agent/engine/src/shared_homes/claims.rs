//! The lock on a home that several agents reach, kept beside it on the storage.
//!
//! `{folder}/claim.{number}` says, once and for all, who took the home or gave it up at that number; the highest counts. A claim is finished
//! elsewhere and then linked to its name, at which one of many succeeds on any file system with hard links; nobody changes or renews
//! one, and no clock is asked. So of two agents that both believe a home is theirs one is refused, also while no control plane is
//! there to tell them.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use meridian_ids::{NodeId, SessionId};
use meridian_model::{HomeTurn, SharedHome};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "claim.";
/// How often a race for the next number is run again: who loses sees the winner's claim, which is mostly a reason to stop.
const TRIES: usize = 5;
/// Older claims are of no more use; some are kept for whoever looks after the storage.
const KEPT: u64 = 8;

/// Who had the home, or gave it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    #[serde(skip)]
    pub(crate) number: u64,
    pub(crate) turn: HomeTurn,
    pub(crate) agent: NodeId,
    pub(crate) session: SessionId,
    /// False: given up.
    pub(crate) held: bool,
    /// The file that is the home.
    pub(crate) image: String,
    /// What that file is a copy of, where it was taken from a writer that may still be writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) copy_of: Option<String>,
}

/// Who wants the home.
#[derive(Clone, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) agent: NodeId,
    pub(crate) session: SessionId,
    pub(crate) shared: &'a SharedHome,
}

/// Why it is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody has it, who did not give it up and from whom nobody took it.
    Held { by: NodeId },
    /// A later writer has, or had, it.
    Overtaken,
    /// There was a home, and it is not there.
    Missing,
}

/// The claims to one home.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    folder: PathBuf,
}

impl Claims {
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The claim that counts; none where nobody ever had the home.
    ///
    /// # Errors
    /// When the storage does not answer, or the claim cannot be read: then nothing is known.
    pub(crate) fn latest(&self) -> io::Result<Option<Claim>> {
        let Some(number) = self.numbers()?.into_iter().max() else { return Ok(None) };
        let text = fs::read(self.folder.join(format!("{PREFIX}{number}")))?;
        let claim: Claim = serde_json::from_slice(&text)?;
        Ok(Some(Claim { number, ..claim }))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// Takes the home, or says why not. Taken again by the same session, it is as it was.
    ///
    /// # Errors
    /// When the storage does not answer.
    pub(crate) fn take(&self, wish: &Wish<'_>) -> io::Result<Result<Claim, Refusal>> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        for _ in 0..TRIES {
            let last = self.latest()?;
            let next = match self.next(last.as_ref(), wish) {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(next) => next,
            };
            if last.as_ref() == Some(&next) {
                return Ok(Ok(next));
            }
            // Only the highest counts: were claims tidied away meanwhile, an old number may have become free again.
            if self.link(&next)? && self.latest()?.as_ref() == Some(&next) {
                self.tidy(next.number)?;
                return Ok(Ok(next));
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "others claim the home all the time"))
    }

    /// What would follow the last claim.
    fn next(&self, last: Option<&Claim>, wish: &Wish<'_>) -> Result<Claim, Refusal> {
        let Wish { agent, session, shared } = *wish;
        let claim = |number: u64, image: String, copy_of: Option<String>| Claim {
            number,
            turn: shared.turn,
            agent,
            session,
            held: true,
            image,
            copy_of,
        };
        let Some(last) = last else {
            return if shared.turn.generation == 1 {
                Ok(claim(1, "1.img".into(), None))
            } else {
                Err(Refusal::Missing)
            };
        };
        let is_own = last.agent == agent && last.session == session && last.turn == shared.turn;
        if is_own && last.held {
            return Ok(last.clone());
        }
        let number = last.number + 1;
        if !is_own && shared.turn <= last.turn {
            return Err(Refusal::Overtaken);
        }
        if !last.held {
            return Ok(claim(number, last.image.clone(), last.copy_of.clone()));
        }
        if shared.forced.is_some_and(|forced| last.turn <= forced) {
            // Whoever had it may be writing yet: what they write goes on into their file, and this writer has one of its own.
            let there = self.folder.join(&last.image).exists();
            let source = if there { Some(last.image.clone()) } else { last.copy_of.clone() };
            return Ok(claim(number, format!("{number}.img"), source));
        }
        Err(Refusal::Held { by: last.agent })
    }

    /// Gives the home up, if it is this session's still.
    ///
    /// # Errors
    /// When the storage does not answer: it is held on.
    pub(crate) fn give_up(&self, agent: NodeId, session: SessionId) -> io::Result<()> {
        let Some(last) = self.latest()? else { return Ok(()) };
        if !last.held || last.agent != agent || last.session != session {
            return Ok(());
        }
        // Whoever was faster took it from this session.
        self.link(&Claim { number: last.number + 1, held: false, ..last })?;
        Ok(())
    }

    /// Whether a claim became the one of its number.
    fn link(&self, claim: &Claim) -> io::Result<bool> {
        let finished = self.folder.join(format!(".{}.{}", claim.agent, claim.session));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&finished)?;
        file.write_all(&serde_json::to_vec(claim)?)?;
        file.sync_all()?;
        let linked = fs::hard_link(&finished, self.folder.join(format!("{PREFIX}{}", claim.number)));
        fs::remove_file(&finished)?;
        match linked {
            Ok(()) => {
                fs::File::open(&self.folder)?.sync_all()?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes all claims, the one that counts last: a crash in between changes nothing about whose the home is.
    ///
    /// # Errors
    /// When the storage does not answer.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let mut numbers = self.numbers()?;
        numbers.sort_unstable();
        for number in numbers {
            remove(&self.folder.join(format!("{PREFIX}{number}")))?;
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn tidy(&self, latest: u64) -> io::Result<()> {
        for number in self.numbers()?.into_iter().filter(|number| number + KEPT < latest) {
            remove(&self.folder.join(format!("{PREFIX}{number}")))?;
        }
        Ok(())
    }
}

/// Removes a file; none is a success.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn shared(generation: i64, forced: Option<i64>) -> SharedHome {
        let turn = |generation| HomeTurn { epoch: 1, generation };
        SharedHome { storage: String::new(), turn: turn(generation), forced: forced.map(turn) }
    }

    fn take(
        claims: &Claims,
        agent: NodeId,
        session: SessionId,
        shared: &SharedHome,
    ) -> Result<Claim, Refusal> {
        claims.take(&Wish { agent, session, shared }).unwrap()
    }

    #[test]
    fn of_many_that_believe_it_is_theirs_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::of(folder.path().join("home"));
        for generation in 1..20 {
            let (turn, start) = (shared(generation, None), Barrier::new(8));
            let won = std::thread::scope(|scope| {
                let race = || {
                    let wish = (NodeId::generate(), SessionId::generate());
                    start.wait();
                    take(&claims, wish.0, wish.1, &turn).ok().map(|_| wish)
                };
                let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(won.len(), 1, "turn {generation}: {won:?}");
            assert_eq!(claims.latest().unwrap().unwrap().agent, won[0].0);
            claims.give_up(won[0].0, won[0].1).unwrap();
        }
    }

    #[test]
    fn it_is_taken_when_given_up_or_by_force_and_never_by_an_older_turn() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::of(folder.path().join("home"));
        let (one, two) = (NodeId::generate(), NodeId::generate());
        let (first, second, third) = (SessionId::generate(), SessionId::generate(), SessionId::generate());
        let taken = take(&claims, one, first, &shared(1, None)).unwrap();
        assert_eq!(take(&claims, one, first, &shared(1, None)), Ok(taken.clone()), "again");
        assert_eq!(take(&claims, two, second, &shared(2, None)), Err(Refusal::Held { by: one }));
        // What an administrator took from an earlier writer is not taken from this one.
        assert_eq!(take(&claims, two, second, &shared(2, Some(0))), Err(Refusal::Held { by: one }));
        claims.give_up(two, second).unwrap();
        assert!(claims.latest().unwrap().unwrap().held, "only its holder gives it up");
        claims.give_up(one, first).unwrap();
        let next = take(&claims, two, second, &shared(2, None)).unwrap();
        assert_eq!((&next.image, next.copy_of.clone()), (&taken.image, None), "the same home");
        assert_eq!(take(&claims, one, first, &shared(1, None)), Err(Refusal::Overtaken));

        fs::write(claims.folder().join(&next.image), "what was written").unwrap();
        let forced = take(&claims, one, third, &shared(4, Some(2))).unwrap();
        assert_ne!(forced.image, next.image, "two writers never have one file");
        assert_eq!(forced.copy_of, Some(next.image));
        claims.give_up(two, second).unwrap();
        assert_eq!(claims.latest().unwrap(), Some(forced), "who was overtaken gives nothing up");
    }

    #[test]
    fn a_home_that_was_and_is_not_there_is_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::of(folder.path().join("home"));
        let (agent, session) = (NodeId::generate(), SessionId::generate());
        assert_eq!(take(&claims, agent, session, &shared(2, None)), Err(Refusal::Missing));
    }

    #[test]
    fn claims_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::of(folder.path().join("home"));
        let agent = NodeId::generate();
        for generation in 1..40 {
            let session = SessionId::generate();
            take(&claims, agent, session, &shared(generation, None)).unwrap();
            claims.give_up(agent, session).unwrap();
        }
        assert!(claims.numbers().unwrap().len() < 20, "{:?}", claims.numbers());
    }
}
