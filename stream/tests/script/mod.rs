//! The scenarios of stream/vectors/resume.json: scripts that both models play, written down step by step.
//!
//! A scenario's steps are what happens (`does`), and every message that a side then says (`to` the other, on a `path`) with whether it arrives.
//! The agent's side of it is checked here, by its core, as the file is made; the viewer's side in console/app/stream, where each message to the
//! agent must be the next one that the viewer says.

use std::{collections::VecDeque, fmt::Write as _};

use bytes::Bytes;
use meridian_stream::{Channel, Frame, Verdict, record_header};

use super::model::{AgentModel, PathId, Said, ViewerModel};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("texts grow");
        text
    })
}

pub(crate) fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::New => "new",
        Verdict::Resumed => "resumed",
        Verdict::Restarted => "restarted",
    }
}

struct Script {
    agent: AgentModel,
    viewer: ViewerModel,
    to_agent: VecDeque<(PathId, Bytes)>,
    to_viewer: VecDeque<(PathId, Bytes)>,
    opened: PathId,
    steps: Vec<String>,
    /// What a person sees in the end: all that was written since the stream last began.
    shown: Vec<u8>,
}

/// A display record, as either side writes it.
fn display(payload: &[u8]) -> Vec<u8> {
    [&record_header(Channel::Display, payload.len()).expect("a short one")[..], payload].concat()
}

impl Script {
    fn new() -> Self {
        Self {
            agent: AgentModel::new(),
            viewer: ViewerModel::new(),
            to_agent: VecDeque::new(),
            to_viewer: VecDeque::new(),
            opened: 0,
            steps: Vec::new(),
            shown: Vec::new(),
        }
    }

    fn does(&mut self, what: &str, more: &str) {
        self.steps.push(format!(r#"{{"does": "{what}"{more}}}"#));
    }

    fn opens(&mut self) -> PathId {
        self.opened += 1;
        self.does("viewer opens", &format!(r#", "path": {}"#, self.opened));
        self.viewer.opened(self.opened);
        self.to_viewer.extend(AgentModel::opened(self.opened));
        self.opened
    }

    fn breaks(&mut self, path: PathId) {
        self.does("path breaks", &format!(r#", "path": {path}"#));
        self.viewer.closed(path);
        self.agent.closed(path);
    }

    fn agent_writes(&mut self, payload: &[u8]) {
        self.does("agent writes", &format!(r#", "display": "{}""#, hex(payload)));
        self.shown.extend_from_slice(payload);
        let said = self.agent.write(&display(payload));
        self.to_viewer.extend(said);
    }

    fn viewer_writes(&mut self, payload: &[u8]) {
        self.does("viewer writes", &format!(r#", "display": "{}""#, hex(payload)));
        let said = self.viewer.write(&display(payload));
        self.to_agent.extend(said);
    }

    fn viewer_leaves(&mut self) {
        self.does("viewer leaves", "");
        let said = self.viewer.leave();
        self.to_agent.extend(said);
    }

    fn viewer_acknowledges(&mut self) {
        self.does("viewer acknowledges", "");
        let said = self.viewer.acknowledge();
        self.to_agent.extend(said);
    }

    fn agent_acknowledges(&mut self) {
        self.does("agent acknowledges", "");
        let said = self.agent.acknowledge();
        self.to_viewer.extend(said);
    }

    /// The next message to the viewer, and whether it arrives.
    fn viewer_hears(&mut self, arrives: bool) {
        let (path, message) = self.to_viewer.pop_front().expect("a message");
        self.steps.push(message_step("viewer", path, &message, arrives));
        if arrives {
            let said = self.viewer.receive(path, message);
            self.to_agent.extend(said);
        }
    }

    fn agent_hears(&mut self, arrives: bool) {
        let (path, message) = self.to_agent.pop_front().expect("a message");
        self.steps.push(message_step("agent", path, &message, arrives));
        if arrives {
            self.arrives_at_agent(path, message);
        }
    }

    fn arrives_at_agent(&mut self, path: PathId, message: Bytes) {
        let lives = self.agent.lives.len();
        let said: Said = self.agent.receive(path, message);
        self.to_viewer.extend(said);
        if self.agent.lives.len() > lives {
            self.shown.clear();
        }
    }

    /// A message that was held up comes after all.
    fn arrives_late(&mut self, path: PathId, message: Bytes) {
        self.does("message arrives late", &format!(r#", "path": {path}"#));
        self.arrives_at_agent(path, message);
    }

    /// All that is on its way arrives, and what that brings.
    fn settles(&mut self) {
        while !(self.to_viewer.is_empty() && self.to_agent.is_empty()) {
            if self.to_viewer.is_empty() { self.agent_hears(true) } else { self.viewer_hears(true) }
        }
    }

    /// Nothing that is on its way arrives.
    fn loses(&mut self) {
        while !self.to_agent.is_empty() {
            self.agent_hears(false);
        }
        while !self.to_viewer.is_empty() {
            self.viewer_hears(false);
        }
    }

    /// A stream on path 1 that both know of.
    fn attached() -> Self {
        let mut script = Self::new();
        script.opens();
        script.settles();
        script.agent_writes(b"hello");
        script.settles();
        script.viewer_acknowledges();
        script.settles();
        script
    }

    fn write_down(self, name: &str, verdicts: &[Verdict]) -> String {
        assert_eq!(self.agent.verdicts, verdicts, "{name}");
        let life = self.agent.lives.last().expect("a life");
        assert_eq!(life.written, self.viewer.received, "{name}");
        assert_eq!(life.received, self.viewer.written, "{name}");
        let steps: Vec<String> = self.steps.iter().map(|step| format!("      {step}")).collect();
        let (steps, shown) = (steps.join(",\n"), hex(&self.shown));
        format!(
            "  {{\n    \"name\": \"{name}\",\n    \"shown\": \"{shown}\",\n    \"steps\": [\n{steps}\n    ]\n  }}"
        )
    }
}

fn message_step(to: &str, path: PathId, message: &Bytes, arrives: bool) -> String {
    let kind = match Frame::decode(message.clone()).expect("a frame") {
        Frame::Challenge { .. } => "CHALLENGE".into(),
        Frame::Attach(attach) => format!("ATTACH {} {}", attach.number, attach.received),
        Frame::Attached { verdict, received, .. } => format!("ATTACHED {} {received}", name(verdict)),
        Frame::Refused { code, .. } => format!("REFUSED {}", code.number()),
        Frame::Data { offset, bytes } => format!("DATA {offset} +{}", bytes.len()),
        Frame::Ack { received } => format!("ACK {received}"),
        Frame::Ping { .. } => "PING".into(),
        Frame::Pong { .. } => "PONG".into(),
        Frame::Notice { code, .. } => format!("NOTICE {}", code.number()),
        Frame::Leave => "LEAVE".into(),
    };
    let lost = if arrives { "" } else { r#", "lost": true"# };
    format!(r#"{{"to": "{to}", "path": {path}, "says": "{kind}", "message": "{}"{lost}}}"#, hex(message))
}

pub(crate) fn scenarios() -> String {
    use Verdict::{New, Restarted, Resumed};
    let all = [
        both_ways().write_down("what was on its way in both directions is sent again", &[New, Resumed]),
        lost_ack().write_down("a lost acknowledgement has bytes sent twice and taken once", &[New, Resumed]),
        moved().write_down(
            "a path that lives is left for another, and the old one delivers until then",
            &[New, Resumed],
        ),
        lost_answers()
            .write_down("an answer that is lost is followed by another attach", &[New, Resumed, Resumed]),
        lost_new().write_down("a first answer that is lost begins anew", &[New, Restarted]),
        reordered().write_down("an attach that comes after a later one is refused", &[New, Resumed]),
        abandoned().write_down(
            "an answer to an attach that another followed is not taken",
            &[New, Resumed, Resumed],
        ),
        gone().write_down("a stream that the agent has lost begins anew", &[New, Restarted]),
        left().write_down("a viewer that leaves says so on its path", &[New]),
        left_while_moving()
            .write_down("a viewer that leaves while it moves says so on both paths", &[New, Resumed]),
    ];
    format!("[\n{}\n]\n", all.join(",\n"))
}

fn both_ways() -> Script {
    let mut script = Script::attached();
    script.viewer_writes(b"first");
    script.settles();
    script.agent_writes(b"one");
    script.agent_writes(b"two");
    script.viewer_hears(true);
    script.viewer_writes(b"second");
    script.loses();
    script.breaks(1);
    script.viewer_writes(b"third");
    script.agent_writes(b"three");
    script.opens();
    script.settles();
    script
}

fn lost_ack() -> Script {
    let mut script = Script::attached();
    script.agent_writes(b"one");
    script.viewer_writes(b"first");
    script.settles();
    script.viewer_acknowledges();
    script.agent_acknowledges();
    script.loses();
    script.breaks(1);
    script.opens();
    script.settles();
    script.agent_writes(b"two");
    script.viewer_writes(b"second");
    script.settles();
    script
}

fn moved() -> Script {
    let mut script = Script::attached();
    script.opens();
    script.viewer_hears(true);
    // Signed and on its way; meanwhile the old path goes on.
    let (path, attach) = script.to_agent.pop_front().expect("the attach");
    script.steps.push(message_step("agent", path, &attach, false));
    script.agent_writes(b"one");
    script.agent_writes(b"two");
    script.viewer_hears(true);
    script.viewer_acknowledges();
    script.agent_hears(true);
    script.viewer_hears(true);
    script.viewer_writes(b"first");
    script.arrives_late(path, attach);
    script.settles();
    script.viewer_writes(b"second");
    script.agent_writes(b"three");
    script.settles();
    script
}

fn lost_answers() -> Script {
    let mut script = Script::attached();
    script.agent_writes(b"one");
    script.loses();
    script.breaks(1);
    script.opens();
    script.viewer_hears(true);
    script.agent_hears(true);
    script.loses();
    script.breaks(2);
    script.viewer_writes(b"first");
    script.opens();
    script.settles();
    script
}

fn lost_new() -> Script {
    let mut script = Script::new();
    script.opens();
    script.viewer_hears(true);
    script.agent_hears(true);
    script.agent_writes(b"hello");
    script.loses();
    script.breaks(1);
    script.opens();
    script.settles();
    script.agent_writes(b"hello again");
    script.settles();
    script
}

fn reordered() -> Script {
    let mut script = Script::attached();
    script.breaks(1);
    script.opens();
    script.viewer_hears(true);
    let (path, attach) = script.to_agent.pop_front().expect("the attach");
    script.steps.push(message_step("agent", path, &attach, false));
    script.opens();
    script.settles();
    script.arrives_late(path, attach);
    // The viewer has given that path up.
    script.settles();
    script.agent_writes(b"one");
    script.settles();
    script
}

fn abandoned() -> Script {
    let mut script = Script::attached();
    script.agent_writes(b"one");
    script.loses();
    script.breaks(1);
    script.opens();
    script.viewer_hears(true);
    script.agent_hears(true);
    // The answer is on its way when the next challenge is answered.
    let answers: Vec<_> = script.to_viewer.drain(..).collect();
    script.opens();
    script.viewer_hears(true);
    script.to_viewer.extend(answers);
    script.settles();
    script.agent_writes(b"two");
    script.viewer_writes(b"first");
    script.settles();
    script
}

fn gone() -> Script {
    let mut script = Script::attached();
    script.viewer_writes(b"first");
    script.loses();
    script.breaks(1);
    script.does("agent forgets", "");
    script.agent.core = meridian_stream::AgentStream::new(
        super::model::ACCEPT_WINDOW,
        super::model::SEND_WINDOW,
        Some(1),
        std::time::Duration::ZERO,
    );
    script.agent.lives.last_mut().expect("a life").is_confirmed = false;
    script.opens();
    script.settles();
    script.agent_writes(b"hello again");
    script.viewer_writes(b"second");
    script.settles();
    script.viewer_acknowledges();
    script.agent_acknowledges();
    script.settles();
    script
}

fn left() -> Script {
    let mut script = Script::attached();
    script.agent_writes(b"one");
    script.viewer_writes(b"first");
    script.settles();
    script.viewer_leaves();
    script.settles();
    script
}

fn left_while_moving() -> Script {
    let mut script = Script::attached();
    script.opens();
    script.viewer_hears(true);
    script.viewer_leaves();
    script.settles();
    script
}
