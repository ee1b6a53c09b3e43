//! An agent of the site's zone, as far as the Web App hears of it.

use anyhow::Result;
use meridian_identity::NodeKey;
use meridian_ids::NodeId;
use meridian_model::Resources;
use meridian_wire::{
    AgentReport, EnrollRequest, EnrollResponse, Heartbeat, ImageReport, ObservedSession, public_paths,
};

use super::Site;

pub struct Agent {
    node: NodeId,
    report: AgentReport,
}

impl Agent {
    /// Joins `agent-london`, which has room, the images `meridian/NAME:dev` of these names, and has been heard of.
    pub async fn join(site: &Site, images: &[&str]) -> Result<Self> {
        let token = site.admin(None, &["nodes", "enroll", "--zone", "london", "--role", "agent"], "").await;
        let enroll = EnrollRequest {
            token: token.out.trim().to_owned(),
            name: "agent-london".into(),
            csr_pem: NodeKey::generate()?.request_pem()?,
            address: "127.0.0.1:1".into(),
            version: "0.1.0".into(),
        };
        let address = format!("http://{}{}", site.web.address, public_paths::ENROLL);
        let joined = reqwest::Client::new().post(address).json(&enroll).send().await?.error_for_status()?;
        let node = joined.json::<EnrollResponse>().await?.node_id;
        let image = |name: &&str| ImageReport {
            reference: format!("meridian/{name}:dev"),
            image_id: "sha256:0".into(),
        };
        let report = AgentReport {
            total: Resources { cpu_milli: 8000, memory_mb: 32_768 },
            images: images.iter().map(image).collect(),
            network_modes: vec!["none".into(), "internet".into()],
            reports_activity: true,
            watches: Some(Vec::new()),
            ..AgentReport::default()
        };
        let agent = Self { node, report };
        agent.beat(site, Vec::new()).await?;
        Ok(agent)
    }

    /// It says that these sessions are on it.
    pub async fn beat(&self, site: &Site, sessions: Vec<ObservedSession>) -> Result<()> {
        let beat = Heartbeat {
            since: 0,
            epoch: 0,
            version: "0.1.0".into(),
            address: "127.0.0.1:1".into(),
            agent: Some(AgentReport { sessions, ..self.report.clone() }),
            problems: Vec::new(),
            streams: None,
        };
        site.web.state.store.heartbeat(self.node, &beat).await?;
        Ok(())
    }
}
