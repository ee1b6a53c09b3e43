//! What relays are measured in: one agent and Web App for all, viewers, and each relay's configuration.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use meridian_runtime::Tasks;
use meridian_settings::{NodeSection, ProxySettings};
use rustls::RootCertStore;

use super::{MAX_STREAMS, peers};
use crate::{
    arena::{Arena, free_address},
    process::find,
    stand_in::StandIn,
    viewers::{PUBLIC_NAME, Viewers},
};

/// Streams beside those that are counted.
const SPARE_STREAMS: usize = 64;

/// The contenders, ready to be started, and the viewers that will come.
pub(super) async fn prepare(proxy: &[OsString], tasks: &Tasks) -> anyhow::Result<(Arena, Viewers)> {
    let mut arena = Arena::new()?;
    let stand_in = StandIn::start(tasks).await?;
    let roots = public_certificate(arena.folder())?;
    let viewers = Viewers::new(roots, stand_in.clone())?;
    let address = free_address()?;
    let mut command = proxy.to_vec();
    command.push(proxy_settings(arena.folder(), address, &stand_in)?.into());
    arena.add_own(address, command);
    let identity = stand_in.relay_identity()?;
    for peer in peers::PEERS {
        let Some(program) = find(peer.program) else { continue };
        let address = free_address()?;
        let command = (peer.prepare)(arena.folder(), address, &stand_in, &identity)?;
        let command = std::iter::once(program).chain(command).collect();
        arena.add_peer(peer.program, address, command).await;
    }
    Ok((arena, viewers))
}

/// The certificate that every relay shows to viewers, as `public.crt`, `public.key` and, both in one, `public.pem`.
fn public_certificate(folder: &Path) -> anyhow::Result<RootCertStore> {
    let made = rcgen::generate_simple_self_signed(vec![PUBLIC_NAME.to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("public.pem"), format!("{certificate}{key}"))?;
    std::fs::write(folder.join("public.crt"), certificate)?;
    std::fs::write(folder.join("public.key"), key)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    Ok(roots)
}

fn proxy_settings(folder: &Path, listen: SocketAddr, stand_in: &StandIn) -> anyhow::Result<PathBuf> {
    let token = folder.join("token");
    std::fs::write(&token, "token")?;
    let settings = ProxySettings {
        node: NodeSection {
            name: "bench".into(),
            data: folder.join("proxy"),
            upstream: format!("http://{}", stand_in.public),
            enroll_token_file: Some(token),
            advertise: None,
            via: None,
            upstream_ca_file: None,
            ops_listen: None,
        },
        listen,
        tls_certificate_file: Some(folder.join("public.crt")),
        tls_key_file: Some(folder.join("public.key")),
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        max_head_bytes: 16 * 1024,
        max_streams: MAX_STREAMS + SPARE_STREAMS,
        max_pending: 1024,
        head_wait_s: 10,
        authorize_wait_s: 10,
        dial_wait_s: 10,
        drain_wait_s: 1,
        copy_buffer_bytes: 32 * 1024,
    };
    let path = folder.join("proxy.toml");
    std::fs::write(&path, toml::to_string(&settings)?)?;
    Ok(path)
}
