//! Tables, JSON, questions.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::Value;

use crate::exit::{Failure, print};

/// A column's heading, and where its value is in an item (`user.name` goes deeper).
pub struct Column(pub &'static str, pub &'static str);

pub fn show_one(value: &Value) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value)?)
}

/// A list of the API as a table, or as it is; `none` is said where nothing is in it.
pub fn show_table(list: &Value, columns: &[Column], none: &str, json: bool) -> Result<(), Failure> {
    if json {
        return show_one(list);
    }
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return print(none);
    }
    let mut rows = vec![columns.iter().map(|Column(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| columns.iter().map(|Column(_, path)| text(item, path)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let lines = rows.iter().map(|row| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
}

fn text(item: &Value, path: &str) -> String {
    match path.split('.').fold(item, |value, key| &value[key]) {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// Asks once. Where nobody can answer, the answer is no.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("nobody is there to confirm").hint("Add --yes to do it without asking"));
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    Ok(matches!(line()?.trim(), "y" | "Y" | "yes"))
}

/// A secret from standard input: typed without being shown, or piped in.
pub fn read_secret(question: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(line()?.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{question}")?;
    out.flush()?;
    let shown = rustix::termios::tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &hidden)?;
    let typed = line();
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &shown)?;
    writeln!(out)?;
    Ok(typed?.trim_end_matches(['\r', '\n']).to_owned())
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}
