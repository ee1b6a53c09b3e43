//! One connection: both directions at once, each message counted, held or lost.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::sleep,
};

use super::{
    Socket, State,
    message::{Framer, Kind, Message},
};

/// No encryption here.
const NO: &[u8] = b"N";

pub(super) async fn relay(client: Box<dyn Socket>, server: Box<dyn Socket>, state: &State) -> Result<()> {
    let (mut from_client, mut to_client) = split(client);
    let (from_server, mut to_server) = split(server);
    let mut framer = Framer::of_client();
    let Some(first) = first_message(&mut framer, &mut from_client, &mut to_client).await? else {
        return Ok(());
    };
    send(&mut to_server, &first, state).await?;
    if first.kind == Kind::Cancel {
        // The server answers nothing and closes.
        let mut from_server = from_server;
        tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await?;
        return Ok(());
    }
    tokio::select! {
        done = forward(framer, from_client, to_server, state) => done,
        done = backward(from_server, to_client, state) => done,
    }
}

/// The startup message or a cancel request, after any wish for encryption was refused.
async fn first_message(
    framer: &mut Framer,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<Message>> {
    loop {
        match framer.next(from).await? {
            Some(message) if message.kind == Kind::AsksEncryption => to.write_all(NO).await?,
            other => return Ok(other),
        }
    }
}

async fn forward(
    mut framer: Framer,
    mut from: ReadHalf<Box<dyn Socket>>,
    mut to: WriteHalf<Box<dyn Socket>>,
    state: &State,
) -> Result<()> {
    while let Some(message) = framer.next(&mut from).await? {
        state.count(|counts| match message.kind {
            Kind::Typed(b'Q') => counts.queries += 1,
            Kind::Typed(b'P') => counts.parses += 1,
            Kind::Typed(b'E') => counts.executes += 1,
            Kind::Typed(b'S') => counts.syncs += 1,
            Kind::Typed(b'H') => counts.flushes += 1,
            Kind::Typed(_) | Kind::AsksEncryption | Kind::Cancel | Kind::Startup => {}
        });
        send(&mut to, &message, state).await?;
    }
    Ok(())
}

async fn backward(
    mut from: ReadHalf<Box<dyn Socket>>,
    mut to: WriteHalf<Box<dyn Socket>>,
    state: &State,
) -> Result<()> {
    let mut framer = Framer::of_server();
    let mut started = false;
    // What is held back until the turn-around's end shows whether it is lost.
    let mut held: Vec<Message> = Vec::new();
    while let Some(message) = framer.next(&mut from).await? {
        let ready = message.kind == Kind::Typed(b'Z');
        if ready {
            state.count(|counts| if started { counts.ready += 1 } else { counts.connections += 1 });
        }
        let losing = state.losing().filter(|_| started);
        let delay = if started { state.delay() } else { Duration::ZERO };
        started |= ready;
        held.push(message);
        if losing.is_some() && ready && is_lost(&held, state) {
            bail!("the answer is lost");
        }
        if ready {
            sleep(delay).await;
        }
        if losing.is_none() && delay.is_zero() || ready || cannot_wait(&held) {
            for message in held.drain(..) {
                send(&mut to, &message, state).await?;
            }
        }
    }
    for message in held {
        send(&mut to, &message, state).await?;
    }
    Ok(())
}

/// A client in the middle of a COPY waits for the server's word before it goes on; a notification belongs to no answer.
fn cannot_wait(held: &[Message]) -> bool {
    let asks_client = matches!(held.last().map(|last| last.kind), Some(Kind::Typed(b'G' | b'H' | b'W')));
    asks_client || held.iter().all(|message| message.kind == Kind::Typed(b'A'))
}

fn is_lost(answer: &[Message], state: &State) -> bool {
    state.loses(|command| {
        let mut ends = answer.iter().filter(|message| message.kind == Kind::Typed(b'C'));
        ends.any(|end| command.is_none_or(|command| end.body() == command))
    })
}

async fn send(to: &mut (impl AsyncWrite + Unpin), message: &Message, state: &State) -> Result<()> {
    let mut stalled = state.stalled.subscribe();
    stalled.wait_for(|stalled| !stalled).await?;
    Ok(to.write_all(&message.bytes).await?)
}
