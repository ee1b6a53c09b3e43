//! Which API keys were used, gathered to be written down together: a call with a key costs no more round trips than one with a login.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::store::logins::TokenHash;

/// Keys remembered between two writings; what comes beyond it is not noted. Rubbish that looks like a key counts, too.
const MAX_REMEMBERED: usize = 10_000;

/// Uses that are not written down yet: the key's hash, and the address it was last used from.
#[derive(Debug, Default)]
pub struct KeyUses(Mutex<HashMap<[u8; 32], String>>);

impl KeyUses {
    pub fn note(&self, token: TokenHash, address: String) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < MAX_REMEMBERED || uses.contains_key(&token.0) {
            uses.insert(token.0, address);
        }
    }

    /// What was gathered, once.
    #[must_use]
    pub fn take(&self) -> HashMap<[u8; 32], String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_is_handed_out_once_with_its_last_address() {
        let uses = KeyUses::default();
        uses.note(TokenHash([1; 32]), "192.0.2.1".into());
        uses.note(TokenHash([1; 32]), "192.0.2.2".into());
        assert_eq!(uses.take(), HashMap::from([([1; 32], "192.0.2.2".to_owned())]));
        assert!(uses.take().is_empty());
    }

    #[test]
    fn rubbish_fills_no_memory() {
        let uses = KeyUses::default();
        for number in 0..20_000_u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            uses.note(TokenHash(hash), String::new());
        }
        assert_eq!(uses.take().len(), MAX_REMEMBERED);
    }
}
