//! `meridian`: one executable, a subcommand per role, and the operator's commands.

#![expect(unreachable_pub, reason = "an executable has no API: pub is for its own modules")]

mod admin;
mod bench;
mod check;
mod data;
mod exit;
mod lab;
mod role;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Failure;

/// glibc's allocator halves rustls's bulk speed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Workspaces (desktops, browsers, terminals) streamed to people's browsers, from near where they are.
#[derive(Parser)]
#[command(name = "meridian", version, about, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// What is logged, as in RUST_LOG: info, debug, meridian_agent=debug,info …
    #[arg(long, global = true, env = "MERIDIAN_LOG", default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every role on this machine, on an embedded PostgreSQL.
    Up(up::UpArguments),
    /// Run a Web App node: console, API, placement.
    Web(RoleArguments),
    /// Run a Dedicated Zone Proxy: relays streams between browsers and a zone's agents.
    Proxy(RoleArguments),
    /// Run an agent: workspaces on this machine's Docker Engine.
    Agent(RoleArguments),
    /// Run a load balancer: passes TLS through, routed by server name.
    Balance(RoleArguments),
    /// Bring a database up to date and stop.
    Migrate(MigrateArguments),
    /// Read a role's configuration file and print what holds, secrets left out.
    CheckConfig(check::CheckArguments),
    /// Operate a deployment over its API.
    Admin(admin::AdminArguments),
    /// Measure: launches, and relays beside nginx and HAProxy.
    Bench(bench::BenchArguments),
    /// Break parts of a Meridian of its own under live streams, and see what its viewers see.
    Lab(lab::LabArguments),
    /// Print the API's OpenAPI 3.1 document.
    Openapi,
    /// Print a completion script for a shell.
    #[command(after_help = "Example: meridian completion bash > /etc/bash_completion.d/meridian")]
    Completion { shell: clap_complete::Shell },
}

#[derive(clap::Args)]
struct RoleArguments {
    /// The role's configuration file (TOML); samples are in deploy/.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct MigrateArguments {
    /// A PostgreSQL 15+ URL.
    #[arg(long, env = "MERIDIAN_DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    meridian_identity::install_crypto_provider();
    let outcome = match arguments.command {
        Command::Completion { shell } => {
            // Into memory first: a reader that goes away early is no error of ours.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "meridian", &mut script);
            exit::print(String::from_utf8_lossy(&script).trim_end())
        }
        Command::Openapi => {
            exit::print(&meridian_control::api::openapi().to_pretty_json().unwrap_or_default())
        }
        Command::CheckConfig(arguments) => check::run(&arguments),
        Command::Admin(arguments) => block_on(admin::run(arguments)),
        Command::Bench(bench) => block_on(bench::run(bench)),
        Command::Lab(lab) => block_on(lab::run(lab)),
        Command::Up(up) => with_logging(&arguments.log, up::run(up)),
        Command::Web(role) => with_logging(&arguments.log, role::run_web(role.config)),
        Command::Proxy(role) => with_logging(&arguments.log, role::run_proxy(role.config)),
        Command::Agent(role) => with_logging(&arguments.log, role::run_agent(role.config)),
        Command::Balance(role) => with_logging(&arguments.log, role::run_balance(role.config)),
        Command::Migrate(migrate) => with_logging(&arguments.log, role::migrate(migrate.database_url)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn with_logging(filter: &str, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    meridian_runtime::init_logging(meridian_runtime::LogFormat::Auto, filter);
    block_on(work)
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime could not start: {error}")))?;
    let outcome = runtime.block_on(work);
    // What still blocks a thread (a name being looked up) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_new_accounts_name_is_not_taken_for_the_caller() {
        let matches = Arguments::command().get_matches_from(["meridian", "admin", "users", "create", "ada"]);
        let admin = matches.subcommand_matches("admin").unwrap();
        assert_eq!(admin.get_one::<String>("username"), None);
    }
}
