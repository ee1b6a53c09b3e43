//! `meridian lab up`: a Meridian to break by hand, with its topology drawn.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    site::{DISTANCES, EACH, LONDON, PEOPLE, PRIMARY, Part, Site, VIRGINIA, ZONES, public_url},
    stage::{Fare, Stage},
};

/// The picture is drawn again after an order, when its effect can be seen.
const SETTLE: Duration = Duration::from_millis(1500);

pub(crate) const HELP: &str = "kill PART     SIGKILL; it is started again after half a second
freeze PART   SIGSTOP; thaw PART lets it go on
stop PART     SIGTERM, and no start; start PART
unplug PART   its host loses the network; plug PART
cut REGION    all lines of london, virginia or people; mend REGION
slow REGION MS LOSS%   gives all lines of a region another length and loss
show          draw it again (or an empty line)
quit          end everything (or Ctrl-D)";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Kill(Part),
    Freeze(Part),
    Thaw(Part),
    Stop(Part),
    Start(Part),
    Unplug(Part),
    Plug(Part),
    Cut(u8),
    Mend(u8),
    Slow { region: u8, delay_ms: u64, loss_percent: u8 },
    Show,
    Quit,
}

/// What was done by hand and is not undone yet.
#[derive(Default)]
struct Done {
    frozen: BTreeSet<String>,
    unplugged: BTreeSet<String>,
}

/// Plays until told to quit; `say` shows text to the person.
pub(crate) async fn play(stage: &mut Stage, say: fn(&str)) -> Result<()> {
    let mut lines = typed()?;
    let mut done = Done::default();
    say(&format!("The API is at {} for who is within. Orders:\n{HELP}\n", public_url()));
    say(&draw(stage, &done));
    while let Some(line) = lines.recv().await {
        match parse(&line) {
            Ok(Order::Quit) => break,
            Ok(order) => match carry_out(&stage.site, order, &mut done).await {
                Ok(()) => {
                    let _ = timeout(SETTLE, std::future::pending::<()>()).await;
                    say(&draw(stage, &done));
                }
                Err(error) => say(&format!("{error:#}")),
            },
            Err(error) => say(&format!("{error}")),
        }
    }
    for part in parts() {
        // Frozen, it would not stop.
        let _ = stage.site.thaw(&part);
    }
    Ok(())
}

/// What is typed, by lines. The thread waits for the terminal and ends with the process, since nothing else can wake it.
fn typed() -> Result<mpsc::Receiver<String>> {
    let (send, lines) = mpsc::channel(1);
    let read = move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        lines.all(|line| send.blocking_send(line).is_ok());
    };
    std::thread::Builder::new().name("orders".into()).spawn(read)?;
    Ok(lines)
}

fn parts() -> Vec<Part> {
    let webs = (1..=EACH).map(Part::web);
    webs.chain([Part::primary_balancer()]).chain(ZONES.into_iter().flat_map(Part::of_zone)).collect()
}

fn part(name: Option<&str>) -> Result<Part> {
    let name = name.context("which part? Their names are in the picture")?;
    parts().into_iter().find(|part| part.name == name).with_context(|| format!("there is no part {name}"))
}

fn region(name: Option<&str>) -> Result<u8> {
    match name {
        Some("london") => Ok(LONDON.region),
        Some("virginia") => Ok(PRIMARY),
        Some("people") => Ok(PEOPLE),
        _ => bail!("which region? london, virginia or people"),
    }
}

fn parse(line: &str) -> Result<Order> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next() else { return Ok(Order::Show) };
    let order = match verb {
        "kill" => Order::Kill(part(words.next())?),
        "freeze" => Order::Freeze(part(words.next())?),
        "thaw" => Order::Thaw(part(words.next())?),
        "stop" => Order::Stop(part(words.next())?),
        "start" => Order::Start(part(words.next())?),
        "unplug" => Order::Unplug(part(words.next())?),
        "plug" => Order::Plug(part(words.next())?),
        "cut" => Order::Cut(region(words.next())?),
        "mend" => Order::Mend(region(words.next())?),
        "slow" => {
            let region = region(words.next())?;
            let delay_ms = words.next().and_then(|ms| ms.parse().ok()).context("how many milliseconds?")?;
            let loss = words.next().map_or(Some(0), |loss| loss.trim_end_matches('%').parse().ok());
            let loss_percent = loss.filter(|loss| *loss <= 100).context("a loss from 0% to 100%")?;
            Order::Slow { region, delay_ms, loss_percent }
        }
        "show" => Order::Show,
        "quit" | "exit" => Order::Quit,
        other => bail!("{other}?\n{HELP}"),
    };
    Ok(order)
}

async fn carry_out(site: &Site, order: Order, done: &mut Done) -> Result<()> {
    match order {
        Order::Kill(part) => site.kill(&part).map(drop),
        Order::Freeze(part) => {
            site.freeze(&part)?;
            done.frozen.insert(part.name);
            Ok(())
        }
        Order::Thaw(part) => {
            done.frozen.remove(&part.name);
            site.thaw(&part).map(drop)
        }
        Order::Stop(part) => site.part(&part)?.stop().await,
        Order::Start(part) => {
            site.part(&part)?.start_again(None);
            Ok(())
        }
        Order::Unplug(part) => {
            site.connect(&part, false)?;
            done.unplugged.insert(part.name);
            Ok(())
        }
        Order::Plug(part) => {
            done.unplugged.remove(&part.name);
            site.connect(&part, true)
        }
        Order::Cut(region) => {
            site.cut_region(region, true);
            Ok(())
        }
        Order::Mend(region) => {
            site.cut_region(region, false);
            Ok(())
        }
        Order::Slow { region, delay_ms, loss_percent } => {
            site.slow_region(region, Duration::from_millis(delay_ms), f64::from(loss_percent) / 100.0);
            Ok(())
        }
        Order::Show | Order::Quit => Ok(()),
    }
}

/// The regions with their lines, hosts and what runs on them, and how the viewers fare.
fn draw(stage: &Stage, done: &Done) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}");
    };
    for (one, other, _) in DISTANCES {
        let now = stage.site.wan.line(one, other);
        let state = if now.cut {
            "cut".to_owned()
        } else {
            let loss =
                if now.loss > 0.0 { format!(", {:.0}% lost", now.loss * 100.0) } else { String::new() };
            format!("{} ms each way{loss}", now.delay.as_millis())
        };
        line(format!("  {:<9}══════ {:<9} {state}", region_name(one), region_name(other)));
    }
    for (region, title) in [(PRIMARY, "virginia, the primary region"), (LONDON.region, "london")] {
        line(format!("\n  {title}"));
        let here: Vec<_> = parts().into_iter().filter(|part| part.region == region).collect();
        for (index, part) in here.iter().enumerate() {
            let branch = if index + 1 == here.len() { "└─" } else { "├─" };
            let pid = stage.site.part(part).ok().and_then(crate::site::Keeper::pid);
            let state = match (pid, done.frozen.contains(&part.name), done.unplugged.contains(&part.name)) {
                (None, ..) => "does not run".to_owned(),
                (Some(pid), _, true) => format!("unplugged, process {pid}"),
                (Some(pid), true, false) => format!("frozen, process {pid}"),
                (Some(pid), false, false) => format!("runs, process {pid}"),
            };
            line(format!("  {branch} {:<26} {:<14} {state}", part.name, part.address()));
        }
    }
    let Fare { streams, show, resumed, restarted, failed } = stage.fare();
    line(format!(
        "\n  people: {show} of {streams} streams show their desktop; {resumed} were resumed and {restarted} begun anew so far, {failed} have given up\n"
    ));
    text
}

fn region_name(region: u8) -> &'static str {
    if region == LONDON.region {
        LONDON.name
    } else if region == VIRGINIA.region {
        VIRGINIA.name
    } else {
        "people"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let proxy = Part::proxy(LONDON, 2);
        assert_eq!(parse("kill proxy-london-2").unwrap(), Order::Kill(proxy.clone()));
        assert_eq!(parse("  unplug   proxy-london-2 ").unwrap(), Order::Unplug(proxy));
        assert_eq!(parse("cut london").unwrap(), Order::Cut(LONDON.region));
        let slow = Order::Slow { region: PEOPLE, delay_ms: 120, loss_percent: 3 };
        assert_eq!(parse("slow people 120 3%").unwrap(), slow);
        assert_eq!(parse("").unwrap(), Order::Show);
        for wrong in ["kill", "kill nobody", "cut paris", "slow london", "slow london 5 101%", "burn"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
