//! New configurations: what they change, and what they must not touch.

use std::{fs, path::Path};

use meridian_balancer::{Reload, start};
use meridian_runtime::{Health, Tasks};
use tokio::net::TcpListener;

use crate::world::*;

#[tokio::test]
async fn a_new_configuration_touches_no_live_connection() {
    let (old, new) = (echo_backend("old").await, echo_backend("new").await);
    let Balance { bound, .. } = balance(&rule(None, &[old.address])).await;
    let mut talk = Talk::open(bound.local_addr).await;
    assert_eq!(talk.say("1").await.unwrap(), "old:1");
    bound.reload(settings(&rule(None, &[new.address]))).await.unwrap();
    assert_eq!(backend_of(bound.local_addr).await, "new");
    assert_eq!(talk.say("2").await.unwrap(), "old:2");
    assert_eq!(bound.metrics.backend_is_in("any", &old.address.to_string()), None, "its series are gone");
}

#[tokio::test]
async fn many_connections_outlive_many_configurations() {
    let (one, other) = (echo_backend("one").await, echo_backend("other").await);
    let Balance { bound, .. } = balance(&rule(None, &[one.address])).await;
    let mut talks: Vec<(Talk, &str)> = Vec::new();
    for round in 0..12 {
        let (name, address) = if round % 2 == 0 { ("one", one.address) } else { ("other", other.address) };
        let rules = if round % 3 == 2 { rule(Some("web.meridian"), &[address]) } else { String::new() };
        bound.reload(settings(&(rules + &rule(None, &[address])))).await.unwrap();
        for _ in 0..5 {
            talks.push((Talk::open(bound.local_addr).await, name));
        }
        for (talk, name) in &mut talks {
            assert_eq!(talk.say("x").await.unwrap(), format!("{name}:x"));
        }
    }
    assert_eq!(bound.metrics.open(), 60);
}

#[tokio::test]
async fn a_draining_backend_keeps_its_connections_and_gets_no_new_ones() {
    let (one, other) = (echo_backend("one").await, echo_backend("other").await);
    let Balance { bound, .. } = balance(&rule(None, &[one.address])).await;
    let mut talk = Talk::open(bound.local_addr).await;
    talk.say("1").await.unwrap();
    let draining = format!(
        "[[route]]\nbackend = [{{ address = \"{}\", drain = true }}, {{ address = \"{}\" }}]",
        one.address, other.address
    );
    bound.reload(settings(&draining)).await.unwrap();
    for _ in 0..6 {
        assert_eq!(backend_of(bound.local_addr).await, "other");
    }
    assert_eq!(talk.say("2").await.unwrap(), "one:2");
}

#[tokio::test]
async fn addresses_come_and_go_with_the_configuration() {
    let backend = echo_backend("b").await;
    let own = "[::1]:0".parse().unwrap();
    let both =
        rule(None, &[backend.address]) + "[[route]]\nlisten = \"[::1]:0\"\n" + &backends(&[backend.address]);
    let Balance { bound, .. } = balance(&rule(None, &[backend.address])).await;
    assert_eq!(bound.address_of(own).await, None);
    bound.reload(settings(&both)).await.unwrap();
    let address = bound.address_of(own).await.unwrap();
    let mut talk = Talk::open(address).await;
    assert_eq!(talk.say("1").await.unwrap(), "b:1");
    bound.reload(settings(&rule(None, &[backend.address]))).await.unwrap();
    assert_eq!(talk.say("2").await.unwrap(), "b:2");
    let gone = async {
        // The listener's own task closes it.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the address' end", gone).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_changes_nothing() {
    let backend = echo_backend("b").await;
    let Balance { bound, .. } = balance(&rule(None, &[backend.address])).await;
    let taken = TcpListener::bind("[::1]:0").await.unwrap();
    let listen = format!("[[route]]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    let wanted = rule(None, &[nobody().await]) + &listen + &backends(&[backend.address]);
    let error = bound.reload(settings(&wanted)).await.unwrap_err();
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    assert!(bound.reload(settings("route = []")).await.is_err());
    assert_eq!(backend_of(bound.local_addr).await, "b");
    assert_eq!(bound.metrics.reloads(Reload::Refused), 2);
}

/// Puts a whole new file in place, as editors and configuration tools do.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, format!("listen = \"127.0.0.1:0\"\n{text}")).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn the_file_is_followed_and_a_bad_one_is_refused() {
    let (old, new) = (echo_backend("old").await, echo_backend("new").await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("balance.toml");
    replace(&path, &rule(None, &[old.address]));
    let (tasks, health) = (Tasks::new(), Health::default());
    let bound = start(meridian_settings::read_file(&path).unwrap(), &tasks, &health).await.unwrap();
    bound.follow(path.clone(), &tasks).unwrap();
    let mut talk = Talk::open(bound.local_addr).await;
    assert_eq!(talk.say("1").await.unwrap(), "old:1");

    replace(&path, &rule(None, &[new.address]));
    wait_for("the new rules", || bound.metrics.reloads(Reload::Applied) == 1).await;
    assert_eq!(backend_of(bound.local_addr).await, "new");

    for (count, bad) in [(1, "speed = 9\nroute = []"), (2, "route = []")] {
        replace(&path, bad);
        wait_for("the refusal", || bound.metrics.reloads(Reload::Refused) == count).await;
    }
    assert_eq!(backend_of(bound.local_addr).await, "new");
    // The signal has the file read though it did not change.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    wait_for("another refusal", || bound.metrics.reloads(Reload::Refused) == 3).await;

    assert_eq!(talk.say("2").await.unwrap(), "old:2");
    assert_eq!(bound.metrics.reloads(Reload::Applied), 1);
}
