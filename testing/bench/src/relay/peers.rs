//! The peers' configurations: what their own documentation says for WebSocket with TLS on both sides, one process, one worker.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path};

use crate::stand_in::{RelayIdentity, StandIn};

pub(super) struct Peer {
    pub(super) program: &'static str,
    /// Writes the configuration; the arguments to run with.
    pub(super) prepare: fn(&Path, SocketAddr, &StandIn, &RelayIdentity) -> anyhow::Result<Vec<OsString>>,
}

pub(super) const PEERS: [Peer; 2] =
    [Peer { program: "haproxy", prepare: haproxy }, Peer { program: "nginx", prepare: nginx }];

fn nginx(
    folder: &Path,
    listen: SocketAddr,
    stand_in: &StandIn,
    identity: &RelayIdentity,
) -> anyhow::Result<Vec<OsString>> {
    write_identity(folder, identity)?;
    let (agent, name, folder_text) = (stand_in.agent_address, stand_in.agent_name(), folder.display());
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder_text}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {folder_text}/nginx-body;\n\
         proxy_temp_path {folder_text}/nginx-proxy;\n  fastcgi_temp_path {folder_text}/nginx-fastcgi;\n\
         uwsgi_temp_path {folder_text}/nginx-uwsgi;\n  scgi_temp_path {folder_text}/nginx-scgi;\n\
         server {{\n    listen {listen} ssl;\n    ssl_certificate {folder_text}/public.crt;\n\
         ssl_certificate_key {folder_text}/public.key;\n    ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{\n      proxy_pass https://{agent};\n      proxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\n      proxy_set_header Connection upgrade;\n\
         proxy_read_timeout 1h;\n      proxy_send_timeout 1h;\n      proxy_ssl_protocols TLSv1.2 TLSv1.3;\n\
         proxy_ssl_certificate {folder_text}/relay.crt;\n      proxy_ssl_certificate_key {folder_text}/relay.key;\n\
         proxy_ssl_trusted_certificate {folder_text}/authority.crt;\n      proxy_ssl_verify on;\n\
         proxy_ssl_server_name on;\n      proxy_ssl_name {name};\n    }}\n  }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text)?;
    Ok(vec!["-p".into(), folder.into(), "-c".into(), path.into()])
}

fn haproxy(
    folder: &Path,
    listen: SocketAddr,
    stand_in: &StandIn,
    identity: &RelayIdentity,
) -> anyhow::Result<Vec<OsString>> {
    write_identity(folder, identity)?;
    let (agent, name, folder_text) = (stand_in.agent_address, stand_in.agent_name(), folder.display());
    let text = format!(
        "global\n  maxconn 8192\n  nbthread 1\n\
         defaults\n  mode http\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n\
         frontend viewers\n  bind {listen} ssl crt {folder_text}/public.pem alpn http/1.1\n  default_backend agents\n\
         backend agents\n  server agent {agent} ssl verify required ca-file {folder_text}/authority.crt \
         crt {folder_text}/relay.pem sni str({name}) verifyhost {name}\n"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text)?;
    Ok(vec!["-db".into(), "-f".into(), path.into()])
}

fn write_identity(folder: &Path, identity: &RelayIdentity) -> anyhow::Result<()> {
    fs::write(folder.join("relay.crt"), &identity.certificate)?;
    fs::write(folder.join("relay.key"), &identity.key)?;
    fs::write(folder.join("relay.pem"), format!("{}{}", identity.certificate, identity.key))?;
    fs::write(folder.join("authority.crt"), &identity.authority)?;
    Ok(())
}
