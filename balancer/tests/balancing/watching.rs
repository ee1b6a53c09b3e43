//! What an operator sees.

use crate::world::*;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    ask_plain(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
}

#[tokio::test]
async fn every_series_says_zone_and_role_and_the_state_of_each_backend_is_there() {
    let (alive, dead) = (echo_backend("alive").await, nobody().await);
    let rules = "ops_listen = \"127.0.0.1:0\"\nzone = \"london\"\n".to_owned()
        + &rule(None, &[alive.address, dead])
        + "name = \"web\"\ncheck = { interval_ms = 20 }\n";
    let Balance { bound, .. } = balance(&rules).await;
    let _held = Talk::open(bound.local_addr).await.say("x").await.unwrap();
    let dead = dead.to_string();
    wait_for("the verdict", || bound.metrics.backend_is_in("web", &dead) == Some(false)).await;
    let ops = bound.ops_addr.unwrap();
    let text = get(ops, "/metrics").await;
    let series: Vec<&str> = text.lines().filter(|line| line.starts_with("meridian_")).collect();
    assert!(!series.is_empty());
    for line in &series {
        assert!(line.contains("role=\"balance\"") && line.contains("zone=\"london\""), "{line}");
    }
    let has = |name: &str, parts: &[&str], value: &str| {
        series.iter().any(|line| {
            line.starts_with(name) && line.ends_with(value) && parts.iter().all(|part| line.contains(part))
        })
    };
    let of_dead = format!("backend=\"{dead}\"");
    let of_alive = format!("backend=\"{}\"", alive.address);
    assert!(has("meridian_balance_backend_healthy{", &[&of_dead, "rule=\"web\""], " 0"), "{text}");
    assert!(has("meridian_balance_backend_healthy{", &[&of_alive, "rule=\"web\""], " 1"), "{text}");
    assert!(has("meridian_balance_checks_total{", &[&of_dead, "result=\"Unreachable\""], ""), "{text}");
    assert!(has("meridian_balance_dials_total{", &[&of_alive, "result=\"Answered\""], " 1"), "{text}");
    assert!(has("meridian_balance_connections_accepted_total{", &[], " 1"), "{text}");
    assert!(has("meridian_balance_connections_routed_total{", &["rule=\"web\""], " 1"), "{text}");
    assert!(has("meridian_balance_rule_panic{", &["rule=\"web\""], " 0"), "{text}");
    assert!(get(ops, "/readyz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn readiness_names_its_reason() {
    let rules = "ops_listen = \"127.0.0.1:0\"\n".to_owned() + &rule(None, &[nobody().await]);
    let Balance { bound, health, .. } = balance(&rules).await;
    wait_for("the reason", || health.reasons().contains_key("no_backend")).await;
    let answer = get(bound.ops_addr.unwrap(), "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no_backend"), "{answer}");
}
