//! `meridian lab`: breaks parts of a Meridian of its own under live streams, and says what every viewer saw.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use meridian_lab::{
    MAX_BROWSERS, MAX_SESSIONS, Options, Ready, Report, SCENARIOS, Scenario, Table, document, play, prepare,
    serve_workspace, up,
};

use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Failure, print},
    role::told_to_stop,
};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian lab list
  meridian lab run proxy_killed --sessions 50
  meridian lab run proxy_killed balancer_killed --browsers 3
  meridian lab run all --json figures.json
  meridian lab run long
  meridian lab run rolling_upgrade_proxy --previous ./meridian-before
  meridian lab up
  meridian lab document figures.json > docs/failures.md

It ends with 1 when what a scenario promises of counts does not hold: no session lost, and streams resumed or untouched as `lab list`
says. Times are figures beside their goals. It needs root (its hosts are network namespaces), PostgreSQL, iproute2 and util-linux, and
Docker where workspaces are containers; no packet leaves the namespaces, and nothing is left.")]
pub struct LabArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play scenarios, each on a Meridian of its own.
    Run {
        /// Names that `meridian lab list` shows; `all` is all that fit half an hour, `long` the others.
        #[arg(required = true, value_name = "SCENARIO")]
        scenarios: Vec<String>,
        /// Sessions, with a viewer on each; without it the numbers that `meridian lab list` shows.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=MAX_SESSIONS as i64))]
        sessions: Option<u16>,
        /// Pages of a real Chromium among the viewers, each signed in to the console with a session of its own; it needs Chromium.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=MAX_BROWSERS as i64))]
        browsers: u16,
        /// Append what was measured to this file, one JSON object on a line for each scenario.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Repeats which part is broken, and the viewers' jitter.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// An executable of an earlier build, from which rolling upgrades begin; without it they begin from this build.
        #[arg(long, value_name = "EXECUTABLE")]
        previous: Option<PathBuf>,
    },
    /// Start a Meridian of two regions with viewers, and break it by hand: its topology is drawn, and orders are read from the terminal.
    Up {
        /// Sessions, with a viewer on each.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=200))]
        sessions: u16,
    },
    /// Show the scenarios and what each promises.
    List,
    /// What runs in the containers of scenarios that use Docker.
    #[command(hide = true)]
    Workspace,
    /// Write measurements down as a page: the objects of files that --json made.
    Document {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub async fn run(arguments: LabArguments) -> Result<(), Failure> {
    match arguments.command {
        Command::List => print(&list()),
        Command::Up { sessions } => {
            let executable = std::env::current_exe()?;
            let options =
                Options { executable, previous: None, sessions: sessions.into(), browsers: 0, seed: 1 };
            say("Meridian starts, and viewers open their streams; that takes half a minute");
            tokio::select! {
                played = up(&options, say) => played.map_err(|error| Failure::new(format!("{error:#}"))),
                why = told_to_stop() => Err(Failure::new(why?)),
            }
        }
        Command::Workspace => serve_workspace().await.map_err(|error| Failure::new(format!("{error:#}"))),
        Command::Document { files } => {
            let lines: Vec<_> = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
            let page = document(&lines.join("\n")).map_err(|error| Failure::new(format!("{error:#}")))?;
            print(page.trim_end())
        }
        Command::Run { scenarios, sessions, browsers, json, seed, previous } => {
            let scenarios =
                scenarios.iter().map(|name| chosen(name)).collect::<Result<Vec<_>, _>>()?.concat();
            let executable = std::env::current_exe()?;
            let options = Options { executable, previous, sessions: 0, browsers: browsers.into(), seed };
            let acts = acts(&scenarios, sessions.map(usize::from), &options);
            tokio::select! {
                played = play_all(&acts, json.as_deref()) => played,
                // Dropping the scenario leaves nothing of it.
                why = told_to_stop() => Err(Failure::new(why?)),
            }
        }
    }
}

fn list() -> String {
    let width = SCENARIOS.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    let line = |scenario: &Scenario| {
        format!(
            "{:width$}  {}\n{:width$}  must hold: {}",
            scenario.name,
            scenario.about,
            "",
            scenario.promise()
        )
    };
    SCENARIOS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn chosen(name: &str) -> Result<Vec<Scenario>, Failure> {
    let fits = |scenario: &&Scenario| match name {
        "all" => !scenario.long,
        "long" => scenario.long,
        name => scenario.name == name,
    };
    let chosen: Vec<_> = SCENARIOS.iter().filter(fits).copied().collect();
    if chosen.is_empty() {
        return Err(Failure::new(format!("there is no scenario {name}"))
            .hint("`meridian lab list` shows them")
            .code(2));
    }
    Ok(chosen)
}

/// Each scenario with each of its numbers of sessions, or the one that was asked for.
fn acts(scenarios: &[Scenario], sessions: Option<usize>, options: &Options) -> Vec<(Scenario, Options)> {
    let sizes = |scenario: &Scenario| sessions.map_or_else(|| scenario.sizes.to_vec(), |count| vec![count]);
    let of = |scenario: &Scenario| -> Vec<_> {
        let sizes = sizes(scenario).into_iter();
        sizes.map(|sessions| (*scenario, Options { sessions, ..options.clone() })).collect()
    };
    scenarios.iter().flat_map(of).collect()
}

/// A scenario that could not be played does not keep the others from it.
async fn play_all(acts: &[(Scenario, Options)], json: Option<&Path>) -> Result<(), Failure> {
    let (mut reports, mut failed) = (Vec::<Report>::new(), Vec::new());
    let mut ready = prepare_act(acts.first()).await;
    for (index, (scenario, options)) in acts.iter().enumerate() {
        let (act, of) = (index + 1, acts.len());
        say(&format!("{act}/{of} {} with {} sessions: {}", scenario.name, options.sessions, scenario.about));
        let measured = CancellationToken::new();
        let playing = async {
            let measured = measured.clone();
            let _over = measured.clone().drop_guard();
            match ready {
                Some(ready) => play(ready?, measured).await,
                None => Err(anyhow!("it was not prepared")),
            }
        };
        // The next one's Meridian starts while this one's ends.
        let next = async {
            measured.cancelled().await;
            prepare_act(acts.get(index + 1)).await
        };
        let (played, prepared) = tokio::join!(playing, next);
        ready = prepared;
        match played {
            Ok((report, troubles)) => {
                if let Some(file) = json {
                    report.write_json(file).map_err(|error| Failure::new(format!("{error:#}")))?;
                }
                troubles.iter().for_each(|line| say(&format!("  {line}")));
                report.broken.iter().for_each(|line| say(&format!("  not held: {line}")));
                say(&format!("  {}", report.took));
                if !report.held {
                    failed.push(scenario.name);
                }
                reports.push(report);
            }
            Err(error) => {
                say(&format!("{} could not be played: {error:#}", scenario.name));
                failed.push(scenario.name);
            }
        }
    }
    print(&Table(&reports).to_string())?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("did not hold: {}", failed.join(", ")))) }
}

async fn prepare_act(act: Option<&(Scenario, Options)>) -> Option<anyhow::Result<Ready>> {
    let (scenario, options) = act?;
    Some(prepare(scenario, options).await)
}

/// Progress, on standard error: standard output has the table.
fn say(text: &str) {
    // When even standard error is gone, the table and the exit code have to do.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_chosen_by_one_word_and_each_by_its_name() {
        let (all, long) = (chosen("all").unwrap().len(), chosen("long").unwrap().len());
        assert!(long > 0 && all + long == SCENARIOS.len());
        assert_eq!(chosen("proxy_killed").unwrap().len(), 1);
        assert!(chosen("nonsense").is_err());
        assert!(list().contains("proxy_killed"));
    }
}
