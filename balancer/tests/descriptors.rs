//! A balancer without a descriptor for a pipe copies. A test of its own, because the limit is the whole process's.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use meridian_balancer::start;
use meridian_runtime::{Health, Tasks};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const LIMIT: Duration = Duration::from_secs(20);
const BYTES: usize = 8 << 20;

/// Sends as much as makes bulk of it, and reads it at the other end.
async fn send(from: &mut TcpStream, to: &mut TcpStream) {
    let sent: Vec<u8> = (0..BYTES).map(|at| (at / 7) as u8).collect();
    let mut heard = vec![0; BYTES];
    let both = async { tokio::join!(from.write_all(&sent), to.read_exact(&mut heard)) };
    let (wrote, read) = tokio::time::timeout(LIMIT, both).await.unwrap();
    wrote.unwrap();
    read.unwrap();
    assert!(heard == sent, "what came differs from what was sent");
}

#[tokio::test]
async fn without_descriptors_bulk_is_copied_and_with_some_again_it_is_spliced() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!(
        "listen = \"127.0.0.1:0\"\nmax_pipes = 8\n[[route]]\nbackend = [{{ address = \"{}\" }}]\n",
        backend.local_addr().unwrap()
    );
    let tasks = Tasks::new();
    // Checks dial the backend as well, and say nothing.
    let balancer = start(toml::from_str(&text).unwrap(), &tasks, &Health::default()).await.unwrap();
    let mut client = TcpStream::connect(balancer.local_addr).await.unwrap();
    client.write_all(b"here").await.unwrap();
    let mut server = loop {
        let (mut socket, _) = backend.accept().await.unwrap();
        let mut word = [0; 4];
        if socket.read_exact(&mut word).await.is_ok() {
            break socket;
        }
    };
    let before = getrlimit(Resource::Nofile);
    // The lowest one that is free: all below are taken.
    let next = rustix::io::dup(&backend).unwrap();
    let none = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&next)).unwrap();
    drop(next);
    setrlimit(Resource::Nofile, Rlimit { current: Some(none), ..before }).unwrap();
    send(&mut client, &mut server).await;
    assert_eq!(balancer.metrics.spliced(), 0);
    setrlimit(Resource::Nofile, before).unwrap();
    send(&mut client, &mut server).await;
    assert!(balancer.metrics.spliced() > 0);
    // The way back as well, and after both have ended nothing is held.
    send(&mut server, &mut client).await;
    drop((client, server));
    assert!(tasks.stop(LIMIT).await);
    assert_eq!(balancer.metrics.pipes_held(), 0);
}
