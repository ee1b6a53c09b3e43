//! Whatever paths lose, both byte streams come out as they were written: never a byte less, never one twice.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod model;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use meridian_stream::{Attach, Verdict, ViewerKey};
use model::{AgentModel, PathId, Said, ViewerModel};
use proptest::prelude::*;

const KEY: ViewerKey = ViewerKey { point: [4; 65], signature: [5; 64] };

/// A path between the two, and what is on its way on it.
#[derive(Default)]
struct Line {
    to_viewer: VecDeque<Bytes>,
    to_agent: VecDeque<Bytes>,
    /// Nothing comes through any more.
    is_dead: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Open,
    AgentWrites(usize),
    ViewerWrites(usize),
    /// So many messages arrive.
    ToViewer(PathId, usize),
    ToAgent(PathId, usize),
    AgentAcknowledges,
    ViewerAcknowledges,
    ViewerPings,
    /// After so many more bytes in each direction a path is gone; a message that is torn is lost. Either side may not be told.
    Cut {
        path: PathId,
        to_viewer: usize,
        to_agent: usize,
        tells_viewer: bool,
        tells_agent: bool,
    },
    Wait(u64),
}

struct World {
    agent: AgentModel,
    viewer: ViewerModel,
    lines: BTreeMap<PathId, Line>,
    opened: PathId,
    counter: u64,
    /// What the viewer wrote after each beginning that it heard of, by the attach number.
    viewer_wrote: BTreeMap<u64, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self {
            agent: AgentModel::new(),
            viewer: ViewerModel::new(),
            lines: BTreeMap::new(),
            opened: 0,
            counter: 0,
            viewer_wrote: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Open => self.open(),
            Event::AgentWrites(length) => {
                let bytes = self.bytes(length);
                let said = self.agent.write(&bytes);
                self.agent_says(said);
            }
            Event::ViewerWrites(length) => {
                let bytes = self.bytes(length);
                let said = self.viewer.write(&bytes);
                self.viewer_says(said);
            }
            Event::ToViewer(path, count) => {
                let path = self.line(path);
                for _ in 0..count {
                    self.viewer_hears(path);
                }
            }
            Event::ToAgent(path, count) => {
                let path = self.line(path);
                for _ in 0..count {
                    self.agent_hears(path);
                }
            }
            Event::AgentAcknowledges => {
                let said = self.agent.acknowledge();
                self.agent_says(said);
            }
            Event::ViewerAcknowledges => {
                let said = self.viewer.acknowledge();
                self.viewer_says(said);
            }
            Event::ViewerPings => {
                let said = self.viewer.ping();
                self.viewer_says(said);
            }
            Event::Cut { path, to_viewer, to_agent, tells_viewer, tells_agent } => {
                let path = self.line(path);
                self.cut(path, to_viewer, to_agent, tells_viewer, tells_agent);
            }
            Event::Wait(ms) => self.agent.now += Duration::from_millis(ms),
        }
        self.check();
    }

    /// One of the paths that there were.
    fn line(&self, number: PathId) -> PathId {
        if self.opened == 0 { 0 } else { number % self.opened + 1 }
    }

    fn open(&mut self) {
        self.opened += 1;
        self.lines.insert(self.opened, Line::default());
        self.viewer.opened(self.opened);
        self.agent_says(AgentModel::opened(self.opened));
    }

    fn cut(
        &mut self,
        path: PathId,
        to_viewer: usize,
        to_agent: usize,
        tells_viewer: bool,
        tells_agent: bool,
    ) {
        let fits = |queue: &VecDeque<Bytes>, mut left: usize| {
            queue
                .iter()
                .take_while(|message| {
                    let fits = message.len() <= left;
                    left = left.saturating_sub(message.len());
                    fits
                })
                .count()
        };
        let Some(line) = self.lines.get(&path).filter(|line| !line.is_dead) else { return };
        let (whole_to_viewer, whole_to_agent) =
            (fits(&line.to_viewer, to_viewer), fits(&line.to_agent, to_agent));
        (0..whole_to_viewer).for_each(|_| self.viewer_hears(path));
        (0..whole_to_agent).for_each(|_| self.agent_hears(path));
        self.lines.insert(path, Line { is_dead: true, ..Line::default() });
        if tells_viewer {
            self.viewer.closed(path);
        }
        if tells_agent {
            self.agent.closed(path);
        }
    }

    fn viewer_hears(&mut self, path: PathId) {
        let Some(message) = self.lines.get_mut(&path).and_then(|line| line.to_viewer.pop_front()) else {
            return;
        };
        self.note_viewer();
        let said = self.viewer.receive(path, message);
        self.viewer_says(said);
    }

    fn agent_hears(&mut self, path: PathId) {
        let Some(message) = self.lines.get_mut(&path).and_then(|line| line.to_agent.pop_front()) else {
            return;
        };
        let said = self.agent.receive(path, message);
        self.agent_says(said);
    }

    fn agent_says(&mut self, said: Said) {
        for (path, message) in said {
            self.lines.get_mut(&path).filter(|line| !line.is_dead).into_iter().for_each(|line| {
                line.to_viewer.push_back(message.clone());
            });
        }
    }

    fn viewer_says(&mut self, said: Said) {
        for (path, message) in said {
            self.lines.get_mut(&path).filter(|line| !line.is_dead).into_iter().for_each(|line| {
                line.to_agent.push_back(message.clone());
            });
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let from = self.counter;
        self.counter += length as u64;
        (from..self.counter).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
    }

    fn note_viewer(&mut self) {
        if let Some(number) = self.viewer.begun_by {
            self.viewer_wrote.insert(number, self.viewer.written.clone());
        }
    }

    /// What arrived is the beginning of what was written, in each life of the stream.
    fn check(&mut self) {
        self.note_viewer();
        let Some(number) = self.viewer.begun_by else { return };
        let life = &self.agent.lives[self.agent.begun[&number]];
        assert!(life.written.starts_with(&self.viewer.received), "towards the viewer");
        for (number, wrote) in &self.viewer_wrote {
            assert!(
                wrote.starts_with(&self.agent.lives[self.agent.begun[number]].received),
                "towards the agent"
            );
        }
        assert!(self.agent.core.window().in_flight() <= u64::from(model::SEND_WINDOW));
    }

    /// Every path is gone and told to be; on a new one all arrives.
    fn heal(&mut self) {
        for path in 1..=self.opened {
            self.cut(path, 0, 0, true, true);
            self.viewer.closed(path);
            self.agent.closed(path);
        }
        self.open();
        let path = self.opened;
        loop {
            let line = &self.lines[&path];
            let (to_viewer, to_agent) = (line.to_viewer.len(), line.to_agent.len());
            if to_viewer + to_agent == 0 {
                let said = self.viewer.acknowledge();
                self.viewer_says(said);
                let said = self.agent.acknowledge();
                self.agent_says(said);
                let line = &self.lines[&path];
                if line.to_viewer.is_empty() && line.to_agent.is_empty() {
                    break;
                }
            }
            self.agent.now += Duration::from_millis(5);
            (0..to_viewer).for_each(|_| self.viewer_hears(path));
            (0..to_agent).for_each(|_| self.agent_hears(path));
            self.check();
        }
        assert!(self.viewer.is_attached());
        let life = self.agent.lives.last().unwrap();
        assert!(life.written == self.viewer.received, "all of the agent's bytes");
        assert!(life.received == self.viewer.written, "all of the viewer's bytes");
        assert_eq!((self.agent.core.kept(), self.agent.core.unsent()), (0, 0));
    }
}

fn events() -> impl Strategy<Value = Event> {
    let path = 0..6_u64;
    let cut = (path.clone(), 0_usize..200_000, 0_usize..200_000, any::<bool>(), any::<bool>()).prop_map(
        |(path, to_viewer, to_agent, tells_viewer, tells_agent)| Event::Cut {
            path,
            to_viewer,
            to_agent,
            tells_viewer,
            tells_agent,
        },
    );
    prop_oneof![
        2 => Just(Event::Open),
        3 => (0_usize..150_000).prop_map(Event::AgentWrites),
        3 => (0_usize..60_000).prop_map(Event::ViewerWrites),
        6 => (path.clone(), 1_usize..8).prop_map(|(path, count)| Event::ToViewer(path, count)),
        6 => (path, 1_usize..8).prop_map(|(path, count)| Event::ToAgent(path, count)),
        1 => Just(Event::AgentAcknowledges),
        1 => Just(Event::ViewerAcknowledges),
        1 => Just(Event::ViewerPings),
        2 => cut,
        1 => (0_u64..300).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_paths_lose_both_streams_come_out_as_they_were_written(
        events in proptest::collection::vec(events(), 1..120),
    ) {
        let mut world = World::new();
        for event in &events {
            world.apply(event);
        }
        world.heal();
    }

    #[test]
    fn a_stream_that_was_heard_of_resumes_from_any_byte_at_which_its_path_is_cut(
        to_viewer in 0_usize..80_000,
        to_agent in 0_usize..30_000,
        tells_agent in any::<bool>(),
    ) {
        let mut world = World::new();
        world.heal();
        for event in [
            Event::ViewerPings,
            Event::ToAgent(0, 1),
            Event::AgentWrites(70_000),
            Event::ViewerWrites(20_000),
            Event::Cut { path: 0, to_viewer, to_agent, tells_viewer: true, tells_agent },
            Event::AgentWrites(10),
            Event::ViewerWrites(10),
        ] {
            world.apply(&event);
        }
        world.heal();
        prop_assert_eq!(&world.agent.verdicts, &[Verdict::New, Verdict::Resumed]);
        prop_assert_eq!(world.viewer.received.len(), 70_010);
    }

    #[test]
    fn of_a_viewer_that_leaves_nothing_is_kept_whatever_was_on_its_way(
        events in proptest::collection::vec(events(), 0..40),
        moves in any::<bool>(),
        heard in 0_usize..4,
        later_first in any::<bool>(),
    ) {
        let mut world = World::new();
        for event in &events {
            world.apply(event);
        }
        world.heal();
        let before = world.opened;
        world.apply(&Event::AgentWrites(200_000));
        world.apply(&Event::ViewerWrites(10));
        if moves {
            world.open();
            (0..heard).for_each(|_| world.viewer_hears(before + 1));
        }
        let said = world.viewer.leave();
        world.viewer_says(said);
        let paths = if later_first { [before + 1, before] } else { [before, before + 1] };
        for path in paths {
            while world.lines.get(&path).is_some_and(|line| !line.to_agent.is_empty()) {
                world.agent_hears(path);
            }
        }
        prop_assert!(world.agent.life().is_left);
        prop_assert_eq!((world.agent.core.kept(), world.agent.path), (0, None));
        // Whoever comes after all, with the same key, begins anew.
        world.open();
        let attach = Attach { number: 1 << 32, received: 5, key: Some(KEY) };
        prop_assert_eq!(world.agent.core.attach(&attach, true, Duration::ZERO), Ok(Verdict::Restarted));
    }
}
