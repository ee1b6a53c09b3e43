//! What goes wrong behind the proxy: the browser reads which hop it was.

use meridian_settings::ProxySettings;
use tokio::net::TcpListener;

use crate::{
    agent::Upgrading,
    browser::Browser,
    web::Answering,
    world::{World, wait_for},
};

impl World {
    /// Asks for a stream that is refused: status, code, hop.
    async fn fails(&self) -> (u16, String, String) {
        let answer = Browser::ask(self.address(), self.request(&self.ticket())).await;
        let error = answer.error();
        assert!(!error.message.is_empty());
        self.wait_until_quiet().await;
        (answer.status, error.code, error.hop.unwrap_or_default())
    }

    fn answering(&self, answering: Answering) {
        self.web.state.lock().unwrap().answering = answering;
    }
}

fn of(status: u16, code: &str, hop: &str) -> (u16, String, String) {
    (status, code.to_owned(), hop.to_owned())
}

#[tokio::test]
async fn a_used_ticket_is_refused_in_the_web_apps_words() {
    let world = World::new().await;
    world.answering(Answering::TicketUsed);
    let answer = Browser::ask(world.address(), world.request(&world.ticket())).await;
    let error = answer.error();
    assert_eq!((answer.status, error.code.as_str(), error.hop.as_deref()), (409, "ticket_used", Some("web")));
    assert_eq!(error.message, "This ticket was used already.");
    assert_eq!(error.hint.as_deref(), Some("Reload the page."));
    assert_eq!(world.web.asked().len(), 1, "a refusal is final");
    world.wait_until_quiet().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_nonce() {
    let world = World::new().await;
    world.answering(Answering::LoseFirst);
    let (_browser, _) = world.open_stream().await;
    let asked = world.web.asked();
    assert!(asked.len() >= 2, "{}", asked.len());
    assert!(asked.iter().all(|question| question.connection_nonce == asked[0].connection_nonce));
    assert_eq!(asked[0].connection_nonce.len(), 32);
    assert_eq!(world.agent.hear(|heard| heard.dialled), 1, "the dial is not repeated");
}

#[tokio::test]
async fn a_web_app_that_cannot_answer_is_named() {
    let world = World::with(|settings| ProxySettings { authorize_wait_s: 1, ..settings }).await;
    world.answering(Answering::Unavailable);
    assert_eq!(world.fails().await, of(503, "database_away", "database"));
    assert!(world.web.asked().len() > 1, "it was tried again");
    world.answering(Answering::Never);
    assert_eq!(world.fails().await, of(504, "web_silent", "web"));
    world.answering(Answering::OtherAgent);
    assert_eq!(world.fails().await, of(502, "web_answer", "web"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.web.change(|state| state.zone.upstream_auth_address = format!("http://{nobody}"));
    world.heartbeat().await;
    assert_eq!(world.fails().await, of(502, "web_unreachable", "web"));
}

#[tokio::test]
async fn an_agent_that_cannot_be_used_is_named() {
    let world = World::with(|settings| ProxySettings { dial_wait_s: 1, ..settings }).await;
    for (upgrading, expected) in [
        (Upgrading::Refuse, of(403, "grant_used", "agent")),
        (Upgrading::WrongAccept, of(502, "agent_answer", "agent")),
        (Upgrading::Silent, of(504, "agent_silent", "agent")),
    ] {
        world.agent.hear(|heard| heard.upgrading = upgrading);
        assert_eq!(world.fails().await, expected);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.web.change(|state| state.agents[0].address = nobody.to_string());
    world.heartbeat().await;
    assert_eq!(world.fails().await, of(502, "agent_unreachable", "agent"));
    // The Web App's node listener has a certificate of the deployment, but not this agent's.
    let wrong = world.web.nodes.to_string();
    world.web.change(|state| state.agents[0].address = wrong);
    world.heartbeat().await;
    assert_eq!(world.fails().await, of(502, "agent_unreachable", "agent"));
    let asked = world.web.asked().len();
    world.web.change(|state| state.agents.clear());
    world.heartbeat().await;
    assert_eq!(world.fails().await, of(503, "agent_unknown", "proxy"));
    assert_eq!(world.web.asked().len(), asked, "no ticket is spent where no agent is known");
}

#[tokio::test]
async fn a_browser_that_leaves_while_the_web_app_is_asked_leaves_nothing_behind() {
    let world = World::with(|settings| ProxySettings { authorize_wait_s: 60, ..settings }).await;
    world.answering(Answering::Never);
    let mut browser = Browser::open(world.address()).await;
    browser.send(world.request(&world.ticket())).await;
    wait_for("the question and the dial", || {
        !world.web.asked().is_empty() && world.agent.hear(|heard| heard.open) == 1
    })
    .await;
    drop(browser);
    world.wait_until_quiet().await;
    assert_eq!(world.proxy.metrics.left(), 1);
}
