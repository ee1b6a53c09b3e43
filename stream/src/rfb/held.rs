//! Which keys and buttons a viewer holds, so that they can be released when it is gone.

use std::collections::BTreeMap;

/// Nobody has more fingers than this.
const MAX_HELD: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Held {
    /// By keysym; the hardware code where the key came as an extended event.
    keys: BTreeMap<u32, Option<u32>>,
    buttons: u8,
    x: [u8; 2],
    y: [u8; 2],
}

impl Held {
    /// Takes a key event; false when more keys are held than can be.
    pub(super) fn key(&mut self, keysym: u32, code: Option<u32>, down: bool) -> bool {
        if !down {
            self.keys.remove(&keysym);
        } else if self.keys.len() < MAX_HELD || self.keys.contains_key(&keysym) {
            self.keys.insert(keysym, code);
        } else {
            return false;
        }
        true
    }

    pub(super) fn pointer(&mut self, buttons: u8, x: [u8; 2], y: [u8; 2]) {
        (self.buttons, self.x, self.y) = (buttons, x, y);
    }

    /// The messages that let go of everything; nothing is held afterwards.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for (keysym, code) in std::mem::take(&mut self.keys) {
            match code {
                Some(code) => {
                    out.extend([255, 0, 0, 0]);
                    out.extend(keysym.to_be_bytes());
                    out.extend(code.to_be_bytes());
                }
                None => {
                    out.extend([4, 0, 0, 0]);
                    out.extend(keysym.to_be_bytes());
                }
            }
        }
        if std::mem::take(&mut self.buttons) != 0 {
            out.extend([5, 0, self.x[0], self.x[1], self.y[0], self.y[1]]);
        }
        out
    }
}
