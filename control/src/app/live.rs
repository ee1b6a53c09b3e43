//! Open streams of live updates, counted: each holds a connection and looks at the database whenever its session changes, so neither one
//! person's pages nor all together may have any number.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use meridian_ids::UserId;

/// One person's, in all their pages and programs on this node.
pub const MAX_OF_A_USER: usize = 20;
/// Everybody's on this node: half of the public listener's connections.
const MAX_AT_ALL: usize = 4096;

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    User,
    Node,
}

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LiveStreams {
    open: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// A stream's place; it is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    streams: LiveStreams,
    user: UserId,
}

impl LiveStreams {
    /// # Errors
    /// When there are as many as may be.
    pub fn take(&self, user: UserId) -> Result<Place, Full> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= MAX_AT_ALL {
            return Err(Full::Node);
        }
        let count = open.entry(user).or_default();
        if *count >= MAX_OF_A_USER {
            return Err(Full::User);
        }
        *count += 1;
        Ok(Place { streams: self.clone(), user })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_and_all_together_have_a_bound_and_places_come_back() {
        let streams = LiveStreams::default();
        let user = UserId::generate();
        let mut places: Vec<_> = (0..MAX_OF_A_USER).map(|_| streams.take(user).unwrap()).collect();
        assert_eq!(streams.take(user).unwrap_err(), Full::User);
        places.pop();
        places.push(streams.take(user).unwrap());
        while places.len() < MAX_AT_ALL {
            places.push(streams.take(UserId::generate()).unwrap());
        }
        assert_eq!(streams.take(UserId::generate()).unwrap_err(), Full::Node);
        drop(places);
        assert!(streams.lock().is_empty());
    }
}
