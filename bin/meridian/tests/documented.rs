//! Every `meridian …` that the documentation names is a command with these options.
//!
//! Each is run with `--help` at its end: what comes before is judged then, and nothing is carried out.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// What a page says to run: the lines of its blocks, and what stands in backquotes in its text.
fn said(page: &str) -> Vec<String> {
    let mut said = Vec::new();
    let (mut fenced, mut text) = (false, String::new());
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            said.push(line.trim().to_owned());
        } else {
            // Backquotes may span lines.
            text.push_str(line.trim());
            text.push(' ');
        }
    }
    said.extend(text.split('`').skip(1).step_by(2).map(str::to_owned));
    said
}

/// The arguments of a `meridian …`, if it is one that can be taken literally.
fn arguments(said: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let (mut quoted, mut nested) = (false, 0);
    for letter in said.chars() {
        match letter {
            '"' if nested == 0 => quoted = !quoted,
            '(' => nested += 1,
            ')' => nested -= 1,
            // Of a `$(…)` the dollar stays.
            _ if nested > 0 => {}
            '#' | '>' | '&' | '|' | ';' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut()?.push(letter),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty()).skip_while(|word| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    });
    let program = words.next()?;
    (program == "meridian" && !said.contains('…')).then(|| words.collect())
}

#[test]
fn the_commands_of_the_documentation_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    pages(&root.join("docs"), &mut found);
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in found {
        for said in said(&fs::read_to_string(&page).unwrap()) {
            let Some(arguments) = arguments(&said) else { continue };
            let answer = Command::new(env!("CARGO_BIN_EXE_meridian"))
                .args(&arguments)
                .arg("--help")
                .env_clear()
                .output()
                .unwrap();
            tried += 1;
            if !answer.status.success() {
                let why = String::from_utf8_lossy(&answer.stderr);
                wrong.push(format!("{}: {said}: {}", page.display(), why.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(tried > 80, "only {tried} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_command_is_told_apart() {
    let known =
        arguments(r#"MERIDIAN_URL=x meridian admin groups create "Help desk" --priority 20 > file  # why"#);
    assert_eq!(known.unwrap(), ["admin", "groups", "create", "Help desk", "--priority", "20"]);
    let nested = arguments(
        r#"meridian admin zones apply zones/ --revision "$(git rev-parse --short HEAD)" --dry-run"#,
    );
    assert_eq!(nested.unwrap()[4..], ["--revision", "$", "--dry-run"]);
    for other in ["meridian lab run … --json FILE", "cargo build", "meridianctl up", ""] {
        assert!(arguments(other).is_none(), "{other}");
    }
}
