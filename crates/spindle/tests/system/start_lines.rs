//! The last lines of a start: what is stored where, or that nothing is yet, and why.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use spindle_testkit::{InfluxOptions, InfluxServer, wait_until};

use crate::harness::{NO_SOURCES, PATIENCE, run_file_of, spindle};
use crate::pipeline::get_from;

/// A `spindle up` with an InfluxDB that may be away; killed when dropped.
struct Started {
    folder: tempfile::TempDir,
    child: Child,
}

impl Started {
    fn new(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("none.toml"), NO_SOURCES).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let data = folder.path().join("data");
        let mut command = spindle(&data);
        command.args(["up", "--config", "none.toml"]).envs(environment.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let started = Self { folder, child };
        let log = || started.log().contains("Ctrl-C");
        assert!(wait_until(PATIENCE, "it is up", log).is_ok(), "{}", started.log());
        started
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn run_file(&self, name: &str) -> String {
        run_file_of(&self.data(), self.child.id()).unwrap()[name].as_str().unwrap().to_owned()
    }

    fn readiness(&self) -> String {
        get_from(self.run_file("http").trim_start_matches("http://"), "/readyz").1
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_place_of_the_data_is_named() {
    let started = Started::new(&[]);
    let file = started.data().join("spindle.db").display().to_string();
    assert!(started.log().contains(&format!("store            embedded, {file}")), "{}", started.log());
    assert!(!started.log().contains("nothing is stored"), "{}", started.log());
    assert_eq!(started.run_file("store"), format!("embedded, {file}"));
    let influx = InfluxServer::start().unwrap();
    let started = Started::new(&[("INFLUXDB_HOST", &influx.url()), ("INFLUXDB_BUCKET", "fleet")]);
    let place = format!("InfluxDB 1 at {}, database fleet", influx.url());
    assert!(started.log().contains(&format!("store            {place}")), "{}", started.log());
    assert_eq!(started.run_file("store"), place);
    wait_until(PATIENCE, "it is ready", || started.readiness() == "ready\n").unwrap();
}

#[test]
fn while_the_store_is_away_or_refuses_the_start_ends_with_the_reason() {
    let nowhere = "http://someone:secret-of-influx@127.0.0.1:1";
    let check = |environment: &[(&str, &str)], reason: &str| {
        let started = Started::new(environment);
        wait_until(PATIENCE, "the last line", || started.log().contains("nothing is stored yet")).unwrap();
        let log = started.log();
        let (_, after) = log.split_once("Ctrl-C").unwrap();
        let last = after.lines().find(|line| line.contains("nothing is stored yet")).unwrap_or_else(|| panic!("{log}"));
        assert!(last.contains("WARN") && last.contains(reason) && !log.contains("secret-of-influx"), "{log}");
        assert!(started.run_file("store").starts_with("InfluxDB at http://127.0.0.1:"), "{log}");
        // The other voices agree.
        let health = spindle(&started.data()).arg("health").output().unwrap();
        assert_eq!(health.status.code(), Some(1));
        let check = spindle(&started.data()).args(["check"]).envs(environment.iter().copied()).output().unwrap();
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(text.lines().any(|line| line.starts_with("fail  store: ") && line.contains(reason)), "{text}");
    };
    check(&[("INFLUXDB_HOST", nowhere)], "refused");
    let influx = InfluxServer::start_with(InfluxOptions { auth: true, ..InfluxOptions::default() }).unwrap();
    let url = influx.url();
    check(
        &[("INFLUXDB_HOST", &url), ("INFLUXDB_USERNAME", "admin"), ("INFLUXDB_PASSWORD", "wrong")],
        "INFLUXDB_USERNAME",
    );
}
