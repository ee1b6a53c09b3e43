//! A change of policy cuts the streams it concerns, with whatever was granted before it was written down.

mod support;

use anyhow::Result;
use jiff::Timestamp;
use meridian_wire::Observation;
use support::{FakeProxy, Site};

/// Grants a stream of a session while a transaction that began before has yet to run `statement`, which is made of the session's id.
async fn assert_cut(statement: impl Fn(&str) -> String) -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let agent = site.agent("london", 4).await?;
    let proxy = FakeProxy::enroll(&site).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;

    let mut sql = site.sql().await?;
    let change = sql.transaction().await?;
    // The transaction's time is of now; what it changes is not seen by anybody until its end.
    change.execute("SELECT now()", &[]).await?;
    proxy.authorize(&admin, &format!("/api/v1/sessions/{session}/connect")).await?;
    change.execute(&statement(&session), &[]).await?;
    change.commit().await?;
    let times = "SELECT u.granted_at, s.cut_before FROM ticket_uses u, sessions s WHERE s.id::text = $1";
    let row = sql.query_one(times, &[&session]).await?;
    let (granted, cut): (Timestamp, Option<Timestamp>) = (row.get(0), row.get(1));
    assert!(cut.is_some_and(|cut| cut > granted), "granted at {granted}, cut before {cut:?}");
    Ok(())
}

#[tokio::test]
async fn a_grant_made_between_a_changes_beginning_and_its_end_is_cut_with_those_before() -> Result<()> {
    assert_cut(|_| "SELECT cut_changed_streams_v1(NULL, '{}')".into()).await
}

#[tokio::test]
async fn a_grant_made_while_an_end_waits_is_cut_with_the_session() -> Result<()> {
    // As if it had waited for a lock since.
    assert_cut(|session| format!("SELECT order_end_v1('{session}', 'a test ends it')")).await
}
