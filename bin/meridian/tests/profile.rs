//! Which server `meridian admin` speaks to: the one that is named, and the profile's only where that is the one or none is.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::Result;
use site::{PASSWORD, Site};
use tempfile::TempDir;

/// Runs a command as somebody who has this home and these variables.
fn run(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.arg("admin").args(arguments).env_clear().env("HOME", home).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever is asked nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(PASSWORD.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_names_a_server_or_brings_a_key_is_taken_to_the_profiles() -> Result<()> {
    let site = Site::start().await?;
    let home = TempDir::new()?;
    let url = format!("http://{}", site.web.address);
    let run = async |variables: &[(&str, &str)], arguments: &[&str]| {
        tokio::task::block_in_place(|| run(home.path(), variables, arguments))
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let nobody = run(&[], &["zones", "list"]).await;
    assert!(!nobody.status.success() && said(&nobody).contains("meridian admin login"), "{nobody:?}");
    let login = run(&[], &["login", "--url", &url, "--username", "admin"]).await;
    assert!(login.status.success(), "{login:?}");

    let slashed = format!("{url}/");
    for (variables, arguments) in [
        (vec![], vec!["zones", "list"]),
        (vec![("MERIDIAN_URL", url.as_str())], vec!["zones", "list"]),
        (vec![], vec!["zones", "list", "--url", &slashed]),
    ] {
        let list = run(&variables, &arguments).await;
        assert!(list.status.success(), "{variables:?} {arguments:?}: {list:?}");
    }
    let elsewhere = "http://127.0.0.1:1";
    for (variables, arguments, says) in [
        (vec![("MERIDIAN_URL", elsewhere)], vec!["zones", "list"], "and not at http://127.0.0.1:1"),
        (vec![], vec!["zones", "list", "--url", elsewhere], "and not at http://127.0.0.1:1"),
        (vec![("MERIDIAN_API_KEY", "mk_0")], vec!["zones", "list"], "no server that it is for"),
    ] {
        let refused = run(&variables, &arguments).await;
        assert!(!refused.status.success() && said(&refused).contains(says), "{arguments:?}: {refused:?}");
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    Ok(())
}
