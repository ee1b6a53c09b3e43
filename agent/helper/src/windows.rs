//! What is on the screen: whether the windows that make this workspace what it is are mapped and big enough to see.

use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt, EventMask, GetWindowAttributesReply, MapState,
    Window, WindowClass,
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
    root: Window,
    /// Classes of which a window must be seen; any window of some size will do when there are none.
    wanted: &'c [String],
    /// Below these, too, windows are watched for, until all that are wanted were seen.
    watched: Vec<Window>,
    changed: bool,
}

/// A window and where it is on the screen.
struct Placed {
    window: Window,
    x: i32,
    y: i32,
    width: u16,
    height: u16,
}

impl<'c> Windows<'c> {
    pub(crate) fn new(
        connection: &'c RustConnection,
        root: Window,
        wanted: &'c [String],
    ) -> Result<Self, X11Error> {
        let windows = Self { connection, root, wanted, watched: Vec::new(), changed: false };
        windows.select(root, EventMask::SUBSTRUCTURE_NOTIFY)?;
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

    pub(crate) fn look(&mut self) -> Result<Sight, X11Error> {
        self.changed = false;
        let mut missing: Vec<&str> = self.wanted.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        let mut layer = vec![Placed { window: self.root, x: 0, y: 0, width: 0, height: 0 }];
        for _ in 0..DEPTH {
            layer = self.visible_children(&layer)?;
            for window in &layer {
                if self.wanted.is_empty() {
                    found.extend(window.is_large().then(|| window.area()));
                } else if let Some(class) = self.class(window.window)?
                    && missing.contains(&class.as_str())
                {
                    missing.retain(|wanted| *wanted != class);
                    found.push(window.area());
                }
            }
            if missing.is_empty() && !found.is_empty() {
                self.unwatch()?;
                return Ok(Sight::Complete(found));
            }
            // A client may be mapped after its frame, which the root window does not report.
            for frame in &layer {
                self.select(frame.window, EventMask::SUBSTRUCTURE_NOTIFY)?;
                self.watched.push(frame.window);
            }
        }
        Ok(Sight::Missing(match missing.first() {
            Some(class) => format!("no window of {class} is on the screen yet"),
            None => "no window is on the screen yet".into(),
        }))
    }

    /// What happens inside programs would wake the helper for nothing.
    fn unwatch(&mut self) -> Result<(), X11Error> {
        for window in std::mem::take(&mut self.watched) {
            self.select(window, EventMask::NO_EVENT)?;
        }
        Ok(())
    }

    fn select(&self, window: Window, events: EventMask) -> Result<(), X11Error> {
        let attributes = ChangeWindowAttributesAux::new().event_mask(events);
        self.connection.change_window_attributes(window, &attributes)?;
        Ok(())
    }

    fn visible_children(&self, parents: &[Placed]) -> Result<Vec<Placed>, X11Error> {
        let mut children = Vec::new();
        for parent in parents {
            if let Some(tree) = present(self.connection.query_tree(parent.window)?.reply())? {
                // The topmost come last, and they are the likelier ones.
                children.extend(tree.children.into_iter().rev().map(|child| (child, parent.x, parent.y)));
            }
        }
        children.truncate(EXAMINED_LIMIT);
        // All are asked for before the first answer is awaited: one trip to the server, not two per window.
        let asked: Result<Vec<_>, X11Error> = children
            .into_iter()
            .map(|(window, x, y)| {
                let attributes = self.connection.get_window_attributes(window)?;
                Ok((window, x, y, attributes, self.connection.get_geometry(window)?))
            })
            .collect();
        let mut visible = Vec::new();
        for (window, x, y, attributes, geometry) in asked? {
            if let (Some(attributes), Some(geometry)) =
                (present(attributes.reply())?, present(geometry.reply())?)
                && is_visible(&attributes)
            {
                let (width, height) = (geometry.width, geometry.height);
                visible.push(Placed {
                    window,
                    x: x + i32::from(geometry.x),
                    y: y + i32::from(geometry.y),
                    width,
                    height,
                });
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

impl Placed {
    fn is_large(&self) -> bool {
        self.width >= LEAST_WIDTH && self.height >= LEAST_HEIGHT
    }

    /// A window may stick out at the left or the top; what sticks out elsewhere is the display's to cut.
    fn area(&self) -> Area {
        let inside = |start: i32, length: u16| {
            let hidden = u16::try_from(-start.min(0)).unwrap_or(u16::MAX);
            (u16::try_from(start.max(0)).unwrap_or(u16::MAX), length.saturating_sub(hidden))
        };
        let ((x, width), (y, height)) = (inside(self.x, self.width), inside(self.y, self.height));
        Area { x, y, width, height }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sticks_out_of_the_screen_is_not_part_of_a_windows_area() {
        let area = |x, y| Placed { window: 1, x, y, width: 300, height: 200 }.area();
        assert_eq!(area(10, 20), Area { x: 10, y: 20, width: 300, height: 200 });
        assert_eq!(area(-100, -250), Area { x: 0, y: 0, width: 200, height: 0 });
        assert_eq!(area(-70_000, 70_000), Area { x: 0, y: u16::MAX, width: 0, height: 200 });
    }
}
