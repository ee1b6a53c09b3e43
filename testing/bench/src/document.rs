//! Measurements written down as a page: docs/performance.md is made from docs/performance.jsonl, and from nothing else.

use std::fmt::{self, Write};

use anyhow::Context;
use serde_json::Value;

use crate::{
    Report,
    report::{Figures, ROUNDS},
};

const HEAD: &str = "# Performance\n\nWritten by `meridian bench document` from what `meridian bench … --json` measured; no figure is typed by hand.\n\
     Machines differ and this one is shared: what counts is what stands side by side, taken in the same run. Where there were\n\
     several rounds the median counts, and the least and the most of them are in brackets.\n";

/// One section for each measurement: a row per figure, a column per contender, and the goal where there is one. Of measurements with the
/// same name the last one holds, so that a file only needs to be appended to.
///
/// # Errors
/// When a line is no measurement.
pub fn document(lines: &str) -> anyhow::Result<String> {
    let mut reports: Vec<Report> = Vec::new();
    for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let report: Report =
            serde_json::from_str(line).with_context(|| format!("line {} is no measurement", number + 1))?;
        match reports.iter_mut().find(|known| known.name == report.name) {
            Some(known) => *known = report,
            None => reports.push(report),
        }
    }
    let mut page = String::from(HEAD);
    for report in &reports {
        section(&mut page, report)?;
    }
    Ok(page)
}

fn section(page: &mut String, report: &Report) -> fmt::Result {
    let parameters: Vec<_> =
        report.parameters.iter().map(|(name, value)| format!("{} {}", words(name), plain(value))).collect();
    writeln!(page, "\n## {}\n\n{}", report.name, parameters.join(", "))?;
    let host = &report.host;
    writeln!(
        page,
        "\nOn {}, {} cores, {} MB, Linux {}.\n",
        host.processor, host.cores, host.memory_mb, host.kernel
    )?;
    let columns = report.columns();
    let mut heads: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let judged = !report.goals.is_empty();
    heads.extend(judged.then_some("goal"));
    writeln!(page, "| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()))?;
    for name in report.names() {
        let mut cells: Vec<_> = columns.iter().map(|(_, figures)| cell(figures, name)).collect();
        cells.extend(judged.then(|| report.verdict(name)));
        writeln!(page, "| {} | {} |", words(name), cells.join(" | "))?;
    }
    Ok(())
}

fn cell(figures: &Figures, name: &str) -> String {
    let value = figures.get(name).map(plain).unwrap_or_default();
    let rounds = figures.get(&format!("{ROUNDS}{name}")).and_then(Value::as_array);
    let rounds: Vec<f64> = rounds.into_iter().flatten().filter_map(Value::as_f64).collect();
    match (rounds.iter().copied().reduce(f64::min), rounds.iter().copied().reduce(f64::max)) {
        (Some(least), Some(most)) if rounds.len() > 1 => format!("{value} ({least}–{most})"),
        (Some(_) | None, Some(_) | None) => value,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = r#""host":{"processor":"P","cores":2,"memory_mb":1,"kernel":"K"}"#;

    #[test]
    fn a_measurement_becomes_a_table_with_its_peers_and_goals_and_the_last_of_a_name_holds() {
        let old =
            format!(r#"{{"name":"relay","parameters":{{}},"figures":{{"kib":7}},"peers":{{}},{HOST}}}"#);
        let new = format!(
            r#"{{"name":"relay","parameters":{{"streams":10}},"figures":{{"kib":1.5,"rounds_kib":[1.5,2,1]}},
            "peers":{{"nginx":{{"kib":9}}}},"goals":{{"kib":{{"at_most":18.0}}}},{HOST}}}"#
        );
        let page = document(&format!("{old}\n{}\n", new.replace('\n', ""))).unwrap();
        let table =
            "| | meridian | nginx | goal |\n|---|---|---|---|\n| kib | 1.5 (1–2) | 9 | <= 18: reached |";
        assert!(page.contains(table), "{page}");
        assert_eq!(page.matches("## relay").count(), 1);
        assert!(document("not json").is_err());
    }

    #[test]
    fn the_page_in_the_repository_is_what_its_figures_say() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let figures = std::fs::read_to_string(docs.join("performance.jsonl")).unwrap();
        let page = std::fs::read_to_string(docs.join("performance.md")).unwrap();
        assert_eq!(document(&figures).unwrap().trim_end(), page.trim_end());
    }
}
