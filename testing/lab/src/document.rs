//! docs/failures.md, from what the lab measured.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

const HEAD: &str = "# Failures\n\n\
    Written by `meridian lab document` from what `meridian lab run … --json` measured; no figure is typed by hand. \
    How the lab measures: docs/operators/lab.md.\n\n\
    A stall is the longest time between two bytes' arrival at a viewer around the fault, over the streams whose path broke (over all \
    where none did). The goals are DESIGN.md's; counts decide whether a scenario holds, times are reported beside their goals.\n";

/// Of what a scenario broke; the rest stands in the JSON.
const MAX_BROKEN: usize = 3;

/// The figures that every scenario has; those that stand in no column are in the JSON alone.
const COMMON: [&str; 11] = [
    "sessions_lost",
    "streams_resumed",
    "streams_restarted",
    "streams_untouched",
    "untouched_stall_ms",
    "others_touched",
    "requests_failed",
    "noticed_ms",
    "recovered_ms",
    "tickets_asked",
    "cpu_s",
];

const COLUMNS: [(&str, &str); 11] = [
    ("sessions", "/parameters/sessions"),
    ("lost", "/figures/sessions_lost"),
    ("resumed", "/figures/streams_resumed"),
    ("restarted", "/figures/streams_restarted"),
    ("untouched", "/figures/streams_untouched"),
    ("others touched", "/figures/others_touched"),
    ("noticed ms", "/figures/noticed_ms"),
    ("recovered ms", "/figures/recovered_ms"),
    ("new tickets", "/figures/tickets_asked"),
    ("requests failed", "/figures/requests_failed"),
    ("CPU s", "/figures/cpu_s"),
];

/// A page of the objects that `--json` wrote, one a line: a row for each.
///
/// # Errors
/// When a line is no such object.
pub fn document(lines: &str) -> Result<String> {
    let parsed = lines.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
    let reports: Vec<Value> = parsed.collect::<Result<_, _>>().context("a line is not JSON")?;
    let mut page = String::from(HEAD);
    let heads: Vec<_> = COLUMNS.iter().map(|(head, _)| *head).collect();
    write!(
        page,
        "\n| scenario | stall p50 / p99 / max ms | goal | {} | held |\n|---|---|---|",
        heads.join(" | ")
    )?;
    writeln!(page, "{}---|", "---:|".repeat(heads.len()))?;
    for report in &reports {
        row(&mut page, report)?;
    }
    writeln!(page)?;
    for report in &reports {
        let text = |place: &str| plain(report.pointer(place));
        let name = text("/name");
        write!(
            page,
            "- **{name}**, {} sessions (seed {}, ",
            text("/parameters/sessions"),
            text("/parameters/seed")
        )?;
        write!(page, "a picture of {} bytes ", text("/parameters/frame_bytes"))?;
        write!(page, "every {} ms, engine ", text("/parameters/frame_every_ms"))?;
        writeln!(page, "{}): must hold: {}.", text("/parameters/engine"), text("/promise"))?;
        let own = own(report);
        if !own.is_empty() {
            writeln!(page, "  - {}", own.join(", "))?;
        }
        let broken = report["broken"].as_array().map_or(&[][..], Vec::as_slice);
        for broken in broken.iter().take(MAX_BROKEN) {
            writeln!(page, "  - NOT HELD: {}", plain(Some(broken)))?;
        }
        if let Some(more @ 1..) = broken.len().checked_sub(MAX_BROKEN) {
            writeln!(page, "  - NOT HELD: and {more} more like these")?;
        }
        let number = |place: &str| report.pointer(place).and_then(Value::as_u64);
        let (p99, goal) = (number("/figures/stall_ms/p99"), number("/goals/stall_p99_ms"));
        if p99.zip(goal).is_some_and(|(p99, goal)| p99 > goal) {
            let story = report["slowest"].as_array().into_iter().flatten();
            let story: Vec<_> = story.map(|part| plain(Some(part))).collect();
            writeln!(page, "  - Goal missed. The slowest stream: {}.", story.join(", "))?;
        }
    }
    let mut hosts: Vec<_> = reports.iter().map(|report| host(&report["host"])).collect();
    hosts.dedup();
    writeln!(page, "\nMeasured on {}.", hosts.join("; and on "))?;
    Ok(page)
}

fn row(page: &mut String, report: &Value) -> Result<()> {
    let name = report["name"].as_str().context("an object without a name")?;
    let stall = report.pointer("/figures/stall_ms").context("an object without stall_ms")?;
    let stalls = ["p50", "p99", "max"].map(|part| plain(stall.get(part))).join(" / ");
    let goals = [("p99", "/goals/stall_p99_ms"), ("recovered", "/goals/recovered_ms")];
    let goals = goals.iter().filter_map(|(what, place)| {
        report.pointer(place).and_then(Value::as_u64).map(|goal| format!("{what} <= {goal}"))
    });
    let cells: Vec<_> = COLUMNS.iter().map(|(_, place)| plain(report.pointer(place))).collect();
    let held = if report["held"] == true { "yes" } else { "**no**" };
    let goals: Vec<_> = goals.collect();
    writeln!(page, "| {name} | {stalls} | {} | {} | {held} |", goals.join(", "), cells.join(" | "))?;
    Ok(())
}

/// The figures that only this scenario has.
fn own(report: &Value) -> Vec<String> {
    let figures = report["figures"].as_object().into_iter().flatten();
    let own = figures.filter(|(name, value)| !COMMON.contains(&name.as_str()) && value.is_number());
    own.map(|(name, value)| format!("{name} {value}")).collect()
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn host(host: &Value) -> String {
    let text = |name: &str| plain(host.get(name));
    let (processor, cores) = (text("processor"), text("cores"));
    format!("{processor}, {cores} cores, {} MB, Linux {}", text("memory_mb"), text("kernel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"name":"proxy_killed","parameters":{"sessions":5,"seed":1,"frame_every_ms":50},
        "figures":{"sessions_lost":0,"shed":7,"stall_ms":{"p50":1,"p99":2,"max":3},"noticed_ms":null},"promise":"none lost",
        "goals":{"stall_p99_ms":1000},"held":true,"broken":[],"host":{"processor":"P","cores":2,"memory_mb":1,"kernel":"K"}}"#;

    #[test]
    fn a_measurement_becomes_a_row() {
        let page = document(&LINE.replace('\n', "")).unwrap();
        assert!(page.contains("| proxy_killed | 1 / 2 / 3 | p99 <= 1000 | 5 | 0 |"), "{page}");
        assert!(page.contains("  - shed 7\n"), "{page}");
        assert!(page.ends_with("Measured on P, 2 cores, 1 MB, Linux K.\n"), "{page}");
        assert!(!page.contains("Goal missed"), "{page}");
        let slow = LINE.replace('\n', "").replace("\"p99\":2", "\"p99\":2000");
        assert!(document(&slow).unwrap().contains("Goal missed"));
        assert!(document("not json").is_err());
    }

    #[test]
    fn of_thousands_of_lost_streams_a_few_are_told_and_the_others_counted() {
        let lost = LINE.replace('\n', "").replace("[]", r#"["a","b","c","d","e"]"#);
        let page = document(&lost).unwrap();
        assert!(page.contains("NOT HELD: c\n  - NOT HELD: and 2 more like these\n"), "{page}");
        let three = LINE.replace('\n', "").replace("[]", r#"["a","b","c"]"#);
        assert!(!document(&three).unwrap().contains("more like these"));
    }
}
