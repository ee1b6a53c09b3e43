//! A page with a stream of one session, whose display a test can look into.

use meridian_ids::{GrantId, SessionId};
use meridian_model::Transport;
use meridian_stream::{Code, Verdict};
use meridian_ticket::Grant;
use tokio::time::timeout;

use super::{
    Bench, LIMIT, Socket,
    stand_in::StandIn,
    viewer::{PageKey, Viewer},
    wait_for,
};

/// One page with a stream of one session.
pub(crate) struct Page {
    pub(crate) bench: Bench,
    pub(crate) session: SessionId,
    pub(crate) key: PageKey,
    pub(crate) grant: Grant,
    pub(crate) display: StandIn,
}

impl Page {
    pub(crate) async fn new(flood: usize) -> Self {
        Self::on(Bench::new().await, flood).await
    }

    pub(crate) async fn on(bench: Bench, flood: usize) -> Self {
        let (session, key) = (bench.running().await, PageKey::new());
        let display = StandIn::start(&bench.leaf(session), &bench.tasks, flood);
        let grant = Grant { jkt: key.thumbprint(), ..bench.grant(session, Transport::MeridianV1) };
        Self { bench, session, key, grant, display }
    }

    /// A new path of the stream.
    pub(crate) async fn path(&self) -> Socket {
        self.bench.open(&self.granted(|_| {})).await.unwrap()
    }

    pub(crate) fn granted(&self, change: impl FnOnce(&mut Grant)) -> Grant {
        let mut grant = Grant { jti: GrantId::generate(), ..self.grant.clone() };
        change(&mut grant);
        grant
    }

    /// An attached viewer that has shaken hands with the display.
    pub(crate) async fn viewer(&self) -> Viewer {
        let (mut viewer, verdict) = Viewer::attach(self.path().await, 1, Some(&self.key)).await.unwrap();
        assert_eq!(verdict, Verdict::New);
        viewer.shake_hands().await;
        viewer
    }

    /// A stream whose path has broken.
    pub(crate) async fn parked(&self) -> Viewer {
        let mut viewer = self.viewer().await;
        viewer.cut().await;
        self.await_parked().await;
        viewer
    }

    /// Waits until the agent has noticed that the path is broken.
    pub(crate) async fn await_parked(&self) {
        // By its own count: what the control plane was told last may be from before the path was there.
        let waited = async {
            let series = ["meridian_agent_streams_parked", "meridian_agent_streams"];
            while self.bench.metric(series[0]).await < self.bench.metric(series[1]).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, waited).await.unwrap();
    }

    pub(crate) async fn await_display(&self, viewers: usize) {
        wait_for("the display's viewers", || (self.display.open() == viewers).then_some(())).await;
    }

    /// Bytes that the agent keeps for its streams, by its own count.
    pub(crate) async fn kept(&self) -> usize {
        self.bench.metric("meridian_agent_kept_bytes").await
    }

    pub(crate) async fn await_kept(&self, bytes: usize) {
        let waited = async {
            while self.kept().await != bytes {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, waited).await.unwrap();
    }

    /// Has the stream's owner do something that changes nothing: it turns an attach away whose number is used.
    pub(crate) async fn stir(&self) {
        let late = Viewer::attach(self.path().await, 1, Some(&self.key)).await;
        assert_eq!(late.err(), Some(Code::Superseded));
    }

    /// How much of its flood the display got rid of, once nobody takes any more: not while the stream's owner was at work, and its socket is full.
    pub(crate) async fn settled(&self) -> usize {
        let waited = async {
            loop {
                let before = self.display.flooded();
                self.stir().await;
                if self.display.is_blocked() && self.display.flooded() == before {
                    return before;
                }
            }
        };
        timeout(LIMIT, waited).await.unwrap()
    }
}
