//! `meridian bench relay` and `bench balance`, small: each kind of load runs to its end and says what it should. No figure is judged.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use serde_json::Value;

/// Runs a benchmark on a few streams; the one measurement that it wrote.
fn measure(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.jsonl");
    let output = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .arg("bench")
        .args(arguments)
        .args(["--rounds", "1", "--seconds", "0.2", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let page = Command::new(env!("CARGO_BIN_EXE_meridian")).args(["bench", "document"]).arg(&file).output();
    let page = String::from_utf8(page.unwrap().stdout).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert!(page.contains(&format!("## {}\n", report["name"].as_str().unwrap())), "{page}");
    report
}

/// A figure of Meridian's own and of every peer that is installed here.
fn figures(report: &Value, name: &str) -> Vec<f64> {
    let peers = report["peers"].as_object().unwrap().values();
    let all = std::iter::once(&report["figures"]).chain(peers);
    all.map(|figures| figures[name].as_f64().unwrap_or_else(|| panic!("{name} in {report}"))).collect()
}

#[test]
fn a_relays_idle_streams_have_a_size() {
    let report = measure(&["relay", "--idle", "--streams", "4"]);
    assert_eq!((&report["name"], &report["parameters"]["streams"]), (&"relay_idle".into(), &4.into()));
    assert!(figures(&report, "pss_kib_without_streams").iter().all(|kib| *kib > 0.0));
}

#[test]
fn a_relays_bulk_flows_on_one_stream_and_on_several() {
    let report = measure(&["relay", "--bulk", "--streams", "3"]);
    for name in ["1_streams_mb_per_cpu_s", "3_streams_mb_per_cpu_s"] {
        assert!(figures(&report, name).iter().all(|megabytes| *megabytes > 0.0), "{report}");
    }
}

#[test]
fn a_relays_frames_arrive() {
    let report = measure(&["relay", "--frames", "--streams", "6"]);
    for name in ["frames_2_streams_arrived_percent", "frames_6_streams_arrived_percent", "cpu_s_per_gb"] {
        assert!(figures(&report, name).iter().all(|figure| *figure > 0.0), "{report}");
    }
}

#[test]
fn a_relays_viewers_resume_when_they_come_again() {
    let report = measure(&["relay", "--handshakes", "--streams", "12"]);
    assert!(figures(&report, "full_tls_resumed_percent").iter().all(|percent| *percent == 0.0), "{report}");
    for name in ["resumed_with_ticket_tls_resumed_percent", "resumed_tls_resumed_percent"] {
        assert!(figures(&report, name).iter().all(|percent| *percent == 100.0), "{report}");
    }
}

#[test]
fn a_balancers_loads_run() {
    for (load, figure) in [
        ("--idle", "pss_kib_without_connections"),
        ("--bulk", "4_streams_mb_per_cpu_s"),
        ("--connections", "connections_per_cpu_s"),
    ] {
        let report = measure(&["balance", load, "--streams", "4"]);
        assert!(figures(&report, figure).iter().all(|figure| *figure > 0.0), "{report}");
    }
}
