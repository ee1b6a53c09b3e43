//! What is on the screen: whether the windows that make this workspace what it is are mapped and big enough to see.

use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt, EventMask, GetGeometryReply,
    GetWindowAttributesReply, MapState, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::x11::X11Error;

/// Smaller than this is a tooltip or a window manager's own, not something that a person came for. A window of a
/// wanted class may be smaller: a panel is flat.
const LEAST_WIDTH: u16 = 200;
const LEAST_HEIGHT: u16 = 100;

/// Bounds one look at a screen that a program has filled with windows.
const EXAMINED_LIMIT: usize = 512;

/// A window that a manager has framed is below its frame, and some frames have two layers.
const DEPTH: usize = 3;

/// Longest window class that is read, in 32-bit units.
const CLASS_LIMIT: u32 = 64;

pub(crate) struct Windows<'c> {
    connection: &'c RustConnection,
    root: Window,
    /// Classes of which a window must be seen; any window of some size will do when there are none.
    wanted: &'c [String],
    changed: bool,
}

impl<'c> Windows<'c> {
    pub(crate) fn new(
        connection: &'c RustConnection,
        root: Window,
        wanted: &'c [String],
    ) -> Result<Self, X11Error> {
        let windows = Self { connection, root, wanted, changed: false };
        windows.watch(root)?;
        Ok(windows)
    }

    pub(crate) fn handle(&mut self, event: &Event) {
        self.changed |= matches!(
            event,
            Event::MapNotify(_) | Event::UnmapNotify(_) | Event::DestroyNotify(_) | Event::ReparentNotify(_)
        );
    }

    /// Whether anything came or went since the last look.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Looks at the screen: what a person would still wait for, or nothing.
    pub(crate) fn missing(&mut self) -> Result<Option<String>, X11Error> {
        self.changed = false;
        let mut missing: Vec<&str> = self.wanted.iter().map(String::as_str).collect();
        let mut any = false;
        let mut layer = vec![self.root];
        for _ in 0..DEPTH {
            let mut seen = Vec::new();
            for (window, geometry) in self.visible_children(&layer)? {
                any |= geometry.width >= LEAST_WIDTH && geometry.height >= LEAST_HEIGHT;
                if !missing.is_empty() {
                    let class = self.class(window)?;
                    missing.retain(|wanted| Some(*wanted) != class.as_deref());
                }
                seen.push(window);
            }
            if any && missing.is_empty() {
                return Ok(None);
            }
            // A client may be mapped after its frame, which the root window does not report.
            for frame in &seen {
                self.watch(*frame)?;
            }
            layer = seen;
        }
        Ok(Some(match missing.first() {
            Some(class) => format!("no window of {class} is on the screen yet"),
            None => "no window is on the screen yet".into(),
        }))
    }

    fn watch(&self, window: Window) -> Result<(), X11Error> {
        let events = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
        self.connection.change_window_attributes(window, &events)?;
        Ok(())
    }

    fn visible_children(&self, parents: &[Window]) -> Result<Vec<(Window, GetGeometryReply)>, X11Error> {
        let mut children = Vec::new();
        for parent in parents {
            if let Some(tree) = present(self.connection.query_tree(*parent)?.reply())? {
                // The topmost come last, and they are the likelier ones.
                children.extend(tree.children.into_iter().rev());
            }
        }
        children.truncate(EXAMINED_LIMIT);
        // All are asked for before the first answer is awaited: one trip to the server, not two per window.
        let asked: Result<Vec<_>, X11Error> = children
            .into_iter()
            .map(|window| {
                let attributes = self.connection.get_window_attributes(window)?;
                Ok((window, attributes, self.connection.get_geometry(window)?))
            })
            .collect();
        let mut visible = Vec::new();
        for (window, attributes, geometry) in asked? {
            if let (Some(attributes), Some(geometry)) =
                (present(attributes.reply())?, present(geometry.reply())?)
                && is_visible(&attributes)
            {
                visible.push((window, geometry));
            }
        }
        Ok(visible)
    }

    /// The second of the two names in WM_CLASS, which programs keep stable.
    fn class(&self, window: Window) -> Result<Option<String>, X11Error> {
        let property = self.connection.get_property(
            false,
            window,
            AtomEnum::WM_CLASS,
            AtomEnum::STRING,
            0,
            CLASS_LIMIT,
        )?;
        let Some(property) = present(property.reply())? else {
            return Ok(None);
        };
        let class = property.value.split(|byte| *byte == 0).nth(1);
        Ok(class.map(|class| String::from_utf8_lossy(class).into_owned()))
    }
}

fn is_visible(attributes: &GetWindowAttributesReply) -> bool {
    attributes.map_state == MapState::VIEWABLE && attributes.class == WindowClass::INPUT_OUTPUT
}

/// A window may go away between two questions about it, which is no error.
fn present<T>(reply: Result<T, ReplyError>) -> Result<Option<T>, X11Error> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(error @ ReplyError::ConnectionError(_)) => Err(error.into()),
    }
}
