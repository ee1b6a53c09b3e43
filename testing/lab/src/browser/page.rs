//! One page: how it is opened, what its WebSockets received, and what it shows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use meridian_stream::Frame;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::devtools::{DevTools, Pages};
use crate::{
    api::USER,
    viewer::{Journal, Status},
};

/// A page has loaded, and shows what it is asked for, within this time; the machine may be busy with many.
const SHOW_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// WebSocket messages of bytes.
const BINARY: u64 = 2;

/// Keeps what the page says of errors, however short.
const NOTE_ALERTS: &str = "
    window.labAlerts = [];
    new MutationObserver(() => {
        for (const element of document.querySelectorAll('[role=alert], [role=dialog]')) {
            const text = element.innerText.trim();
            if (text && !window.labAlerts.includes(text)) window.labAlerts.push(text);
        }
    }).observe(document, { childList: true, subtree: true, characterData: true });
";
const ASKS_TO_SIGN_IN: &str = "document.querySelector('form input[name=password]') !== null";
const SUBMIT: &str = "document.querySelector('form').requestSubmit()";
/// Whether the desktop's canvas has something on it.
const IS_DRAWN: &str = "(() => {
    const canvas = document.querySelector('canvas[role=application]');
    if (!canvas || !canvas.width || !canvas.height) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let at = 0; at < data.length && colours.size < 3; at += 4 * 97) colours.add(data.slice(at, at + 4).join());
    return colours.size >= 3;
})()";
const WIPE: &str = "(() => {
    const canvas = document.querySelector('canvas[role=application]');
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
})()";
/// Where the page is, what is the matter at the moment, and which errors it has shown.
const SAYS: &str = "({
    path: location.pathname,
    matter: [...document.querySelectorAll('main [role=status]')].map((element) => element.innerText).join(' ').trim(),
    alerts: window.labAlerts.join('; '),
})";

/// Who signs in, and where.
pub(super) struct Login<'a> {
    pub(super) url: &'a str,
    pub(super) password: &'a str,
}

/// What the page's WebSockets received.
#[derive(Debug, Default)]
pub(super) struct Seen {
    journal: Journal,
    status: Status,
    /// The WebSocket that carries the stream.
    attached: Option<String>,
}

impl Seen {
    /// An event of the DevTools protocol.
    pub(super) fn hear(&mut self, method: &str, event: &Value, now: Duration) {
        let socket = event["requestId"].as_str().unwrap_or_default();
        match method {
            "Network.webSocketFrameReceived" if event["response"]["opcode"] == BINARY => {
                let text = event["response"]["payloadData"].as_str().unwrap_or_default();
                // What is no frame of a stream is not the lab's to judge: the page does.
                let frame = STANDARD.decode(text).ok().and_then(|bytes| Frame::decode(bytes.into()).ok());
                if let Some(frame) = frame {
                    self.received(socket, frame, now);
                }
            }
            "Network.webSocketClosed" if self.attached.as_deref() == Some(socket) => {
                self.attached = None;
                self.status.attached = false;
                self.journal.broke(now);
                self.journal.tell(now, "the path closed");
            }
            "Log.entryAdded" if event["entry"]["level"] == "error" => {
                self.journal.tell(now, event["entry"]["text"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }

    fn received(&mut self, socket: &str, frame: Frame, now: Duration) {
        match frame {
            Frame::Attached { verdict, .. } => {
                self.journal.attached(now, verdict);
                self.attached = Some(socket.to_owned());
                self.status.attached = true;
            }
            Frame::Data { .. } => {
                self.journal.arrived(now);
                self.status.frame_at = Some(now);
            }
            Frame::Refused { code, message } | Frame::Notice { code, message } => {
                self.journal.tell(now, format!("told: {code:?} {message}"));
            }
            Frame::Challenge { .. }
            | Frame::Attach(_)
            | Frame::Ack { .. }
            | Frame::Ping { .. }
            | Frame::Pong { .. }
            | Frame::Leave => {}
        }
    }
}

pub(crate) struct Page {
    pub(crate) session: String,
    /// The protocol's session of this page.
    id: String,
    devtools: DevTools,
    seen: Arc<Mutex<Seen>>,
}

impl Page {
    /// Opens the session's address in a browser that knows nobody, and signs in where the console asks for it.
    pub(super) async fn open(
        devtools: &DevTools,
        pages: &Pages,
        session: &str,
        login: &Login<'_>,
        seen: Arc<Mutex<Seen>>,
    ) -> Result<Self> {
        let text = |value: Value, name: &str| {
            value[name].as_str().map(str::to_owned).context("an answer without its id")
        };
        let context = devtools.call(None, "Target.createBrowserContext", json!({})).await?;
        let target = json!({"url": "about:blank", "browserContextId": text(context, "browserContextId")?});
        let target = text(devtools.call(None, "Target.createTarget", target).await?, "targetId")?;
        let attach = json!({"targetId": target, "flatten": true});
        let id = text(devtools.call(None, "Target.attachToTarget", attach).await?, "sessionId")?;
        pages.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::clone(&seen));
        let page = Self { session: session.to_owned(), id, devtools: devtools.clone(), seen };
        page.call("Page.enable", json!({})).await?;
        page.call("Network.enable", json!({})).await?;
        page.call("Log.enable", json!({})).await?;
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": NOTE_ALERTS})).await?;
        page.call("Page.navigate", json!({"url": format!("{}/sessions/{session}", login.url)})).await?;
        page.until(ASKS_TO_SIGN_IN).await.context("it does not ask to sign in")?;
        for (field, what) in [("username", USER), ("password", login.password)] {
            page.ask(&format!("document.querySelector('input[name={field}]').focus()")).await?;
            page.call("Input.insertText", json!({"text": what})).await?;
        }
        page.ask(SUBMIT).await?;
        page.until(IS_DRAWN).await.context("it shows no desktop")?;
        ensure!(page.status().attached, "it shows a desktop, and its stream was not seen");
        Ok(page)
    }

    pub(crate) fn status(&self) -> Status {
        self.seen().status
    }

    pub(crate) fn journal(&self) -> Journal {
        self.seen().journal.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wipes the desktop off and waits until it is drawn anew; what is wrong with the page, if anything.
    pub(crate) async fn judge(&self) -> Result<()> {
        self.ask(WIPE).await.context("it has no desktop any more")?;
        self.until(IS_DRAWN).await.context("its desktop is not drawn any more")?;
        let until = Instant::now() + SHOW_LIMIT;
        loop {
            let says = self.ask(SAYS).await?;
            let text = |name: &str| says[name].as_str().unwrap_or_default().to_owned();
            let (path, matter, alerts) = (text("path"), text("matter"), text("alerts"));
            ensure!(path == format!("/sessions/{}", self.session), "it is at {path}");
            ensure!(alerts.is_empty(), "it showed an error: {alerts}");
            if matter.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "it still says: {matter}");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn call(&self, method: &'static str, parameters: Value) -> Result<Value> {
        self.devtools.call(Some(&self.id), method, parameters).await
    }

    /// What an expression comes to on the page.
    async fn ask(&self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        if let Some(thrown) = answer.pointer("/exceptionDetails/exception/description") {
            bail!("the page: {}", thrown.as_str().unwrap_or_default());
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true; says what the page shows where it does not become so.
    async fn until(&self, expression: &str) -> Result<()> {
        let until = Instant::now() + SHOW_LIMIT;
        while self.ask(expression).await? != true {
            if Instant::now() > until {
                let shown = self.ask("document.body.innerText.slice(0, 300)").await?;
                let word = self.journal().last_word();
                bail!(
                    "after {SHOW_LIMIT:?} the page says: {} (its stream: {word})",
                    shown.as_str().unwrap_or_default()
                );
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use meridian_stream::Verdict;

    use super::*;

    fn received(socket: &str, frame: &Frame) -> Value {
        let data = STANDARD.encode(frame.encode());
        json!({"requestId": socket, "response": {"opcode": 2, "payloadData": data}})
    }

    #[test]
    fn verdicts_and_pauses_are_read_off_a_pages_sockets() {
        const FRAME: &str = "Network.webSocketFrameReceived";
        let ms = Duration::from_millis;
        let mut seen = Seen::default();
        let attached = |verdict| Frame::Attached { verdict, received: 0, window: 1 };
        let data = Frame::Data { offset: 0, bytes: vec![1].into() };
        seen.hear(FRAME, &received("1", &attached(Verdict::New)), ms(1));
        seen.hear(FRAME, &received("1", &data), ms(10));
        seen.hear("Network.webSocketClosed", &json!({"requestId": "other"}), ms(11));
        assert!(seen.status.attached);
        seen.hear("Network.webSocketClosed", &json!({"requestId": "1"}), ms(12));
        assert!(!seen.status.attached);
        seen.hear(FRAME, &received("2", &attached(Verdict::Resumed)), ms(300));
        seen.hear(FRAME, &received("2", &data), ms(310));
        assert!(seen.status.attached);
        assert_eq!(seen.journal.attaches_after(ms(12)), (1, 0));
        assert_eq!(seen.journal.stall(ms(11), ms(320)), ms(300));
    }
}
