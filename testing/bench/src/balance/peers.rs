//! The peers' configurations: TLS passed through and routed by server name, one process, one worker, no log of connections.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path};

use super::SERVER_NAME;

/// Writes the configuration for a folder, an address to listen on and a backend; the arguments to run with, or nothing where a part of
/// the peer is not installed.
type Prepare = fn(&Path, SocketAddr, SocketAddr) -> anyhow::Result<Option<Vec<OsString>>>;

pub(super) struct Peer {
    pub(super) program: &'static str,
    pub(super) prepare: Prepare,
}

pub(super) const PEERS: [Peer; 2] =
    [Peer { program: "haproxy", prepare: haproxy }, Peer { program: "nginx", prepare: nginx }];

/// Debian has the stream module as a package of its own.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn nginx(folder: &Path, listen: SocketAddr, backend: SocketAddr) -> anyhow::Result<Option<Vec<OsString>>> {
    if !Path::new(STREAM_MODULE).is_file() {
        return Ok(None);
    }
    let shown = folder.display();
    let text = format!(
        "load_module {STREAM_MODULE};\ndaemon off;\nmaster_process off;\npid {shown}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 16384; }}\n\
         stream {{\n  tcp_nodelay on;\n  proxy_timeout 1h;\n\
         map $ssl_preread_server_name $backend {{\n    {SERVER_NAME} {backend};\n  }}\n\
         server {{\n    listen {listen};\n    ssl_preread on;\n    proxy_pass $backend;\n  }}\n}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text)?;
    Ok(Some(vec!["-p".into(), folder.into(), "-c".into(), path.into()]))
}

fn haproxy(folder: &Path, listen: SocketAddr, backend: SocketAddr) -> anyhow::Result<Option<Vec<OsString>>> {
    let text = format!(
        "global\n  maxconn 8192\n  nbthread 1\n\
         defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         frontend clients\n  bind {listen}\n  tcp-request inspect-delay 5s\n\
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n\
         use_backend london if {{ req.ssl_sni -i {SERVER_NAME} }}\n\
         backend london\n  server london {backend}\n"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text)?;
    Ok(Some(vec!["-db".into(), "-f".into(), path.into()]))
}
