//! The workspace's clipboard (the X selection CLIPBOARD): tells the hub what programs copy, and offers to programs
//! what the agent sets. RFC 6143 cut text is off on both ends; this is the only way a text goes in or out.
//!
//! It follows the ICCCM, sections 2.1 to 2.7. Reading is driven by events throughout, so an owner that never answers
//! holds up nothing: the next change of owner supersedes it.

use std::sync::{Arc, Mutex, PoisonError};

use x11rb::COPY_DEPTH_FROM_PARENT;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xfixes::{
    ConnectionExt as _, SelectionEvent, SelectionEventMask, SelectionNotifyEvent as OwnerChange,
};
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, Property, PropertyNotifyEvent,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Timestamp, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::agent_socket::Hub;
use crate::report;
use crate::wire::TEXT_LIMIT;
use crate::x11::{Atoms, X11Error};

/// Long enough for any text within the limit in one piece, in the 32-bit units that GetProperty counts in.
const PROPERTY_LIMIT: u32 = (TEXT_LIMIT as u32 / 4) + 1;

/// Where the agent's texts wait for the thread that serves the X connection.
pub(crate) struct Offers {
    hub: Arc<Hub>,
    state: Mutex<OfferState>,
}

#[derive(Default)]
struct OfferState {
    next: Option<String>,
    waker: Option<Waker>,
}

/// The X connection has no queue of ours to wait on beside it, so its thread is woken by an event of its own.
struct Waker {
    connection: Arc<RustConnection>,
    window: Window,
    property: Atom,
}

impl Offers {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, state: Mutex::default() }
    }

    /// Puts `text` on the clipboard, now or as soon as the X server is there. The last one wins.
    pub(crate) fn set(&self, text: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = Some(text);
        if let Some(waker) = &state.waker {
            waker.wake();
        }
    }

    pub(crate) fn connect(&self, connection: &Arc<RustConnection>, window: Window, property: Atom) {
        let waker = Waker { connection: Arc::clone(connection), window, property };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next.is_some() {
            waker.wake();
        }
        state.waker = Some(waker);
    }

    fn take(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).next.take()
    }
}

impl Waker {
    /// Appends nothing to a property. The event says so with the server's time, which owning a selection needs.
    fn wake(&self) {
        let (window, property) = (self.window, self.property);
        let woken =
            self.connection.change_property8(PropMode::APPEND, window, property, AtomEnum::STRING, &[]);
        if woken.is_ok() {
            // An error here means that the connection has ended, which its thread learns by itself.
            let _ = self.connection.flush();
        }
    }
}

pub(crate) struct Clipboard<'c> {
    connection: &'c RustConnection,
    atoms: Atoms,
    offers: &'c Offers,
    window: Window,
    /// What we offer while we own the clipboard, since when; empty when a program has copied something else.
    offered: Arc<str>,
    offered_at: Timestamp,
    /// The last text a program copied, kept for when that program ends.
    copied: Arc<str>,
    reading: Option<Reading>,
    /// Counts conversions, each of which uses the next of a few properties, so that the rest of a superseded one
    /// is not taken for part of its successor.
    turn: usize,
}

struct Reading {
    property: Atom,
    target: Atom,
    at: Timestamp,
    state: ReadState,
}

enum ReadState {
    Asked,
    /// In pieces. Nothing is kept of a text that has grown too long, but its owner is heard out.
    Incremental(Option<Vec<u8>>),
}

impl<'c> Clipboard<'c> {
    pub(crate) fn new(
        connection: &'c RustConnection,
        atoms: Atoms,
        root: Window,
        offers: &'c Offers,
    ) -> Result<Self, X11Error> {
        let window = connection.generate_id()?;
        connection.create_window(
            COPY_DEPTH_FROM_PARENT,
            window,
            root,
            -1,
            -1,
            1,
            1,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE).override_redirect(1),
        )?;
        let changes = SelectionEventMask::SET_SELECTION_OWNER
            | SelectionEventMask::SELECTION_WINDOW_DESTROY
            | SelectionEventMask::SELECTION_CLIENT_CLOSE;
        connection.xfixes_select_selection_input(window, atoms.CLIPBOARD, changes)?;
        Ok(Self {
            connection,
            atoms,
            offers,
            window,
            offered: "".into(),
            offered_at: x11rb::CURRENT_TIME,
            copied: "".into(),
            reading: None,
            turn: 0,
        })
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn handle(&mut self, event: &Event) -> Result<(), X11Error> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the protocol has a hundred events, and these concern us"
        )]
        match event {
            Event::XfixesSelectionNotify(change) => self.owner_changed(change),
            Event::SelectionNotify(notice) => self.converted(notice),
            Event::PropertyNotify(notice) if notice.window == self.window => self.property_changed(notice),
            Event::SelectionRequest(request) => self.answer(request),
            _ => Ok(()),
        }
    }

    fn owner_changed(&mut self, change: &OwnerChange) -> Result<(), X11Error> {
        self.reading = None;
        if change.owner == self.window || change.selection != self.atoms.CLIPBOARD {
            return Ok(());
        }
        if change.owner != x11rb::NONE {
            return self.ask(self.atoms.UTF8_STRING, change.timestamp);
        }
        // Who closes a program after copying from it still means to paste; who clears the clipboard does not.
        if change.subtype != SelectionEvent::SET_SELECTION_OWNER && !self.copied.is_empty() {
            let copied = Arc::clone(&self.copied);
            return self.own(copied, change.timestamp, &[self.atoms.CLIPBOARD]);
        }
        Ok(())
    }

    // Reading what a program copied.

    fn ask(&mut self, target: Atom, at: Timestamp) -> Result<(), X11Error> {
        let atoms = &self.atoms;
        let properties =
            [atoms.MERIDIAN_TEXT_0, atoms.MERIDIAN_TEXT_1, atoms.MERIDIAN_TEXT_2, atoms.MERIDIAN_TEXT_3];
        self.turn += 1;
        let property = properties[self.turn % properties.len()];
        self.connection.delete_property(self.window, property)?;
        self.connection.convert_selection(self.window, atoms.CLIPBOARD, target, property, at)?;
        self.reading = Some(Reading { property, target, at, state: ReadState::Asked });
        Ok(())
    }

    fn converted(&mut self, notice: &SelectionNotifyEvent) -> Result<(), X11Error> {
        let Some(reading) = &self.reading else {
            return Ok(());
        };
        let (property, target, at) = (reading.property, reading.target, reading.at);
        if notice.target != target || notice.time != at || !matches!(reading.state, ReadState::Asked) {
            return Ok(());
        }
        if notice.property == x11rb::NONE {
            self.reading = None;
            // Programs of the last century know only this one; what has neither is not text.
            return if target == self.atoms.UTF8_STRING {
                self.ask(AtomEnum::STRING.into(), at)
            } else {
                Ok(())
            };
        }
        if notice.property != property {
            return Ok(());
        }
        match self.take_property(property)? {
            Some(value) if value.kind == self.atoms.INCR => {
                self.reading =
                    Some(Reading { property, target, at, state: ReadState::Incremental(Some(Vec::new())) });
            }
            Some(value) => self.finish(target, value.complete()),
            None => self.reading = None,
        }
        Ok(())
    }

    fn property_changed(&mut self, notice: &PropertyNotifyEvent) -> Result<(), X11Error> {
        if notice.atom == self.atoms.MERIDIAN_OFFER {
            return self.offer_next(notice.time);
        }
        let Some(reading) = &mut self.reading else {
            return Ok(());
        };
        let ReadState::Incremental(collected) = &mut reading.state else {
            return Ok(());
        };
        if notice.atom != reading.property || notice.state != Property::NEW_VALUE {
            return Ok(());
        }
        let mut collected = collected.take();
        let (property, target, at) = (reading.property, reading.target, reading.at);
        let Some(value) = self.take_property(property)? else {
            self.reading = None;
            return Ok(());
        };
        if value.bytes.is_empty() && value.left == 0 {
            self.finish(target, collected);
            return Ok(());
        }
        collected = collected.zip(value.complete()).and_then(|(mut collected, piece)| {
            collected.extend(piece);
            (collected.len() <= TEXT_LIMIT).then_some(collected)
        });
        self.reading = Some(Reading { property, target, at, state: ReadState::Incremental(collected) });
        Ok(())
    }

    /// The property's value; deleting it asks the owner for the next piece.
    fn take_property(&self, property: Atom) -> Result<Option<Value>, X11Error> {
        let asked = self
            .connection
            .get_property(false, self.window, property, AtomEnum::ANY, 0, PROPERTY_LIMIT)?
            .reply();
        let value = match asked {
            Ok(reply) => Value { kind: reply.type_, bytes: reply.value, left: reply.bytes_after },
            Err(ReplyError::X11Error(_)) => return Ok(None),
            Err(error @ ReplyError::ConnectionError(_)) => return Err(error.into()),
        };
        self.connection.delete_property(self.window, property)?;
        Ok(Some(value))
    }

    fn finish(&mut self, target: Atom, bytes: Option<Vec<u8>>) {
        self.reading = None;
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= TEXT_LIMIT) else {
            report(&"a copied text is longer than the clipboard carries and is dropped");
            return;
        };
        let text = if target == self.atoms.UTF8_STRING {
            String::from_utf8(bytes).ok()
        } else {
            Some(from_latin1(&bytes))
        };
        match text.filter(|text| !text.is_empty() && text.len() <= TEXT_LIMIT) {
            // A clipboard manager takes over what the agent set; the agent knows that text.
            Some(text) if *text == *self.offered => self.copied = text.into(),
            Some(text) => {
                self.offered = "".into();
                self.copied = text.into();
                self.offers.hub.send_text(&self.copied);
            }
            None => {}
        }
    }

    // Offering what the agent set.

    fn offer_next(&mut self, now: Timestamp) -> Result<(), X11Error> {
        match self.offers.take() {
            Some(text) => self.own(text.into(), now, &[self.atoms.CLIPBOARD, AtomEnum::PRIMARY.into()]),
            None => Ok(()),
        }
    }

    fn own(&mut self, text: Arc<str>, now: Timestamp, selections: &[Atom]) -> Result<(), X11Error> {
        self.offered = text;
        self.offered_at = now;
        for selection in selections {
            self.connection.set_selection_owner(self.window, *selection, now)?;
        }
        Ok(())
    }

    fn answer(&self, request: &SelectionRequestEvent) -> Result<(), X11Error> {
        // Clients from before the ICCCM leave the property to us.
        let property = if request.property == x11rb::NONE { request.target } else { request.property };
        let property = if self.convert(request, property)? { property } else { x11rb::NONE };
        let notice = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property,
        };
        self.connection.send_event(false, request.requestor, EventMask::NO_EVENT, notice)?;
        Ok(())
    }

    fn convert(&self, request: &SelectionRequestEvent, property: Atom) -> Result<bool, X11Error> {
        let (atoms, target, requestor) = (&self.atoms, request.target, request.requestor);
        let latin1 = Atom::from(AtomEnum::STRING);
        if target == atoms.TARGETS {
            let mut targets = vec![atoms.TARGETS, atoms.TIMESTAMP, atoms.UTF8_STRING, atoms.TEXT_PLAIN_UTF8];
            targets.extend([atoms.TEXT_PLAIN, atoms.TEXT, latin1]);
            self.connection.change_property32(
                PropMode::REPLACE,
                requestor,
                property,
                AtomEnum::ATOM,
                &targets,
            )?;
        } else if target == atoms.TIMESTAMP {
            let at = [self.offered_at];
            self.connection.change_property32(
                PropMode::REPLACE,
                requestor,
                property,
                AtomEnum::INTEGER,
                &at,
            )?;
        } else if target == latin1 {
            return self.hand_over(requestor, property, latin1, &to_latin1(&self.offered));
        } else if target == atoms.TEXT {
            return self.hand_over(requestor, property, atoms.UTF8_STRING, self.offered.as_bytes());
        } else if [atoms.UTF8_STRING, atoms.TEXT_PLAIN_UTF8, atoms.TEXT_PLAIN].contains(&target) {
            return self.hand_over(requestor, property, target, self.offered.as_bytes());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// In one piece: the server takes requests of some megabytes, far above the longest text. One that does not is
    /// told that there is no such conversion.
    fn hand_over(
        &self,
        requestor: Window,
        property: Atom,
        kind: Atom,
        bytes: &[u8],
    ) -> Result<bool, X11Error> {
        const REQUEST_OVERHEAD: usize = 64;
        if bytes.len() + REQUEST_OVERHEAD > self.connection.maximum_request_bytes() {
            return Ok(false);
        }
        self.connection.change_property8(PropMode::REPLACE, requestor, property, kind, bytes)?;
        Ok(true)
    }
}

struct Value {
    kind: Atom,
    bytes: Vec<u8>,
    /// Bytes beyond what was asked for.
    left: u32,
}

impl Value {
    fn complete(self) -> Option<Vec<u8>> {
        (self.left == 0).then_some(self.bytes)
    }
}

/// STRING is ISO 8859-1, whose characters are the first 256 of Unicode.
fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn to_latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_keeps_what_it_can() {
        assert_eq!(to_latin1("Zoë €"), b"Zo\xeb ?");
        assert_eq!(from_latin1(b"Zo\xeb"), "Zoë");
    }
}
