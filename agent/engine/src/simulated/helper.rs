//! The helper of a simulated workspace: ready at once, with a clipboard of one text.

use std::{io, path::Path, sync::Arc};

use meridian_runtime::Tasks;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::{Inside, display::listen, lock};

pub(super) fn serve(leaf: &Path, inside: Arc<Inside>, tasks: &Tasks) -> io::Result<()> {
    let listener = listen(leaf, "helper.sock")?;
    let agents = tasks.clone();
    tasks.spawn_until_stop("simulated helper", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let inside = Arc::clone(&inside);
            agents.spawn_until_stop("simulated helper's agent", async move {
                let _ = speak(socket, &inside).await;
            });
        }
    });
    Ok(())
}

async fn speak(socket: UnixStream, inside: &Inside) -> io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut copies = inside.copies.subscribe();
    send(&mut writer, &json!({"type": "ready", "ready": true})).await?;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let message: Value = serde_json::from_str(&line)?;
                if let (Some("text"), Some(text)) = (message["type"].as_str(), message["text"].as_str()) {
                    lock(&inside.texts).push(text.into());
                }
            }
            changed = copies.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let text = copies.borrow_and_update().clone();
                send(&mut writer, &json!({"type": "text", "text": text})).await?;
            }
        }
    }
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), message: &Value) -> io::Result<()> {
    writer.write_all(format!("{message}\n").as_bytes()).await
}
