//! Images ahead of need, and launches that wait for theirs, over the simulated engine.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{Bench, IMAGE, run, wait_for};
use meridian_engine::Faults;
use meridian_ids::SessionId;
use meridian_model::ProgressStep;
use meridian_wire::{Command, ImageOrders, ImageState, Observation, RegistryLogin, RegistryPassword};

const ONE: &str = "registry.example.org/one:1";
const TWO: &str = "registry.example.org/two:1";
const THREE: &str = "registry.example.org/three:1";

fn orders(version: &str, images: &[&str], password: Option<&str>) -> ImageOrders {
    let login = |password: &str| RegistryLogin {
        host: "registry.example.org".into(),
        username: "puller".into(),
        password: RegistryPassword::new(password.into()),
    };
    ImageOrders {
        version: version.into(),
        images: images.iter().map(|image| (*image).to_owned()).collect(),
        registries: password.map(login).into_iter().collect(),
    }
}

async fn stands(bench: &Bench, reference: &str, wanted: impl Fn(&ImageState) -> bool) -> ImageState {
    wait_for(&format!("how {reference} stands"), || {
        let standings = bench.control.standings();
        let found = standings.into_iter().find(|standing| standing.reference == reference);
        found.map(|standing| standing.state).filter(|state| wanted(state))
    })
    .await
}

/// A session of an image.
fn order_session(bench: &Bench, image: &str) -> SessionId {
    let session = SessionId::generate();
    let mut order = run(session, 1, 1);
    let Command::Run { spec } = &mut order.command else { unreachable!() };
    spec.image = image.into();
    bench.control.order(order);
    session
}

#[tokio::test]
async fn what_the_zone_wants_is_loaded_ahead_of_need_two_at_a_time() {
    let bench = Bench::new().await;
    for image in [ONE, TWO, THREE] {
        bench.daemon.publish(image, 5 << 20, None);
    }
    bench.daemon.set_faults(Faults { pulls_held: true, ..Faults::default() });
    bench.control.want_images(orders("1", &[ONE, TWO, THREE, IMAGE], None));
    stands(&bench, IMAGE, |state| matches!(state, ImageState::Present { .. })).await;
    let half = ImageState::Pulling { done_bytes: 5 << 19, total_bytes: 5 << 20 };
    // By name: those that are wanted have no other order.
    stands(&bench, ONE, |state| *state == half).await;
    stands(&bench, THREE, |state| *state == half).await;
    stands(&bench, TWO, |state| *state == ImageState::Queued).await;
    bench.daemon.set_faults(Faults::default());
    for image in [ONE, TWO, THREE] {
        let state = stands(&bench, image, |state| matches!(state, ImageState::Present { .. })).await;
        assert!(
            matches!(state, ImageState::Present { size_bytes, .. } if size_bytes == 5 << 20),
            "{state:?}"
        );
        wait_for("it is among the node's images", || {
            let images = bench.control.last_heartbeat()?.agent?.images;
            images.iter().any(|known| known.reference == image).then_some(())
        })
        .await;
    }
    assert_eq!(bench.daemon.most_pulls(), 2);
    // Somebody tidies up: it is loaded again.
    bench.daemon.set_faults(Faults { pulls_held: true, ..Faults::default() });
    bench.daemon.forget_image(ONE);
    stands(&bench, ONE, |state| *state == half).await;
    bench.daemon.set_faults(Faults::default());
    stands(&bench, ONE, |state| matches!(state, ImageState::Present { .. })).await;
    bench.end().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_had_says_why_is_tried_again_and_comes_with_the_right_login() {
    let bench = Bench::new().await;
    bench.daemon.publish(ONE, 1 << 20, Some(("puller", "right")));
    bench.control.want_images(orders("1", &[ONE, TWO], Some("wrong")));
    let failed = |reason: &'static str| move |state: &ImageState| matches!(state, ImageState::Failed { reason: said, tries, .. } if said.contains(reason) && *tries > 0);
    stands(&bench, ONE, failed("refuses the login")).await;
    stands(&bench, TWO, failed("does not have")).await;
    let again = |state: &ImageState| matches!(state, ImageState::Failed { tries, .. } if *tries > 1);
    stands(&bench, TWO, again).await;
    bench.control.want_images(orders("2", &[ONE, TWO], Some("right")));
    stands(&bench, ONE, |state| matches!(state, ImageState::Present { .. })).await;
    // What is no longer wanted is not spoken of.
    bench.control.want_images(orders("3", &[], None));
    wait_for("nothing to say", || bench.control.standings().is_empty().then_some(())).await;
    bench.end().await;
}

#[tokio::test]
async fn a_session_waits_for_its_image_sees_how_far_it_is_and_starts() {
    let bench = Bench::new().await;
    bench.daemon.publish(ONE, 8 << 20, None);
    bench.daemon.set_faults(Faults { registry_away: true, ..Faults::default() });
    let session = order_session(&bench, ONE);
    let step = |words: &'static str, wanted: Option<u8>| {
        move |seen: &Observation| {
            matches!(seen, Observation::Starting { step: ProgressStep::Image, message, percent }
                if message.contains(words) && *percent == wanted)
        }
    };
    // The registry is away: that passes, and the session waits on.
    bench.observed(session, step("does not answer; it is tried again", None)).await;
    bench.daemon.set_faults(Faults { pulls_held: true, ..Faults::default() });
    bench.observed(session, step("4 of 8 MB", Some(50))).await;
    bench.daemon.set_faults(Faults::default());
    bench.observed(session, |seen| *seen == Observation::Running).await;
    bench.end().await;
}

#[tokio::test]
async fn a_session_whose_image_cannot_be_had_fails_and_says_why() {
    let bench = Bench::new().await;
    let session = order_session(&bench, ONE);
    let failed = bench.observed(session, |seen| matches!(seen, Observation::Failed { .. })).await;
    assert!(
        matches!(&failed, Observation::Failed { reason } if reason.contains("does not have")),
        "{failed:?}"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_waits_leaves_no_pull_behind() {
    let bench = Bench::new().await;
    bench.daemon.publish(ONE, 8 << 20, None);
    bench.daemon.set_faults(Faults { pulls_held: true, ..Faults::default() });
    let session = order_session(&bench, ONE);
    stands(&bench, ONE, |state| matches!(state, ImageState::Pulling { .. })).await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    wait_for("the pull is given up", || (bench.daemon.pulls() == 0).then_some(())).await;
    bench.end().await;
}

#[tokio::test]
async fn an_image_is_loaded_from_an_archive_where_there_is_one() {
    let bench = Bench::with_settings(|settings| {
        settings.archive_directory = Some(settings.node.data.parent().unwrap().join("archives"));
    })
    .await;
    let folder = bench.folder.path().join("archives");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.tar"), archive(ONE)).unwrap();
    // No registry has it.
    bench.control.want_images(orders("1", &[ONE], None));
    stands(&bench, ONE, |state| matches!(state, ImageState::Present { .. })).await;
    bench.end().await;
}

/// As much of an archive as says what is in it.
fn archive(reference: &str) -> Vec<u8> {
    let manifest =
        serde_json::json!([{"Config": "x.json", "RepoTags": [reference], "Layers": []}]).to_string();
    let mut bytes = vec![0; 512];
    bytes[..13].copy_from_slice(b"manifest.json");
    bytes[124..136].copy_from_slice(format!("{:011o}\0", manifest.len()).as_bytes());
    bytes.extend_from_slice(manifest.as_bytes());
    bytes.resize(4096, 0);
    bytes
}

#[tokio::test]
async fn nothing_is_loaded_onto_a_disk_that_is_nearly_full() {
    // The simulated engine's disk has 50,000 MB left.
    let bench = Bench::with_settings(|settings| settings.images_keep_free_mb = 60_000).await;
    bench.daemon.publish(ONE, 1 << 20, None);
    bench.control.want_images(orders("1", &[ONE], None));
    let state = stands(&bench, ONE, |state| matches!(state, ImageState::Failed { .. })).await;
    assert!(
        matches!(&state, ImageState::Failed { reason, .. } if reason.contains("50000 MB left")),
        "{state:?}"
    );
    let disk = bench.control.last_heartbeat().unwrap().agent.unwrap().disk.unwrap();
    assert_eq!((disk.free_mb, disk.total_mb), (50_000, 100_000));
    bench.end().await;
}

#[tokio::test]
async fn an_agent_that_has_its_orders_and_nothing_new_says_nothing_of_images() {
    let bench = Bench::new().await;
    bench.control.want_images(orders("1", &[IMAGE], None));
    stands(&bench, IMAGE, |state| matches!(state, ImageState::Present { .. })).await;
    wait_for("a heartbeat that says nothing of images", || {
        let report = bench.control.last_heartbeat()?.agent?;
        (report.images_version.as_deref() == Some("1") && report.standings.is_none()).then_some(())
    })
    .await;
    let told = bench.control.times_images_were_told();
    for _ in 0..2 {
        bench.heard().await;
    }
    assert_eq!(bench.control.times_images_were_told(), told, "and hears nothing of them");
    bench.end().await;
}

#[tokio::test]
async fn a_tag_that_is_there_is_asked_for_again_and_what_fails_keeps_the_image_of_before() {
    let bench = Bench::with_settings(|settings| settings.images_look_again_s = 1).await;
    bench.daemon.publish(ONE, 5 << 20, None);
    bench.control.want_images(orders("1", &[ONE], None));
    let of = |megabytes: u64| move |state: &ImageState| matches!(state, ImageState::Present { size_bytes, .. } if *size_bytes == megabytes << 20);
    stands(&bench, ONE, of(5)).await;
    bench.daemon.publish(ONE, 6 << 20, None);
    stands(&bench, ONE, of(6)).await;

    let problems = || bench.control.last_heartbeat().map(|beat| beat.problems).unwrap_or_default();
    let stale = || problems().into_iter().find(|problem| problem.code == "image_not_looked_at");
    assert_eq!(stale(), None);
    bench.daemon.set_faults(Faults { registry_away: true, ..Faults::default() });
    let said = wait_for("the node says so", stale).await.message;
    assert!(said.contains(ONE) && said.contains("does not answer"), "{said}");
    stands(&bench, ONE, of(6)).await;
    bench.daemon.publish(ONE, 7 << 20, None);
    bench.daemon.set_faults(Faults::default());
    stands(&bench, ONE, of(7)).await;
    wait_for("nothing to say", || stale().is_none().then_some(())).await;

    // A launch does not wait for whoever asks, and while something is loaded nobody does.
    bench.daemon.set_faults(Faults { pulls_held: true, ..Faults::default() });
    wait_for("it is asked for", || (bench.daemon.pulls() == 1).then_some(())).await;
    bench.daemon.publish(TWO, 1 << 20, None);
    bench.control.want_images(orders("2", &[TWO], None));
    stands(&bench, TWO, |state| matches!(state, ImageState::Pulling { .. })).await;
    wait_for("what nobody wants is not asked for", || (bench.daemon.pulls() == 1).then_some(())).await;
    bench.control.want_images(orders("3", &[ONE, TWO], None));
    stands(&bench, ONE, of(7)).await;
    for _ in 0..3 {
        bench.heard().await;
        assert_eq!(bench.daemon.pulls(), 1);
    }
    bench.daemon.set_faults(Faults::default());
    stands(&bench, TWO, |state| matches!(state, ImageState::Present { .. })).await;
    bench.end().await;
}
