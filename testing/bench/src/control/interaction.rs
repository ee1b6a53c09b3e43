//! The hot interactions: how each is asked of the Web App, and which of its statements that runs.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Method;
use meridian_control::store::{explain, images, logins, nodes, sessions};
use meridian_model::Resources;
use meridian_runtime::VERSION;
use meridian_wire::{
    AgentReport, Heartbeat, ImageReport, Observation, ObservedSession, TICKET_PROTOCOL_PREFIX, node_paths,
};
use serde_json::{Value, json};

use super::{
    client::{Call, Calls, Client, Connection, call},
    joined::{ADDRESS, Joined},
    site::{ADMINISTRATOR, Doors, IMAGE_ID, IMAGES, NETWORK_MODES, ROOM, Site, WORKSPACE},
    statement::{fill, json as json_value, text, token_hash, uuid},
};

/// Connections that ask at once: twice as many as the Web App has to its database, so that neither waits for the other.
const ASKING: usize = 32;
/// Those of pgbench, as many as the Web App has.
pub(super) const CONNECTIONS: usize = 16;
/// Variants of a statement that pgbench takes turns with.
const SCRIPTS: usize = 64;
const PAGE: i32 = 100;
const CELLS: i32 = 1000;
const CANDIDATES: i32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interaction {
    Launch,
    Connect,
    Authorize,
    Heartbeat,
    Explain,
    ImageMatrix,
}

impl Interaction {
    /// In this order: streams are authorised with the tickets that connecting gave.
    pub(super) const ALL: [Self; 6] =
        [Self::Launch, Self::Connect, Self::Authorize, Self::Heartbeat, Self::Explain, Self::ImageMatrix];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Connect => "connect",
            Self::Authorize => "authorize",
            Self::Heartbeat => "heartbeat",
            Self::Explain => "explain",
            Self::ImageMatrix => "image_matrix",
        }
    }

    /// Those who ask at a Web App's doors; `tickets` are what [`Interaction::Connect`] was answered.
    pub(super) async fn clients(
        self,
        site: &Site,
        doors: Doors,
        tickets: &[Bytes],
    ) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        if self == Self::Heartbeat {
            for agent in &site.agents {
                let connection = Connection::open(doors.nodes, Some(&agent.tls), &site.tasks).await?;
                let beat = serde_json::to_vec(&heartbeat(site, agent).await?)?;
                let asked = call(Method::POST, node_paths::HEARTBEAT, None, Some(beat))?;
                clients.push(Client { connection, calls: Calls::again(vec![asked]) });
            }
            return Ok(clients);
        }
        for number in 0..ASKING {
            let calls = match self {
                Self::Authorize => {
                    let mine = tickets.iter().skip(number).step_by(ASKING);
                    Calls::Once(
                        mine.map(|answer| question(site, answer)).collect::<anyhow::Result<VecDeque<_>>>()?,
                    )
                }
                Self::Launch | Self::Connect | Self::Heartbeat | Self::Explain | Self::ImageMatrix => {
                    Calls::again(self.calls(site, number)?)
                }
            };
            let connection = Connection::open(doors.public, None, &site.tasks).await?;
            clients.push(Client { connection, calls });
        }
        Ok(clients)
    }

    fn calls(self, site: &Site, number: usize) -> anyhow::Result<Vec<Call>> {
        let zone = in_turn(&site.zones, number);
        Ok(match self {
            Self::Launch => {
                let body = serde_json::to_vec(&json!({"workspace_id": site.workspace, "zone": zone}))?;
                let mine = site.people.iter().skip(number).step_by(ASKING);
                let launch = |person: &String| {
                    call(Method::POST, "/api/v1/sessions", Some(person), Some(body.clone()))
                };
                mine.map(launch).collect::<anyhow::Result<_>>()?
            }
            Self::Connect => {
                let body = serde_json::to_vec(&json!({"transport": "binary"}))?;
                let mine = site.running.iter().skip(number).step_by(ASKING);
                let connect = |session: &super::site::Running| {
                    let path = format!("/api/v1/sessions/{}/connect", session.id);
                    call(Method::POST, &path, Some(&session.user_name), Some(body.clone()))
                };
                mine.map(connect).collect::<anyhow::Result<_>>()?
            }
            Self::Explain => {
                let path = format!("/api/v1/explain?workspace={WORKSPACE}&zone={zone}");
                vec![call(Method::GET, &path, Some(ADMINISTRATOR), None)?]
            }
            Self::ImageMatrix => vec![call(Method::GET, "/api/v1/images", Some(ADMINISTRATOR), None)?],
            // Theirs are made where their connections are.
            Self::Authorize | Self::Heartbeat => Vec::new(),
        })
    }

    /// What the Web App asks its database for one such interaction, with the values of some that are measured.
    pub(super) async fn statements(self, site: &Site) -> anyhow::Result<Vec<String>> {
        let null = || "NULL".to_owned();
        let caller = fill(logins::WHOAMI, &[token_hash(ADMINISTRATOR)]);
        let context =
            json_value(&json!({"host": "bench.meridian", "node_zone": null, "home": "persistent"}))?;
        let random = || "gen_random_uuid()".to_owned();
        Ok(match self {
            Self::Launch => {
                let launch = |(number, person): (usize, &String)| {
                    let zone = text(in_turn(&site.zones, number));
                    let values = [
                        token_hash(person),
                        random(),
                        uuid(site.workspace),
                        zone,
                        null(),
                        text(""),
                        text(""),
                        context.clone(),
                    ];
                    fill(sessions::LAUNCH, &values)
                };
                site.people.iter().enumerate().map(launch).collect()
            }
            Self::Connect => {
                let connect = |session: &super::site::Running| {
                    fill(sessions::CONNECT, &[token_hash(&session.user_name), uuid(session.id)])
                };
                site.running.iter().take(SCRIPTS).map(connect).collect()
            }
            Self::Authorize => {
                let authorize = |session: &super::site::Running| {
                    let (proxy, zone) = (uuid(site.proxy.node), uuid(site.proxy.zone));
                    let (session_id, user, agent) =
                        (uuid(session.id), uuid(session.user), uuid(session.agent));
                    let nonce = text(&"0".repeat(32));
                    let (epoch, generation) = ("1".to_owned(), "1".to_owned());
                    let values = [
                        proxy,
                        zone,
                        random(),
                        nonce,
                        session_id,
                        user,
                        agent,
                        epoch,
                        generation,
                        random(),
                        text(""),
                        text(""),
                    ];
                    fill(sessions::AUTHORIZE, &values)
                };
                site.running.iter().take(SCRIPTS).map(authorize).collect()
            }
            Self::Heartbeat => {
                let mut beats = Vec::new();
                for agent in &site.agents {
                    let beat = heartbeat(site, agent).await?;
                    let values = [
                        uuid(agent.node),
                        beat.since.to_string(),
                        text(&beat.version),
                        text(&beat.address),
                        json_value(&beat.agent)?,
                        json_value(&beat.problems)?,
                        null(),
                    ];
                    beats.push(fill(nodes::HEARTBEAT, &values));
                }
                beats
            }
            Self::Explain => {
                let explain = |zone: &String| {
                    let (user, workspace, zone) = (uuid(site.administrator), text(WORKSPACE), text(zone));
                    let values = [user, workspace, zone, context.clone(), "0".into(), CANDIDATES.to_string()];
                    format!("{caller};\n{}", fill(explain::PREVIEW, &values))
                };
                site.zones.iter().take(SCRIPTS).map(explain).collect()
            }
            Self::ImageMatrix => {
                let matrix = fill(
                    images::MATRIX,
                    &[null(), null(), null(), null(), PAGE.to_string(), CELLS.to_string()],
                );
                vec![format!("{caller};\n{matrix}")]
            }
        })
    }
}

fn in_turn(zones: &[String], number: usize) -> &str {
    zones.get(number % zones.len().max(1)).map_or("", String::as_str)
}

/// A proxy's question about the ticket in an answer to a connect.
fn question(site: &Site, answer: &Bytes) -> anyhow::Result<Call> {
    let answer: Value = serde_json::from_slice(answer)?;
    let offered = answer["protocols"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let ticket = offered.filter_map(|protocol| protocol.strip_prefix(TICKET_PROTOCOL_PREFIX)).next();
    site.proxy.question(ticket.ok_or_else(|| anyhow::anyhow!("there is no ticket in {answer}"))?)
}

/// What an agent says every two seconds while its sessions run and nothing changes.
async fn heartbeat(site: &Site, agent: &Joined) -> anyhow::Result<Heartbeat> {
    let known =
        site.sql.query_one("SELECT desired_version FROM nodes WHERE id = $1", &[&agent.node.0]).await?;
    let runs = |session: &super::site::Running| ObservedSession {
        session_id: session.id,
        epoch: 1,
        generation: 1,
        observation: Observation::Running,
        streams: 1,
        active_at: None,
    };
    let images = IMAGES.map(|image| ImageReport { reference: image.into(), image_id: IMAGE_ID.into() });
    let report = AgentReport {
        total: Resources { cpu_milli: ROOM, memory_mb: ROOM },
        images: images.into(),
        sessions: site.running.iter().filter(|session| session.agent == agent.node).map(runs).collect(),
        home_storage: "quota".into(),
        network_modes: NETWORK_MODES.map(String::from).into(),
        reports_activity: true,
        ..AgentReport::default()
    };
    Ok(Heartbeat {
        since: known.get(0),
        epoch: 1,
        version: VERSION.to_owned(),
        address: ADDRESS.into(),
        agent: Some(report),
        problems: Vec::new(),
        streams: None,
    })
}
