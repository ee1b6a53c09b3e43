//! `meridian check-config`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use meridian_settings::{AgentSettings, BalanceSettings, ProxySettings, WebSettings, read_file};
use serde::Serialize;

use crate::{
    admin::files::{read_groups, read_workspaces, read_zones},
    exit::{Failure, print},
};

#[derive(Args)]
#[command(after_help = "Example: meridian check-config agent deploy/agent.toml")]
pub struct CheckArguments {
    role: Role,
    /// A file; for zones, groups and workspaces a folder of files, too.
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Web,
    Proxy,
    Agent,
    Balance,
    /// Files of `meridian admin zones export`.
    Zones,
    /// Files of `meridian admin groups export`.
    Groups,
    /// Files of `meridian admin workspaces export`.
    Workspaces,
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
        Role::Zones => read_zones(file)?.iter().try_for_each(show),
        Role::Groups => read_groups(file)?.iter().try_for_each(show),
        Role::Workspaces => read_workspaces(file)?.iter().try_for_each(show),
        Role::Balance => {
            let settings: BalanceSettings = read_file(file)?;
            meridian_balancer::check_settings(&settings)
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            show(&settings)
        }
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
            (Role::Balance, "balance-primary.toml"),
            (Role::Web, "high-availability/web-1.toml"),
            (Role::Balance, "high-availability/balance-primary-1.toml"),
            (Role::Balance, "high-availability/balance-london-private-1.toml"),
            (Role::Balance, "high-availability/balance-london-entry-1.toml"),
            (Role::Proxy, "high-availability/proxy-london-1.toml"),
            (Role::Agent, "high-availability/agent-london-1.toml"),
        ];
        let deploy = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
        for folder in ["", "high-availability"] {
            let files = std::fs::read_dir(deploy.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
                let name = file.strip_prefix(&deploy).unwrap().to_str().unwrap();
                assert!(samples.iter().any(|(_, sample)| *sample == name), "{name} is checked by nobody");
            }
        }
        for (role, name) in samples {
            let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name);
            run(&CheckArguments { role, file }).unwrap();
        }
    }

    #[test]
    fn a_balancer_that_makes_no_sense_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("balance.toml");
        let head = "listen = \"127.0.0.1:1\"\n[[route]]\n";
        for (text, reason) in [
            ("", "no backend"),
            ("backend = [{ address = \"a:1\" }, { address = \"A:1\" }]", "more than once"),
            ("backend = [{ address = \"a\" }]", "host:port"),
            ("registry = \"proxies\"", "[node]"),
            ("backend = [{ address = \"a:1\" }]\ncheck = { kind = \"http\", path = \"x\" }", "no path"),
            ("backend = [{ address = \"a:1\" }]\ncheck = { rise = 0 }", "at least 1"),
        ] {
            std::fs::write(&file, format!("{head}{text}\n")).unwrap();
            let failure = run(&CheckArguments { role: Role::Balance, file: file.clone() }).unwrap_err();
            let said = format!("{failure:?}");
            assert!(said.contains(reason) && said.contains("balance.toml"), "{text}: {said}");
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
