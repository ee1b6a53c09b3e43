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
