//! `meridian bench control`, small: it starts what it needs, runs to its end, says what it should, and leaves nothing running.

use std::process::Command;

use serde_json::Value;

fn named<'a>(reports: &'a [Value], name: &str) -> &'a Value {
    reports.iter().find(|report| report["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_interaction_has_a_rate_and_its_round_trips() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.jsonl");
    let output = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args([
            "bench",
            "control",
            "--agents",
            "220",
            "--rows",
            "1000",
            "--rounds",
            "1",
            "--seconds",
            "0.2",
            "--json",
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    let reports: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in ["control_few_agents", "control_many_agents"] {
        let report = named(&reports, name);
        for interaction in ["launch", "connect", "authorize", "heartbeat", "explain", "image_matrix"] {
            let rate = &report["figures"][format!("{interaction}_per_s")];
            assert!(rate.as_f64().unwrap() > 0.0, "{interaction} in {report}");
        }
    }
    assert_eq!(named(&reports, "control_many_agents")["parameters"]["zones"], 2);
    assert!(named(&reports, "control_lists")["figures"]["far_page_per_s"].as_f64().unwrap() > 0.0);
    let far = &named(&reports, "control_far_database")["figures"];
    assert_eq!(far["sign_in_round_trips"], 2, "{far}");
    for interaction in ["list", "launch", "connect", "authorize", "heartbeat"] {
        assert_eq!(far[format!("{interaction}_round_trips")], 1, "{interaction}: {far}");
    }
}
