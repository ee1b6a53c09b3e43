//! What agent and helper say to each other on the helper's socket: one JSON object per line, either way.
//!
//! The agent treats the helper as hostile, and the helper bounds what it reads as well: a line is at most
//! [`LINE_LIMIT`] bytes and a clipboard text at most [`TEXT_LIMIT`].

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

/// Longest line that either side accepts. JSON may spell one byte of text with six (`\u0000`), but text that is
/// mostly control characters is not worth carrying.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// Longest clipboard text, in bytes of UTF-8. Longer ones are dropped, not cut: half a text is a wrong text.
pub(crate) const TEXT_LIMIT: usize = 256 << 10;

#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToAgent {
    /// Sent upon connect and whenever it changes. `reason` says in words what a workspace that is not ready waits
    /// for.
    Ready {
        ready: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The workspace's clipboard holds a new text.
    Text { text: String },
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromAgent {
    /// Put this text on the workspace's clipboard.
    Text { text: String },
    /// What a newer agent may say and this helper does not know is ignored.
    #[serde(other)]
    Unknown,
}

impl ToAgent {
    /// The message with its line end, or nothing when it is longer than the other side accepts.
    pub(crate) fn to_line(&self) -> Option<Vec<u8>> {
        let mut line = serde_json::to_vec(self).ok()?;
        line.push(b'\n');
        (line.len() <= LINE_LIMIT).then_some(line)
    }
}

/// The next line without its end; nothing when the peer has closed. A line that is too long is an error, as is one
/// that the peer did not finish.
pub(crate) fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = reader.take(LINE_LIMIT as u64 + 1).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if read > LINE_LIMIT => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_documented_form() {
        let ready = ToAgent::Ready { ready: true, reason: None };
        assert_eq!(ready.to_line().as_deref(), Some(&b"{\"type\":\"ready\",\"ready\":true}\n"[..]));
        let text = ToAgent::Text { text: "a\nb".into() };
        assert_eq!(text.to_line().as_deref(), Some(&b"{\"type\":\"text\",\"text\":\"a\\nb\"}\n"[..]));
    }

    #[test]
    fn unknown_messages_of_a_newer_agent_are_not_errors() {
        let message = serde_json::from_str::<FromAgent>(r#"{"type":"files","list":[1]}"#).unwrap();
        assert_eq!(message, FromAgent::Unknown);
    }

    #[test]
    fn a_text_that_json_blows_up_past_the_limit_is_not_sent() {
        assert!(ToAgent::Text { text: "\u{1}".repeat(TEXT_LIMIT) }.to_line().is_none());
        assert!(ToAgent::Text { text: "x".repeat(TEXT_LIMIT) }.to_line().is_some());
    }

    #[test]
    fn lines_are_read_whole_and_bounded() {
        let mut input = &b"one\n\ntwo"[..];
        assert_eq!(read_line(&mut input).unwrap(), Some(b"one".to_vec()));
        assert_eq!(read_line(&mut input).unwrap(), Some(Vec::new()));
        assert_eq!(read_line(&mut input).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_line(&mut &b""[..]).unwrap(), None);

        let mut longest = vec![b'x'; LINE_LIMIT - 1];
        longest.push(b'\n');
        assert_eq!(read_line(&mut &longest[..]).unwrap().map(|line| line.len()), Some(LINE_LIMIT - 1));
        let endless = vec![b'x'; LINE_LIMIT + 5];
        assert_eq!(read_line(&mut &endless[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
