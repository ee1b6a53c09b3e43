//! Looks whether sessions may go on writing to their homes on shared storage: bounded in time, whatever the storage does.
//!
//! A storage that hangs, as a network file system does when its server is away, holds on to the thread that asked it. So each storage is asked
//! by one thread at a time, and as long as that one has no answer, none is the answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use meridian_ids::{HomeId, NodeId, SessionId};
use tokio::time::timeout;

use super::{Storage, Trouble};

/// How long a storage may take to say whose its homes are.
const LIMIT: Duration = Duration::from_secs(3);

/// A session and its home.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) session: SessionId,
    pub(crate) home: HomeId,
    pub(crate) storage: PathBuf,
    /// It may not write now.
    pub(crate) is_frozen: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Watch {
    asked: Mutex<BTreeMap<PathBuf, Arc<AtomicBool>>>,
}

impl Watch {
    /// What is in the way of each writer; none: nothing.
    pub(crate) async fn look(&self, agent: NodeId, writers: Vec<Writer>) -> Vec<(Writer, Option<Trouble>)> {
        let mut by_storage: BTreeMap<PathBuf, Vec<Writer>> = BTreeMap::new();
        for writer in writers {
            by_storage.entry(writer.storage.clone()).or_default().push(writer);
        }
        let mut seen = Vec::new();
        for (storage, writers) in by_storage {
            match self.ask(agent, storage, writers.clone()).await {
                Ok(answers) => seen.extend(writers.into_iter().zip(answers)),
                Err(reason) => {
                    let away = |writer| (writer, Some(Trouble::Away(reason.clone())));
                    seen.extend(writers.into_iter().map(away));
                }
            }
        }
        seen
    }

    async fn ask(
        &self,
        agent: NodeId,
        path: PathBuf,
        writers: Vec<Writer>,
    ) -> Result<Vec<Option<Trouble>>, String> {
        self.question(agent, path, move |storage| {
            writers.iter().map(|writer| storage.trouble(writer.home, writer.session)).collect()
        })
        .await
    }

    /// Whether a storage can be used; the error says why not.
    pub(crate) async fn probe(&self, agent: NodeId, path: &Path) -> Result<(), String> {
        let probed = self.question(agent, path.to_owned(), Storage::probe);
        probed.await?.map_err(|error| error.to_string())
    }

    async fn question<T: Send + 'static>(
        &self,
        agent: NodeId,
        path: PathBuf,
        ask: impl FnOnce(&Storage) -> T + Send + 'static,
    ) -> Result<T, String> {
        let Some(question) = self.begin(path.clone()) else {
            return Err("it has not answered for a while".into());
        };
        let work = tokio::task::spawn_blocking(move || {
            let answer = ask(&Storage::new(&path, agent));
            drop(question);
            answer
        });
        match timeout(LIMIT, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("the agent is stopping".into()),
            Err(_) => Err(format!("no answer within {} seconds", LIMIT.as_secs())),
        }
    }

    /// None while the last question has no answer yet.
    fn begin(&self, path: PathBuf) -> Option<Question> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let open = Arc::clone(asked.entry(path).or_default());
        (!open.swap(true, Ordering::AcqRel)).then_some(Question(open))
    }
}

/// A question that is open until it is dropped.
struct Question(Arc<AtomicBool>);

impl Drop for Question {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
