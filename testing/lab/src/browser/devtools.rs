//! The wire to a browser: Chromium's DevTools protocol over one WebSocket, JSON both ways.
//!
//! One task owns it. Commands wait for their answer; what happens on a page is told to what notes it, at once and in order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use futures_util::{SinkExt, StreamExt};
use meridian_runtime::Tasks;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::page::Seen;

/// A command is answered within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const QUEUE: usize = 16;
/// More than a WebSocket message of a page takes as text.
const MAX_MESSAGE: usize = 16 << 20;

/// What was seen of each page, by the protocol's session of it.
pub(super) type Pages = Arc<Mutex<BTreeMap<String, Arc<Mutex<Seen>>>>>;

/// Clones share the wire.
#[derive(Clone)]
pub(super) struct DevTools {
    commands: mpsc::Sender<Command>,
}

struct Command {
    page: Option<String>,
    method: &'static str,
    parameters: Value,
    answer: oneshot::Sender<Result<Value>>,
}

impl DevTools {
    /// `address` is `PORT/PATH`.
    pub(super) async fn connect(address: &str, pages: Pages, began: Instant, tasks: &Tasks) -> Result<Self> {
        let port = address.split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let url = format!("ws://127.0.0.1:{address}");
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
        let (commands, queue) = mpsc::channel(QUEUE);
        tasks.spawn_until_stop("browser's wire", run(socket, queue, pages, began));
        Ok(Self { commands })
    }

    /// Tells the browser, or one page, to do something; what it answers.
    pub(super) async fn call(
        &self,
        page: Option<&str>,
        method: &'static str,
        parameters: Value,
    ) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        let command = Command { page: page.map(str::to_owned), method, parameters, answer };
        let asked = async {
            self.commands.send(command).await.ok().context("the browser has gone")?;
            answered.await.context("the browser has gone")?
        };
        let answered = timeout(ANSWER_LIMIT, asked).await;
        answered
            .with_context(|| format!("the browser did not answer within {ANSWER_LIMIT:?}"))
            .flatten()
            .context(method)
    }
}

async fn run(
    socket: WebSocketStream<TcpStream>,
    mut queue: mpsc::Receiver<Command>,
    pages: Pages,
    began: Instant,
) {
    let (mut writer, mut reader) = socket.split();
    let mut waiting = HashMap::<u64, oneshot::Sender<Result<Value>>>::new();
    let mut last = 0;
    loop {
        tokio::select! {
            command = queue.recv() => {
                let Some(Command { page, method, parameters, answer }) = command else { return };
                last += 1;
                waiting.insert(last, answer);
                let mut message = json!({"id": last, "method": method, "params": parameters});
                if let Some(page) = page {
                    message["sessionId"] = page.into();
                }
                if writer.send(Message::text(message.to_string())).await.is_err() {
                    return;
                }
            }
            message = reader.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(message) = serde_json::from_slice::<Value>(&message.into_data()) else { continue };
                match message["id"].as_u64().and_then(|id| waiting.remove(&id)) {
                    // Who asked may have given up.
                    Some(answer) => drop(answer.send(answer_of(message))),
                    None => tell(&pages, &message, began.elapsed()),
                }
            }
        }
    }
}

fn answer_of(mut message: Value) -> Result<Value> {
    match message.get("error") {
        Some(error) => Err(anyhow!("{}", error["message"].as_str().unwrap_or("it refused"))),
        None => Ok(message["result"].take()),
    }
}

fn tell(pages: &Pages, event: &Value, now: Duration) {
    let page = event["sessionId"].as_str().unwrap_or_default();
    let seen = pages.lock().unwrap_or_else(PoisonError::into_inner).get(page).cloned();
    if let (Some(seen), Some(method)) = (seen, event["method"].as_str()) {
        seen.lock().unwrap_or_else(PoisonError::into_inner).hear(method, &event["params"], now);
    }
}
