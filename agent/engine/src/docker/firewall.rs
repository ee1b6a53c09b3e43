//! The packet filter around `internet` workspaces: one nftables table per agent, whose rules match all its bridges by their prefix.
//!
//! From such a bridge no packet reaches the host, another bridge of ours, or an address that is not public; towards it, nothing begins a
//! conversation. The one exception is DNS to the host's own name servers where those are private, because the engine's embedded resolver asks
//! them from inside the container's network. The table is replaced whole in one transaction, so it is never absent while a bridge is there; it goes with the
//! last of them.

use std::{fmt::Write, net::Ipv4Addr, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    process::Command,
    sync::{RwLock, RwLockReadGuard},
    time::timeout,
};

use crate::Owner;

const NFT_LIMIT: Duration = Duration::from_secs(10);
/// RFC 6890 and its successors: everything that is not the public internet.
const NOT_PUBLIC: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, \
                          192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4";

pub(super) struct Firewall {
    table: String,
    prefix: String,
    /// Held for reading while a bridge is being made, so that the table is not removed between its making and the bridge's.
    users: RwLock<()>,
}

impl Firewall {
    pub(super) fn new(owner: &Owner) -> Self {
        Self { table: owner.nft_table(), prefix: owner.bridge_prefix(), users: RwLock::new(()) }
    }

    /// Puts the rules in place, whatever was there; they stay at least as long as the guard. The error is a reason for people.
    pub(super) async fn install(&self) -> Result<RwLockReadGuard<'_, ()>, String> {
        let users = self.users.read().await;
        nft(&["-f", "-"], &self.rules(&name_servers())).await?;
        Ok(users)
    }

    /// Whether the rules could be put in place.
    pub(super) async fn check(&self) -> Result<(), String> {
        nft(&["-c", "-f", "-"], &self.rules(&name_servers())).await
    }

    /// Removes the rules, unless a bridge is being made, or `in_use` says that there is one.
    pub(super) async fn remove_unless<E>(
        &self,
        in_use: impl Future<Output = Result<bool, E>>,
    ) -> Result<(), E> {
        let Ok(_alone) = self.users.try_write() else { return Ok(()) };
        if !in_use.await? {
            let table = &self.table;
            let rules = format!("table inet {table} {{}}\ndelete table inet {table}\n");
            if let Err(reason) = nft(&["-f", "-"], &rules).await {
                tracing::debug!(reason, "rules that nothing needs stay");
            }
        }
        Ok(())
    }

    fn rules(&self, name_servers: &[Ipv4Addr]) -> String {
        let Self { table, prefix, .. } = self;
        let mut dns = String::new();
        for server in name_servers {
            let _ = writeln!(dns, "    ip daddr {server} meta l4proto {{ tcp, udp }} th dport 53 accept");
        }
        // Declaring before deleting makes the deletion succeed whether the table was there or not.
        format!(
            r#"table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain from_workspace_to_host {{
{dns}    drop
  }}
  chain from_workspace {{
    meta nfproto != ipv4 drop
{dns}    oifname "{prefix}*" drop
    ip daddr {{ {NOT_PUBLIC} }} drop
  }}
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{prefix}*" jump from_workspace_to_host
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{prefix}*" jump from_workspace
    oifname "{prefix}*" ct state new drop
  }}
}}
"#
        )
    }
}

async fn nft(arguments: &[&str], rules: &str) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("this agent is not root, so it cannot set packet filter rules".into());
    }
    let mut nft = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the program nft (package nftables) cannot be run: {error}"))?;
    let run = async {
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(rules.as_bytes()).await?;
        }
        nft.wait_with_output().await
    };
    match timeout(NFT_LIMIT, run).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("nft refused the rules: {}", said.lines().next().unwrap_or("no reason given")))
        }
        Ok(Err(error)) => Err(format!("nft could not be spoken with: {error}")),
        Err(_) => Err("nft did not end in time".into()),
    }
}

/// The host's name servers as the engine hands them to its resolver, without those of the loopback, which it asks from the host itself.
fn name_servers() -> Vec<Ipv4Addr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let servers = parse_name_servers(&read("/etc/resolv.conf"));
    // systemd-resolved's stub hides the real ones, which the engine reads from here.
    let servers = if servers.iter().all(Ipv4Addr::is_loopback) {
        parse_name_servers(&read("/run/systemd/resolve/resolv.conf"))
    } else {
        servers
    };
    servers.into_iter().filter(|server| !server.is_loopback()).collect()
}

fn parse_name_servers(text: &str) -> Vec<Ipv4Addr> {
    text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use meridian_ids::{DeploymentId, NodeId};

    use super::*;

    #[test]
    fn name_servers_are_read_and_get_one_exception_each() {
        let text = "# x\nnameserver 10.0.0.2\nnameserver fe80::1\nsearch a\n nameserver 8.8.8.8\n";
        let servers = parse_name_servers(text);
        assert_eq!(servers, [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(8, 8, 8, 8)]);
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        let rules = Firewall::new(&owner).rules(&servers[..1]);
        assert_eq!(
            rules.matches("ip daddr 10.0.0.2 meta l4proto { tcp, udp } th dport 53 accept").count(),
            2
        );
    }
}
