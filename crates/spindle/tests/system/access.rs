//! Nothing answers without credentials, unless it was told to; and no credential is ever shown.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{NO_SOURCES, System, spindle};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_nats_server_lets_in_whoever_may_read_run_json() {
    // What was set for another server does not get in the way of ours, neither here nor for a question below.
    let another = "[nats]\nuser = \"another\"\npassword = \"wrong\"\n";
    let mut system = System::start(&format!("{NO_SOURCES}{another}"), &[]);
    let url = system.nats_url();
    let address = url.rsplit_once('@').unwrap().1.to_owned();
    let refused = async_nats::connect(&address).await.expect_err("a stranger gets in");
    assert_eq!(refused.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
    let answer = system.nats().await.request("reader.query", r#"{"query_type":"devices"}"#.into()).await.unwrap();
    assert!(answer.payload.starts_with(br#"{"status":"success""#));
    // Nobody else may read the password, nor the data.
    let data = system.data_dir();
    for file in ["run.json", "nats/password", "nats/nats-server.conf"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("nats")), 0o700);
    let password = url.trim_start_matches("nats://spindle:").split('@').next().unwrap();
    assert!(password.len() == 64 && !system.log().contains(password), "{}", system.log());
    let mut question = spindle(&data);
    question.args(["query", "devices"]).env("NATS_USER", "another").env("NATS_PASSWORD", "wrong");
    question.env("NATS_CA", "no/such/file");
    assert_ne!(question.output().unwrap().status.code(), Some(2));
    // Who knows the password gets in after a restart too.
    system.signal("TERM");
    system.wait_for_end();
    system.start_again();
    assert_eq!(system.nats_url(), url);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_nats_server_takes_the_first_systems_daemon() {
    let system = System::start(&format!("{NO_SOURCES}[nats]\nopen = true\n"), &[]);
    let client = async_nats::connect(system.nats_url()).await.unwrap();
    let metric =
        r#"{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"DiskUnit","metricType":"DiskTemp","value":45.75}"#;
    client.publish("events.metrics", metric.into()).await.unwrap();
    client.flush().await.unwrap();
    system.wait_for(&["devices"], "its device is listed", |answer| {
        answer["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["source_device"] == "DiskUnit"))
    });
}
