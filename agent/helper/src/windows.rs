//! What is on the screen: whether the windows that make this workspace what it is are there for a person to use.
//!
//! A window is there when it is mapped and a window manager has taken it in hand (it is in _NET_CLIENT_LIST of the
//! Extended Window Manager Hints): before that it has neither its place nor its frame. Where keys must go to a
//! window, it must also have become the active one, or what a person typed first would be lost. A manager that is
//! still starting moves the keyboard about, so it is first asked a question that it answers once it has started.

use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConnectionExt, EventMask,
    GetPropertyReply, MapState, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::x11::{Atoms, X11Error};

/// Smaller than this is a tooltip or a window manager's own, not something that a person came for.
const LEAST_WIDTH: u16 = 200;
const LEAST_HEIGHT: u16 = 100;

/// Bounds one look at a screen that a program has filled with windows.
const EXAMINED_LIMIT: usize = 512;

/// Longest window class that is read, in 32-bit units.
const CLASS_LIMIT: u32 = 64;

/// What must be on the screen before the workspace is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Classes of which there must be a window; any window of some size will do when there are none.
    pub(crate) windows: Vec<String>,
    /// The class of the window that must have the keyboard at first.
    pub(crate) focus: Option<String>,
}

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: u16,
    pub(crate) y: u16,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// What a look at the screen found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// What a person would still wait for.
    Missing(String),
    /// Everything is there, and this is where.
    Complete(Vec<Area>),
}

pub(crate) struct Windows<'c> {
    connection: &'c RustConnection,
    atoms: Atoms,
    root: Window,
    expected: &'c Expected,
    /// A window of the helper's own, about which the manager is asked.
    probe: Window,
    manager: Manager,
    /// Whether the keyboard has been where it must be; where it goes later is up to the person.
    focused: bool,
    changed: bool,
}

/// Whether the window manager has started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manager {
    Unknown,
    Asked,
    Started,
}

impl<'c> Windows<'c> {
    /// Of `probe`, a window of ours, this must hear of property changes.
    pub(crate) fn new(
        connection: &'c RustConnection,
        atoms: Atoms,
        root: Window,
        probe: Window,
        expected: &'c Expected,
    ) -> Result<Self, X11Error> {
        let focused = expected.focus.is_none();
        let manager = Manager::Unknown;
        let windows = Self { connection, atoms, root, expected, probe, manager, focused, changed: false };
        windows.select(root, EventMask::SUBSTRUCTURE_NOTIFY | EventMask::PROPERTY_CHANGE)?;
        Ok(windows)
    }

    pub(crate) fn handle(&mut self, event: &Event) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the protocol has a hundred events, and these concern us"
        )]
        let concerns_us = match event {
            Event::MapNotify(_) | Event::UnmapNotify(_) | Event::DestroyNotify(_) => true,
            Event::PropertyNotify(notice) if notice.window == self.root => {
                notice.atom == self.atoms._NET_CLIENT_LIST
                    || (notice.atom == self.atoms._NET_ACTIVE_WINDOW && self.expected.focus.is_some())
            }
            Event::PropertyNotify(notice) => {
                let answered = notice.window == self.probe && notice.atom == self.atoms._NET_FRAME_EXTENTS;
                if answered {
                    self.manager = Manager::Started;
                }
                answered
            }
            _ => false,
        };
        self.changed |= concerns_us;
    }

    /// Whether anything came or went since the last look.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn look(&mut self) -> Result<Sight, X11Error> {
        self.changed = false;
        if self.expected.windows.is_empty() {
            let areas = self.large_areas()?;
            return Ok(if areas.is_empty() {
                Sight::Missing("no window is on the screen yet".into())
            } else {
                Sight::Complete(areas)
            });
        }
        let managed = self.managed()?;
        let mut areas = Vec::new();
        for class in &self.expected.windows {
            match self.visible_area(managed.iter().filter(|window| window.class == *class))? {
                Some(area) => areas.push(area),
                None => return Ok(Sight::Missing(format!("no window of {class} is on the screen yet"))),
            }
        }
        if self.has_keyboard(&managed)? {
            Ok(Sight::Complete(areas))
        } else {
            Ok(Sight::Missing("the keyboard is not yet where it belongs".into()))
        }
    }

    /// Whether what a person types arrives, or has arrived before; sees to it where it does not.
    fn has_keyboard(&mut self, managed: &[Managed]) -> Result<bool, X11Error> {
        let Some(wanted) = &self.expected.focus else {
            return Ok(true);
        };
        if self.manager != Manager::Started {
            if self.manager == Manager::Unknown && !managed.is_empty() {
                self.send_to_manager(self.probe, self.atoms._NET_REQUEST_FRAME_EXTENTS, [0; 5])?;
                self.manager = Manager::Asked;
            }
            return Ok(false);
        }
        let active =
            self.root_windows(self.atoms._NET_ACTIVE_WINDOW)?.first().copied().unwrap_or(x11rb::NONE);
        self.focused |= managed.iter().any(|window| window.window == active && window.class == *wanted);
        // A window that was there before the manager may be left without the keyboard. With more than one, whose it
        // is when it is nobody's is about to be decided.
        if let Some(window) = managed.iter().find(|window| window.class == *wanted)
            && (!self.focused || (active == x11rb::NONE && managed.len() == 1))
        {
            const ON_BEHALF_OF_A_PERSON: u32 = 2;
            let data = [ON_BEHALF_OF_A_PERSON, x11rb::CURRENT_TIME, 0, 0, 0];
            self.send_to_manager(window.window, self.atoms._NET_ACTIVE_WINDOW, data)?;
        }
        Ok(self.focused)
    }

    fn send_to_manager(&self, about: Window, request: Atom, data: [u32; 5]) -> Result<(), X11Error> {
        let message = ClientMessageEvent::new(32, about, request, data);
        let to_the_manager = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_REDIRECT;
        self.connection.send_event(false, self.root, to_the_manager, message)?;
        Ok(())
    }

    /// The windows that the window manager has taken in hand; none while there is no window manager.
    fn managed(&self) -> Result<Vec<Managed>, X11Error> {
        let windows = self.root_windows(self.atoms._NET_CLIENT_LIST)?;
        let mut managed = Vec::new();
        for window in windows.into_iter().take(EXAMINED_LIMIT) {
            if let Some(class) = self.class(window)? {
                managed.push(Managed { window, class });
            }
        }
        Ok(managed)
    }

    /// Where the first of these is that can be seen.
    fn visible_area<'m>(&self, windows: impl Iterator<Item = &'m Managed>) -> Result<Option<Area>, X11Error> {
        for Managed { window, .. } in windows {
            // A frame is mapped before what is in it, and the root window reports frames only.
            self.select(*window, EventMask::STRUCTURE_NOTIFY)?;
            if let Some(area) = self.area(*window)? {
                self.select(*window, EventMask::NO_EVENT)?;
                return Ok(Some(area));
            }
        }
        Ok(None)
    }

    fn large_areas(&self) -> Result<Vec<Area>, X11Error> {
        let tree = self.connection.query_tree(self.root)?.reply()?;
        let mut areas = Vec::new();
        // The topmost come last, and they are the likelier ones.
        for window in tree.children.into_iter().rev().take(EXAMINED_LIMIT) {
            areas.extend(self.area(window)?);
        }
        areas.retain(|area| area.width >= LEAST_WIDTH && area.height >= LEAST_HEIGHT);
        Ok(areas)
    }

    /// The part of the screen that a window takes; none while it cannot be seen.
    fn area(&self, window: Window) -> Result<Option<Area>, X11Error> {
        // All are asked for before the first answer is awaited: one trip to the server, not three.
        let attributes = self.connection.get_window_attributes(window)?;
        let geometry = self.connection.get_geometry(window)?;
        let place = self.connection.translate_coordinates(window, self.root, 0, 0)?;
        let (attributes, geometry) = (present(attributes.reply())?, present(geometry.reply())?);
        let (Some(attributes), Some(geometry), Some(place)) = (attributes, geometry, present(place.reply())?)
        else {
            return Ok(None);
        };
        let visible =
            attributes.map_state == MapState::VIEWABLE && attributes.class == WindowClass::INPUT_OUTPUT;
        Ok(visible.then(|| Area::at(place.dst_x, place.dst_y, geometry.width, geometry.height)))
    }

    fn root_windows(&self, property: Atom) -> Result<Vec<Window>, X11Error> {
        let windows = self.property(self.root, property, AtomEnum::WINDOW, EXAMINED_LIMIT as u32)?;
        Ok(windows.as_ref().and_then(GetPropertyReply::value32).map(Iterator::collect).unwrap_or_default())
    }

    /// The second of the two names in WM_CLASS, which programs keep stable.
    fn class(&self, window: Window) -> Result<Option<String>, X11Error> {
        let property = self.property(window, AtomEnum::WM_CLASS, AtomEnum::STRING, CLASS_LIMIT)?;
        let names = property.map(|property| property.value).unwrap_or_default();
        let class = names.split(|byte| *byte == 0).nth(1);
        Ok(class.map(|class| String::from_utf8_lossy(class).into_owned()))
    }

    fn property(
        &self,
        window: Window,
        name: impl Into<Atom>,
        kind: AtomEnum,
        limit: u32,
    ) -> Result<Option<GetPropertyReply>, X11Error> {
        present(self.connection.get_property(false, window, name.into(), kind, 0, limit)?.reply())
    }

    fn select(&self, window: Window, events: EventMask) -> Result<(), X11Error> {
        let attributes = ChangeWindowAttributesAux::new().event_mask(events);
        self.connection.change_window_attributes(window, &attributes)?;
        Ok(())
    }
}

struct Managed {
    window: Window,
    class: String,
}

impl Area {
    /// A window may stick out at the left or the top; what sticks out elsewhere is the display's to cut.
    fn at(x: i16, y: i16, width: u16, height: u16) -> Self {
        let inside = |start: i16, length: u16| {
            let hidden = start.min(0).unsigned_abs();
            (start.max(0).unsigned_abs(), length.saturating_sub(hidden))
        };
        let ((x, width), (y, height)) = (inside(x, width), inside(y, height));
        Self { x, y, width, height }
    }
}

/// A window may go away between two questions about it, which is no error.
fn present<T>(reply: Result<T, ReplyError>) -> Result<Option<T>, X11Error> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(error @ ReplyError::ConnectionError(_)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sticks_out_of_the_screen_is_not_part_of_a_windows_area() {
        assert_eq!(Area::at(10, 20, 300, 200), Area { x: 10, y: 20, width: 300, height: 200 });
        assert_eq!(Area::at(-100, -250, 300, 200), Area { x: 0, y: 0, width: 200, height: 0 });
        assert_eq!(Area::at(i16::MIN, i16::MAX, 1, 1), Area { x: 0, y: 32767, width: 0, height: 1 });
    }
}
