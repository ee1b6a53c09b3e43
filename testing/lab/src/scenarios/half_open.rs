//! Connections whose other end is silent: half of them say nothing at all, half stop within a request. They must be shed in time, without a
//! stream noticing and without new viewers being kept out.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    site::{EACH, LONDON, Part},
    stage::Stage,
};

const CONNECTIONS: usize = 400;
/// Longer than any wait for a client's first words.
const SHED_LIMIT: Duration = Duration::from_secs(40);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "half_open",
    about: "400 connections to the zone's entries say nothing, or stop within a TLS handshake, and are held open",
    promise: Promise::Untouched,
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    stage.strike(|_| Ok(()))?;
    let mut silent = Vec::new();
    for index in 0..CONNECTIONS {
        let entry = Part::entry(LONDON, u8::try_from(index % usize::from(EACH)).unwrap_or_default() + 1);
        let mut socket = TcpStream::connect((entry.ops().ip(), 443)).await?;
        if index % 4 < 2 {
            // The beginning of a handshake record that never comes.
            socket.write_all(&[22, 3, 1, 2, 0, 1]).await?;
        }
        silent.push(socket);
    }
    let another = stage.launch_another().await;
    stage.expect(another.is_ok(), "a new viewer was kept out");
    let mut shed = 0;
    let all = async {
        for socket in &mut silent {
            let mut byte = [0; 64];
            // An alert may come before the end.
            while socket.read(&mut byte).await.is_ok_and(|length| length > 0) {}
            shed += 1;
        }
    };
    let _ = timeout(SHED_LIMIT, all).await;
    let took = stage.since_strike();
    stage.note("shed", f64::from(shed));
    stage.note("shed_after_s", took.as_secs_f64());
    stage.expect(
        shed as usize == CONNECTIONS,
        format!("{shed} of {CONNECTIONS} silent connections were shed"),
    );
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
