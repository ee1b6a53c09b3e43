//! `meridian check-config`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use meridian_settings::{AgentSettings, BalanceSettings, ProxySettings, WebSettings, read_file};
use serde::Serialize;

use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Example: meridian check-config agent deploy/agent.toml")]
pub struct CheckArguments {
    role: Role,
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Web,
    Proxy,
    Agent,
    Balance,
}

pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let file = &arguments.file;
    match arguments.role {
        Role::Web => {
            let mut settings: WebSettings = read_file(file)?;
            if settings.database_url.is_some() {
                // It may carry a password.
                settings.database_url = Some("[secret]".into());
            }
            show(&settings)
        }
        Role::Proxy => show(&read_file::<ProxySettings>(file)?),
        Role::Agent => show(&read_file::<AgentSettings>(file)?),
        Role::Balance => show(&read_file::<BalanceSettings>(file)?),
    }
}

fn show(settings: &impl Serialize) -> Result<(), Failure> {
    print(toml::to_string(settings)?.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_every_role_is_a_configuration() {
        let samples = [
            (Role::Web, "web.toml"),
            (Role::Proxy, "proxy.toml"),
            (Role::Agent, "agent.toml"),
            (Role::Balance, "balance-private.toml"),
            (Role::Balance, "balance-entry.toml"),
        ];
        for (role, name) in samples {
            let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name);
            run(&CheckArguments { role, file }).unwrap();
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("balance.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\nspeed = 9\nroute = []\n").unwrap();
        let failure = run(&CheckArguments { role: Role::Balance, file }).unwrap_err();
        let text = format!("{failure:?}");
        assert!(text.contains("speed") && text.contains("line 2"), "{text}");
    }
}
